//! The files that a running server has been made from, and whether they are still the same. What
//! counts as a change is decided here and in [`super::decide`]; acting on it is the server's.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::decide::{Version, changed_at_start};
use super::options::Options;

/// The files, as they were when the server started.
#[derive(Debug)]
pub(super) struct Sources {
    files: Vec<(PathBuf, Option<Version>)>,
    /// One has changed while the program was being started.
    late: bool,
}

impl Sources {
    /// Looks at the files for the first time. `started` is when the socket was made.
    pub(super) fn look(options: &Options, started: (i64, i64)) -> Sources {
        let mut files = Vec::new();
        if options.autoreload
            && let Ok(path) = std::env::current_exe()
        {
            // What runs may not be what is at the path any more. (Not all systems can tell.)
            let running = version(Path::new("/proc/self/exe")).or_else(|| version(&path));
            files.push((path, running));
        }
        files.extend(options.autoreload_extra.iter().map(|path| (path.clone(), version(path))));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = (now.as_secs().cast_signed(), i64::from(now.subsec_nanos()));
        let late = files.iter().any(|(_, version)| changed_at_start(*version, started, now));
        Sources { files, late }
    }

    /// Whether a server that is started now would be made of something else.
    pub(super) fn changed(&self) -> bool {
        self.late || self.files.iter().any(|(path, seen)| version(path) != *seen)
    }
}

fn version(path: &Path) -> Option<Version> {
    fs::metadata(path).ok().map(|metadata| of(&metadata))
}

fn of(metadata: &Metadata) -> Version {
    Version {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_appears_or_goes_is_seen() {
        let path = std::env::temp_dir().join(format!("prefork-reload-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let options = Options { autoreload_extra: vec![path.clone()], ..Options::default() };
        let future = (i64::MAX, 0);
        let absent = Sources::look(&options, future);
        assert!(!absent.changed());
        fs::write(&path, "1").expect("write");
        assert!(absent.changed());

        let there = Sources::look(&options, future);
        assert!(!there.changed());
        assert!(Sources::look(&options, (0, 0)).changed(), "written after the start");
        fs::write(&path, "22").expect("write");
        assert!(there.changed());
        fs::remove_file(&path).expect("remove");
        assert!(there.changed());
    }

    #[test]
    fn the_executable_is_watched_if_wanted() {
        let long_ago = (0, 0);
        assert!(Sources::look(&Options::default(), long_ago).changed());
        let blind = Options { autoreload: false, ..Options::default() };
        assert!(!Sources::look(&blind, long_ago).changed());
    }
}
