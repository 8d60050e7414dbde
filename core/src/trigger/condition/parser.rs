//! Tokens to a tree, with the place of every part; bounded in nodes, depth and list length.

use std::ops::Range;

use super::lexer::{Token, lex};
use super::{CONDITION_BYTES_MAX, DEPTH_MAX, Fault, LIST_MAX, NODES_MAX};

/// One part of a condition with its place in the source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expr {
    pub(super) kind: ExprKind,
    pub(super) span: Range<usize>,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExprKind {
    Number(f64),
    Text(String),
    Bool(bool),
    /// Literals only.
    List(Vec<Expr>),
    /// `a.b.c`, each name with its place.
    Path(Vec<(String, Range<usize>)>),
    /// `name(args)` or `target.name(args)`.
    Call {
        target: Option<Box<Expr>>,
        name: String,
        args: Vec<Expr>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    /// Two or more.
    And(Vec<Expr>),
    /// Two or more.
    Or(Vec<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// A binary operator other than the logical ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    Add,
    Sub,
    Mul,
    Div,
}

impl Op {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::In => "in",
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
        }
    }
}

/// Reads a condition.
pub(super) fn parse(source: &str) -> Result<Expr, Fault> {
    if source.len() > CONDITION_BYTES_MAX {
        let message = format!("a condition has at most {CONDITION_BYTES_MAX} bytes, this one has {}", source.len());
        return Err(Fault::bound(0..0, message));
    }
    let mut parser = Parser { tokens: lex(source)?, at: 0, nodes: 0, depth: 0 };
    if *parser.token() == Token::End {
        return Err(Fault::syntax(0..source.len(), "the condition is empty".to_owned())
            .helped(Some("leave the key out: without a condition it always holds")));
    }
    let expr = parser.expression()?;
    if *parser.token() != Token::End {
        return Err(parser.unexpected("the end of the condition"));
    }
    let depth = depth_of(&expr);
    if depth > DEPTH_MAX {
        return Err(too_deep(expr.span.clone()));
    }
    Ok(expr)
}

fn too_deep(span: Range<usize>) -> Fault {
    Fault::bound(span, format!("a condition is at most {DEPTH_MAX} levels deep"))
}

fn depth_of(expr: &Expr) -> usize {
    let deepest = |parts: &[Expr]| parts.iter().map(depth_of).max().unwrap_or(0);
    1 + match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::List(_) | ExprKind::Path(_) => 0,
        ExprKind::Call { target, args, .. } => deepest(args).max(target.as_deref().map_or(0, depth_of)),
        ExprKind::Not(inner) | ExprKind::Negate(inner) => depth_of(inner),
        ExprKind::Binary(_, left, right) => depth_of(left).max(depth_of(right)),
        ExprKind::And(parts) | ExprKind::Or(parts) => deepest(parts),
        ExprKind::If(a, b, c) => depth_of(a).max(depth_of(b)).max(depth_of(c)),
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    nodes: usize,
    depth: usize,
}

