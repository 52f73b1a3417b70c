//! From tokens to the [`Tree`], whatever the tokens are: what is wrong is named, and reading
//! goes on behind it.
//!
//! One pass with a stack of open blocks, so nothing here recurses and no token is read twice.

use super::diagnostic::Problem;
use super::lexer::{Kind, Token, tokens};
use super::source::SourceFile;
use super::tree::{Body, Branch, MAX_DEPTH, Statement, Tree, Words};
use std::sync::Arc;

/// Reads a file into a tree.
pub fn parse(file: Arc<SourceFile>, problems: &mut Vec<Problem>) -> Tree {
    let tokens = tokens(&file, problems);
    let mut parser = Parser {
        file: &file,
        tokens: &tokens,
        start: 0,
        at: 0,
        definition: false,
        open: Vec::new(),
        statements: Vec::new(),
        problems,
    };
    parser.run();
    let statements = parser.statements;
    Tree { file, tokens, statements }
}

/// A block that has begun.
struct Open {
    /// The words before it.
    words: Words,
    /// Offset of its brace.
    brace: u32,
    /// The statements around it.
    outside: Vec<Statement>,
}

struct Parser<'a> {
    file: &'a SourceFile,
    tokens: &'a [Token],
    /// First token of the statement being read.
    start: u32,
    /// The token being read.
    at: u32,
    /// The statement begins with `option` and has a `=`: a brace begins a record, not a block.
    definition: bool,
    open: Vec<Open>,
    /// Of the innermost open block.
    statements: Vec<Statement>,
    problems: &'a mut Vec<Problem>,
}

