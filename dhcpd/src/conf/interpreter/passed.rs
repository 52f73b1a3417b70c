//! What is passed over: statements that only ISC's dialect has, and what is in their blocks. Each is
//! named, and so is each `deny` among them: who it is about is served.

use super::super::diagnostic::Problem;
use super::super::lexer::{Kind, Token};
use super::super::statements::{self, Meaning, Row};
use super::super::tree::{Body, Statement, Tree};
use super::Interpreter;

/// Statements with a block. Where another one has one, that is the next statement's.
const WITH_BLOCK: [&str; 9] =
    ["class", "define", "failover", "if", "key", "on", "subclass", "switch", "zone"];

/// What an expression cannot end with.
const GO_ON: [&str; 8] = ["and", "eval", "exists", "if", "not", "of", "or", "return"];

/// Whether a statement that nobody reads ends where it seems to. Where its `;` is missing the next
/// one would be passed over with it: what is wrong, and how many words are before that.
///
/// A word that begins a line and could begin a statement is taken for the next one, unless it is
/// within parentheses or what is before it asks for more.
pub(super) fn whole(
    tree: &Tree,
    words: &[Token],
    row: &Row,
    body: &Body,
) -> Result<(), (Problem, usize)> {
    if matches!(body, Body::Conditional(_)) {
        return Ok(()); // its words are the `if` alone
    }
    let ends = |it: &Token| match it.kind {
        Kind::Mark(mark) => b")}.".contains(&mark),
        _ => !GO_ON.iter().any(|word| it.is_word(&tree.file, word)),
    };
    let mut depth = 0usize;
    let mut before: Option<&Token> = None;
    for (at, token) in words.iter().enumerate() {
        match token.kind {
            Kind::Mark(b'(') => depth += 1,
            Kind::Mark(b')') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && statements::find(token.raw(&tree.file)).is_some() => {
                let line = |token: &Token| tree.file.line_of(token.start);
                if before.is_some_and(|it| ends(it) && line(it) < line(token)) {
                    // Its reader makes a missing `;` of this.
                    return Err((Problem::error(token.start, String::new()), at));
                }
            }
            _ => {}
        }
        before = Some(token);
    }
    let passed = !matches!(row.meaning, Meaning::Refused(_));
    match (body, before) {
        (Body::Block(_), Some(last)) if passed && !WITH_BLOCK.contains(&row.name) => {
            let problem = Problem::error(last.end(&tree.file), "expected `;`, found a block");
            Err((problem, words.len()))
        }
        _ => Ok(()),
    }
}

/// Whether a statement asks for nothing but what is the case here.
pub(super) fn asks_nothing(tree: &Tree, words: &[Token], row: &Row) -> bool {
    let is = |word| words.get(1).is_some_and(|second| second.is_word(&tree.file, word));
    words.len() == 2
        && match row.name {
            "ddns-update-style" => is("none"),
            "ddns-updates" => is("off") || is("false"),
            _ => false,
        }
}

/// The names of parameters that a body has, each once.
pub(super) fn parameters<'t>(tree: &'t Tree, body: &'t Body, found: &mut Vec<&'static str>) {
    for statement in blocks(body).into_iter().flatten() {
        let first = tree.words(&statement.words).first();
        let row = first.and_then(|first| statements::find(first.raw(&tree.file)));
        if let Some(Row { name, meaning, .. }) = row
            && matches!(
                meaning,
                Meaning::Text(..) | Meaning::Address(_) | Meaning::Seconds(_) | Meaning::Option
            )
            && !found.contains(name)
        {
            found.push(name);
        }
        // As deep as blocks may be.
        parameters(tree, &statement.body, found);
    }
}

fn blocks(body: &Body) -> Vec<&Vec<Statement>> {
    match body {
        Body::Plain => vec![],
        Body::Block(inner) => vec![inner],
        Body::Conditional(branches) => branches.iter().map(|b| &b.statements).collect(),
    }
}

impl Interpreter<'_> {
    pub(super) fn not_yet(&mut self, id: usize, at: &Token, name: &str) {
        self.not_yet_with(id, at, name, &[]);
    }

    /// The same of one with a block, in which there is something that clients get nothing of then.
    pub(super) fn not_yet_with(&mut self, id: usize, at: &Token, name: &str, inside: &[&str]) {
        self.foreign(id, at, name);
        let mut text = format!("`{name}` is not supported yet; it is passed over");
        for (number, inside) in inside.iter().enumerate() {
            text.push_str(if number == 0 { ", with " } else { ", " });
            text.extend(["`", inside, "`"]);
        }
        self.say(id, Problem::warning(at.start, text));
    }

    /// Names what would have kept clients away, in a block that is passed over.
    pub(super) fn denials(&mut self, id: usize, tree: &Tree, name: &str, body: &Body) {
        for statement in blocks(body).into_iter().flatten() {
            let first = tree.words(&statement.words).first();
            let row = first.and_then(|first| statements::find(first.raw(&tree.file)));
            if let (Some(first), Some(Meaning::Permit(false))) = (first, row.map(|row| row.meaning))
            {
                let text = format!("this keeps nobody away: the `{name}` around it is passed over");
                self.say(id, Problem::warning(first.start, text));
            }
            // As deep as blocks may be.
            self.denials(id, tree, name, &statement.body);
        }
    }
}
