//! What stands on the component of a resource that has no worker: read for hastctl(8), and changed
//! where that is asked for.

use crate::component::Component;
use crate::ctl::message::{Objection, Volume};
use crate::engine::{Role, role};
use crate::storage;
use std::path::Path;

/// What the metadata says, and what speaks against a promotion. Nothing of what cannot be read.
pub fn look(local: &Path, name: &str) -> (Option<Volume>, Option<Objection>) {
    let loaded = Component::open_to_look(local)
        .map_err(|e| e.to_string())
        .and_then(|component| storage::load(&component, name).map_err(|e| e.to_string()));
    match loaded {
        Ok(loaded) => {
            let promotion = role::promote(&loaded.meta, &loaded.map, None, false);
            let objection = promotion.err().as_ref().map(Objection::from);
            (Some(Volume::from(&loaded.meta)), objection)
        }
        Err(why) => {
            log::debug!("[{name}] {}: {why}", local.display());
            (None, None)
        }
    }
}

/// Gives up what this node has written alone.
pub fn discard(local: &Path, name: &str) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", local.display());
    let component = Component::open(local).map_err(|e| e.to_string())?;
    let mut loaded = storage::load(&component, name).map_err(|e| failed(&e))?;
    let meta = role::discard(&loaded.meta, Role::Init).map_err(|e| failed(&e))?;
    loaded
        .book
        .write(&component, &meta)
        .map_err(|e| failed(&format_args!("write metadata: {e}")))?;
    log::warn!("[{name}] this node's data is given up: it takes the other node's");
    Ok(())
}
