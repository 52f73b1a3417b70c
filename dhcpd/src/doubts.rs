//! What on the command line is hardly meant as it stands: it is said, and served all the same.

use crate::USER;
use crate::args::Args;
use pfhelper::Table;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use supervise::Identity;

/// One line each.
pub fn about(args: &Args) -> Vec<String> {
    let tables = &args.tables;
    let named = [("A", &tables.abandoned), ("C", &tables.changed), ("L", &tables.leased)];
    let mut doubts = Vec::new();
    for (index, (flag, table)) in named.iter().enumerate() {
        for (other, same) in named.iter().skip(index + 1) {
            if let (Some(table), Some(same)) = (table, same)
                && whole(table) == whole(same)
            {
                doubts.push(format!("-{flag} {table} -{other} {same}: one table for two purposes"));
            }
        }
    }
    if let (Some(seconds), None, None) = (args.element_timeout, &tables.leased, &tables.abandoned) {
        doubts.push(format!("-T {seconds} without -L and -A: only their addresses fade"));
    }
    if let Some(hook) = &args.hook {
        // Without the account there is no service, and whoever only checks may do without.
        let account = supervise::user(USER).ok();
        if let Err(why) = can_run(hook, account.as_ref()) {
            doubts.push(format!("-E {}: {why}: no hook can be run", hook.display()));
        }
    }
    doubts
}

/// A table's name with what a bare one stands for.
fn whole(table: &Table) -> String {
    match table.as_str() {
        bare if cfg!(target_os = "linux") && !bare.contains('/') => format!("inet/dhcpd/{bare}"),
        name => name.to_owned(),
    }
}

/// Whether this account can run the hook, as far as modes tell; the error is why not.
fn can_run(hook: &Path, account: Option<&Identity>) -> Result<(), String> {
    let hook = match fs::canonicalize(hook) {
        // Whoever checks may see less than the account does, be it root without its capabilities.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        found => found.map_err(|e| e.to_string())?,
    };
    let found = fs::metadata(&hook).map_err(|e| e.to_string())?;
    if !found.is_file() {
        return Err("not a file".to_owned());
    }
    if found.mode() & 0o111 == 0 {
        return Err("not executable".to_owned());
    }
    let Some(account) = account else { return Ok(()) };
    if !may_execute(&found, account) {
        return Err(format!("its mode does not let user {USER} execute it"));
    }
    for folder in hook.ancestors().skip(1) {
        let found = fs::metadata(folder).map_err(|e| e.to_string())?;
        if !may_execute(&found, account) {
            return Err(format!("the mode of {} does not let user {USER} pass", folder.display()));
        }
    }
    Ok(())
}

/// Of a directory: whether it may pass.
fn may_execute(found: &Metadata, account: &Identity) -> bool {
    let bit = match () {
        () if found.uid() == account.uid => 0o100,
        () if found.gid() == account.gid => 0o010,
        () => 0o001,
    };
    found.mode() & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;
    use nix::unistd::{getegid, geteuid};
    use std::ffi::OsString;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn doubts(line: &str) -> Vec<String> {
        about(&parse(line.split_whitespace().map(OsString::from)).expect(line))
    }

    #[test]
    fn tables_that_serve_nothing() {
        assert!(doubts("-A a -C b -L c -T 60 em0").is_empty());
        assert!(doubts("em0").is_empty());
        assert!(doubts("-T 60 -A a").is_empty());
        assert_eq!(doubts("-T 60 -C a"), ["-T 60 without -L and -A: only their addresses fade"]);
        let twice = "-C x -L x: one table for two purposes";
        assert_eq!(doubts("-L x -C x"), [twice]);
        assert_eq!(doubts("-L x -C x -A x").len(), 3);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_table_by_two_names() {
        assert_eq!(doubts("-L x -C inet/dhcpd/x").len(), 1);
        assert!(doubts("-L x -C ip/dhcpd/x").is_empty());
    }

    #[test]
    fn a_hook_that_cannot_be_run() {
        let folder = std::env::temp_dir().join(format!("dhcpd-doubts-{}", std::process::id()));
        fs::create_dir(&folder).expect("a directory");
        let hook = folder.join("hook");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
        };
        let own = Identity::numeric(geteuid().as_raw(), getegid().as_raw());
        let other = Identity::numeric(own.uid + 1, own.gid + 1);
        let why = |account: &Identity| can_run(&hook, Some(account)).expect_err("cannot run");

        assert!(why(&own).starts_with("No such file"));
        let said = doubts(&format!("-E {}", hook.display()));
        assert!(said[0].starts_with(&format!("-E {}: No such file", hook.display())), "{said:?}");
        assert_eq!(can_run(&folder, None), Err("not a file".to_owned()));
        fs::write(&hook, "#!/bin/sh\n").expect("write");
        set(&hook, 0o644);
        assert_eq!(why(&own), "not executable");
        set(&hook, 0o700);
        set(&folder, 0o700);
        assert_eq!(can_run(&hook, Some(&own)), Ok(()));
        assert_eq!(can_run(&hook, None), Ok(()));
        assert_eq!(why(&other), "its mode does not let user _dhcp execute it");
        set(&hook, 0o755);
        let found = fs::canonicalize(&folder).expect("its name");
        let closed = format!("the mode of {} does not let user _dhcp pass", found.display());
        assert_eq!(why(&other), closed);
        fs::remove_dir_all(&folder).expect("remove");
    }
}
