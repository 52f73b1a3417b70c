//! From tokens to statements and sections, whatever the tokens are: what is wrong is named, and
//! reading goes on behind it. What a value means is the interpreter's business.

use super::diagnostic::{Diagnostics, SourceFile};
use super::keyword::{Argument, Context, Keyword, nearest};
use super::lexer::{Kind, Token, tokens};

/// What a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A word that is none of ours.
    Word(&'a str),
    /// Digits.
    Number(&'a str),
    /// One of ours.
    Keyword(Keyword),
    /// Nothing that it could be, which was said.
    Wrong,
}

/// A keyword and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What is said.
    pub keyword: Keyword,
    /// Its offset.
    pub at: usize,
    /// What is said about it.
    pub value: Value<'a>,
    /// Its offset.
    pub value_at: usize,
}

/// `on` or `resource`, a name, and what is in its braces.
#[derive(Clone, Debug, PartialEq)]
pub struct Section<'a> {
    /// `on` or `resource`.
    pub keyword: Keyword,
    /// Its name. `None`: it has none that it could have, which was said.
    pub name: Option<&'a str>,
    /// Offset of the name.
    pub at: usize,
    /// What it says.
    pub items: Vec<Item<'a>>,
}

/// What a section, or the file, consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// A keyword and its value.
    Statement(Statement<'a>),
    /// A section.
    Section(Section<'a>),
}

/// Reads a file.
pub fn parse<'a>(file: &SourceFile<'a>, said: &mut Diagnostics<'_>) -> Vec<Item<'a>> {
    let tokens = tokens(said);
    Parser { file, tokens: &tokens, at: 0, said }.items(Context::File, None)
}

struct Parser<'a, 'b, 'c> {
    file: &'b SourceFile<'a>,
    tokens: &'b [Token],
    /// The token to be read.
    at: usize,
    said: &'b mut Diagnostics<'c>,
}

