//! Makes a component a resource's: what `hastctl create` does, without the daemon.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use crate::component::Component;
use crate::engine::{Consistency, Metadata, Role};
use crate::layout::{BLOCK, KEEP_DIRTY, Layout, LayoutError, RECORDS, Wish};
use crate::metadata::{MetadataError, NAME_MAX};
use crate::storage::Book;
use std::fmt;
use std::io;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Sizes and arrangement.
    pub wish: Wish,
    /// How many extents may stay marked though nothing is being written there.
    pub keepdirty: u32,
    /// Fill the data area with zeroes, so that two new nodes are the same (hazard H23).
    pub zero: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { wish: Wish::default(), keepdirty: KEEP_DIRTY, zero: false }
    }
}

/// Writes metadata and an empty map. Whatever resource was there is gone; its data is not touched
/// unless zeroes are asked for. Interrupted, nothing is there that could be used.
///
/// # Errors
/// What cannot be, before anything is written; or what failed.
pub fn create(
    component: &Component,
    name: &str,
    options: &Options,
) -> Result<Metadata, CreateError> {
    if name.is_empty() || name.len() >= NAME_MAX || name.contains('\0') {
        return Err(CreateError::Name(MetadataError::Name(name.len())));
    }
    let layout = Layout::plan(component.medium(), &options.wish).map_err(CreateError::Layout)?;
    let meta = Metadata {
        resource: name.to_owned(),
        datasize: layout.datasize,
        extentsize: options.wish.extentsize,
        keepdirty: options.keepdirty,
        offset: layout.offset,
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        prevrole: Role::Init,
        consistency: Consistency::Consistent,
    };
    let failed = |what| move |error| CreateError::Io { what, error };
    let zeroes = vec![0; BLOCK as usize];
    component.write_durably(&zeroes, 0).map_err(failed("clear metadata"))?;
    if let Some(at) = layout.records {
        let zeroes = vec![0; RECORDS as usize];
        component.write(&zeroes, at).map_err(failed("clear records"))?;
    }
    let map = vec![0; layout.map_size as usize];
    component.write(&map, BLOCK).map_err(failed("write activemap"))?;
    if options.zero {
        component.zero(layout.offset, layout.datasize).map_err(failed("write zeroes"))?;
    }
    component.sync().map_err(failed("flush"))?;
    Book::create(layout).write(component, &meta).map_err(failed("write metadata"))?;
    Ok(meta)
}

/// Why nothing was created.
#[derive(Debug)]
pub enum CreateError {
    /// The name is empty or too long.
    Name(MetadataError),
    /// The sizes do not go together.
    Layout(LayoutError),
    /// The component failed.
    Io {
        /// What was being done.
        what: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for CreateError {}