impl Parser {
    fn token(&self) -> &Token {
        &self.tokens[self.at].0
    }
    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }
    /// End of the token before: where the part just read ends.
    fn end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].1.end
    }
    fn advance(&mut self) {
        // The last token is `End`; nothing is read beyond it.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }
    fn takes(&mut self, symbol: &str) -> bool {
        let found = matches!(self.token(), Token::Symbol(s) if *s == symbol);
        if found {
            self.advance();
        }
        found
    }
    fn needs(&mut self, symbol: &'static str) -> Result<(), Fault> {
        if self.takes(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }
    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.token() {
            Token::Number(x) => format!("the number `{x}`"),
            Token::Text(_) => "a text".to_owned(),
            Token::Name(name) => format!("`{}`", name.chars().take(40).collect::<String>()),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::End => "the end".to_owned(),
        };
        let help = match self.token() {
            Token::Name(name) if name.eq_ignore_ascii_case("and") => Some("write `&&` for and"),
            Token::Name(name) if name.eq_ignore_ascii_case("or") => Some("write `||` for or"),
            Token::Name(name) if name.eq_ignore_ascii_case("not") => Some("write `!` for not"),
            _ => None,
        };
        Fault::syntax(self.span(), format!("expected {wanted}, found {found}")).helped(help)
    }
    fn node(&mut self, kind: ExprKind, start: usize) -> Result<Expr, Fault> {
        self.nodes += 1;
        let span = start..self.end();
        if self.nodes > NODES_MAX {
            return Err(Fault::bound(span, format!("a condition has at most {NODES_MAX} parts"))
                .helped(Some("split it into two triggers, or put alternatives into one list with `in`")));
        }
        Ok(Expr { kind, span })
    }
    /// Counts nesting, so that `((((…` ends before the stack does.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep(self.span()));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn expression(&mut self) -> Result<Expr, Fault> {
        self.nested(|parser| {
            let start = parser.span().start;
            let condition = parser.either()?;
            if !parser.takes("?") {
                return Ok(condition);
            }
            let yes = parser.either()?;
            parser.needs(":")?;
            let no = parser.expression()?;
            parser.node(ExprKind::If(Box::new(condition), Box::new(yes), Box::new(no)), start)
        })
    }
    fn either(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let first = self.both()?;
        if !matches!(self.token(), Token::Symbol("||")) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.takes("||") {
            parts.push(self.both()?);
        }
        self.node(ExprKind::Or(parts), start)
    }
    fn both(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let first = self.relation()?;
        if !matches!(self.token(), Token::Symbol("&&")) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.takes("&&") {
            parts.push(self.relation()?);
        }
        self.node(ExprKind::And(parts), start)
    }
    fn relation(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let mut left = self.sum()?;
        loop {
            let op = match self.token() {
                Token::Symbol("==") => Op::Eq,
                Token::Symbol("!=") => Op::Ne,
                Token::Symbol("<") => Op::Lt,
                Token::Symbol("<=") => Op::Le,
                Token::Symbol(">") => Op::Gt,
                Token::Symbol(">=") => Op::Ge,
                Token::Name(name) if name == "in" => Op::In,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.sum()?;
            left = self.node(ExprKind::Binary(op, Box::new(left), Box::new(right)), start)?;
        }
    }
    fn sum(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let mut left = self.product()?;
        loop {
            let op = match self.token() {
                Token::Symbol("+") => Op::Add,
                Token::Symbol("-") => Op::Sub,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.product()?;
            left = self.node(ExprKind::Binary(op, Box::new(left), Box::new(right)), start)?;
        }
    }
    fn product(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let mut left = self.unary()?;
        loop {
            let op = match self.token() {
                Token::Symbol("*") => Op::Mul,
                Token::Symbol("/") => Op::Div,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.unary()?;
            left = self.node(ExprKind::Binary(op, Box::new(left), Box::new(right)), start)?;
        }
    }
    fn unary(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        if self.takes("!") {
            let inner = self.nested(Self::unary)?;
            return self.node(ExprKind::Not(Box::new(inner)), start);
        }
        if self.takes("-") {
            let inner = self.nested(Self::unary)?;
            if let ExprKind::Number(x) = inner.kind {
                return Ok(Expr { kind: ExprKind::Number(-x), span: start..inner.span.end });
            }
            return self.node(ExprKind::Negate(Box::new(inner)), start);
        }
        self.member()
    }
    fn member(&mut self) -> Result<Expr, Fault> {
        let start = self.span().start;
        let mut expr = self.primary()?;
        while self.takes(".") {
            let (Token::Name(name), span) = (self.token().clone(), self.span()) else {
                return Err(self.unexpected("a name after the point"));
            };
            self.advance();
            if self.takes("(") {
                let args = self.arguments()?;
                expr = self.node(ExprKind::Call { target: Some(Box::new(expr)), name, args }, start)?;
            } else if let ExprKind::Path(names) = &mut expr.kind {
                names.push((name, span.clone()));
                expr.span.end = span.end;
            } else {
                return Err(Fault::syntax(span, format!("only paths have fields; `{name}` has nothing to belong to")));
            }
        }
        Ok(expr)
    }
    fn primary(&mut self) -> Result<Expr, Fault> {
        let (token, span) = (self.token().clone(), self.span());
        match token {
            Token::Number(x) => {
                self.advance();
                self.node(ExprKind::Number(x), span.start)
            }
            Token::Text(text) => {
                self.advance();
                self.node(ExprKind::Text(text), span.start)
            }
            Token::Name(name) if name == "true" || name == "false" => {
                self.advance();
                self.node(ExprKind::Bool(name == "true"), span.start)
            }
            Token::Name(name) if name == "in" => Err(self.unexpected("a value")),
            Token::Name(name) => {
                self.advance();
                if self.takes("(") {
                    let args = self.arguments()?;
                    return self.node(ExprKind::Call { target: None, name, args }, span.start);
                }
                self.node(ExprKind::Path(vec![(name, span.clone())]), span.start)
            }
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expression()?;
                self.needs(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                self.advance();
                self.list(span.start)
            }
            Token::Symbol(_) | Token::End => Err(self.unexpected("a value")),
        }
    }
    fn arguments(&mut self) -> Result<Vec<Expr>, Fault> {
        let mut args = Vec::new();
        if self.takes(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if self.takes(")") {
                return Ok(args);
            }
            self.needs(",")?;
        }
    }
    /// The rest of a list of literals. Its items do not count as nodes: they have their own bound.
    fn list(&mut self, start: usize) -> Result<Expr, Fault> {
        let mut items = Vec::new();
        while !self.takes("]") {
            if items.len() == LIST_MAX {
                return Err(Fault::bound(self.span(), format!("a list has at most {LIST_MAX} items")));
            }
            let span = self.span();
            let minus = self.takes("-");
            let kind = match self.token().clone() {
                Token::Number(x) => ExprKind::Number(if minus { -x } else { x }),
                Token::Text(text) if !minus => ExprKind::Text(text),
                Token::Name(name) if !minus && (name == "true" || name == "false") => ExprKind::Bool(name == "true"),
                _ => return Err(self.unexpected("a number, a text or a truth value; lists hold literals only")),
            };
            self.advance();
            items.push(Expr { kind, span: span.start..self.end() });
            if !self.takes(",") {
                self.needs("]")?;
                break;
            }
        }
        self.node(ExprKind::List(items), start)
    }
}
