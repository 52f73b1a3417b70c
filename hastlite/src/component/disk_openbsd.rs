//! Disks of OpenBSD tell their size only in a disklabel, which we do not read: use a file.

use crate::layout::Medium;
use std::io;
use std::os::fd::BorrowedFd;

pub(super) fn measure(_fd: BorrowedFd<'_>) -> io::Result<Medium> {
    let why = "disks are not supported on OpenBSD, only files on them";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

pub(super) fn flush(_fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(())
}

pub(super) fn discard(_fd: BorrowedFd<'_>, _offset: u64, _length: u64) -> io::Result<()> {
    Ok(())
}
