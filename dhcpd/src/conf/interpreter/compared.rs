//! Telling the outline of a configuration what is read, and having it compared at the end. With no
//! outline, none of this does anything.

use super::super::check::{self, Site};
use super::super::diagnostic::{Diagnostic, Severity};
use super::super::differences::differences;
use super::super::lexer::Token;
use super::super::outline::{Declared, Outline};
use super::super::statements::{Declaration, Row, Scope};
use super::super::tree::Tree;
use super::Interpreter;
use super::declarations::Header;
use crate::config::SubnetId;
use std::sync::Arc;

impl Interpreter<'_> {
    /// Reads the file, and says only where OpenBSD's dhcpd would make something else of it.
    pub fn differences(mut self, path: &str) -> Vec<Diagnostic> {
        self.outline = Some(Outline::default());
        if self.file(path).is_err() {
            return Vec::new(); // there is nothing to compare
        }
        self.config.build_lookup();
        for (file, problem) in check::check(&self.config, &self.sites) {
            self.say(file, problem);
        }
        let Some(outline) = self.outline.take() else { return Vec::new() };
        let config = (self.said.errors() == 0).then_some(&self.config);
        let files = &self.files;
        let place = |here: Site, there: Site| {
            let Some(file) = files.get(there.file) else { return String::new() };
            let line = file.line_of(there.offset);
            match here.file == there.file {
                true => format!("line {line}"),
                false => format!("{}:{line}", file.name()),
            }
        };
        let mut said = super::Diagnostics::default();
        for (site, text) in differences(&outline, config, &self.sites.ranges, &place) {
            if let Some(file) = files.get(site.file).filter(|_| !said.is_full(Severity::Note)) {
                said.push(Diagnostic::new(Severity::Note, file, site.offset, text));
            } else {
                said.count(Severity::Note);
            }
        }
        let names: Vec<Arc<str>> = files.iter().map(|file| file.name().clone()).collect();
        said.into_sorted(&names)
    }

    /// A statement that OpenBSD's dhcpd does not know.
    pub(super) fn foreign(&mut self, id: usize, at: &Token, name: &str) {
        if let Some(outline) = &mut self.outline {
            outline.foreign(Site { file: id, offset: at.start }, name);
        }
    }

    /// A parameter was read.
    pub(super) fn written(&mut self, id: usize, tree: &Tree, words: &[Token], row: &Row) {
        if let (Some(outline), Some(scope)) = (&mut self.outline, self.scopes.last()) {
            outline.says(row, words, &tree.file, id, &scope.own);
        }
    }

    /// A declaration's block begins; it is not the innermost yet.
    pub(super) fn begins(&mut self, kind: Scope, site: Site) {
        let Some(outline) = &mut self.outline else { return };
        outline.begin(kind, site);
        // in a shared-network, there, only subnets may come before a subnet.
        let network = self.scopes.last().filter(|scope| scope.kind == Scope::Network);
        if let Some(before) = network.and_then(|network| network.declared)
            && kind == Scope::Subnet
            && let Some(file) = self.files.get(before.file)
        {
            let text = format!(
                "OpenBSD's dhcpd refuses a subnet after the declaration in line {}",
                file.line_of(before.offset)
            );
            outline.remarks.push((site, text));
        }
    }

    /// The block has ended, and what it declares is about to be made of it.
    pub(super) fn ends(
        &mut self,
        kind: Scope,
        subnet: Option<SubnetId>,
        declaration: Declaration,
        header: Option<&Header>,
    ) {
        let Some(outline) = &mut self.outline else { return };
        outline.end(match (kind, header) {
            (Scope::Subnet, _) => subnet.map_or(Declared::Nothing, Declared::Subnet),
            (Scope::Host, Some(_)) => Declared::Host(self.config.hosts.len()),
            (_, Some(Header::Class(value))) => match declaration {
                Declaration::VendorClass => Declared::VendorClass(value.clone()),
                _ => Declared::UserClass(value.clone()),
            },
            _ => Declared::Nothing,
        });
    }
}
