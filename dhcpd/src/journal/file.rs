//! A real file as the journal's disk.

use super::commit::{Disk, End};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// How much is read at once to find the last record, in bytes.
const BLOCK: u64 = 64 * 1024;

/// The lease file or its successor.
pub struct LogFile(File);

impl LogFile {
    /// A file that is open for reading and writing.
    pub fn new(file: OwnedFd) -> Self {
        LogFile(File::from(file))
    }
}

impl Disk for LogFile {
    fn end(&self) -> io::Result<End> {
        let size = self.0.metadata()?.len();
        let mut block = Vec::new();
        let mut length = size;
        while length > 0 {
            let start = length.saturating_sub(BLOCK);
            block.resize((length - start) as usize, 0);
            self.0.read_exact_at(&mut block, start)?;
            if let Some(last) = block.iter().rposition(|&byte| byte != b'\n') {
                length = start + last as u64 + 1;
                break;
            }
            length = start;
        }
        let open = length > 0 && length == size;
        Ok(End { length: (length + u64::from(length > 0)).min(size), open, size })
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
