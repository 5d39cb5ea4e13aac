//! Comments that others have written between or beside our keys: they stay when the keys go.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use toml_edit::{DocumentMut, Item};

/// The text that is left of a file without our keys (`left`, `None` for none), with all comments of today's (`now`) that
/// we have not written: those that `after` has and `before` has not.
pub(super) fn kept(now: &str, before: Option<&str>, after: &str, left: Option<String>) -> Option<String> {
    let was = comments(before.unwrap_or_default());
    let ours: Vec<String> = comments(after).into_iter().filter(|c| !was.contains(c)).collect();
    let bare = left.clone().unwrap_or_default();
    let mut missing = comments(now);
    missing.retain(|comment| !ours.contains(comment));
    for comment in comments(&bare) {
        if let Some(at) = missing.iter().position(|c| *c == comment) {
            missing.remove(at);
        }
    }
    if missing.is_empty() {
        return left;
    }
    let mut text = String::new();
    for change in TextDiff::from_lines(now, &bare).iter_all_changes() {
        let line = change.value();
        let comment = comment_of(line).and_then(|c| missing.iter().position(|m| *m == c));
        match (change.tag(), comment) {
            (ChangeTag::Delete, Some(at)) => {
                let indent: String = line.chars().take_while(|c| c.is_whitespace() && *c != '\n').collect();
                let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
                text += &format!("{indent}{}{}", missing.remove(at), if end.is_empty() { "\n" } else { end });
            }
            (ChangeTag::Delete, None) => {}
            (ChangeTag::Equal | ChangeTag::Insert, _) => text += line,
        }
    }
    // A comment in the middle of a value, perhaps.
    match values(&text).is_some_and(|then| Some(then) == values(&bare)) {
        true => Some(text),
        false => left,
    }
}

/// All comments that have a line of their own or end one.
fn comments(text: &str) -> Vec<String> {
    text.lines().filter_map(comment_of).collect()
}

/// A line's comment, as far as the line can be read alone.
fn comment_of(line: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Some(line.to_owned());
    }
    if !line.contains('#') {
        return None;
    }
    let document: DocumentMut = line.parse().ok()?;
    // The last item of the line ends it: a header's table, or a key's value.
    let mut item = document.as_item();
    while let Some((_, inner)) = item.as_table_like().filter(|_| !item.is_value()).and_then(|t| t.iter().next()) {
        item = inner;
    }
    let suffix = match item {
        Item::Table(table) => table.decor().suffix(),
        Item::Value(value) => value.decor().suffix(),
        Item::None | Item::ArrayOfTables(_) => None,
    };
    let comment = suffix?.as_str()?.trim();
    comment.starts_with('#').then(|| comment.to_owned())
}

fn values(text: &str) -> Option<Value> {
    Some(super::toml::table_of(text.parse::<DocumentMut>().ok()?.as_table()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# Theirs.\nversion = 2\n";
    const AFTER: &str = "# Theirs.\nversion = 2\nimports = [\"/ours\"]\n\n[a.kata] # Ours.\ntype = \"k\"\n";

    fn left(now: &str, left: &str) -> String {
        kept(now, Some(BEFORE), AFTER, Some(left.to_owned())).unwrap_or_default()
    }

    #[test]
    fn comments_above_between_and_beside_our_keys_stay() {
        let now = AFTER
            .replace("imports = [\"/ours\"]", "# Above.\nimports = [\"/ours\"] # Beside.")
            .replace("type", "  # Between, a \"#\".\n  type")
            .replace("# Ours.", "# Ours.\r");
        assert_eq!(left(&now, BEFORE), "# Theirs.\nversion = 2\n# Above.\n# Beside.\n  # Between, a \"#\".\n");
        assert_eq!(left(AFTER, BEFORE), BEFORE);
        let now = AFTER.replace("[a.kata] # Ours.", "[a.kata] # Mine.");
        assert_eq!(left(&now, BEFORE), format!("{BEFORE}# Mine.\n"));
    }

    #[test]
    fn what_is_left_has_no_comment_twice() {
        let now = AFTER.replace("[\"/ours\"]", "[\"/ours\", \"/mine\"] # Beside.");
        let bare = format!("{BEFORE}imports = [\"/mine\"] # Beside.\n");
        assert_eq!(left(&now, &bare), bare);
        // One of the same words, once in a place that goes.
        let now = AFTER.replace("type", "# Theirs.\ntype");
        assert_eq!(left(&now, BEFORE), format!("{BEFORE}# Theirs.\n"));
    }

    #[test]
    fn a_file_of_which_nothing_else_is_left_has_the_comments() {
        assert_eq!(kept("# Mine.\na = 1\n", None, "a = 1\n", None), Some("# Mine.\n".to_owned()));
        assert_eq!(kept("a = 1\n", None, "a = 1\n", None), None);
    }

    #[test]
    fn what_looks_like_a_comment_in_a_value_is_none() {
        let now = AFTER.replace("type = \"k\"", "type = \"k # no\"");
        assert_eq!(left(&now, BEFORE), BEFORE);
    }
}
