//! Places for tests to store things in; each is gone when its owner is.

use crate::component::Component;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(0);

fn name() -> PathBuf {
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("hastlite-storage-{}-{next}", std::process::id()))
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Opens what this test alone uses. Another test's child may still have a copy of a descriptor that
/// was closed here, until it becomes another program: so not at the first refusal.
pub(crate) fn open(path: &Path) -> Component {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Component::open(path) {
            Ok(component) => return component,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// A file without content of its own: all zeroes, and sparse.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(size: u64) -> Self {
        let path = name();
        File::create(&path).unwrap().set_len(size).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn attach(file: &Path, sector: u32) -> PathBuf {
    let sector = sector.to_string();
    let file = file.to_str().unwrap();
    run("losetup", &["--find", "--show", "--sector-size", &sector, file]).into()
}

/// A loop device. Wants root.
pub(crate) struct Loop {
    device: PathBuf,
    _file: Option<Scratch>,
}

impl Loop {
    /// Over a scratch file.
    pub(crate) fn new(size: u64, sector: u32) -> Self {
        let file = Scratch::new(size);
        Self { device: attach(file.path(), sector), _file: Some(file) }
    }

    /// Over a file that is there.
    pub(crate) fn over(file: &Path) -> Self {
        Self { device: attach(file, 512), _file: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

/// A file system in memory with so much room. Wants root.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    pub(crate) fn new(size: u64) -> Self {
        let path = name();
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", path.to_str().unwrap()]);
        Self(path)
    }

    pub(crate) fn file(&self, size: u64) -> PathBuf {
        let path = self.0.join("component");
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}
