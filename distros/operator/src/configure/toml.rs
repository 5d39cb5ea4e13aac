//! Conversion of TOML to JSON, and positions in a text.

use serde_json::Value;
use toml_edit::{Item, TableLike, TomlError};

/// Converts TOML to JSON; dates become strings.
pub(super) fn value_of(item: &Item) -> Value {
    match item {
        Item::Value(value) => plain(value),
        Item::Table(table) => table_of(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|t| table_of(t)).collect(),
        Item::None => Value::Null,
    }
}

/// Converts a table to an object.
pub(super) fn table_of(table: &dyn TableLike) -> Value {
    table.iter().map(|(k, v)| (k.to_owned(), value_of(v))).collect::<serde_json::Map<_, _>>().into()
}

fn plain(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(s) => s.value().clone().into(),
        Toml::Integer(i) => (*i.value()).into(),
        Toml::Float(f) => (*f.value()).into(),
        Toml::Boolean(b) => (*b.value()).into(),
        Toml::Datetime(d) => d.value().to_string().into(),
        Toml::Array(array) => array.iter().map(plain).collect(),
        Toml::InlineTable(table) => table_of(table),
    }
}

/// Returns a parser's message and position, without the line itself, which may contain a password.
pub(super) fn without_line(error: &TomlError) -> String {
    let message = error.to_string();
    let place = message.lines().next().and_then(|line| line.strip_prefix("TOML parse error at "));
    place.map_or_else(|| error.message().to_owned(), |place| format!("{place}: {}", error.message()))
}

/// Returns the line, from 1, of a byte position.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_errors_name_the_line_without_its_content() {
        let error = "a = 1\npassword = \"hunter2\n".parse::<toml_edit::DocumentMut>().unwrap_err();
        let message = without_line(&error);
        assert!(message.starts_with("line ") && !message.contains("hunter2"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}
