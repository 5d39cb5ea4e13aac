//! Settings as text: a separate drop-in, or edits in a `configuration.toml` that keep everything else unchanged.

use super::lists;
use super::toml::{table_of, value_of, without_line};
use super::{KataConfiguration, KeyValue};
use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike};

/// The drop-in's name. Kata merges by the order of names: an admin's `60-…` wins over it.
pub const DROP_IN: &str = "50-kata-osinfo.toml";

/// Returns the drop-in's text.
pub fn drop_in(configuration: &KataConfiguration, settings: &[KeyValue]) -> String {
    let mut text = format!(
        "# Written by kata-osinfo for profile {} (Kata {}); `kata-osinfo unconfigure` removes it.\n\
         # A drop-in with a later name overrides it.\n",
        configuration.profile, configuration.kata
    );
    if !configuration.production {
        text += "# NOT FOR PRODUCTION: see the notes.\n";
    }
    for note in &configuration.notes {
        text += &format!("# {}: {}\n", one_line(&note.about), one_line(&note.text));
    }
    let mut tables: Vec<&[String]> = Vec::new();
    for setting in settings {
        if !tables.contains(&setting.table.as_slice()) {
            tables.push(&setting.table);
        }
    }
    for table in tables {
        text += &format!("\n[{}]\n", table.join("."));
        for setting in settings.iter().filter(|s| s.table == table) {
            text += &format!("# {}\n{} = {}\n", one_line(&setting.why), setting.key, toml_value(&setting.value));
        }
    }
    text
}

/// Puts a text on one line: causes come from guests' logs, and must not end the comment.
fn one_line(text: &str) -> String {
    model::diagnostic::printable(text)
}

/// Reasons why a configuration file cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file does not parse.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// The rest of the file would not stay unchanged.
    #[error("editing it would also change other parts of the file")]
    Layout,
    /// The file begins with a byte order mark, which is not TOML and which only some programs accept.
    #[error("line 1 begins with a byte order mark: save the file without it")]
    ByteOrderMark,
    /// A value stands where a table is needed.
    #[error("expected `{0}` to be a table")]
    NotATable(String),
}

impl From<toml_edit::TomlError> for EditError {
    fn from(error: toml_edit::TomlError) -> EditError {
        EditError::Syntax(without_line(&error))
    }
}

/// Returns a configuration's text with settings applied: values are replaced in place; comments, order and layout stay.
///
/// # Errors
///
/// The text is not TOML, or has a value where a table is needed.
pub fn edited(text: &str, settings: &[KeyValue]) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let line_ends = LineEnds::of(text, &document)?;
    for setting in settings {
        let mut table: &mut dyn TableLike = document.as_table_mut();
        for (depth, name) in setting.table.iter().enumerate() {
            let last = depth + 1 == setting.table.len();
            let item = table.entry(name).or_insert_with(|| {
                let mut new = Table::new();
                // `[hypervisor]` alone is not needed above `[hypervisor.qemu]`.
                new.set_implicit(!last);
                Item::Table(new)
            });
            table = item.as_table_like_mut().ok_or_else(|| EditError::NotATable(setting.table[..=depth].join(".")))?;
        }
        set(table, &setting.key, &setting.value);
    }
    Ok(line_ends.put(document.to_string()))
}

/// Returns the current text if it means the same as the new one: layout and order of imports are up to others.
pub(super) fn current_if_equivalent(new: String, today: Option<&str>) -> String {
    let values_of = |text: &str| {
        let mut table = table_of(text.parse::<DocumentMut>().ok()?.as_table());
        if let Some(imports) = table.get_mut("imports").and_then(Value::as_array_mut) {
            imports.sort_by_cached_key(ToString::to_string);
        }
        Some(table)
    };
    match today {
        Some(today) if values_of(today).is_some_and(|today| values_of(&new) == Some(today)) => today.to_owned(),
        _ => new,
    }
}

/// Byte order mark, which some editors put before a text.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns a text without the traces of editors on other systems: CRLF line ends, and the byte order mark.
pub(super) fn plain(text: &str) -> String {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).replace("\r\n", "\n")
}

/// The line ends of a text; the parser turns all of them into LF.
#[derive(Debug)]
pub(super) enum LineEnds {
    Unix,
    Dos,
    /// Line ends of both kinds.
    Mixed {
        /// The text with LF line ends.
        plain: String,
        /// For each line whether it ends with CRLF.
        dos: Vec<bool>,
    },
}

