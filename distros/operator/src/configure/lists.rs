//! Edits of others' lists: adding and removing elements preserves their layout and comments.
//!
//! Text between two elements is the decor of the second one; text behind the last element belongs to that element, or
//! to the list if a comma follows the element.

use toml_edit::{Array, Value};

/// Indentation of the first element in a list of several lines.
const INDENT: &str = "  ";

/// Appends elements, each on its own line if the last one is.
pub(super) fn extend(list: &mut Array, more: impl IntoIterator<Item = Value>) {
    for new in more {
        push(list, new);
    }
}

/// Inserts an element before another one, on its own line if that one is; a comment behind the preceding element stays
/// there.
pub(super) fn insert(list: &mut Array, at: usize, mut new: Value) {
    let Some(next) = list.get_mut(at) else { return push(list, new) };
    let (prefix, _) = decor(next);
    match prefix.split_once('\n') {
        Some((beside, above)) => {
            let indent = above.rsplit('\n').next().unwrap_or_default();
            new.decor_mut().set_prefix(format!("{beside}\n{indent}"));
            next.decor_mut().set_prefix(format!("\n{above}"));
        }
        None => new.decor_mut().set_prefix(if at == 0 { "" } else { " " }),
    }
    new.decor_mut().set_suffix("");
    list.insert_formatted(at, new);
}

fn push(list: &mut Array, mut new: Value) {
    let mut end = list.trailing().as_str().unwrap_or_default().to_owned();
    let mut indent = INDENT.to_owned();
    let has_comma = list.trailing_comma();
    let is_first = list.is_empty();
    if let Some(last) = list.iter_mut().last() {
        let (prefix, suffix) = decor(last);
        end = suffix + &end;
        if let Some((_, spaces)) = prefix.rsplit_once('\n') {
            indent = spaces.to_owned();
        }
        last.decor_mut().set_suffix("");
    }
    let (prefix, end) = match end.rsplit_once('\n') {
        Some((comments, spaces)) => (format!("{comments}\n{indent}"), format!("\n{spaces}")),
        None if is_first => (String::new(), String::new()),
        None => (" ".to_owned(), end),
    };
    new.decor_mut().set_prefix(prefix);
    new.decor_mut().set_suffix(if has_comma { "" } else { end.as_str() });
    list.set_trailing(if has_comma { end.as_str() } else { "" });
    list.push_formatted(new);
}

/// Removes an element; comments next to it stay.
pub(super) fn remove(list: &mut Array, at: usize) {
    let (prefix, suffix) = decor(&list.remove(at));
    if let Some(next) = list.get_mut(at) {
        let (after, _) = decor(next);
        next.decor_mut().set_prefix(joined(&joined(&prefix, &suffix), &after));
        return;
    }
    if list.trailing_comma() {
        let after = list.trailing().as_str().unwrap_or_default().to_owned();
        list.set_trailing(ended(&joined(&prefix, &suffix), &after));
    } else if let Some(last) = list.iter_mut().last() {
        let (_, before) = decor(last);
        last.decor_mut().set_suffix(before + &ended(&prefix, &suffix));
    } else {
        list.set_trailing(ended(&prefix, &suffix));
    }
}

/// Returns the text before and behind an element.
fn decor(value: &Value) -> (String, String) {
    let text = |raw: Option<&toml_edit::RawString>| raw.and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
    (text(value.decor().prefix()), text(value.decor().suffix()))
}

/// Returns the text between two elements once the element between them is removed: all comments, with the first's
/// layout.
fn joined(first: &str, second: &str) -> String {
    match (second.contains('#'), first.contains('\n')) {
        (false, _) => first.to_owned(),
        (true, false) => second.to_owned(),
        (true, true) => format!("{first}{}", second.trim_start()),
    }
}

/// Like [`joined`], at the list's end, which keeps its own layout.
fn ended(first: &str, end: &str) -> String {
    if end.contains('#') {
        return joined(first, end);
    }
    match (first.contains('#'), end.rsplit_once('\n')) {
        (false, _) => end.to_owned(),
        (true, Some((_, spaces))) => format!("{}\n{spaces}", first.trim_end()),
        (true, None) => format!("{}\n", first.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml_edit::DocumentMut;

    fn changed(list: &str, change: impl Fn(&mut Array)) -> String {
        let mut document: DocumentMut = format!("x = {list}\n").parse().unwrap();
        change(document["x"].as_array_mut().unwrap());
        let text = document.to_string();
        text.parse::<DocumentMut>().unwrap();
        text["x = ".len()..].trim_end().to_owned()
    }

    #[test]
    fn a_new_element_copies_the_layout_and_is_removed_without_a_trace() {
        for (list, longer) in [
            ("[]", "[\"o\"]"),
            ("[\"a\"]", "[\"a\", \"o\"]"),
            ("[ \"a\" ]", "[ \"a\", \"o\" ]"),
            ("[\"a\",]", "[\"a\", \"o\",]"),
            ("[\n  # why\n  \"a\", # one\n]", "[\n  # why\n  \"a\", # one\n  \"o\",\n]"),
            ("[ # x\n    \"a\" # one\n  ] # end", "[ # x\n    \"a\", # one\n    \"o\"\n  ] # end"),
            ("[\n  \"a\",\n  # last\n]", "[\n  \"a\",\n  # last\n  \"o\",\n]"),
            ("[ # none yet\n]", "[ # none yet\n  \"o\"\n]"),
        ] {
            assert_eq!(changed(list, |l| extend(l, ["o".into()])), longer);
            assert_eq!(
                changed(longer, |l| {
                    let at = l.len() - 1;
                    remove(l, at)
                }),
                list
            );
        }
        assert_eq!(changed("[\n\"a\"\n]", |l| extend(l, ["o".into(), "p".into()])), "[\n\"a\",\n\"o\",\n\"p\"\n]");
    }

    #[test]
    fn an_inserted_element_leaves_comments_in_place() {
        for (list, at, longer) in [
            ("[\"a\", \"b\"]", 1, "[\"a\", \"o\", \"b\"]"),
            ("[\"a\"]", 1, "[\"a\", \"o\"]"),
            ("[\n  \"a\", # one\n  # two\n  \"b\"\n]", 1, "[\n  \"a\", # one\n  \"o\",\n  # two\n  \"b\"\n]"),
        ] {
            assert_eq!(changed(list, |l| insert(l, at, "o".into())), longer);
        }
    }

    #[test]
    fn comments_beside_a_removed_element_are_kept() {
        for (list, at, shorter) in [
            ("[\"o\", \"b\"]", 0, "[\"b\"]"),
            ("[\n  \"a\", # mine\n  \"o\",\n  \"b\", # too\n]", 1, "[\n  \"a\", # mine\n  \"b\", # too\n]"),
            ("[\n  \"a\", # mine\n  \"o\", # c\n  \"b\"\n]", 1, "[\n  \"a\", # mine\n  # c\n  \"b\"\n]"),
            ("[\n  # above\n  \"o\", # c\n  # b's\n  \"b\"\n]", 0, "[\n  # above\n  # c\n  # b's\n  \"b\"\n]"),
            ("[\n  \"a\", # mine\n  \"o\" # c\n]", 1, "[\n  \"a\" # mine\n  # c\n]"),
            ("[\n  # above\n  \"o\",\n]", 0, "[\n  # above\n]"),
            ("[\"a\", # mine\n  \"o\"]", 1, "[\"a\" # mine\n]"),
        ] {
            assert_eq!(changed(list, |l| remove(l, at)), shorter, "{list}");
        }
    }
}
