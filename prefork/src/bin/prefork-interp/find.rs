//! Where the server for this call would be listening. `None` is "that is for prefork-spawn to see".

use core::mem::MaybeUninit;

use prefork::args::Command;
use prefork::ident::{self, Place, Surroundings};
use prefork::rundir::{self, HIDDEN, MAX_PATH, NAME, USERS};

use crate::sys::{self, Start};

/// Of the kernel's `struct utsname`: six names.
const SYSTEM: usize = 6 * NODE;
/// Where among them the host's name is, and how long each may be.
const NODE: usize = 65;

/// The largest `/etc/passwd` that is looked into here.
const ACCOUNTS: usize = 16 << 10;

/// A path, followed by a zero byte, in the place it has in a socket's address.
pub struct Path {
    bytes: [u8; MAX_PATH + 1],
    length: usize,
}

impl Path {
    fn new() -> Path {
        Path { bytes: [0; MAX_PATH + 1], length: 0 }
    }

    fn push(&mut self, more: &[u8]) -> Option<()> {
        let end = self.length.checked_add(more.len())?;
        if end > MAX_PATH {
            return None;
        }
        for (to, from) in self.bytes.get_mut(self.length..)?.iter_mut().zip(more) {
            *to = *from;
        }
        self.length = end;
        Some(())
    }

    fn cut(&mut self) {
        for byte in &mut self.bytes {
            *byte = 0;
        }
        self.length = 0;
    }

    /// The address a socket has there, as the kernel takes it.
    pub fn address(&self) -> [u8; 2 + MAX_PATH] {
        let mut address = [0; 2 + MAX_PATH];
        let family = (libc::AF_UNIX as u16).to_ne_bytes();
        for (to, from) in address.iter_mut().zip(family.iter().chain(&self.bytes)) {
            *to = *from;
        }
        address
    }

    /// What lstat(2) says of it.
    fn look(&self) -> Result<libc::stat, isize> {
        stat(&self.bytes, libc::AT_SYMLINK_NOFOLLOW)
    }
}

/// The path of the socket.
pub fn socket(start: &Start, command: &Command<'_>) -> Option<Path> {
    let mut system = [0; SYSTEM];
    // SAFETY: the kernel fills no more than the structure's six names.
    if unsafe { sys::call(libc::SYS_uname, system.as_mut_ptr().addr(), 0, 0, 0) } < 0 {
        return None;
    }
    let mut path = directory(start, &system)?;
    let whole;
    let name = match command.ident {
        Some(name) if name.len() <= rundir::room(path.length) => name,
        Some(_) => return None,
        None => {
            let (here, root) = (place(b".\0")?, place(b"/\0")?);
            let around = Surroundings { system: &system, here, root };
            whole = ident::ident(&around, command, &|name| variable(start, name));
            whole.get(..rundir::digits(path.length)?)?
        }
    };
    path.push(&[b'/', rundir::SOCKET])?;
    path.push(name)?;
    Some(path)
}

/// The user's directory, looked at.
fn directory(start: &Start, system: &[u8; SYSTEM]) -> Option<Path> {
    let user = start.number(libc::AT_UID as usize)?;
    let mut digits = [0; 20];
    let number = decimal(user, &mut digits);
    let mut path = Path::new();
    path.push(USERS)?;
    path.push(number)?;
    match path.look() {
        Ok(found) if is_private(&found, user) => {
            path.push(b"/")?;
            path.push(NAME)?;
        }
        Ok(_) => return None,
        Err(e) if e == -(libc::ENOENT as isize) => {
            path.cut();
            home(number, &mut path)?;
            path.push(b"/")?;
            path.push(HIDDEN)?;
            path.push(b"/")?;
            path.push(rundir::node(system.get(NODE..NODE * 2)?))?;
        }
        Err(_) => return None,
    }
    is_private(&path.look().ok()?, user).then_some(path)
}

fn is_private(found: &libc::stat, user: usize) -> bool {
    u32::try_from(user).is_ok_and(|user| rundir::is_private(found.st_mode, found.st_uid, user))
}

/// The home directory that `/etc/passwd` has for a user. It is the first place where Debian's name
/// service looks; should another one know better, no server is found here, and nothing is lost but
/// the short way.
fn home(user: &[u8], path: &mut Path) -> Option<()> {
    let mut text = MaybeUninit::<[u8; ACCOUNTS]>::uninit();
    let name = c"/etc/passwd".as_ptr().addr();
    let (at, flags) = (libc::AT_FDCWD as usize, (libc::O_RDONLY | libc::O_CLOEXEC) as usize);
    // SAFETY: a path that a zero byte ends.
    let file = usize::try_from(unsafe { sys::call(libc::SYS_openat, at, name, flags, 0) }).ok()?;
    // SAFETY: the kernel fills no more than the length of the buffer.
    let read = unsafe { sys::call(libc::SYS_read, file, text.as_mut_ptr().addr(), ACCOUNTS, 0) };
    // SAFETY: a descriptor of ours.
    unsafe { sys::call(libc::SYS_close, file, 0, 0, 0) };
    let read = usize::try_from(read).ok().filter(|read| *read < ACCOUNTS)?;
    // SAFETY: so many bytes have been read to its beginning.
    let text = unsafe { core::slice::from_raw_parts(text.as_ptr().cast::<u8>(), read) };
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        if fields.nth(2) == Some(user) {
            return path.push(fields.nth(2).filter(|home| home.starts_with(b"/"))?);
        }
    }
    None
}

/// The value of a variable, as getenv(3) finds it.
fn variable(start: &Start, name: &[u8]) -> Option<&'static [u8]> {
    let mut at = 0;
    while let Some(entry) = start.entry(at) {
        if let Some([b'=', value @ ..]) = entry.strip_prefix(name)
            && !name.is_empty()
        {
            return Some(value);
        }
        at = at.wrapping_add(1);
    }
    None
}

fn place(path: &[u8]) -> Option<Place> {
    let found = stat(path, 0).ok()?;
    Some(Place { device: found.st_dev, inode: found.st_ino })
}

/// `path` ends with a zero byte.
fn stat(path: &[u8], flags: i32) -> Result<libc::stat, isize> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    let (at, to) = (libc::AT_FDCWD as usize, found.as_mut_ptr().addr());
    // SAFETY: the path has an end, and the kernel fills the whole of the structure, which is its own.
    unsafe {
        match sys::call(libc::SYS_newfstatat, at, path.as_ptr().addr(), to, flags as usize) {
            0 => Ok(found.assume_init()),
            error => Err(error),
        }
    }
}

/// A number's digits.
pub fn decimal(number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut left = number;
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (left % 10) as u8;
        left /= 10;
        first = first.wrapping_sub(1);
        if left == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
}
