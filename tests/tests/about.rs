//! What each program says of itself, and of what it does not understand.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test may say what it expects of the machine")]

use std::process::{Command, Output};
use tests::lab::binary;

/// With each the exit code for an option that there is not.
const PROGRAMS: [(&str, i32); 5] =
    [("dhcpd", 1), ("dhcpctl", 2), ("pfhelper", 1), ("hastlite", 64), ("hastctl", 64)];

fn run(program: &str, option: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(binary(program)).arg(option).output().expect("run it");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn every_program_says_how_it_is_used_and_which_version_it_is() {
    for (program, wrong) in PROGRAMS {
        let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        for option in ["-V", "--version"] {
            assert_eq!(
                run(program, option),
                (Some(0), version.clone(), String::new()),
                "{program}"
            );
        }
        let (code, usage, err) = run(program, "-h");
        assert_eq!((code, err.as_str()), (Some(0), ""), "{program}");
        assert_eq!(run(program, "--help").1, usage, "{program}");
        // What is not understood is answered with the same, where errors go.
        let (code, out, err) = run(program, "--bogus");
        assert_eq!((code, out.as_str()), (Some(wrong), ""), "{program}");
        assert!(err.starts_with(&format!("{program}: ")) && err.ends_with(&usage), "{err}");
        let known = program == "pfhelper" || err.contains("--bogus");
        assert!(known, "{err}");
    }
}
