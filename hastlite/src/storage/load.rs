//! Reads what a component says about its resource.

use super::book::Book;
use crate::component::Component;
use crate::engine::Metadata;
use crate::layout::{BLOCK, Layout, LayoutError, RECORDS};
use crate::metadata::{Block, Found, MetadataError, SIZE, choose};
use std::fmt;

/// A component in use.
#[derive(Debug)]
pub struct Loaded {
    /// The newest metadata that is whole.
    pub meta: Metadata,
    /// The activemap, whole blocks of it: FreeBSD's map can have fewer bytes on disk than a peer
    /// with longer sectors wants.
    pub map: Vec<u8>,
    /// Where things lie.
    pub layout: Layout,
    /// What writes the next metadata.
    pub book: Book,
    /// Worth a line in the log.
    pub note: Option<&'static str>,
}

impl Loaded {
    /// Has the other node lack all there is, on stable storage.
    ///
    /// # Errors
    /// The component's.
    pub fn mark_all(&mut self, component: &Component) -> Result<(), String> {
        self.map.fill(0xff);
        let all = self.map.get(..self.layout.map_size as usize).unwrap_or_default();
        component.write_durably(all, BLOCK).map_err(|e| format!("write the activemap: {e}"))
    }
}

/// Reads metadata and activemap. `name` is the resource's that should be there.
///
/// # Errors
/// It is not there, not whole, or does not fit the component; or the component cannot be read.
pub fn load(component: &Component, name: &str) -> Result<Loaded, LoadError> {
    let (bytes, block, found) = look(component)?;
    let Found { meta, sequence, slot, note } = found;
    if meta.resource != name {
        return Err(LoadError::Other { found: meta.resource });
    }
    let layout = Layout::of(&meta, component.medium()).map_err(LoadError::Layout)?;
    let mut map = vec![0; layout.map_size as usize];
    component.read(&mut map, BLOCK).map_err(|error| LoadError::Map(error.to_string()))?;
    map.resize(map.len().next_multiple_of(SIZE), 0);
    let book = Book::new(layout, bytes, &block, sequence, slot);
    Ok(Loaded { meta, map, layout, book, note })
}

/// Reads the metadata, for `hastctl dump`. Whether it fits the component is not looked at.
///
/// # Errors
/// As [`load`].
pub fn dump(component: &Component) -> Result<Metadata, LoadError> {
    Ok(look(component)?.2.meta)
}

fn look(component: &Component) -> Result<(Vec<u8>, Block, Found), LoadError> {
    let mut bytes = vec![0; SIZE];
    component
        .read(&mut bytes, 0)
        .map_err(|error| LoadError::Metadata(MetadataError::Unreadable(error.to_string())))?;
    let block = Block::read(&bytes);
    let records = [0, BLOCK].map(|which| {
        let at = block.records?.checked_add(which)?;
        at.checked_add(RECORDS)?;
        let mut record = vec![0; SIZE];
        // What cannot be read is as good as torn.
        component.read(&mut record, at).ok().map(|()| record)
    });
    let records = records.each_ref().map(|record| record.as_deref());
    let found = choose(&block, records).map_err(LoadError::Metadata)?;
    Ok((bytes, block, found))
}

/// Why a component is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Its metadata.
    Metadata(MetadataError),
    /// It says where things are, and they cannot be there.
    Layout(LayoutError),
    /// The activemap cannot be read.
    Map(String),
    /// It is another resource's.
    Other {
        /// Whose.
        found: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(error) => write!(f, "read metadata: {error}"),
            Self::Layout(error) => write!(f, "the metadata does not fit: {error}"),
            Self::Map(error) => write!(f, "read activemap: {error}"),
            Self::Other { found } => write!(f, "it belongs to resource \"{found}\""),
        }
    }
}

impl std::error::Error for LoadError {}
