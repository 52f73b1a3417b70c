//! The syntax tree: ISC's shape, for both dialects. What a statement means is not known here.
//!
//! A statement is words up to a `;` or a block in braces. `if`, `elsif` and `else` with their
//! blocks are one statement; a condition is kept as words, as are all other expressions.

use super::lexer::Token;
use super::source::SourceFile;
use std::ops::Range;
use std::sync::Arc;

/// How deep blocks may be inside each other.
pub const MAX_DEPTH: usize = 64;

/// A whole file.
#[derive(Debug)]
pub struct Tree {
    /// Where it came from.
    pub file: Arc<SourceFile>,
    /// All its tokens; statements say which are theirs.
    pub tokens: Vec<Token>,
    /// The outermost statements.
    pub statements: Vec<Statement>,
}

impl Tree {
    /// The tokens of a part.
    pub fn words(&self, words: &Words) -> &[Token] {
        self.tokens.get(words.start as usize..words.end as usize).unwrap_or_default()
    }
}

/// Which of a [`Tree`]'s tokens.
pub type Words = Range<u32>;

/// One statement; it has at least one word.
#[derive(Debug)]
pub struct Statement {
    /// Everything before the `;` or `{`. For a conditional: the word `if`.
    pub words: Words,
    /// What follows.
    pub body: Body,
}

/// What a statement ends with.
#[derive(Debug)]
pub enum Body {
    /// A `;`.
    Plain,
    /// Statements in braces.
    Block(Vec<Statement>),
    /// Each branch of an `if`.
    Conditional(Vec<Branch>),
}

/// One of `if`, `elsif`, `else if` or `else`.
#[derive(Debug)]
#[allow(dead_code, reason = "OpenBSD's dialect has no conditions: all of them are passed over")]
pub struct Branch {
    /// The expression; empty for `else`.
    pub condition: Words,
    /// The block.
    pub statements: Vec<Statement>,
}
