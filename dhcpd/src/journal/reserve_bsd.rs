//! The BSDs have no way to reserve room behind the end of a file without changing its size.

use std::fs::File;

/// Does nothing.
pub(super) fn reserve(_file: &File, _offset: u64, _length: u64) {}