impl Parser<'_> {
    fn run(&mut self) {
        while let Some(token) = self.tokens.get(self.at as usize) {
            match token.kind {
                Kind::Mark(b';') => self.semicolon(),
                Kind::Mark(b'{') if self.definition && self.wants_type() => self.record(),
                Kind::Mark(b'{') => self.open_brace(token.start),
                Kind::Mark(b'}') => self.close_brace(token.start),
                Kind::Mark(b'=') if self.starts_with("option") => self.definition = true,
                Kind::Mark(_) | Kind::Word | Kind::Quoted => {}
            }
            self.at += 1;
        }
        self.missing_semicolon("at the end of the file");
        while let Some(open) = self.open.pop() {
            self.problems.push(Problem::error(open.brace, "no `}` closes this block"));
            self.close(open);
        }
    }

    fn words(&self) -> Words {
        self.start..self.at
    }

    /// The next statement begins after this token.
    fn next_statement(&mut self) {
        self.start = self.at + 1;
        self.definition = false;
    }

    fn first(&self) -> Option<&Token> {
        self.tokens.get(self.start as usize).filter(|_| self.start < self.at)
    }

    fn starts_with(&self, word: &str) -> bool {
        self.first().is_some_and(|token| token.is_word(self.file, word))
    }

    /// Whether the type of an option, or of a part of it, comes next.
    fn wants_type(&self) -> bool {
        let before = (self.at as usize).checked_sub(1).and_then(|at| self.tokens.get(at));
        before.is_some_and(|token| match token.kind {
            Kind::Mark(mark) => b"=,{".contains(&mark),
            _ => token.is_word(self.file, "of"),
        })
    }

    fn semicolon(&mut self) {
        if self.start < self.at {
            self.statements.push(Statement { words: self.words(), body: Body::Plain });
        }
        self.next_statement();
    }

    /// Words that nothing ends.
    fn missing_semicolon(&mut self, place: &str) {
        if self.start < self.at {
            let last = (self.at as usize).checked_sub(1).and_then(|at| self.tokens.get(at));
            let offset = last.map_or(0, |token| token.end(self.file));
            self.problems.push(Problem::error(offset, format!("`;` missing {place}")));
            self.semicolon();
        }
    }

    fn open_brace(&mut self, brace: u32) {
        if self.start == self.at {
            self.problems.push(Problem::error(brace, "a block without a statement before it"));
        }
        if self.open.len() == MAX_DEPTH {
            let text = format!("more than {MAX_DEPTH} blocks inside each other");
            self.problems.push(Problem::error(brace, text));
            self.skip_block();
            self.next_statement();
            return;
        }
        let outside = std::mem::take(&mut self.statements);
        self.open.push(Open { words: self.words(), brace, outside });
        self.next_statement();
    }

    /// Leaves `at` on the brace that ends the block begun at `at`.
    fn skip_block(&mut self) {
        let mut depth = 0usize;
        while let Some(token) = self.tokens.get(self.at as usize) {
            match token.kind {
                Kind::Mark(b'{') => depth += 1,
                Kind::Mark(b'}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
            self.at += 1;
        }
    }

    /// `{ integer 8, text }`: stays part of the statement. Leaves `at` on its last token.
    fn record(&mut self) {
        let brace = self.tokens.get(self.at as usize).map_or(0, |token| token.start);
        let mut depth = 0usize;
        for (token, at) in self.tokens.iter().zip(0u32..).skip(self.at as usize) {
            match token.kind {
                Kind::Mark(b'{') => depth += 1,
                Kind::Mark(b'}') => depth -= 1,
                Kind::Mark(b';') => break,
                _ => {}
            }
            self.at = at;
            if depth == 0 {
                return;
            }
        }
        self.problems.push(Problem::error(brace, "no `}` closes this record"));
    }

    fn close_brace(&mut self, brace: u32) {
        self.missing_semicolon("before `}`");
        match self.open.pop() {
            Some(open) => self.close(open),
            None => self.problems.push(Problem::error(brace, "`}` without a `{`")),
        }
        self.next_statement();
    }

    fn close(&mut self, open: Open) {
        let statements = std::mem::replace(&mut self.statements, open.outside);
        let Some(first) = self.tokens.get(open.words.start as usize) else { return };
        if open.words.is_empty() {
            return; // said when it was opened
        }
        let Words { start, end } = open.words;
        let is = |word| first.is_word(self.file, word);
        if is("if") {
            let branch = Branch { condition: start + 1..end, statements };
            let body = Body::Conditional(vec![branch]);
            self.statements.push(Statement { words: start..start + 1, body });
        } else if is("elsif") || is("else") {
            let second = self.tokens.get(start as usize + 1).filter(|_| start + 1 < end);
            let else_if = is("else") && second.is_some_and(|token| token.is_word(self.file, "if"));
            let condition = start + 1 + u32::from(else_if)..end;
            match self.statements.last_mut() {
                Some(Statement { body: Body::Conditional(branches), .. }) => {
                    branches.push(Branch { condition, statements });
                }
                _ => {
                    let text = "this has no `if` directly before it";
                    self.problems.push(Problem::error(first.start, text));
                }
            }
        } else {
            self.statements.push(Statement { words: start..end, body: Body::Block(statements) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    /// The tree as text: words by spaces, blocks in brackets.
    fn show(tree: &Tree, statements: &[Statement], out: &mut String) {
        for statement in statements {
            let words = |words| {
                let raw = tree.words(words).iter().map(|t| t.value(&tree.file));
                raw.map(|w| String::from_utf8_lossy(&w).into_owned()).collect::<Vec<_>>().join(" ")
            };
            write!(out, "{}", words(&statement.words)).unwrap();
            match &statement.body {
                Body::Plain => out.push('|'),
                Body::Block(inner) => {
                    out.push('[');
                    show(tree, inner, out);
                    out.push(']');
                }
                Body::Conditional(branches) => {
                    for branch in branches {
                        write!(out, "({})[", words(&branch.condition)).unwrap();
                        show(tree, &branch.statements, out);
                        out.push(']');
                    }
                }
            }
        }
    }

    fn parsed(text: &str) -> (String, Vec<String>) {
        let file = SourceFile::new("f".into(), text.as_bytes().into()).unwrap();
        let mut problems = Vec::new();
        let tree = parse(file.into(), &mut problems);
        let mut out = String::new();
        show(&tree, &tree.statements, &mut out);
        let place = |p: Problem| {
            let at = tree.file.place(p.offset);
            format!("{}:{}: {}", at.line, at.column, p.text)
        };
        (out, problems.into_iter().map(place).collect())
    }

    fn good(text: &str) -> String {
        let (out, problems) = parsed(text);
        assert_eq!(problems, [""; 0], "{text}");
        out
    }

    fn bad(text: &str) -> (String, String) {
        let (out, problems) = parsed(text);
        (out, problems.join("\n"))
    }

    #[test]
    fn statements_and_blocks() {
        assert_eq!(good("a 1; b { c; d { e \"x y\"; } } f;"), "a 1|b[c|d[e x y|]]f|");
        assert_eq!(good(""), "");
        assert_eq!(good("key k { secret a+/=; };;"), "key k[secret a + / =|]");
    }

    #[test]
    fn conditions_are_one_statement() {
        assert_eq!(
            good("if a = b { x; } elsif not c { y; } else if d { } else { z; } w;"),
            "if(a = b)[x|](not c)[y|](d)[]()[z|]w|"
        );
        assert_eq!(good("if a { if b { x; } else { y; } }"), "if(a)[if(b)[x|]()[y|]]");
        assert_eq!(
            bad("x; else { y; }"),
            ("x|".into(), "1:4: this has no `if` directly before it".into())
        );
    }

    #[test]
    fn the_shapes_of_iscs_dialect() {
        assert_eq!(
            good("option a.b code 1 = array of { ip-address, integer 8 }; x;"),
            "option a . b code 1 = array of { ip-address , integer 8 }|x|"
        );
        assert_eq!(
            good("on commit or expiry { execute(\"a\", \"b\"); }"),
            "on commit or expiry[execute ( a , b )|]"
        );
        assert_eq!(
            good("subclass \"c\" 1:08:00:2b; subclass \"c\" \"d\" { x; }"),
            "subclass c 1 : 08 : 00 : 2b|subclass c d[x|]"
        );
        assert_eq!(
            good("pool { failover peer \"p\"; allow members of \"c\"; range 10.0.0.1; }"),
            "pool[failover peer p|allow members of c|range 10 . 0 . 0 . 1|]"
        );
        assert_eq!(
            good("zone 0.168.192.in-addr.arpa. { primary 127.0.0.1; key k; }"),
            "zone 0 . 168 . 192 . in-addr . arpa .[primary 127 . 0 . 0 . 1|key k|]"
        );
    }

    #[test]
    fn what_is_missing_is_named_and_reading_goes_on() {
        assert_eq!(bad("a { b } c;"), ("a[b|]c|".into(), "1:6: `;` missing before `}`".into()));
        assert_eq!(bad("a;\nb"), ("a|b|".into(), "2:2: `;` missing at the end of the file".into()));
        assert_eq!(bad("a; } b;"), ("a|b|".into(), "1:4: `}` without a `{`".into()));
        assert_eq!(
            bad("a { b { c;"),
            (
                "a[b[c|]]".into(),
                "1:7: no `}` closes this block\n1:3: no `}` closes this block".into()
            )
        );
        assert_eq!(
            bad("{ a; } b;"),
            ("b|".into(), "1:1: a block without a statement before it".into())
        );
        assert_eq!(
            bad("option x code 1 = { a; b;"),
            ("option x code 1 = { a|b|".into(), "1:19: no `}` closes this record".into())
        );
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth| format!("{}x;{} y;", "a {".repeat(depth), "}".repeat(depth));
        assert!(good(&nested(MAX_DEPTH)).ends_with("]y|"));
        let (out, problems) = bad(&nested(MAX_DEPTH + 1));
        assert!(out.ends_with("]y|"));
        assert_eq!(problems, "1:195: more than 64 blocks inside each other");
        // Far deeper must neither overflow a stack nor take long.
        bad(&nested(1_000_000));
        bad(&"{".repeat(1_000_000));
        bad(&"option = {".repeat(300_000));
    }

    proptest! {
        #[test]
        fn any_tokens_make_a_tree(
            soup in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", ";", "if", "else", "elsif", "option", "=", "a", "\"s\"", "\n", ".",
                ]),
                0..60,
            )
        ) {
            let (_, problems) = parsed(&soup.join(" "));
            let count = |what| soup.iter().filter(|token| **token == what).count();
            if count("{") != count("}") {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