impl LineEnds {
    /// Returns the line ends that turn the unchanged document back into the text that it was parsed from.
    pub(super) fn of(text: &str, document: &DocumentMut) -> Result<LineEnds, EditError> {
        if text.starts_with(BYTE_ORDER_MARK) {
            return Err(EditError::ByteOrderMark);
        }
        let plain = document.to_string();
        // The last line may lack its end; it gets one like that of the line before.
        let is_it = |text: &str| plain == text || plain.strip_suffix('\n') == Some(text);
        if is_it(text) {
            return Ok(LineEnds::Unix);
        }
        if !is_it(&text.replace("\r\n", "\n")) {
            return Err(EditError::Layout);
        }
        let mut dos: Vec<bool> = text.split_inclusive('\n').map(|line| line.ends_with("\r\n")).collect();
        if let [.., before, last] = dos.as_mut_slice()
            && !text.ends_with('\n')
        {
            *last = *before;
        }
        match dos.iter().all(|dos| *dos) {
            true => Ok(LineEnds::Dos),
            false => Ok(LineEnds::Mixed { plain, dos }),
        }
    }

    /// Applies these line ends to a text: unchanged lines keep theirs, and a new line takes that of the line which it
    /// replaces or follows.
    pub(super) fn put(&self, text: String) -> String {
        let (plain, dos) = match self {
            LineEnds::Unix => return text,
            LineEnds::Dos => return text.replace('\n', "\r\n"),
            LineEnds::Mixed { plain, dos } => (plain, dos),
        };
        let mut put = String::with_capacity(text.len() + dos.len());
        let mut as_in_dos = dos.first().copied().unwrap_or_default();
        for change in similar::TextDiff::from_lines(plain.as_str(), text.as_str()).iter_all_changes() {
            as_in_dos = change.old_index().and_then(|line| dos.get(line)).copied().unwrap_or(as_in_dos);
            match (change.tag(), change.value().strip_suffix('\n')) {
                (similar::ChangeTag::Delete, _) => {}
                (_, Some(line)) if as_in_dos => put.extend([line, "\r\n"]),
                _ => put.push_str(change.value()),
            }
        }
        put
    }
}

/// Assigns a value if it differs, and keeps the comment behind the old one; a list that only gets longer keeps its
/// elements unchanged.
fn set(table: &mut dyn TableLike, key: &str, value: &Value) {
    let existing = table.get(key).map(value_of);
    if existing.as_ref() == Some(value) {
        return;
    }
    let more = match (&existing, value) {
        (Some(Value::Array(existing)), Value::Array(all)) => all.strip_prefix(existing.as_slice()),
        _ => None,
    };
    let mut new = toml_value(value);
    match (table.get_mut(key), more) {
        (Some(Item::Value(toml_edit::Value::Array(list))), Some(more)) => {
            lists::extend(list, more.iter().map(toml_value));
        }
        (Some(Item::Value(old)), _) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        _ => {
            table.insert(key, Item::Value(new));
        }
    }
}

