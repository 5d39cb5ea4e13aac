//! Comments of others between or next to kata-osinfo's keys: they stay when the keys are removed.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use toml_edit::DocumentMut;

/// Adds others' comments back to the text that remains without kata-osinfo's keys (`remaining`, `None` for no file):
/// all comments of the current text (`now`), except for kata-osinfo's own, which `after` has and `before` has not.
pub(super) fn keep_comments(now: &str, before: Option<&str>, after: &str, remaining: Option<String>) -> Option<String> {
    let old_comments = comments(before.unwrap_or_default());
    let mut ours = comments(after);
    ours.retain(|(_, comment)| !old_comments.iter().any(|(_, c)| c == comment));
    let bare = remaining.clone().unwrap_or_default();
    let all = comments(now);
    let mut missing = missing(&all, &ours, &bare);
    if missing.is_empty() {
        return remaining;
    }
    let at_the_end = missing.join("\n");
    let mut text = String::new();
    for change in TextDiff::from_lines(now, &bare).iter_all_changes() {
        let line = change.value();
        if change.tag() != ChangeTag::Delete {
            text += line;
            continue;
        }
        let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
        let indent: String = line.chars().take_while(|c| c.is_whitespace() && !['\r', '\n'].contains(c)).collect();
        for (_, comment) in all.iter().filter(|(number, _)| Some(*number) == change.old_index()) {
            if let Some(at) = missing.iter().position(|c| c == comment) {
                text += &format!("{indent}{}{end}", missing.remove(at));
            }
        }
    }
    // A place may be in the middle of a value.
    if missing.is_empty() && values(&text).is_some_and(|new_values| Some(new_values) == values(&bare)) {
        return Some(text);
    }
    let end = if bare.is_empty() || bare.ends_with('\n') { "" } else { "\n" };
    Some(format!("{bare}{end}{at_the_end}\n"))
}

/// Returns the comments of the current text that kata-osinfo has not written (`after`), and that `other` lacks.
pub(super) fn lost<'t>(now: &'t str, after: &str, other: &str) -> Vec<&'t str> {
    missing(&comments(now), &comments(after), other)
}

/// Returns the comments that are neither kata-osinfo's nor in the remaining text.
fn missing<'t>(all: &[(usize, &'t str)], ours: &[(usize, &str)], remaining: &str) -> Vec<&'t str> {
    let mut missing: Vec<&str> = all.iter().map(|(_, comment)| *comment).collect();
    missing.retain(|comment| !ours.iter().any(|(_, c)| c == comment));
    for (_, comment) in comments(remaining) {
        if let Some(at) = missing.iter().position(|c| *c == comment) {
            missing.remove(at);
        }
    }
    missing
}

