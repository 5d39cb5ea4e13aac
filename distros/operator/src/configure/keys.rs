//! Removal of kata-osinfo's keys from a file that others have edited since.

use super::edit::{BYTE_ORDER_MARK, EditError, LineEnds};
use super::lists;
use super::state::FileChange;
use super::toml::value_of;
use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, TableLike};

/// A file's text without the settings of kata-osinfo.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StrippedText {
    /// The text; `None` if nothing is left of a file that kata-osinfo created.
    pub(super) text: Option<String>,
    /// Keys of kata-osinfo's to which others have given other values.
    pub(super) changed: Vec<String>,
}

/// First line of a container manager's drop-in that is wholly kata-osinfo's; Kata's drop-ins have a longer first line.
pub(super) const HEAD: &str = "# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.\n";

/// Returns whether a file is wholly kata-osinfo's, according to its first line.
pub(super) fn is_whole(file: &FileChange) -> bool {
    is_marked_as_ours(&file.after)
}

/// Returns whether a text begins with the line that marks files that are wholly kata-osinfo's; the first drop-ins for
/// CRI-O ended with it.
pub(super) fn is_marked_as_ours(text: &str) -> bool {
    let mut lines = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).lines();
    let first = lines.next().is_some_and(|line| line.starts_with('#') && line.contains("`kata-osinfo unconfigure`"));
    first || lines.next_back() == Some(HEAD.trim_end())
}

/// Returns whether a text is nothing but white space: no content is lost with it, not even a comment.
pub(super) fn is_blank(text: &str) -> bool {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim().is_empty()
}

/// Returns whether a text has keys that `ours` lacks.
pub(super) fn has_others(text: &str, ours: &str) -> bool {
    let keys = |text: &str| text.parse::<DocumentMut>().map(|document| leaves(document.as_table()));
    match (keys(text), keys(ours)) {
        (Ok(all), Ok(ours)) => all.iter().any(|key| !ours.contains(key)),
        // A text that is not TOML cannot be what was written.
        _ => true,
    }
}

/// Reverts the change from `before` to `after` in the current text.
///
/// A key with kata-osinfo's value gets its old value, or is removed, with the tables that were created for it. Others'
/// additions stay; so does a key of kata-osinfo's that others changed, unless `force` is set.
///
/// # Errors
///
/// One of the texts is not TOML, or its layout cannot be preserved.
pub(super) fn take_back(now: &str, before: Option<&str>, after: &str, force: bool) -> Result<StrippedText, EditError> {
    take_back_but(now, before, after, force, &|_| false)
}

/// Like [`take_back`], without the keys for which `is_excluded` returns true.
///
/// # Errors
///
/// As [`take_back`].
pub(super) fn take_back_but(
    now: &str,
    before: Option<&str>,
    after: &str,
    force: bool,
    is_excluded: &dyn Fn(&[String]) -> bool,
) -> Result<StrippedText, EditError> {
    let mut document: DocumentMut = now.parse()?;
    let line_ends = LineEnds::of(now, &document)?;
    let old: DocumentMut = before.unwrap_or_default().parse()?;
    let new: DocumentMut = after.parse()?;
    let mut changed = Vec::new();
    let mut paths = leaves(new.as_table());
    paths.retain(|path| !is_excluded(path));
    // `version` comes last, because the remaining keys decide about it.
    paths.sort_by_key(|path| *path == ["version"]);
    for path in paths {
        let (ours, was) = (item(&new, &path), item(&old, &path));
        if plain(ours) == plain(was) {
            continue;
        }
        let Some(found) = item(&document, &path) else { continue };
        let found = Some(found);
        // Without `version`, or with another one, others' keys would be read by the rules of another version.
        let is_needed =
            before.is_none() || plain(found) != plain(ours) || document.iter().any(|(key, _)| key != "version");
        let must_stay = path == ["version"] && is_needed;
        if plain(found) == plain(was) || must_stay {
            continue;
        }
        let is_ours = plain(found) == plain(ours);
        let is_empty = found.and_then(Item::as_array).is_some_and(Array::is_empty);
        let text = |item: Option<&Item>| item.map(ToString::to_string);
        match without_added(&path, ours, was, found) {
            // The old text is restored byte for byte.
            _ if is_ours && text(found) == text(ours) => restore(&mut document, &old, &path),
            Some(rest) if rest.is_empty() && was.is_none() && !is_empty => restore(&mut document, &old, &path),
            Some(rest) => put(&mut document, &path, Item::Value(rest.into())),
            None if is_ours => restore(&mut document, &old, &path),
            None => {
                changed.push(path.join("."));
                if force {
                    restore(&mut document, &old, &path);
                }
            }
        }
    }
    let has_other_keys = document.iter().any(|(key, _)| key != "version");
    let text = (has_other_keys || before.is_some()).then(|| line_ends.put(document.to_string()));
    Ok(StrippedText { text, changed })
}

