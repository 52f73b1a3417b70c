//! From the tree to a [`Config`]: scopes, declarations, inheritance.
//!
//! Everything wrong is noted and reading goes on, so that one run finds all of it.

mod compared;
mod declarations;
mod passed;
mod pools;

use super::arguments::Arguments;
use super::check::{self, Site, Sites};
use super::definition::Defined;
use super::diagnostic::{Diagnostic, Diagnostics, Problem, Severity};
use super::lexer::{Kind, Token};
use super::outline::Outline;
use super::parameters::{HostParts, Taken, Target};
use super::parser::parse;
use super::source::SourceFile;
use super::sources::Sources;
use super::statements::{self, Meaning, Row, Scope};
use super::suggest::nearest;
use super::tree::{Body, MAX_DEPTH, Statement, Tree};
use crate::config::{Config, NetworkId, Settings, SubnetId};
use std::path::Path;
use std::sync::Arc;

/// How deep files may include each other.
const MAX_INCLUDES: usize = 16;
/// How many files may be included in all.
const MAX_FILES: usize = 1000;
/// The longest path, in bytes.
const MAX_PATH: usize = 4096;
/// The most bytes of all files together.
const MAX_BYTES: usize = 64 << 20;

/// A scope that has begun.
struct Open {
    kind: Scope,
    /// What it says itself.
    own: Settings,
    /// Its first declaration: parameters come before.
    declared: Option<Site>,
    /// Subnets were declared in it, directly or in groups.
    has_subnets: bool,
    /// What it is in the configuration, if it is a network or subnet that is right so far.
    network: Option<NetworkId>,
    subnet: Option<SubnetId>,
    host: HostParts,
    pool: pools::Parts,
    /// How many errors had been said when it began, for a declaration.
    errors: usize,
}

impl Open {
    fn new(kind: Scope) -> Open {
        Open {
            kind,
            own: Settings::default(),
            declared: None,
            has_subnets: false,
            network: None,
            subnet: None,
            host: HostParts::default(),
            pool: pools::Parts::default(),
            errors: 0,
        }
    }
}

/// Reads one configuration.
pub struct Interpreter<'s> {
    sources: &'s mut dyn Sources,
    files: Vec<Arc<SourceFile>>,
    /// Paths of the files being read, the main one first.
    including: Vec<String>,
    bytes: usize,
    /// The outermost scope first; it is never empty while reading.
    scopes: Vec<Open>,
    config: Config,
    sites: Sites,
    defined: Defined,
    said: Diagnostics,
    /// How it was written, if that is going to be compared.
    outline: Option<Outline>,
}

