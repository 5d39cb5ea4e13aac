//! Second opinion on a text: libyaml, which provides places for errors only.

use super::{Node, NodeKind};
use crate::diagnostic::Diagnostic;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::cell::Cell;
use std::fmt;

/// libyaml's view of a text; a scalar that is not text has lost its spelling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Null,
    Text(String),
    /// A number or truth value.
    Plain,
    List(Vec<Shape>),
    Map(Vec<(Shape, Shape)>),
}

/// Parses `text`; `Err(None)` is an error without a place, or an alias, which the other parser explains better.
pub(crate) fn read(text: &str) -> Result<Shape, Option<Box<Diagnostic>>> {
    let room = Cell::new(Some(room(text)));
    shape(text, &room).map_err(|error| {
        room.get()?;
        // The error's index counts characters, so the byte is found by line and column.
        let place = error.location()?;
        let at = offset(text, place.line(), place.column());
        let message = error.to_string();
        // libyaml appends the place, which the diagnostic already has.
        let message = message.split(" at line ").next().unwrap_or_default();
        Some(Box::new(Diagnostic::error("syntax", text, at..at, message)))
    })
}

/// Checks whether aliases make more of a text than it has itself: thousands of aliases of a long scalar would fill the
/// memory, and libyaml only counts aliases.
pub(crate) fn expands(text: &str) -> bool {
    let room = Cell::new(Some(room(text)));
    // Errors in the YAML are for its reader.
    let _ = shape(text, &room);
    room.get().is_none()
}

/// Returns more than the values of a text without aliases need, of which each has its bytes and one more.
fn room(text: &str) -> usize {
    text.len().saturating_mul(4).saturating_add(16)
}

fn shape(text: &str, room: &Cell<Option<usize>>) -> Result<Shape, serde_yaml::Error> {
    Limited(room).deserialize(serde_yaml::Deserializer::from_str(text))
}

/// Returns the byte at a line and column, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n');
    let start: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let mut characters = rest.char_indices().map(|(i, _)| i);
    start + characters.nth(column.saturating_sub(1)).unwrap_or(rest.len())
}

impl Shape {
    /// Whether both parsers saw the same data.
    pub(crate) fn agrees_with(&self, node: &Node) -> bool {
        match (self, &node.kind) {
            (Shape::Null, NodeKind::Null) | (Shape::Plain, NodeKind::Scalar(_)) => true,
            (Shape::Text(a), NodeKind::Scalar(b)) => a == b,
            (Shape::List(a), NodeKind::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees_with(b)),
            (Shape::Map(a), NodeKind::Map(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|((key, value), entry)| {
                        let same_key = match key {
                            Shape::Text(key) => *key == entry.key,
                            Shape::Plain => true,
                            _ => false,
                        };
                        same_key && value.agrees_with(&entry.value)
                    })
            }
            _ => false,
        }
    }
}

/// Reads shapes as long as there is room, of which nothing is left after the first value that does not fit.
#[derive(Clone, Copy)]
struct Limited<'r>(&'r Cell<Option<usize>>);

impl Limited<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let remaining = self.0.get().and_then(|room| room.checked_sub(bytes + 1));
        self.0.set(remaining);
        match remaining {
            Some(_) => Ok(()),
            None => Err(E::custom("aliases expand to too much")),
        }
    }

    fn plain<E: Error>(self) -> Result<Shape, E> {
        self.take(0).map(|()| Shape::Plain)
    }
}

impl<'de> DeserializeSeed<'de> for Limited<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Limited<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list or a map")
    }

    fn visit_unit<E: Error>(self) -> Result<Shape, E> {
        self.take(0).map(|()| Shape::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Shape, E> {
        self.plain()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Shape, E> {
        self.plain()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Shape, E> {
        self.plain()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Shape, E> {
        self.plain()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Shape, E> {
        self.plain()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Shape, E> {
        self.plain()
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Shape, E> {
        self.take(v.len()).map(|()| Shape::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        self.take::<A::Error>(0)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        self.take::<A::Error>(0)?;
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry_seed(self, self)? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }

    // A tag: accepted here, because the tree refuses it with its place.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Shape, A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}
