//! What is passed over: statements that only ISC's dialect has, and what is in their blocks. Each is
//! named, and so is each `deny` among them: who it is about is served.

use super::super::diagnostic::Problem;
use super::super::lexer::Token;
use super::super::statements::{self, Meaning};
use super::super::tree::{Body, Tree};
use super::Interpreter;

impl Interpreter<'_> {
    pub(super) fn not_yet(&mut self, id: usize, at: &Token, name: &str) {
        self.foreign(id, at, name);
        let text = format!("`{name}` is not supported yet; it is passed over");
        self.say(id, Problem::warning(at.start, text));
    }

    /// Names what would have kept clients away, in a block that is passed over.
    pub(super) fn denials(&mut self, id: usize, tree: &Tree, name: &str, body: &Body) {
        let blocks: Vec<_> = match body {
            Body::Plain => return,
            Body::Block(inner) => vec![inner],
            Body::Conditional(branches) => branches.iter().map(|b| &b.statements).collect(),
        };
        for statement in blocks.into_iter().flatten() {
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