impl<'a> Parser<'a, '_, '_> {
    /// Everything up to the brace that belongs to the one at `open`. Recurses into sections, which
    /// nest two deep.
    fn items(&mut self, context: Context, open: Option<usize>) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Close if open.is_some() => {
                    self.at += 1;
                    return items;
                }
                Kind::Close => {
                    self.said.error(token.start, "no section is open that this could end");
                    self.at += 1;
                }
                Kind::Open => {
                    self.said.error(token.start, "`{` where a statement should begin");
                    self.skip_block();
                }
                Kind::Keyword(keyword @ (Keyword::On | Keyword::Resource)) => {
                    let Some(inside) = section(keyword, context) else {
                        // The braces around it end here; who has opened them reads on with it.
                        self.misplaced_section(token, keyword, context);
                        return items;
                    };
                    self.at += 1;
                    items.push(Item::Section(self.section(token, keyword, inside)));
                }
                Kind::Keyword(keyword) => match keyword.statement() {
                    Some((argument, places)) => {
                        if !places.contains(&context) {
                            self.misplaced(token, keyword, places);
                        }
                        self.at += 1;
                        let (value, value_at) = self
                            .argument(token, keyword, argument)
                            .unwrap_or((Value::Wrong, token.start));
                        let at = token.start;
                        items.push(Item::Statement(Statement { keyword, at, value, value_at }));
                    }
                    None => self.unknown(token),
                },
                Kind::Number | Kind::Word => self.unknown(token),
            }
        }
        if let Some(open) = open {
            self.said.error(open, "no `}` ends what begins here");
        }
        items
    }

    fn section(&mut self, head: Token, keyword: Keyword, inside: Context) -> Section<'a> {
        let what = if keyword == Keyword::On { "the name of a node" } else { "a name" };
        let (name, at) = match self.argument(head, keyword, Argument::Word(what)) {
            Some((Value::Word(name), at)) => (Some(name), at),
            _ => (None, head.start),
        };
        let open = match self.peek() {
            Some(Token { kind: Kind::Open, start, .. }) => {
                self.at += 1;
                start
            }
            // It is more likely to have been forgotten than all that follows to be misplaced.
            next => {
                let text = format!("`{}` without `{{` behind its name", keyword.word());
                self.said.error(head.start, text);
                if !next.is_some_and(|next| matches!(next.kind, Kind::Keyword(k) if k.begins())) {
                    return Section { keyword, name, at, items: Vec::new() };
                }
                head.start
            }
        };
        Section { keyword, name, at, items: self.items(inside, Some(open)) }
    }

    /// What follows `head`, if it is what may.
    fn argument(
        &mut self,
        head: Token,
        keyword: Keyword,
        wanted: Argument,
    ) -> Option<(Value<'a>, usize)> {
        let next = self.peek().filter(|next| match next.kind {
            Kind::Open | Kind::Close => false,
            // A statement on the next line is no value of this one.
            Kind::Keyword(other) if other.begins() && !is_wanted(other, wanted) => {
                self.file.line_of(next.start) == self.file.line_of(head.start)
            }
            _ => true,
        });
        let Some(next) = next else {
            let text = format!("`{}` without its value: {}", keyword.word(), describe(wanted));
            self.said.error(head.start, text);
            return None;
        };
        self.at += 1;
        let text = next.text(self.file);
        let value = match (next.kind, wanted) {
            (Kind::Word, Argument::Word(_) | Argument::WordOrNone(_)) => Value::Word(text),
            (Kind::Number, Argument::Number(_)) => Value::Number(text),
            (Kind::Keyword(value), _) if is_wanted(value, wanted) => Value::Keyword(value),
            (kind, _) => {
                let why = match (kind, wanted) {
                    (Kind::Number, Argument::Word(_) | Argument::WordOrNone(_)) => {
                        "; digits alone are a number"
                    }
                    (Kind::Keyword(_), Argument::Word(_) | Argument::WordOrNone(_)) => {
                        "; this word has its own meaning here, and names nothing"
                    }
                    _ => "",
                };
                let wanted = describe(wanted);
                let text = format!("`{}` wants {wanted}, not `{text}`{why}", keyword.word());
                self.said.error(next.start, text);
                return None;
            }
        };
        Some((value, next.start))
    }

    /// A word that begins nothing, and all that seems to belong to it.
    fn unknown(&mut self, token: Token) {
        let text = token.text(self.file);
        let said = match token.kind {
            Kind::Keyword(_) => format!("`{text}` is a value, and here should be a statement"),
            Kind::Number => format!("`{text}` where a statement should begin"),
            _ => match nearest(text.as_bytes()) {
                Some(near) => format!("no statement is called `{text}`; did you mean `{near}`?"),
                None => format!("no statement is called `{text}`"),
            },
        };
        self.said.error(token.start, said);
        self.at += 1;
        while let Some(next) = self.peek() {
            match next.kind {
                Kind::Keyword(keyword) if keyword.begins() => return,
                Kind::Close => return,
                Kind::Open => return self.skip_block(),
                _ => self.at += 1,
            }
        }
    }

    fn misplaced(&mut self, token: Token, keyword: Keyword, places: &[Context]) {
        let places: Vec<&str> = places.iter().map(|place| place_name(*place)).collect();
        let text = format!("`{}` belongs {}", keyword.word(), places.join(" or "));
        self.said.error(token.start, text);
    }

    fn misplaced_section(&mut self, token: Token, keyword: Keyword, context: Context) {
        let around = if context == Context::Resource { "resource" } else { "on" };
        let text =
            format!("`{}` cannot be inside `{around}`; is a `}}` missing above?", keyword.word());
        self.said.error(token.start, text);
    }

    /// From a brace to the one that ends it.
    fn skip_block(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            self.at += 1;
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }
}

/// What a section is where it stands; `None` if it cannot be there.
fn section(keyword: Keyword, context: Context) -> Option<Context> {
    match (keyword, context) {
        (Keyword::Resource, Context::File) => Some(Context::Resource),
        (Keyword::On, Context::File) => Some(Context::Node),
        (Keyword::On, Context::Resource) => Some(Context::ResourceNode),
        _ => None,
    }
}

fn place_name(context: Context) -> &'static str {
    match context {
        Context::File => "outside of all sections",
        Context::Node => "into an `on` section outside of resources",
        Context::Resource => "into a `resource`",
        Context::ResourceNode => "into an `on` section of a resource",
    }
}

fn is_wanted(keyword: Keyword, wanted: Argument) -> bool {
    match wanted {
        Argument::OneOf(values) => values.contains(&keyword),
        Argument::WordOrNone(_) => keyword == Keyword::None,
        Argument::Word(_) | Argument::Number(_) => false,
    }
}

fn describe(wanted: Argument) -> String {
    match wanted {
        Argument::Word(what) => what.to_owned(),
        Argument::WordOrNone(what) => format!("{what} or `none`"),
        Argument::Number(what) => format!("a number of {what}"),
        Argument::OneOf(values) => {
            let words: Vec<String> =
                values.iter().map(|value| format!("`{}`", value.word())).collect();
            match words.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, first)) => format!("{} or {last}", first.join(", ")),
                None => String::new(),
            }
        }
    }
}