pub(super) fn toml_value(value: &Value) -> toml_edit::Value {
    match value {
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => n.as_i64().unwrap_or_default().into(),
        Value::Array(items) => toml_edit::Value::Array(items.iter().map(toml_value).collect::<Array>()),
        Value::String(s) => s.as_str().into(),
        // Settings are strings, integers and lists of strings.
        Value::Null | Value::Object(_) => value.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn setting(table: &[&str], key: &str, value: Value) -> KeyValue {
        KeyValue {
            table: table.iter().map(|t| (*t).to_owned()).collect(),
            key: key.to_owned(),
            value,
            why: String::new(),
        }
    }

    const OLD: &str = "# Kata's own words\n\n[hypervisor.qemu]\npath = \"/opt/q\"   # the VMM\nimage = \"/opt/i\"\n\
                       #initrd = \"no\"\n\n# Extra\nvirtio_fs_extra_args = [\n  \"a\", # one\n]\n[agent.kata]\nkernel_modules=[]\n";

    #[test]
    fn an_edit_changes_the_values_and_nothing_else() {
        let settings = [
            setting(&["hypervisor", "qemu"], "path", json!("/usr/bin/q")),
            setting(&["hypervisor", "qemu"], "initrd", json!("/boot/i")),
            setting(&["hypervisor", "qemu"], "virtio_fs_extra_args", json!(["-o", "x"])),
            setting(&["agent", "kata"], "dial_timeout", json!(300)),
            setting(&["runtime"], "hypervisor_name", json!("qemu")),
        ];
        insta::assert_snapshot!(edited(OLD, &settings).unwrap(), @r##"
        # Kata's own words

        [hypervisor.qemu]
        path = "/usr/bin/q"   # the VMM
        image = "/opt/i"
        #initrd = "no"

        # Extra
        virtio_fs_extra_args = ["-o", "x"]
        initrd = "/boot/i"
        [agent.kata]
        kernel_modules=[]
        dial_timeout = 300

        [runtime]
        hypervisor_name = "qemu"
        "##);
        assert_eq!(edited(OLD, &[]).unwrap(), OLD);
    }

    #[test]
    fn extended_lists_and_unchanged_values_keep_their_layout() {
        let old = "[a]\nx = [\n  # why\n  'm', # one\n] # end\ny = 'same'\n";
        let longer = old.replace("# one\n", "# one\n  \"o\",\n");
        let settings = [setting(&["a"], "x", json!(["m", "o"])), setting(&["a"], "y", json!("same"))];
        assert_eq!(edited(old, &settings).unwrap(), longer);
        assert_eq!(edited(&longer, &settings).unwrap(), longer);
        assert_eq!(edited(&old.replace('\n', "\r\n"), &settings).unwrap(), longer.replace('\n', "\r\n"));
    }

    #[test]
    fn line_ends_are_preserved_line_by_line() {
        let settings = [setting(&["a"], "x", json!(2))];
        assert_eq!(edited("[a]\r\nx = 1 # c\r\n", &settings).unwrap(), "[a]\r\nx = 2 # c\r\n");
        assert_eq!(edited("[a]\nx = 1", &settings).unwrap(), "[a]\nx = 2\n");
        for (before, after) in [
            ("[a]\r\nx = 1\n", "[a]\r\nx = 2\n"),
            ("[a]\nx = 1\r\n", "[a]\nx = 2\r\n"),
            ("# c\n[a]\r\n# d\n", "# c\n[a]\r\nx = 2\r\n# d\n"),
            ("# c\n[a]\r\nx = 1", "# c\n[a]\r\nx = 2\r\n"),
        ] {
            assert_eq!(edited(before, &settings).unwrap(), after, "{before:?}");
            assert_eq!(edited(after, &settings).unwrap(), after);
        }
        let marked = edited("\u{feff}[a]\nx = 1\n", &settings);
        assert!(matches!(marked, Err(EditError::ByteOrderMark)), "{marked:?}");
    }

    #[test]
    fn a_file_with_equal_content_is_left_as_it_is() {
        let new = "imports = [\"a\", \"b\"]\nx = [1, 2]\n";
        let stands = |today: &str| current_if_equivalent(new.to_owned(), Some(today)) == today;
        assert!(stands("imports = [\n  'b', # c\n  'a'\n]\nx = [ 1, 2 ] # d\n") && stands(new));
        for other in ["x = [1, 2]\n", "imports = [\"a\", \"b\"]\nx = [2, 1]\n", "imports = [\n"] {
            assert!(!stands(other), "{other}");
        }
        assert_eq!(current_if_equivalent(new.to_owned(), None), new);
    }

    #[test]
    fn deep_nesting_is_refused_without_a_stack_overflow() {
        let settings = [setting(&["a"], "x", json!(2))];
        for text in [
            format!("x = {}", "[".repeat(200_000)),
            format!("{}x = 1\n", "a.".repeat(200_000)),
            format!("[{}a]\n", "a.".repeat(200_000)),
            format!("x = {}", "{a = ".repeat(200_000)),
        ] {
            assert!(edited(&text, &settings).is_err(), "{}", &text[..20]);
        }
    }

    proptest::proptest! {
        #[test]
        fn an_edit_of_any_text_sets_the_value_or_is_refused(text in "([a-z#\\[\\]=\"'{}.\\\\ \r\n0-9]|é){0,60}") {
            assert_edit_keeps_other_lines(&text);
        }

        // Most of these texts are TOML.
        #[test]
        fn an_edit_of_settings_keeps_all_other_lines(
            text in "(([a-z] = 1( # [a-z])?|# [a-z]|\\[[s-z]\\]|\\[hypervisor\\.qemu\\]|path = '/q'|)(\n|\r\n)){0,9}"
        ) {
            assert_edit_keeps_other_lines(&text);
        }
    }

    /// Checks that an edit sets the value and that every line without it stays, or that the edit is refused.
    fn assert_edit_keeps_other_lines(text: &str) {
        let settings = [setting(&["hypervisor", "qemu"], "path", json!("/usr/bin/q"))];
        let Ok(after) = edited(text, &settings) else { return };
        let read: DocumentMut = after.parse().unwrap();
        assert_eq!(read["hypervisor"]["qemu"]["path"].as_str(), Some("/usr/bin/q"));
        assert_eq!(edited(&after, &settings).unwrap(), after);
        let mut lines = after.lines();
        for line in text.lines().filter(|line| !line.contains("path")) {
            assert!(lines.any(|one| one == line), "{line:?} of {text:?} is not in its place in {after:?}");
        }
    }

    #[test]
    fn text_that_cannot_be_edited_is_refused() {
        let settings = [setting(&["hypervisor", "qemu"], "path", json!("x"))];
        assert!(matches!(edited("[a\n", &settings), Err(EditError::Syntax(_))));
        let error = edited("hypervisor = 1\n", &settings).unwrap_err().to_string();
        assert_eq!(error, "expected `hypervisor` to be a table");
    }
}