/// Returns all comments of a text, each with its line, from 0.
fn comments(text: &str) -> Vec<(usize, &str)> {
    let mut all = Vec::new();
    let (mut rest, mut line) = (text, 0);
    while let Some(at) = rest.find(['#', '"', '\'']) {
        line += line_ends(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.starts_with('#') {
            true => rest.find('\n').unwrap_or(rest.len()),
            false => string(rest),
        };
        let (token, after) = rest.split_at(length);
        if token.starts_with('#') {
            all.push((line, token.trim_end()));
        }
        line += line_ends(token);
        rest = after;
    }
    all
}

fn line_ends(text: &str) -> usize {
    text.matches('\n').count()
}

/// Returns the length of the string, of any of TOML's kinds, at the beginning of a text.
fn string(text: &str) -> usize {
    let quote = &text[..1];
    let long = quote.repeat(3);
    let is_long = text.starts_with(&long);
    let mark = if is_long { long.as_str() } else { quote };
    let mut at = mark.len();
    while let Some(next) = text[at..].chars().next() {
        if text[at..].starts_with(mark) {
            // Up to two more quotes may belong to the string.
            let quotes = text[at..].len() - text[at..].trim_start_matches(quote).len();
            return at + if is_long { quotes.min(5) } else { 1 };
        }
        if next == '\n' && !is_long {
            return at;
        }
        at += next.len_utf8();
        if next == '\\' && quote == "\"" {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

fn values(text: &str) -> Option<Value> {
    Some(super::toml::table_of(text.parse::<DocumentMut>().ok()?.as_table()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# Theirs.\nversion = 2\n";
    const AFTER: &str = "# Theirs.\nversion = 2\nimports = [\"/ours\"]\n\n[a.kata] # Ours.\ntype = \"k\"\n";

    fn text_without_ours(now: &str, remaining: &str) -> String {
        keep_comments(now, Some(BEFORE), AFTER, Some(remaining.to_owned())).unwrap_or_default()
    }

    #[test]
    fn comments_above_between_and_beside_our_keys_are_kept() {
        let now = AFTER
            .replace("imports = [\"/ours\"]", "# Above.\nimports = [\"/ours\"] # Beside.")
            .replace("type", "  # Between, a \"#\".\n  type")
            .replace("# Ours.", "# Ours.\r");
        assert_eq!(
            text_without_ours(&now, BEFORE),
            "# Theirs.\nversion = 2\n# Above.\n# Beside.\n  # Between, a \"#\".\n"
        );
        assert_eq!(text_without_ours(AFTER, BEFORE), BEFORE);
        let now = AFTER.replace("[a.kata] # Ours.", "[a.kata] # Mine.");
        assert_eq!(text_without_ours(&now, BEFORE), format!("{BEFORE}# Mine.\n"));
    }

    #[test]
    fn each_comment_is_kept_exactly_once() {
        let now = AFTER.replace("[\"/ours\"]", "[\"/ours\", \"/mine\"] # Beside.");
        let bare = format!("{BEFORE}imports = [\"/mine\"] # Beside.\n");
        assert_eq!(text_without_ours(&now, &bare), bare);
        // A comment with the same words occurs twice, once in a place that is removed.
        let now = AFTER.replace("type", "# Theirs.\ntype");
        assert_eq!(text_without_ours(&now, BEFORE), format!("{BEFORE}# Theirs.\n"));
    }

    #[test]
    fn a_file_with_nothing_else_left_keeps_its_comments() {
        assert_eq!(keep_comments("# Mine.\na = 1\n", None, "a = 1\n", None), Some("# Mine.\n".to_owned()));
        assert_eq!(keep_comments("a = 1\n", None, "a = 1\n", None), None);
    }

    #[test]
    fn comments_in_our_lists_are_kept_in_place() {
        let list = "imports = [ # x\n  # alone\n  \"/ours\", # mine\n] # end";
        let now = format!("{}z = 1\n", AFTER.replace("imports = [\"/ours\"]", list));
        let bare = format!("{BEFORE}\n[a.kata] # Ours.\nz = 1\n");
        let expected = format!("{BEFORE}# x\n  # alone\n  # mine\n# end\n\n[a.kata] # Ours.\nz = 1\n");
        assert_eq!(text_without_ours(&now, &bare), expected);
        // The remaining list is on one line.
        let bare = bare.replace("2\n", "2\nimports = [\"/b\"]\n");
        let text = text_without_ours(&now, &bare);
        assert_eq!(values(&text), values(&bare));
        assert!(["# x", "# alone", "# mine", "# end"].iter().all(|c| text.contains(c)), "{text}");
    }

    #[test]
    fn a_comment_whose_place_is_lost_moves_to_the_end() {
        let bare = format!("{BEFORE}x = \"\"\"\na\nb\n\"\"\"\n");
        let now = format!("{BEFORE}x = \"\"\"\na\n\"\"\" # Mine.\ny = \"\"\"\nb\n\"\"\"\n");
        assert_eq!(text_without_ours(&now, &bare), format!("{bare}# Mine.\n"));
    }

    #[test]
    fn comments_are_distinguished_from_strings() {
        let text = r###"a = "#1 \" #" # one
b = '#2\' # two
c = """
# 3 \""" #"""" # three
d = '''
# 4 \''' # four
"#5" = "" # five
"###;
        let expected = [(0, "# one"), (1, "# two"), (3, "# three"), (5, "# four"), (6, "# five")];
        assert_eq!(comments(text), expected);
        text.parse::<DocumentMut>().unwrap();
        // Texts that are not TOML.
        for broken in ["\"", "a = '", "'''\n#", "\"\\", "\"\"\"\"\"\"\"", "é\"é\\é"] {
            assert!(comments(broken).is_empty(), "{broken}");
        }
    }

    #[test]
    fn a_hash_sign_in_a_value_is_not_a_comment() {
        let now = AFTER.replace("type = \"k\"", "type = \"k # no\"");
        assert_eq!(text_without_ours(&now, BEFORE), BEFORE);
    }
}
