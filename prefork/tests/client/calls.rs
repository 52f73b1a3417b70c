//! What a call is: the same server for both clients, and nothing lost between caller and script.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::world::{ORIGINAL, Outcome, World, ours};

#[test]
fn both_clients_find_the_same_server() {
    let world = World::new();
    for options in [&["-U"][..], &["-UEHOME", "-G", "x y", "-E", "NOSUCH"], &["-U", "-g", "name"]] {
        for (first, second) in [(ORIGINAL, ours()), (ours(), ORIGINAL)] {
            let words = |tail: &[&'static str]| [options, &["perl", "script"], tail].concat();
            let one = world.run(first, &words(&["server"]));
            let other = world.run(second, &words(&["server"]));
            assert!(one.output.trim().parse::<i32>().is_ok(), "{first} {options:?}: {one:?}");
            assert_eq!(one.output, other.output, "{options:?}: {one:?} {other:?}");
            let kill = [&["--kill"], &words(&[])[..]].concat();
            assert_eq!(world.run(second, &kill).code(), Some(0));
            let third = world.run(first, &words(&["server"]));
            assert_ne!(one.output, third.output, "{options:?}: it was killed");
            assert_eq!(world.run(first, &kill).code(), Some(0));
        }
    }
}

#[test]
fn roots_servers_are_found_in_its_home() {
    if !nix::unistd::Uid::current().is_root() || std::path::Path::new("/var/run/user/0").exists() {
        println!("needs root, and no /var/run/user/0: skipped");
        return;
    }
    let world = World::new();
    let run = |program: &str, words: &[&str]| {
        let words = [&["-U", "perl", "script"], words].concat();
        let mut command = std::process::Command::new(program);
        command.args(words).current_dir(&world.folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Outcome::of(command.spawn().unwrap()).output
    };
    let one = run(ours(), &["server"]);
    assert_eq!(one, run(ORIGINAL, &["server"]));
    assert_eq!(one, run(ours(), &["server"]));
    assert!(one.trim().parse::<i32>().is_ok(), "{one}");
    let mut kill = std::process::Command::new(ours());
    kill.args(["-U", "--kill", "perl", "script"]).current_dir(&world.folder);
    assert!(kill.status().unwrap().success());
}

#[test]
fn a_script_is_called_by_its_first_line() {
    let world = World::new();
    let line = format!("#!{} -U,perl\n", ours());
    let text = std::fs::read_to_string(world.folder.join("script")).unwrap();
    let script = world.write("by-itself", &(line + &text));
    let script = script.to_str().unwrap();
    for _ in 0..2 {
        let told = world.run(script, &["words", "", "two words", "-x"]);
        assert_eq!(told.output, format!("perl|{script}|words||two words|-x\n"), "{told:?}");
    }
    let mut call = world.command(script, &["variable", "SAID"]);
    call.env("SAID", "a=b\nc");
    assert_eq!(Outcome::of(call.spawn().unwrap()).output, "a=b\nc\n");
    assert_eq!(world.run(ours(), &["-U", "--kill", "perl", script]).code(), Some(0));
}

#[test]
fn the_standard_descriptors_are_the_callers() {
    let world = World::new();
    for _ in 0..3 {
        let mut command = world.command(ours(), &["-U", "perl", "script", "cat"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"some\nlines\n").unwrap();
        let told = Outcome::of(child);
        assert_eq!((&*told.output, &*told.complaint), ("some\nlines\n", "to stderr\n"));
    }
}

#[test]
fn a_closed_descriptor_is_no_obstacle() {
    let world = World::new();
    for started in [false, true] {
        let mut command = world.command(ours(), &["-U", "perl", "script", "exit", "9"]);
        // SAFETY: closes what is nobody else's in the child.
        unsafe {
            command.pre_exec(|| {
                for fd in 0..3 {
                    libc::close(fd);
                }
                Ok(())
            })
        };
        let told = Outcome::of(command.spawn().unwrap());
        assert_eq!(told.code(), Some(9), "with a server: {started}: {told:?}");
    }
}

#[test]
fn every_exit_code_comes_back() {
    let world = World::new();
    for code in 0..256 {
        let told = world.call(ours(), &["exit", &code.to_string()]);
        assert_eq!((told.code(), &*told.complaint), (Some(code), ""), "{told:?}");
    }
}

#[test]
fn signals_come_back() {
    let world = World::new();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGKILL] {
        // Ignored by us, which the script's end is none of.
        let mut command =
            world.command(ours(), &["-U", "perl", "script", "kill", &signal.to_string()]);
        // SAFETY: one system call in the child.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                Ok(())
            })
        };
        world.server(ORIGINAL);
        let told = Outcome::of(command.spawn().unwrap());
        assert_eq!(told.signal(), Some(signal), "{told:?}");
    }
    for (signal, name) in [(libc::SIGUSR1, "signal 10"), (libc::SIGSEGV, "signal 11")] {
        let told = world.call(ours(), &["kill", &signal.to_string()]);
        assert_eq!(told.code(), Some(127), "{told:?}");
        assert!(told.complaint.contains(name), "{told:?}");
    }
}

#[test]
fn a_call_may_be_large() {
    let world = World::new();
    let mut command = world.command(ours(), &["-U", "perl", "script", "variable", "V2999"]);
    for number in 0..3000 {
        command.env(format!("V{number}"), "x".repeat(300) + &number.to_string());
    }
    for _ in 0..2 {
        let told = Outcome::of(command.spawn().unwrap());
        assert_eq!(told.output, "x".repeat(300) + "2999\n", "{}", told.complaint);
    }
}

#[test]
fn callers_at_the_same_time_have_one_server() {
    let world = World::new();
    let program = |number: usize| if number.is_multiple_of(2) { ours() } else { ORIGINAL };
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let words = ["-U", "perl", "script", "server"];
            world.command(program(number), &words).spawn().unwrap()
        })
        .collect();
    let told: Vec<String> = calls.into_iter().map(|call| Outcome::of(call).output).collect();
    assert!(told[0].trim().parse::<i32>().is_ok(), "{told:?}");
    assert!(told.iter().all(|server| *server == told[0]), "{told:?}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = World::new();
    for (words, what) in [
        (&["perl", "script"][..], "-U"),
        (&["-U"], "no interpreter"),
        (&["-U", "-g", "../x", "perl"], "\"/\""),
        (&["-U", "/nonexistent/perl", "script"], "No such file"),
        (&["-U", "true"], "never said that it was ready"),
    ] {
        let told = world.run(ours(), words);
        assert_eq!(told.code(), Some(127), "{told:?}");
        assert!(told.complaint.starts_with("prefork-interp: "), "{told:?}");
        assert!(told.complaint.contains(what), "{told:?}");
    }
    assert_eq!(
        world.run(ours(), &["-U", "sh", "-c", "exit 3"]).code(),
        Some(3),
        "it was not ready"
    );
    assert_eq!(world.run(ours(), &["--help"]).code(), Some(0));
}

#[test]
fn the_short_way_needs_no_loader() {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return;
    }
    let program = std::fs::read(ours()).unwrap();
    let holds = |what: &[u8]| program.windows(what.len()).any(|window| window == what);
    // No interpreter is named, so that the kernel starts our first instruction.
    assert!(!holds(b"/lib64/ld-linux") && !holds(b"/lib/ld-linux"));
    assert!(holds(b"prefork-spawn\0"));
}
