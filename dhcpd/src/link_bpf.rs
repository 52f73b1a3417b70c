//! `link` on the BSDs: bpf(4), with a filter each way and locked.
//!
//! Only system calls are here; programs, numbers and layouts are `crate::bpf`'s.

use super::{Counters, OutFrame};
use crate::bpf::{self, Insn};
use crate::socket::{Error, Queue, Queues, Sent};
use crate::wire::SERVER_PORT;
use crate::wire::frame::{self, Addressing, Datagram};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

#[cfg(target_os = "freebsd")]
const SYSTEM: bpf::System = bpf::FREEBSD;
#[cfg(target_os = "openbsd")]
const SYSTEM: bpf::System = bpf::OPENBSD;
#[cfg(target_os = "netbsd")]
const SYSTEM: bpf::System = bpf::NETBSD;

// libc knows some of the numbers; all of these are the same on the three systems.
#[cfg(any(target_os = "freebsd", target_os = "openbsd"))]
const _: () = {
    assert!(SYSTEM.set_buffer == libc::BIOCSBLEN && SYSTEM.set_interface == libc::BIOCSETIF);
    assert!(SYSTEM.get_link_type == libc::BIOCGDLT && SYSTEM.set_immediate == libc::BIOCIMMEDIATE);
    assert!(SYSTEM.set_header_complete == libc::BIOCSHDRCMPLT);
};
const _: () = assert!(size_of::<Program>() == 16, "struct bpf_program");

/// struct bpf_program.
#[repr(C)]
struct Program {
    len: libc::c_uint,
    insns: *const Insn,
}

