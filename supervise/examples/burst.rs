//! The load that trackers are measured with: `burst COUNT AT_ONCE` forks COUNT processes, at most
//! AT_ONCE at a time, each of which fails to execute a program that is not there and exits with
//! 127. It uses nothing but system calls, so that what is measured is the kernel and who listens.
//!
//! It prints nothing, and exits with 1 if any of them did not end as it should.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u32>());
    let (Some(Ok(count)), Some(Ok(at_once)), None) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        eprintln!("usage: burst COUNT AT_ONCE");
        return ExitCode::from(2);
    };
    let missing = c"/nonexistent/program";
    let argv = [missing.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    let mut running = 0;
    let mut right = true;
    for _ in 0..count {
        if running == at_once {
            right &= reaped();
            running -= 1;
        }
        // SAFETY: there is one thread only, so the child may do as it likes.
        match unsafe { libc::fork() } {
            -1 => return ExitCode::FAILURE,
            // SAFETY: a string that ends with a zero, and lists that end with a null pointer.
            0 => unsafe {
                libc::execve(missing.as_ptr(), argv.as_ptr(), environment.as_ptr());
                libc::_exit(127);
            },
            _ => running += 1,
        }
    }
    for _ in 0..running {
        right &= reaped();
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Waits for a child; whether it ended as it should.
fn reaped() -> bool {
    let mut status = 0;
    // SAFETY: the pointer is to an int.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    pid > 0 && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 127
}
