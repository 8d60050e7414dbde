//! A text of words and names alone, such as `Only {{ slot.remaining }} left`: most are, and it is
//! written without the template engine, which takes ten times as long.

use super::text::TextVars;

/// What a text is made of, in order.
#[derive(Debug)]
pub(super) struct Plain(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Words(Box<str>),
    Name { group: Box<str>, field: Box<str> },
}

impl Plain {
    /// Reads a template; none where it says more than words and names.
    pub(super) fn read(source: &str) -> Option<Plain> {
        if source.contains("{%") || source.contains("{#") {
            return None;
        }
        let (mut pieces, mut rest) = (Vec::new(), source);
        while let Some((words, behind)) = rest.split_once("{{") {
            let (name, behind) = behind.split_once("}}")?;
            let (group, field) = name.trim().split_once('.')?;
            if !is_name(group) || !is_name(field) {
                return None;
            }
            pieces.push(Piece::Words(words.into()));
            pieces.push(Piece::Name { group: group.into(), field: field.into() });
            rest = behind;
        }
        pieces.push(Piece::Words(rest.into()));
        Some(Plain(pieces))
    }

    /// Writes it; none where a name has no value.
    pub(super) fn write(&self, vars: &TextVars) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Words(words) => words,
                Piece::Name { group, field } => vars.value(group, field)?,
            });
        }
        Some(text)
    }
}

fn is_name(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_') && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_names_are_plain_and_all_else_is_not() {
        for plain in ["", "FILTER", "{{ product.name }}, {{price.total}}.", "a } b { c", "{{\nslot.used }}"] {
            assert!(Plain::read(plain).is_some(), "{plain}");
        }
        for other in [
            "{{ product.name | upper }}",
            "{% if slot.used %}a{% endif %}",
            "{# a note #}",
            "{{- product.name }}",
            "{{ product.name }",
            "{{ product }}",
            "{{ slot['used'] }}",
            "{{ 'a.b' }}",
            "{{ a.b.c }}",
            "{{ 1.5 }}",
        ] {
            assert!(Plain::read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn it_writes_what_it_was_given_and_nothing_where_a_value_is_missing() {
        let vars = TextVars { slot: [("used".to_owned(), "612 h".to_owned())].into(), ..TextVars::default() };
        let written = |source| Plain::read(source).and_then(|plain| plain.write(&vars));
        assert_eq!(written("Run for {{ slot.used }}!").as_deref(), Some("Run for 612 h!"));
        assert_eq!(written("{{ slot.remaining }}"), None);
        assert_eq!(written("{{ price.total }}"), None);
    }
}