/// Opens the interface: only frames that its filter takes will ever be read from the descriptor,
/// only replies can be written to it, and nobody can change that again.
///
/// # Errors
/// Not root, no such interface, or none that carries Ethernet frames.
pub fn open(name: &str, _index: u32) -> Result<Queues, Error> {
    let failed = |what: &str| {
        let tried = format!("{what} {name}");
        move |error: io::Error| Error::new(tried, error)
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/bpf")
        .map_err(failed("open /dev/bpf for"))?;
    let fd = file.as_fd();
    let mut buffer = bpf::BUFFER;
    control(fd, SYSTEM.set_buffer, &mut buffer).map_err(failed("size the buffer of"))?;
    if buffer != bpf::BUFFER {
        let error = io::Error::other(format!("the system allows {buffer} bytes only"));
        return Err(failed("size the buffer of")(error));
    }
    let mut request = [0u8; SYSTEM.ifreq];
    // One byte is left: the system's name ends with a zero.
    match request[..15].get_mut(..name.len()) {
        Some(field) => field.copy_from_slice(name.as_bytes()),
        None => return Err(failed("attach to")(io::ErrorKind::InvalidInput.into())),
    }
    control(fd, SYSTEM.set_interface, &mut request).map_err(failed("attach to"))?;
    let mut kind = 0u32;
    control(fd, SYSTEM.get_link_type, &mut kind).map_err(failed("ask for the kind of"))?;
    if kind != bpf::ETHERNET {
        let error = io::Error::other(format!("no Ethernet (link type {kind})"));
        return Err(failed("listen on")(error));
    }
    program(fd, SYSTEM.set_read_program, &bpf::read_program_bsd())
        .map_err(failed("set read filter for"))?;
    program(fd, SYSTEM.set_write_program, &bpf::write_program_bsd())
        .map_err(failed("set write filter for"))?;
    let settings = [
        (Some(SYSTEM.set_immediate), 1),
        (Some(SYSTEM.set_header_complete), 1),
        (Some(SYSTEM.set_direction), SYSTEM.incoming),
        (SYSTEM.set_capture, 1),
    ];
    for (number, mut value) in settings {
        if let Some(number) = number {
            control(fd, number, &mut value).map_err(failed("set up"))?;
        }
    }
    control(fd, SYSTEM.lock, &mut 0u32).map_err(failed("lock"))?;
    Ok(Queues { others: file.into(), discovers: None })
}

fn program(fd: BorrowedFd<'_>, number: u64, insns: &[Insn]) -> io::Result<()> {
    let len = insns.len() as libc::c_uint;
    control(fd, number, &mut Program { len, insns: insns.as_ptr() })
}

/// An ioctl(2) of bpf(4). `argument` must be of the type that the request takes.
fn control<T>(fd: BorrowedFd<'_>, number: u64, argument: &mut T) -> io::Result<()> {
    // SAFETY: every caller in this file passes what bpf(4) gives as the request's type; the kernel
    // reads or writes no more than the size within `number`, and follows the pointer of a Program
    // for the length beside it.
    let done = unsafe {
        libc::ioctl(fd.as_raw_fd(), number as libc::c_ulong, std::ptr::from_mut(argument))
    };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One interface, as frames leave by it. Any thread may send.
pub struct Wire {
    file: File,
    name: String,
    mac: [u8; 6],
}

impl Wire {
    /// Sends all frames. Never waits.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = OutFrame<'a>>) -> Sent {
        let mut sent = Sent::default();
        for frame in frames {
            match self.send_one(&frame) {
                Ok(()) => sent.sent += 1,
                Err(error) => sent.refused(|| format!("send to {}", self.name), error),
            }
        }
        sent
    }

    fn send_one(&self, frame: &OutFrame<'_>) -> io::Result<()> {
        let to = Addressing {
            source_mac: self.mac,
            dest_mac: frame.mac,
            source: frame.source,
            dest: frame.dest,
            source_port: SERVER_PORT,
            dest_port: frame.dest_port,
        };
        let headers = frame::headers(&to, frame.payload).ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            let parts = [IoSlice::new(&headers), IoSlice::new(frame.payload)];
            match (&self.file).write_vectored(&parts) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// One interface's frames.
pub struct Link {
    wire: Arc<Wire>,
    buffer: Vec<u8>,
    counters: Counters,
    gone: bool,
}

impl Link {
    /// Takes the descriptor from [`open`]; `mac` is the interface's own address.
    pub fn new(queues: Queues, name: &str, mac: [u8; 6]) -> Link {
        Link {
            wire: Arc::new(Wire { file: queues.others.into(), name: name.to_owned(), mac }),
            buffer: vec![0; bpf::BUFFER as usize],
            counters: Counters::default(),
            gone: false,
        }
    }

    /// Shows each good datagram of what waits to `each`. Returns the number of frames there were.
    /// Never waits; more may be there.
    ///
    /// # Errors
    /// What the system says; [`Link::is_gone`] tells whether it will say so for ever.
    pub fn receive(
        &mut self,
        queue: Queue,
        mut each: impl FnMut(&Datagram<'_>),
    ) -> Result<usize, Error> {
        if queue != Queue::Others {
            return Ok(0);
        }
        let len = match (&self.wire.file).read(&mut self.buffer) {
            Ok(len) => len,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return Ok(0),
                _ => {
                    self.gone = matches!(error.raw_os_error(), Some(libc::ENXIO | libc::EIO));
                    return Err(Error::new(format!("receive from {}", self.name()), error));
                }
            },
        };
        let mut count = 0;
        for (packet, checksum) in SYSTEM.header.packets(self.buffer.get(..len).unwrap_or_default())
        {
            count += 1;
            self.counters.frames += 1;
            match frame::parse(packet, checksum) {
                Ok(datagram) => each(&datagram),
                Err(error) => self.counters.refuse(error),
            }
        }
        Ok(count)
    }

    /// The way out, which is there until nobody needs it any more.
    pub fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// The descriptors that are readable when there is something to receive.
    pub fn fds(&self) -> impl Iterator<Item = (Queue, BorrowedFd<'_>)> {
        std::iter::once((Queue::Others, self.wire.file.as_fd()))
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.wire.name
    }

    /// Whether the last error was that the interface no longer exists; nothing will ever come from
    /// it again.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// What it has seen.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
