//! A real file as the journal's disk.

use super::commit::Disk;
use super::reserve::reserve;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// How much room is asked for at a time, in bytes: some ten thousand records.
const RESERVE: u64 = 8 * 1024 * 1024;

/// A file and the room that is reserved for it behind its end.
pub struct LogFile {
    file: File,
    reserved: u64,
}

impl LogFile {
    /// A file that is open for reading and writing.
    pub fn new(file: OwnedFd) -> Self {
        LogFile { file: File::from(file), reserved: 0 }
    }
}

impl Disk for LogFile {
    fn end(&self) -> io::Result<(u64, bool)> {
        let length = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(offset) = length.checked_sub(1) {
            self.file.read_exact_at(&mut last, offset)?;
        }
        Ok((length, last != [b'\n']))
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.reserved {
            // Only to make syncs cheaper: a refusal means nothing.
            self.reserved = end.saturating_add(RESERVE);
            reserve(&self.file, offset, self.reserved - offset);
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.reserved = 0;
        self.file.set_len(length)
    }
}
