//! One lookup: getnameinfo(3), and what it may read.

use super::msg::is_name;
use std::mem::{size_of, zeroed};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// What became of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The address has this name.
    Name(Vec<u8>),
    /// It has none that is one.
    NoName,
    /// Nobody could say, and why.
    Failed(String),
}

/// Where the C library looks for how to look up.
const ETC: &str = "/etc";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Prepares this process for lookups, and returns the directories it reads for them. To be called
/// while it has one thread.
pub fn prepare() -> Vec<PathBuf> {
    only_files_and_dns();
    let mut directories = vec![PathBuf::from(ETC)];
    // Often a link to where somebody keeps it up to date.
    let file = Path::new(RESOLV_CONF).canonicalize().ok();
    directories.extend(file.as_deref().and_then(Path::parent).map(Path::to_owned));
    directories
}

/// /etc/hosts and the DNS are what the C library itself knows. Whatever else nsswitch.conf(5) names
/// would be code loaded into this process, to do it knows what.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn only_files_and_dns() {
    unsafe extern "C" {
        fn __nss_configure_lookup(
            database: *const libc::c_char,
            services: *const libc::c_char,
        ) -> libc::c_int;
    }
    // SAFETY: two strings ended by a zero byte, which it copies; this is the only thread.
    if unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) } != 0 {
        log::warn!("look up hosts in files and dns only: {}", std::io::Error::last_os_error());
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn only_files_and_dns() {}

/// Asks for the name of an address, for as long as that takes.
pub fn name_of(address: Ipv4Addr) -> Found {
    // SAFETY: all zeros is a value of it.
    let mut socket: libc::sockaddr_in = unsafe { zeroed() };
    #[cfg(not(target_os = "linux"))]
    {
        socket.sin_len = size_of::<libc::sockaddr_in>() as u8;
    }
    socket.sin_family = libc::AF_INET as libc::sa_family_t;
    socket.sin_addr.s_addr = u32::from(address).to_be();
    let mut name = [0u8; 1025]; // NI_MAXHOST
    // SAFETY: an address and a buffer with their lengths; both live longer than the call.
    let result = unsafe {
        libc::getnameinfo(
            std::ptr::from_ref(&socket).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
            name.as_mut_ptr().cast(),
            name.len() as _,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    match result {
        0 => {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let name = &name[..end];
            if is_name(name) { Found::Name(name.to_vec()) } else { Found::NoName }
        }
        libc::EAI_NONAME => Found::NoName,
        error => Found::Failed(reason(error)),
    }
}

fn reason(error: libc::c_int) -> String {
    // SAFETY: it returns a string that is never freed, whatever the number.
    let text = unsafe { libc::gai_strerror(error) };
    if text.is_null() {
        return format!("error {error}");
    }
    // SAFETY: it is not null, and ended by a zero byte.
    let text = unsafe { std::ffi::CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etc_hosts_says() {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let local = hosts.lines().filter_map(|line| line.strip_prefix("127.0.0.1"));
        let Some(name) = local.flat_map(str::split_whitespace).next() else { return };
        assert_eq!(name_of(Ipv4Addr::LOCALHOST), Found::Name(name.as_bytes().to_vec()));
    }

    #[test]
    fn where_the_library_reads() {
        assert!(prepare().contains(&PathBuf::from("/etc")));
        assert!(!reason(libc::EAI_AGAIN).is_empty());
    }
}
