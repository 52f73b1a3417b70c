//! Errors of a server go to syslog: nobody else is there to read them. Nothing is kept open for
//! it, so that nothing has to be closed in an executor.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use nix::syslog::Facility;

/// Says something about this server, with the program's name and this process's number.
pub(super) fn report(facility: Option<Facility>, text: &str) {
    let Some(facility) = facility else { return };
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(|path| path.file_name()).unwrap_or("prefork".as_ref());
    let name = CString::new(name.as_bytes()).unwrap_or_default();
    // A line is a line: what is said may hold what a caller has sent.
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: three strings that end with a zero byte. openlog keeps its pointer, and is told of
    // another one before `name` goes; the format takes exactly the one argument.
    unsafe {
        libc::openlog(name.as_ptr(), libc::LOG_PID, facility as libc::c_int);
        libc::syslog(libc::LOG_ERR, c"%s".as_ptr(), text.as_ptr());
        libc::closelog();
        libc::openlog(std::ptr::null(), 0, facility as libc::c_int);
    }
}
