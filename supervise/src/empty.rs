//! The empty directory that becomes a confined process's root. Nothing is ever put into it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::{Error, Identity};

/// Where the system keeps one, if it does: all the BSDs, and Linux by habit of some packages.
const SYSTEMS_OWN: &str = "/var/empty";

/// Ours, made when it is needed, in a place that a reboot clears.
#[cfg(target_os = "linux")]
const OURS: [&str; 2] = ["/run/tandem", "/run/tandem/empty"];
#[cfg(not(target_os = "linux"))]
const OURS: [&str; 2] = ["/var/run/tandem", "/var/run/tandem/empty"];

/// Opens the first of the user's home, `/var/empty` and our own directory that will do; ours is
/// made if it is not there.
///
/// # Errors
/// None will do and ours cannot be made, or is not what it should be.
pub(crate) fn open(identity: &Identity) -> Result<File, Error> {
    let home = identity.home.as_deref();
    for path in home.into_iter().chain([Path::new(SYSTEMS_OWN)]) {
        // These may well be something else on this system, which is no error.
        if let Ok(Some(directory)) = open_if_fit(path) {
            return Ok(directory);
        }
    }
    let mut last = Path::new("/");
    for path in OURS {
        last = Path::new(path);
        match DirBuilder::new().mode(0o755).create(last) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::system(format!("make {path}"), error)),
        }
    }
    match open_if_fit(last) {
        Ok(Some(directory)) => Ok(directory),
        Ok(None) => Err(Error::says(format!(
            "{}: not an empty directory that only root may write to",
            last.display()
        ))),
        Err(error) => Err(Error::system(format!("open {}", last.display()), error)),
    }
}

/// Opens `path` if it is a directory (and no link to one), empty, root's, and writable for nobody
/// else.
fn open_if_fit(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = directory.metadata()?;
    let private = metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
    let empty = std::fs::read_dir(path)?.next().is_none();
    Ok((private && empty).then_some(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_of_root_will_do() {
        let base = std::env::temp_dir().join(format!("supervise-empty-{}", std::process::id()));
        std::fs::create_dir(&base).expect("a directory for the test");
        let make = |name: &str, mode| {
            let path = base.join(name);
            DirBuilder::new().mode(mode).create(&path).expect("make a directory");
            path
        };
        let good = make("good", 0o755);
        assert!(open_if_fit(&good).expect("readable").is_some());
        let full = make("full", 0o755);
        std::fs::write(full.join("x"), "").expect("write a file");
        assert!(open_if_fit(&full).expect("readable").is_none());
        let open = make("open", 0o755);
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&open, all).expect("chmod");
        assert!(open_if_fit(&open).expect("readable").is_none());
        let others = make("others", 0o755);
        std::os::unix::fs::chown(&others, Some(65533), None).expect("chown (needs root)");
        assert!(open_if_fit(&others).expect("readable").is_none());
        std::os::unix::fs::symlink(&good, base.join("link")).expect("link");
        assert!(open_if_fit(&base.join("link")).is_err());
        std::fs::remove_dir_all(&base).expect("clean up");
    }
}
