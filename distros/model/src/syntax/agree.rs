//! Second opinion on a text: libyaml, which provides places for errors only.

use super::{Node, NodeKind};
use crate::diagnostic::Diagnostic;
use serde::de::{Deserialize, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};

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

/// Parses `text`; `Err(None)` is an error without a place, which the other parser explains better.
pub(crate) fn read(text: &str) -> Result<Shape, Option<Box<Diagnostic>>> {
    serde_yaml::from_str(text).map_err(|error| {
        // The error's index counts characters, so the byte is found by line and column.
        let place = error.location()?;
        let at = offset(text, place.line(), place.column());
        let message = error.to_string();
        // libyaml appends the place, which the diagnostic already has.
        let message = message.split(" at line ").next().unwrap_or_default();
        Some(Box::new(Diagnostic::error("syntax", text, at..at, message)))
    })
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

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Shape;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text, a list or a map")
            }
            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::Plain)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
                Ok(Shape::Plain)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
                Ok(Shape::Plain)
            }
            fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
                Ok(Shape::Plain)
            }
            fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
                Ok(Shape::Plain)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
                Ok(Shape::Plain)
            }
            fn visit_str<E>(self, v: &str) -> Result<Shape, E> {
                Ok(Shape::Text(v.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Shape::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Shape::Map(entries))
            }
            // A tag: accepted here, because the tree refuses it with its place.
            fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Shape, A::Error> {
                let (_, value) = tagged.variant::<IgnoredAny>()?;
                value.newtype_variant()
            }
        }
        deserializer.deserialize_any(Any)
    }
}
