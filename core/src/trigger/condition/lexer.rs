//! Text to tokens, each with its place.

use std::ops::Range;

use super::Fault;

/// One token of a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Text(String),
    Name(String),
    Symbol(&'static str),
    End,
}

/// Symbols, longer ones first so that `<=` is not read as `<`.
const SYMBOLS: [&str; 20] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "?", ":", "(", ")", "[", "]", ","];

/// Cuts a condition into tokens. Comments run from `//` to the end of the line, as in CEL.
pub(super) fn lex(source: &str) -> Result<Vec<(Token, Range<usize>)>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if c == '"' || c == '\'' {
            let (text, length) = text(rest, at)?;
            tokens.push((Token::Text(text), at..at + length));
            at += length;
        } else if c.is_ascii_digit() {
            let length = number_length(rest);
            let number = rest[..length].parse::<f64>().ok().filter(|x| x.is_finite());
            let number = number.ok_or_else(|| {
                Fault::syntax(at..at + length, format!("`{}` is not a number", &rest[..length.min(40)]))
            })?;
            tokens.push((Token::Number(number), at..at + length));
            at += length;
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            tokens.push((Token::Name(rest[..length].to_owned()), at..at + length));
            at += length;
        } else if c == '.' {
            tokens.push((Token::Symbol("."), at..at + 1));
            at += 1;
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            tokens.push((Token::Symbol(symbol), at..at + symbol.len()));
            at += symbol.len();
        } else {
            return Err(stray(rest, c, at));
        }
    }
    tokens.push((Token::End, source.len()..source.len()));
    Ok(tokens)
}

/// A character that begins nothing, with the slip that it usually is.
fn stray(rest: &str, c: char, at: usize) -> Fault {
    let help = match c {
        '=' => Some("`==` compares"),
        '&' => Some("`&&` means and"),
        '|' => Some("`||` means or"),
        '“' | '”' | '‘' | '’' | '«' | '»' => Some("texts stand between straight quotes, such as \"home\""),
        _ => None,
    };
    let length = rest.chars().next().map_or(0, char::len_utf8);
    Fault::syntax(at..at + length, format!("`{}` has no meaning here", c.escape_debug())).helped(help)
}

/// Digits, a fraction and an exponent. A point without a digit after it belongs to what follows.
fn number_length(rest: &str) -> usize {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if rest[length..].starts_with('.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// A quoted text from its opening quote: its content, and its length with both quotes.
fn text(rest: &str, at: usize) -> Result<(String, usize), Fault> {
    let mut content = String::new();
    let mut chars = rest.char_indices();
    let quote = chars.next().map_or('"', |(_, c)| c);
    while let Some((i, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((content, i + 1)),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, c @ ('\\' | '"' | '\'' | '/'))) => content.push(c),
                Some((_, 'n')) => content.push('\n'),
                Some((_, 't')) => content.push('\t'),
                Some((j, c)) => {
                    let span = at + i..at + j + c.len_utf8();
                    return Err(Fault::syntax(span, format!("`\\{}` is not an escape", c.escape_debug()))
                        .helped(Some("write \\\\ for a backslash, \\\" for a quote")));
                }
                None => break,
            },
            _ => content.push(c),
        }
    }
    Err(Fault::syntax(at..at + 1, "this text is not closed".to_owned()).helped(Some("close it with the same quote")))
}
