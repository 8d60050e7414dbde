//! A report as rows: for CSV, and for a page at a terminal.

/// Rows under named columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The names.
    pub columns: Vec<&'static str>,
    /// The rows, each with a text per column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As CSV (RFC 4180, with plain line ends): a text with a comma, quote or line end is quoted. A
    /// text that a spreadsheet would take for a formula is not among what reports hold: names are
    /// made of letters, digits and `. _ : -`, and of these only a number begins with `-`.
    pub fn csv(&self) -> String {
        let line = |texts: &mut dyn Iterator<Item = &str>| texts.map(quoted).collect::<Vec<_>>().join(",") + "\n";
        let head = line(&mut self.columns.iter().copied());
        self.rows.iter().fold(head, |csv, row| csv + &line(&mut row.iter().map(String::as_str)))
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A share in a table: four places, nothing where it is of nobody.
pub(super) fn places(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_commas_and_quotes_are_quoted() {
        let row = vec!["plain".to_owned(), "a, \"b\"".to_owned()];
        let table = Table { columns: vec!["one", "two"], rows: vec![row] };
        assert_eq!(table.csv(), "one,two\nplain,\"a, \"\"b\"\"\"\n");
    }
}