/// Returns a text without some keys, and without the tables that become empty.
///
/// # Errors
///
/// As [`take_back`].
pub(super) fn without(text: &str, paths: &[Vec<String>]) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let line_ends = LineEnds::of(text, &document)?;
    for path in paths {
        restore(&mut document, &DocumentMut::new(), path);
    }
    Ok(line_ends.put(document.to_string()))
}

/// Returns the paths of all tables in a text, however they are spelled; none if the text is not TOML.
pub(super) fn tables(text: &str) -> Vec<Vec<String>> {
    fn below(table: &dyn TableLike, path: &[String], all: &mut Vec<Vec<String>>) {
        for (key, item) in table.iter() {
            if let Some(table) = item.as_table_like() {
                let path = [path, &[key.to_owned()]].concat();
                below(table, &path, all);
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    if let Ok(document) = text.parse::<DocumentMut>() {
        below(document.as_table(), &[], &mut all);
    }
    all
}

/// Returns the paths of all values.
fn leaves(table: &dyn TableLike) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, item) in table.iter() {
        match item.as_table_like() {
            Some(table) => all.extend(leaves(table).into_iter().map(|mut path| {
                path.insert(0, key.to_owned());
                path
            })),
            None => all.push(vec![key.to_owned()]),
        }
    }
    all
}

fn item<'d>(document: &'d DocumentMut, path: &[String]) -> Option<&'d Item> {
    let mut item = document.as_item();
    for name in path {
        item = item.as_table_like()?.get(name)?;
    }
    Some(item)
}

fn plain(item: Option<&Item>) -> Option<Value> {
    item.map(value_of)
}

/// Returns a list without the elements that kata-osinfo added, if others have changed the list. A list with none of
/// these elements is wholly theirs, and stays. `None` if only some of them are there.
fn without_added(path: &[String], ours: Option<&Item>, was: Option<&Item>, found: Option<&Item>) -> Option<Array> {
    let values = |array: &Array| array.iter().map(|v| value_of(&Item::Value(v.clone()))).collect::<Vec<_>>();
    let ours = values(ours?.as_array()?);
    let was = match was {
        Some(was) => values(was.as_array()?),
        // `imports` is shared, whoever created it.
        None if path == ["imports"] => Vec::new(),
        None => return None,
    };
    let mut added = ours;
    for value in &was {
        added.remove(added.iter().position(|v| v == value)?);
    }
    let mut rest = found?.as_array()?.clone();
    if !values(&rest).iter().any(|value| added.contains(value)) {
        return Some(rest);
    }
    for value in &added {
        let mut at = Some(values(&rest).iter().position(|v| v == value)?);
        while let Some(index) = at {
            lists::remove(&mut rest, index);
            // An import of a missing file keeps containerd from starting, so duplicates are removed, too.
            at = values(&rest).iter().position(|v| v == value).filter(|_| path == ["imports"]);
        }
    }
    Some(rest)
}

