//! Builds the tree from the events of `saphyr-parser`, which have a place each.

use super::{MAX_DEPTH, MapEntry, Node, NodeKind, depth_error, tag_error};
use crate::diagnostic::Diagnostic;
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::ops::Range;

/// A collection whose end has not come yet.
struct Open {
    start: usize,
    /// The end of its last item or key.
    end: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    /// The entries so far, and a key that waits for its value.
    Map(Vec<MapEntry>, Option<(String, Range<usize>)>),
}

/// Reads one document; `None` if its root is not a map.
///
/// # Errors
///
/// What a record must not have: errors in the YAML, tags, anchors, aliases, keys that are not text, a second document.
pub(super) fn read(text: &str) -> Result<Option<Node>, Box<Diagnostic>> {
    // The parser counts characters.
    let offsets: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    let byte = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    let (mut open, mut root, mut documents): (Vec<Open>, Option<Node>, usize) = (Vec::new(), None, 0);
    for event in Parser::new_from_str(text) {
        let (event, place) = event.map_err(|error| {
            let at = byte(error.marker().index());
            Box::new(Diagnostic::error("syntax", text, at..at, error.info().to_lowercase()))
        })?;
        let span = trim(text, byte(place.start.index())..byte(place.end.index()));
        if let Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) =
            &event
        {
            if tag.is_some() {
                return Err(Box::new(tag_error(text, word_before(text, &span, '!'))));
            }
            if *anchor != 0 {
                return Err(Box::new(alias_error(text, word_before(text, &span, '&'))));
            }
        }
        let done = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let message = "a second document begins here";
                    let found = Diagnostic::error("syntax", text, span.start..span.start, message);
                    return Err(Box::new(found.hint("one file holds one record; remove `---` and what follows")));
                }
                continue;
            }
            Event::Alias(_) => return Err(Box::new(alias_error(text, span))),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() > MAX_DEPTH {
                    return Err(Box::new(depth_error(text, span)));
                }
                let items = match event {
                    Event::SequenceStart(..) => Items::List(Vec::new()),
                    _ => Items::Map(Vec::new(), None),
                };
                open.push(Open { start: span.start, end: span.end, items });
                continue;
            }
            Event::Scalar(value, style, ..) => scalar(value.into_owned(), style, span),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(closed) = open.pop() else { continue };
                // Only the end of a flow collection is a character; that of a block is where its last item ends.
                let is_flow = matches!(text.get(span.clone()), Some("]" | "}"));
                let end = if is_flow { span.end } else { closed.end };
                let kind = match closed.items {
                    Items::List(items) => NodeKind::List(items),
                    Items::Map(entries, _) => NodeKind::Map(entries),
                };
                Node { span: closed.start..end.max(closed.start), kind }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
        };
        match open.last_mut() {
            Some(parent) => add(text, parent, done)?,
            None => root = Some(done),
        }
    }
    Ok(root.filter(|node| matches!(node.kind, NodeKind::Map(_))))
}

/// Adds an item, a key or a key's value to a collection.
fn add(text: &str, parent: &mut Open, done: Node) -> Result<(), Box<Diagnostic>> {
    match &mut parent.items {
        Items::List(items) => {
            parent.end = parent.end.max(done.span.end);
            items.push(done);
        }
        Items::Map(entries, key) => match key.take() {
            Some((name, key_span)) => {
                let is_missing = done.kind == NodeKind::Null && done.span.is_empty();
                let value = if is_missing { Node { span: key_span.end..key_span.end, ..done } } else { done };
                parent.end = parent.end.max(value.span.end);
                entries.push(MapEntry { key: name, key_span, value });
            }
            None => {
                let NodeKind::Scalar(name) = done.kind else {
                    let message = format!("a key must be text, found {}", done.describe());
                    return Err(Box::new(Diagnostic::error("wrong-type", text, done.span, message)));
                };
                parent.end = parent.end.max(done.span.end);
                *key = Some((name, done.span));
            }
        },
    }
    Ok(())
}

fn scalar(value: String, style: ScalarStyle, span: Range<usize>) -> Node {
    let is_plain = style == ScalarStyle::Plain;
    // Where a value is missing, the parser makes one up.
    let is_null = is_plain && (span.is_empty() || matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL"));
    Node { span, kind: if is_null { NodeKind::Null } else { NodeKind::Scalar(value) } }
}

fn alias_error(text: &str, span: Range<usize>) -> Diagnostic {
    Diagnostic::error("alias", text, span, "anchors and aliases (`&name`, `*name`) are not accepted in a record")
        .hint("write the value out; put values that releases share at the top level")
}

/// Returns `span` with the word before it, if that begins with `first`.
fn word_before(text: &str, span: &Range<usize>, first: char) -> Range<usize> {
    let before = text.get(..span.start).unwrap_or_default().trim_end();
    let start = before.rfind(|c: char| c.is_whitespace() || "[{,".contains(c)).map_or(0, |at| at + 1);
    let is_it = before.get(start..).is_some_and(|word| word.starts_with(first));
    if is_it { start..span.end } else { span.clone() }
}

/// Returns a span without the white space around it.
fn trim(text: &str, span: Range<usize>) -> Range<usize> {
    let slice = text.get(span.clone()).unwrap_or_default();
    let start = span.start + (slice.len() - slice.trim_start().len());
    let end = (span.start + slice.trim_end().len()).max(start);
    start..end
}
