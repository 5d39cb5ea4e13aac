//! YAML as a tree that keeps every scalar's text and place.
//!
//! Two parsers read each file: `saphyr-parser` provides the places, libyaml (through serde) the better messages.
//! They must agree on the data; if they do not, the file is refused rather than misread.
//!
//! Records are decoded from this tree, not by serde, because messages need the file, line and column of each value,
//! `8.10` must keep its text, and repeated keys must be detected.

mod agree;
mod tree;

use crate::diagnostic::{Diagnostic, Fix};
use std::ops::Range;

/// Largest record that is read, in bytes; real ones have a few kilobytes, and files of verdicts a few hundred.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Deepest nesting that is read; records need six levels.
pub const MAX_DEPTH: usize = 32;

/// Longest word that begins with `!`, in bytes; longer ones are refused before parsing.
const MAX_TAG: usize = 64;

/// A YAML value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The bytes of the value.
    pub span: Range<usize>,
    /// The kind and content.
    pub kind: NodeKind,
}

/// The kinds of YAML values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// A scalar: its text, without quotes and escapes. `8.10` stays `8.10`.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; keys may repeat.
    Map(Vec<MapEntry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapEntry {
    /// The key's text.
    pub key: String,
    /// The bytes of the key.
    pub key_span: Range<usize>,
    /// The key's value.
    pub value: Node,
}

impl Node {
    /// Returns the kind of value in words, for messages.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Scalar(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }

    /// Returns the entries, if the value is a map.
    pub fn entries(&self) -> &[MapEntry] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the first value under `key`, if the value is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.value)
    }
}

/// Parses one YAML document whose root is a map.
///
/// # Errors
///
/// The errors in the YAML, never empty; duplicate keys are not an error here.
pub fn parse(text: &str) -> Result<Node, Vec<Diagnostic>> {
    let refuse = |d: Diagnostic| Err(vec![d]);
    if text.len() > MAX_BYTES {
        return refuse(
            Diagnostic::error(
                "too-large",
                "",
                0..0,
                format!("the file has {} bytes, but a record may have {MAX_BYTES} at most", text.len()),
            )
            .hint("a record holds facts about one distro; keep logs elsewhere"),
        );
    }
    if let Some(at) = too_deep(text) {
        return refuse(depth_error(text, at..at + 1));
    }
    if let Some(tag) = long_tag(text) {
        return refuse(tag_error(text, tag));
    }
    if let Some((at, c)) =
        text.char_indices().find(|(_, c)| (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || *c == '\u{feff}')
    {
        let message = format!("the character U+{:04X} is not allowed in a record", c as u32);
        let found = Diagnostic::error("syntax", text, at..at + c.len_utf8(), message)
            .hint("save the file as UTF-8 text without a byte order mark");
        // Only at the beginning is it certain that the character is a meaningless byte order mark.
        let mark =
            (at == 0 && c == '\u{feff}').then(|| Fix { start: 0, end: c.len_utf8(), replacement: String::new() });
        return refuse(found.fixes(mark.into_iter().collect()));
    }
    let no_map = || {
        Diagnostic::error("wrong-type", text, 0..0, "expected a map with `distro:`, `arch:`, …")
            .hint("a record begins with `apiVersion: v1`")
    };
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return refuse(no_map());
    }
    // libyaml goes first: text that it refuses can keep the other parser busy for minutes.
    let oracle = agree::read(text);
    if let Err(error) = &oracle
        && let Some(diagnostic) = error
    {
        return refuse(Diagnostic::clone(diagnostic));
    }
    let Some(node) = tree::read(text).map_err(|d| vec![*d])? else {
        return refuse(no_map());
    };
    match oracle {
        Ok(shape) if shape.agrees_with(&node) => Ok(node),
        _ => refuse(
            Diagnostic::error("syntax", text, 0..0, "this file is ambiguous: two YAML parsers read it differently")
                .hint("use plain block style: no tags, anchors or multi-line keys"),
        ),
    }
}

/// Returns why a text, which need not be a record, must not be parsed: both parsers take quadratic time for such a
/// depth or length, and aliases may expand to more than the memory.
///
/// The reason is a fragment that fits after a file's name; it contains nothing of the text, which may have secrets.
pub fn out_of_bounds(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES {
        return Some(format!("has more than {MAX_BYTES} bytes"));
    }
    if too_deep(text).is_some() {
        return Some(format!("is nested more than {MAX_DEPTH} levels deep"));
    }
    if long_tag(text).is_some() {
        return Some(format!("has a tag (`!name`) of more than {MAX_TAG} bytes"));
    }
    let may_expand = text.contains('&') && text.contains('*');
    (may_expand && agree::expands(text)).then(|| "has aliases (`*name`) that expand to too much".to_owned())
}

/// Finds where flow collections nest too deeply, without recursion and before any parser sees the text.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut quoted, mut comment, mut escaped) = (0usize, false, false, false);
    let (mut dashes, mut leading) = (0usize, true);
    for (i, &b) in bytes.iter().enumerate() {
        if b == b'\n' {
            (comment, dashes, leading) = (false, 0, true);
            continue;
        }
        if comment {
            continue;
        }
        if quoted {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        let before = i.checked_sub(1).map(|j| bytes[j]);
        match b {
            b'#' if before.is_none_or(|c| c.is_ascii_whitespace()) => comment = true,
            // A quote opens only where a value may start; elsewhere it is part of plain text.
            b'"' if before.is_none_or(|c| c.is_ascii_whitespace() || b"[{,:".contains(&c)) => {
                quoted = true;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'?' | b':' if leading => dashes += 1,
            b' ' | b'\t' | b'\r' => {}
            _ => leading = false,
        }
        if depth > MAX_DEPTH || dashes > MAX_DEPTH * 4 {
            return Some(i);
        }
    }
    None
}

/// Finds a word that starts as a tag and is too long, before the parser sees it that takes quadratic time for it.
fn long_tag(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    text.split_inclusive(|c: char| c.is_whitespace() || "[]{},".contains(c)).find_map(|word| {
        let start = from + word.find('!').unwrap_or_default();
        from += word.len();
        // Matches `key:!tag`, `-!tag`, too.
        let begins = word.trim_start_matches(|c| "-:?\"'".contains(c)).starts_with('!');
        (begins && word.len() > MAX_TAG).then_some(start..from)
    })
}

fn tag_error(text: &str, span: Range<usize>) -> Diagnostic {
    Diagnostic::error("tag", text, span, "tags (`!name`) are not accepted in a record")
        .hint("remove the tag; versions are read as text without one")
}

fn depth_error(text: &str, span: Range<usize>) -> Diagnostic {
    Diagnostic::error("too-deep", text, span, format!("nested more than {MAX_DEPTH} levels deep"))
        .hint("no key of a record nests deeper than six levels")
}

#[cfg(test)]
mod tests;