impl<'s> Interpreter<'s> {
    /// Nothing read yet.
    pub fn new(sources: &'s mut dyn Sources) -> Interpreter<'s> {
        Interpreter {
            sources,
            files: Vec::new(),
            including: Vec::new(),
            bytes: 0,
            scopes: vec![Open::new(Scope::Root)],
            config: Config::default(),
            sites: Sites::default(),
            defined: Defined::new(),
            said: Diagnostics::default(),
            outline: None,
        }
    }

    /// Reads the file and what it includes.
    pub fn run(mut self, path: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
        if let Err(error) = self.file(path) {
            return Err(vec![Diagnostic::of_file(Severity::Error, path.into(), error)]);
        }
        self.config.root = self.effective();
        self.config.build_lookup();
        for (file, problem) in check::check(&self.config, &self.sites) {
            self.say(file, problem);
        }
        let names: Vec<Arc<str>> = self.files.iter().map(|file| file.name().clone()).collect();
        if self.said.errors() > 0 {
            return Err(self.said.into_sorted(&names));
        }
        Ok((self.config, self.said.into_sorted(&names)))
    }

    /// Reads a file into the innermost scope.
    fn file(&mut self, path: &str) -> Result<(), String> {
        let text = self.sources.file(path)?;
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_BYTES {
            return Err(format!("read {path}: all files together exceed {} MiB", MAX_BYTES >> 20));
        }
        let file = SourceFile::new(path.into(), text)
            .ok_or_else(|| format!("read {path}: it is larger than 16 MiB"))?;
        let file = Arc::new(file);
        let id = self.files.len();
        self.files.push(file.clone());
        let mut problems = Vec::new();
        let tree = parse(file, &mut problems);
        for problem in problems {
            self.say(id, problem);
        }
        self.including.push(path.to_owned());
        self.statements(id, &tree, &tree.statements);
        self.including.pop();
        Ok(())
    }

    fn say(&mut self, file: usize, problem: Problem) {
        if let Some(outline) = &mut self.outline {
            outline.wrong(file, &problem);
        }
        if problem.is_only_there() {
            // Nothing to tell who does not ask.
        } else if self.said.is_full(problem.severity) {
            self.said.count(problem.severity);
        } else if let Some(file) = self.files.get(file) {
            let Problem { severity, offset, text, .. } = problem;
            self.said.push(Diagnostic::new(severity, file, offset, text));
        }
    }

    fn statements(&mut self, id: usize, tree: &Tree, statements: &[Statement]) {
        for statement in statements {
            let mut words = tree.words(&statement.words);
            while let Some(rest) = self.statement(id, tree, words, &statement.body) {
                words = rest;
            }
        }
    }

    /// Reads one statement. Where a `;` seems to be missing in it, the rest is returned.
    fn statement<'t>(
        &mut self,
        id: usize,
        tree: &'t Tree,
        words: &'t [Token],
        body: &'t Body,
    ) -> Option<&'t [Token]> {
        let first = words.first()?;
        let row = match self.row(id, tree, first, body) {
            Ok(row) => row,
            Err(problem) => {
                return self.after_error(id, tree, words, 1, problem, body);
            }
        };
        if matches!(body, Body::Plain) && self.in_pool(id, tree, words, row) {
            return None;
        }
        let passed =
            matches!(row.meaning, Meaning::NotYet | Meaning::Ignored(_) | Meaning::Refused(_));
        let whole = if passed { passed::whole(tree, words, row, body) } else { Ok(()) };
        match row.meaning {
            Meaning::NotYet if passed::asks_nothing(tree, words, row) => {
                self.foreign(id, first, row.name);
            }
            Meaning::NotYet if whole.is_ok() => {
                let mut inside = Vec::new();
                passed::parameters(tree, body, &mut inside);
                self.not_yet_with(id, first, row.name, &inside);
                self.denials(id, tree, row.name, body);
            }
            Meaning::NotYet => self.not_yet(id, first, row.name),
            Meaning::Ignored(why) => {
                self.foreign(id, first, row.name);
                let text = format!("`{}` is ignored: {why}", row.name);
                self.say(id, Problem::warning(first.start, text));
            }
            Meaning::Refused(instead) => {
                let text = format!("`{}` does not belong here: {instead}", row.name);
                self.say(id, Problem::error(first.start, text));
            }
            Meaning::Declare(declaration) => {
                self.declaration(id, tree, words, row, declaration, body);
            }
            _ => {
                if !matches!(row.meaning, Meaning::Option) {
                    self.in_place(id, first, row);
                }
                return match self.parameter(id, tree, words, row) {
                    Ok(()) if matches!(body, Body::Plain) => None,
                    Ok(()) => {
                        let brace = words.last().map_or(first.start, |last| last.end(&tree.file));
                        let problem = Problem::error(brace, "expected `;`, found a block");
                        self.after_error(id, tree, words, words.len(), problem, body)
                    }
                    Err((problem, read)) => self.after_error(id, tree, words, read, problem, body),
                };
            }
        }
        let (problem, read) = whole.err()?;
        self.after_error(id, tree, words, read, problem, body)
    }

    fn row(
        &mut self,
        id: usize,
        tree: &Tree,
        first: &Token,
        body: &Body,
    ) -> Result<&'static Row, Problem> {
        let raw = first.raw(&tree.file);
        let row = if first.kind == Kind::Word { statements::find(raw) } else { None };
        if let Some(row) = row {
            return Ok(row);
        }
        let name = String::from_utf8_lossy(raw.get(..40).unwrap_or(raw)).into_owned();
        if first.kind != Kind::Word {
            let text = format!("a statement cannot begin with `{}`", name.escape_debug());
            return Err(Problem::error(first.start, text));
        }
        if self.said.is_full(Severity::Error) {
            return Err(Problem::error(first.start, "")); // counted only
        }
        let meant = nearest(&name, statements::names());
        let hint = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
        let problem = Problem::error(first.start, format!("unknown statement `{name}`{hint}"));
        // A block is read as what it was meant to be, for the sake of what is in it.
        let meant = meant.and_then(|name| statements::find(name.as_bytes()));
        match (meant, body) {
            (Some(row), Body::Block(_)) if matches!(row.meaning, Meaning::Declare(_)) => {
                self.say(id, problem);
                Ok(row)
            }
            _ => Err(problem),
        }
    }

    /// Whether the statement may stand where it does. What is wrong is said.
    fn in_place(&mut self, id: usize, first: &Token, row: &Row) {
        let Some(scope) = self.scopes.last() else { return };
        let kind = scope.kind;
        let inside_network = self.scopes.iter().rev().skip(1).any(|s| s.kind == Scope::Network);
        let authoritative = matches!(row.meaning, Meaning::Authoritative | Meaning::Not);
        let neutral = matches!(row.meaning, Meaning::Range | Meaning::Include | Meaning::Quiet);
        let offset = first.start;
        let problem = if !row.allowed.has(kind) {
            let place = kind.describe();
            Some(Problem::error(offset, format!("`{}` is not allowed {place}", row.name)))
        } else if let (Some(site), false) = (scope.declared, neutral || kind == Scope::Unknown) {
            let at = self.files.get(site.file).map(|file| match file.place(site.offset).line {
                line if site.file == id => format!(", in line {line}"),
                line => format!(", in {}:{line}", file.name()),
            });
            let at = at.unwrap_or_default();
            let text = "parameters come before the first declaration";
            Some(Problem::error(offset, format!("{text}{at}")))
        } else if !row.effective.has(kind) || (authoritative && inside_network) {
            let place = if inside_network && authoritative {
                "within a shared-network"
            } else {
                kind.describe()
            };
            Some(Problem::warning(offset, format!("`{}` has no effect {place}", row.name)))
        } else if kind == Scope::Network && scope.has_subnets && !neutral && !authoritative {
            let text = "subnets before this do not inherit it";
            Some(Problem::warning(offset, text))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.say(id, problem);
        }
    }

    /// Reads a statement that is not a declaration. An error comes with the number of words that
    /// were read until then.
    fn parameter(
        &mut self,
        id: usize,
        tree: &Tree,
        words: &[Token],
        row: &'static Row,
    ) -> Result<(), (Problem, usize)> {
        let mut arguments = Arguments::new(&tree.file, words, row.usage, &mut *self.sources);
        arguments.next(); // its name
        let Some(scope) = self.scopes.last_mut() else { return Ok(()) };
        let result = match row.meaning {
            Meaning::Include => declarations::include(&mut arguments).map(Read::Include),
            Meaning::Range => declarations::range(&mut arguments).map(Read::Range),
            _ => {
                let mut target = Target {
                    scope: scope.kind,
                    settings: &mut scope.own,
                    host: &mut scope.host,
                    defined: &mut self.defined,
                };
                target.take(row, &mut arguments).map(Read::Parameter)
            }
        };
        let (mut read, problems) = (arguments.position(), arguments.problems);
        for problem in problems {
            self.say(id, problem);
        }
        let done = result.and_then(|result| match result {
            Read::Include(path) => {
                if let Some(first) = words.first() {
                    self.foreign(id, first, row.name);
                }
                self.include(&path).map_err(|text| {
                    let offset = words.get(1).map_or(0, |token| token.start);
                    Problem::error(offset, text)
                })
            }
            Read::Range(range) => self.range(id, words, range),
            Read::Parameter(taken) => {
                self.written(id, tree, words, row);
                let whole = match &taken {
                    Taken::NotYet(_) => passed::whole(tree, words, row, &Body::Plain),
                    _ => Ok(()),
                };
                self.taken(id, words, row, taken);
                whole.map_err(|(problem, until)| {
                    read = until;
                    problem
                })
            }
        });
        done.map_err(|problem| (problem, read))
    }

    fn taken(&mut self, id: usize, words: &[Token], row: &Row, taken: Taken) {
        let Some(first) = words.first() else { return };
        if matches!((row.meaning, &taken), (Meaning::Option, Taken::Active | Taken::Theirs(_))) {
            self.in_place(id, first, row);
        }
        match taken {
            Taken::Active => {}
            Taken::Theirs(name) | Taken::Definition(name) => self.foreign(id, first, &name),
            Taken::NotYet(name) => self.not_yet(id, first, &name),
        }
    }

    /// Says what was wrong with a statement of which so many words were read. If the rest looks
    /// like another one, because a `;` is missing, it is returned; else the block is read for the
    /// sake of the errors in it.
    fn after_error<'t>(
        &mut self,
        id: usize,
        tree: &'t Tree,
        words: &'t [Token],
        read: usize,
        mut problem: Problem,
        body: &'t Body,
    ) -> Option<&'t [Token]> {
        let next = next_statement(tree, words, read);
        if let Some((before, rest)) = next
            && rest.first().is_some_and(|token| token.start == problem.offset)
        {
            problem =
                Problem::error(before.end(&tree.file), "`;` missing at the end of this statement");
        }
        self.say(id, problem);
        if next.is_none()
            && let Body::Block(inner) = body
        {
            self.block(id, tree, inner, Open::new(Scope::Unknown));
        }
        next.map(|(_, rest)| rest)
    }

    /// Reads a block into a scope of its own, which is returned.
    fn block(&mut self, id: usize, tree: &Tree, inner: &[Statement], scope: Open) -> Option<Open> {
        if self.scopes.len() > MAX_DEPTH {
            let text = format!("more than {MAX_DEPTH} blocks inside each other, over all files");
            let at = inner.first().map_or(0, |statement| statement.words.start);
            let at = tree.tokens.get(at as usize).map_or(0, |token| token.start);
            self.say(id, Problem::error(at, text));
            return None;
        }
        self.scopes.push(scope);
        self.statements(id, tree, inner);
        self.scopes.pop()
    }

    fn include(&mut self, path: &[u8]) -> Result<(), String> {
        let path = std::str::from_utf8(path).map_err(|_| "the file's name is not UTF-8")?;
        if path.chars().any(char::is_control) {
            return Err(
                "the file's name goes on in the next line, or has a control character".into()
            );
        }
        let around = self.including.last().map(Path::new).and_then(Path::parent);
        let path = around.unwrap_or(Path::new("")).join(path).to_string_lossy().into_owned();
        if path.len() > MAX_PATH {
            return Err(format!("a path longer than {MAX_PATH} bytes"));
        }
        if self.including.contains(&path) {
            return Err(format!("{path} includes itself"));
        }
        if self.including.len() > MAX_INCLUDES {
            return Err(format!("more than {MAX_INCLUDES} files included by each other"));
        }
        if self.files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files"));
        }
        self.file(&path)
    }

    /// What holds in the innermost scope: built-in defaults, then every scope from the outside in.
    fn effective(&self) -> Settings {
        let mut settings = Settings::built_in();
        for scope in &self.scopes {
            settings.overlay(&scope.own);
        }
        settings
    }
}

/// What a statement that is not a declaration turned out to be.
enum Read {
    Include(Vec<u8>),
    Range(declarations::RangeWords),
    Parameter(Taken),
}

/// The first word, of those not read yet, that begins a line and could begin a statement; and the
/// word before it.
fn next_statement<'t>(
    tree: &Tree,
    words: &'t [Token],
    read: usize,
) -> Option<(&'t Token, &'t [Token])> {
    (read.max(1)..words.len()).find_map(|at| {
        let (before, rest) = words.split_at_checked(at)?;
        let (before, next) = (before.last()?, rest.first()?);
        let known = next.kind == Kind::Word && statements::find(next.raw(&tree.file)).is_some();
        let line = |offset| tree.file.line_of(offset);
        (known && line(before.start) < line(next.start)).then_some((before, rest))
    })
}