/// Restores a key: its old value, or its absence, along with that of the tables that were created for it.
fn restore(document: &mut DocumentMut, old: &DocumentMut, path: &[String]) {
    if let Some(was) = item(old, path) {
        put(document, path, was.clone());
        return;
    }
    for length in (1..=path.len()).rev() {
        let (key, folder) = (&path[length - 1], &path[..length - 1]);
        let Some(table) = table(document, folder) else { return };
        let empty = |item: &Item| item.as_table_like().is_none_or(TableLike::is_empty);
        if item(old, &path[..length]).is_some() || !table.get(key).is_some_and(empty) {
            return;
        }
        table.remove(key);
    }
}

fn put(document: &mut DocumentMut, path: &[String], item: Item) {
    if let Some((key, folder)) = path.split_last()
        && let Some(table) = table(document, folder)
        && let Some(place) = table.get_mut(key)
    {
        *place = item;
    }
}

/// Returns the table at a path.
pub(super) fn table<'d>(document: &'d mut DocumentMut, path: &[String]) -> Option<&'d mut dyn TableLike> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for name in path {
        table = table.get_mut(name)?.as_table_like_mut()?;
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
version = 2
imports = [\"/etc/a.toml\"]

[plugins.cri] # theirs
  image = \"p:1\"
";
    const AFTER: &str = "\
version = 2
imports = [\"/etc/a.toml\", \"/etc/ours.toml\"]

[plugins.cri] # theirs
  image = \"p:2\"

[plugins.cri.runtimes.kata]
type = \"kata\"
list = [\"x\"]

[plugins.cri.runtimes.kata.options]
path = \"/k\"
";
    const NVIDIA: &str = "\n[plugins.cri.runtimes.nvidia]\ntype = \"nvidia\" # theirs\n";

    fn stripped(now: &str, force: bool) -> StrippedText {
        take_back(now, Some(BEFORE), AFTER, force).unwrap()
    }

    #[test]
    fn keys_of_others_are_kept_and_ours_are_removed() {
        assert_eq!(stripped(AFTER, false), StrippedText { text: Some(BEFORE.to_owned()), changed: Vec::new() });
        let now = format!("{AFTER}{NVIDIA}").replace("ours.toml\"", "ours.toml\", \"/etc/b.toml\"");
        let expected = format!("{BEFORE}{NVIDIA}").replace("a.toml\"", "a.toml\", \"/etc/b.toml\"");
        for force in [false, true] {
            assert_eq!(stripped(&now, force), StrippedText { text: Some(expected.clone()), changed: Vec::new() });
        }
        // A second revert changes nothing, nor does one of a text that never had kata-osinfo's keys.
        assert_eq!(stripped(&expected, false).text.unwrap(), expected);
        let crlf = stripped(&now.replace('\n', "\r\n"), false).text.unwrap();
        assert_eq!(crlf, expected.replace('\n', "\r\n"));
    }

    #[test]
    fn comments_in_lists_and_lists_without_our_element_are_kept() {
        let imports = "imports = [\"/etc/a.toml\", \"/etc/ours.toml\"]";
        for (list, expected) in [
            ("[ # x\n  \"/etc/a.toml\", # mine\n  \"/etc/ours.toml\"\n]", "[ # x\n  \"/etc/a.toml\" # mine\n]"),
            ("[\"/etc/a.toml\", \"/etc/ours.toml\"] # c", "[\"/etc/a.toml\"] # c"),
            ("[\"/etc/ours.toml\", \"/etc/a.toml\", \"/etc/ours.toml\"]", "[\"/etc/a.toml\"]"),
            ("[\"/etc/a.toml\", \"/etc/*.toml\"]", "[\"/etc/a.toml\", \"/etc/*.toml\"]"),
            ("[]", "[]"),
        ] {
            let now = AFTER.replace(imports, &format!("imports = {list}"));
            let expected = BEFORE.replace("[\"/etc/a.toml\"]", expected);
            for force in [false, true] {
                assert_eq!(stripped(&now, force), StrippedText { text: Some(expected.clone()), changed: Vec::new() });
            }
        }
        // The element occurs twice in a list that kata-osinfo created.
        let after = "version = 3\nimports = [\"/etc/ours.toml\"]\n";
        let twice = after.replace(']', ", \"/etc/ours.toml\"]");
        let result = take_back(&twice, Some("version = 3\n"), after, false).unwrap();
        assert_eq!(result.text.as_deref(), Some("version = 3\n"));
    }

    #[test]
    fn a_changed_key_of_ours_is_kept_unless_forced() {
        let now = AFTER.replace("\"/k\"", "\"/mine\"").replace("\"p:2\"", "\"p:3\"");
        let kept = stripped(&now, false);
        assert_eq!(kept.changed, ["plugins.cri.image", "plugins.cri.runtimes.kata.options.path"]);
        let text = kept.text.unwrap();
        assert!(text.contains("path = \"/mine\"") && text.contains("p:3") && !text.contains("type ="), "{text}");
        let forced = stripped(&text, true);
        assert_eq!(forced.text.unwrap(), BEFORE);
    }

    #[test]
    fn keys_added_to_our_table_are_kept_and_removed_keys_stay_removed() {
        let now = AFTER.replace("list = [\"x\"]", "snapshotter = \"s\"");
        let text = stripped(&now, true).text.unwrap();
        assert!(text.contains("[plugins.cri.runtimes.kata]\nsnapshotter = \"s\"\n"), "{text}");
        assert!(!text.contains("options") && !text.contains("type"), "{text}");
        // A key of others that they removed.
        let text = stripped(&AFTER.replace("  image = \"p:2\"\n", ""), false).text.unwrap();
        assert!(!text.contains("image"), "{text}");
    }

    #[test]
    fn a_file_that_we_created_is_removed_with_our_last_key() {
        let after = "version = 3\nimports = [\"/etc/ours.toml\"]\n";
        assert_eq!(take_back(after, None, after, false).unwrap().text, None);
        let now = format!("{after}{NVIDIA}");
        assert_eq!(take_back(&now, None, after, false).unwrap().text.unwrap(), format!("version = 3\n{NVIDIA}"));
    }

    #[test]
    fn the_version_is_kept_while_other_settings_remain() {
        let (before, after) = ("# theirs\n", "version = 2\n\n[a]\nx = 1\n# theirs\n");
        assert_eq!(take_back(after, Some(before), after, false).unwrap().text.as_deref(), Some(before));
        let now = format!("{after}{NVIDIA}");
        let text = take_back(&now, Some(before), after, false).unwrap().text.unwrap();
        assert!(text.starts_with("version = 2\n") && text.ends_with(NVIDIA) && !text.contains("[a]"), "{text}");
    }

    #[test]
    fn our_files_are_recognized_by_their_first_or_formerly_last_line() {
        let ours = format!("{HEAD}[a]\nx = 1\n");
        assert!(is_marked_as_ours(&ours) && is_marked_as_ours(&format!("{ours}y = 2\n")));
        assert!(is_marked_as_ours(&format!("\u{feff}{ours}")) && is_marked_as_ours(&ours.replace('\n', "\r\n")));
        assert!(is_marked_as_ours(&format!("[a]\nx = 1\n{HEAD}")));
        for theirs in ["", "[a]\nx = 1\n", "x = 1\n# See `kata-osinfo unconfigure`.\n"] {
            assert!(!is_marked_as_ours(theirs), "{theirs}");
        }
        assert!(!is_marked_as_ours(&format!("x = 1\n{HEAD}y = 2\n")));
    }

    #[test]
    fn additions_of_others_are_detected() {
        assert!(!has_others(AFTER, AFTER) && !has_others(BEFORE, AFTER));
        assert!(has_others(&format!("{AFTER}y = 2\n"), AFTER) && has_others("[a\n", AFTER));
    }

    #[test]
    fn invalid_toml_is_an_error() {
        assert!(take_back("[a\n", Some(BEFORE), AFTER, true).is_err());
        assert!(take_back("\u{feff}a = 1\n", Some(BEFORE), AFTER, false).is_err());
    }
}
