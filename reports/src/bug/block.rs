//! The parts of a report's section, which the forms lay out.

/// A paragraph, or lines that are kept unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// Prose, to be wrapped.
    Text(String),
    /// Output of programs, and lists.
    Lines(String),
}
