//! `hastctl create` and `dump`: what is done to local components without the daemon.

use super::json::{Object, write_volume};
use super::message::{Selection, Volume};
use super::render::{consistency_name, human, role_name};
use super::{Failure, Output, exit, printed};
use crate::component::Component;
use crate::config::{Config, Resource};
use crate::create::{self, CreateError, Options};
use crate::engine::Metadata;
use crate::storage;
use std::fmt::Write;

/// Lays the components of resources out anew, each as far as it can be. Returns the exit code of
/// the first that could not.
pub fn create(config: &Config, names: &[String], options: &Options, output: &mut Output<'_>) -> u8 {
    let named = Selection::Named(names.to_owned());
    each(config, &named, output, |resource| {
        let at = resource.local.display();
        let component =
            Component::open(&resource.local).map_err(|e| (exit::NO_INPUT, e.to_string()))?;
        create::create(&component, &resource.name, options).map_err(|e| {
            let code = if matches!(e, CreateError::Io { .. }) { exit::IO } else { exit::DATA };
            (code, format!("{at}: {e}"))
        })?;
        Ok(())
    })
}

/// Prints what the components of resources say about them.
pub fn dump(
    config: &Config,
    of: &Selection,
    json: bool,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let mut found = Vec::new();
    let code = each(config, of, output, |resource| {
        let look = Component::open_to_look(&resource.local);
        let component = look.map_err(|e| (exit::NO_INPUT, e.to_string()))?;
        let failed = |why: String| {
            (exit::NO_INPUT, format!("{}: {}: {why}", resource.name, resource.local.display()))
        };
        let meta = storage::dump(&component).map_err(|e| failed(e.to_string()))?;
        if meta.resource != resource.name {
            return Err(failed(format!("it is of resource {}", meta.resource)));
        }
        found.push(meta);
        Ok(())
    });
    printed(output, &if json { as_json(&found) } else { as_text(&found) })?;
    Ok(code)
}

/// Does something with each resource that is meant. What fails is named, and does not keep the
/// others from being done.
fn each(
    config: &Config,
    of: &Selection,
    output: &mut Output<'_>,
    mut act: impl FnMut(&Resource) -> Result<(), Failure>,
) -> u8 {
    let resources: Vec<(&str, Option<&Resource>)> = match of {
        Selection::All => config.resources.iter().map(|one| (&*one.name, Some(one))).collect(),
        Selection::Named(names) => {
            names.iter().map(|name| (&**name, config.resource(name))).collect()
        }
    };
    let mut first = 0;
    for (name, resource) in resources {
        let done = match resource {
            Some(resource) => act(resource),
            None => Err((exit::DATA, format!("no resource is called {name}"))),
        };
        if let Err((code, why)) = done {
            output.complain(why);
            first = if first == 0 { code } else { first };
        }
    }
    first
}

fn as_text(all: &[Metadata]) -> String {
    let mut text = String::new();
    for meta in all {
        // Writing to a string does not fail.
        let _ = dump_one(meta, &mut text);
    }
    text
}

fn dump_one(meta: &Metadata, out: &mut String) -> std::fmt::Result {
    writeln!(out, "resource: {}", meta.resource)?;
    writeln!(out, "    datasize: {} ({}B)", meta.datasize, human(meta.datasize))?;
    writeln!(out, "    extentsize: {} ({}B)", meta.extentsize, human(meta.extentsize.into()))?;
    writeln!(out, "    keepdirty: {}", meta.keepdirty)?;
    writeln!(out, "    localoff: {}", meta.offset)?;
    writeln!(out, "    resuid: {}", meta.resuid)?;
    writeln!(out, "    localcnt: {}", meta.localcnt)?;
    writeln!(out, "    remotecnt: {}", meta.remotecnt)?;
    writeln!(out, "    prevrole: {}", role_name(meta.prevrole))?;
    // FreeBSD does not know this.
    writeln!(out, "    consistency: {}", consistency_name(meta.consistency))
}

fn as_json(all: &[Metadata]) -> String {
    let mut out = String::from("{\"resources\":[");
    for (at, meta) in all.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let mut object = Object::begin(&mut out);
        object.text("name", &meta.resource);
        write_volume(&Volume::from(meta), &mut object);
        object.number("localoff", meta.offset).text("prevrole", role_name(meta.prevrole));
        object.text("consistency", consistency_name(meta.consistency));
        object.end();
    }
    out.push_str("]}\n");
    out
}
