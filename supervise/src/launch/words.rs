//! The words of a command and its environment, as execve wants them, and what it means when that
//! refuses them all. Pure, but for a look at what is there.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Failure;
use crate::Error;

/// Where a program may be, in the order in which execvp(3) tries them.
pub(super) fn search(program: &OsStr, path: &OsStr) -> Vec<Vec<u8>> {
    let program = program.as_bytes();
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    if program.is_empty() {
        return Vec::new();
    }
    let in_folder = |folder: &[u8]| match folder {
        [] => program.to_vec(),
        folder => [folder, b"/", program].concat(),
    };
    path.as_bytes().split(|&byte| byte == b':').map(in_folder).collect()
}

/// `NAME=` and room for any process's number, ended by zeros.
pub(super) fn pid_entry(name: &OsStr) -> Vec<u8> {
    let mut entry = name.as_bytes().to_vec();
    entry.push(b'=');
    entry.extend([0; PID_ROOM]);
    entry
}

/// Ten digits, and the end.
const PID_ROOM: usize = 11;

/// What it means that none of the candidates could be executed.
pub(super) fn why(name: &str, candidates: &[CString], source: std::io::Error) -> Failure {
    let there = |candidate: &CString| Path::new(OsStr::from_bytes(candidate.as_bytes())).exists();
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => match candidates.iter().find(|path| there(path)) {
            Some(path) => Failure::CannotExecute(Error::says(format!(
                "start {}: what it names as its interpreter is not there",
                path.to_string_lossy()
            ))),
            None if name.contains('/') => {
                Failure::NotFound(Error::system(format!("start {name}"), source))
            }
            None => Failure::NotFound(Error::says(format!("start {name}: not found in PATH"))),
        },
        Some(_) => Failure::CannotExecute(Error::system(format!("start {name}"), source)),
        None => Failure::System(Error::system(format!("start {name}"), source)),
    }
}

/// Writes a number in decimal behind the `=` of an entry that has room for it.
pub(super) fn write_pid(entry: &mut [u8], pid: libc::pid_t) {
    let mut digits = [0u8; PID_ROOM];
    let mut rest = pid.unsigned_abs();
    let mut count = 0;
    for digit in &mut digits {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    let at = entry.len().saturating_sub(PID_ROOM);
    let digits = digits.iter().take(count).rev();
    for (to, digit) in entry.iter_mut().skip(at).zip(digits) {
        *to = *digit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_where_execvp_looks() {
        let found = |program: &str, path: &str| -> Vec<String> {
            let all = search(program.as_ref(), path.as_ref());
            all.into_iter().map(|path| String::from_utf8(path).expect("text")).collect()
        };
        assert_eq!(found("ls", "/bin:/usr/bin"), ["/bin/ls", "/usr/bin/ls"]);
        assert_eq!(found("ls", ":/b:"), ["ls", "/b/ls", "ls"], "an empty folder is this one");
        assert_eq!(found("./ls", "/bin"), ["./ls"]);
        assert_eq!(found("", "/bin"), [""; 0]);
    }

    #[test]
    fn a_number_in_its_place() {
        for pid in [1, 10, 32768, i32::MAX] {
            let mut entry = pid_entry("LISTEN_PID".as_ref());
            write_pid(&mut entry, pid);
            let text = std::ffi::CStr::from_bytes_until_nul(&entry).expect("ended by a zero");
            assert_eq!(text.to_str(), Ok(format!("LISTEN_PID={pid}").as_str()));
        }
    }
}
