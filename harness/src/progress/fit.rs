//! Fitting of text into a line of a terminal: without control characters, and no wider than the line.

use model::redact::{one_line, without_controls};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Bytes of a text that becomes one line; no terminal is that wide.
const MAX: usize = 2 << 10;
/// The mark in the place where a text was cut.
const CUT: char = '…';

/// Returns a text as one line without control characters.
pub(super) fn clean(text: &str) -> String {
    one_line(&without_controls(text, MAX), MAX)
}

/// Returns the number of columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Shortens a text to at most `columns` columns; a text that is too long is cut in the middle, because names differ at
/// their ends.
pub(super) fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let head = fitting_prefix(text.chars(), room / 2);
    let mut tail: Vec<char> = fitting_prefix(text.chars().rev(), room - room / 2);
    // A combining mark whose base character was cut off is dropped, too.
    while tail.last().is_some_and(|c| c.width() == Some(0)) {
        tail.pop();
    }
    head.into_iter().chain([CUT]).chain(tail.into_iter().rev()).collect()
}

/// Returns the first characters that fit into the columns.
fn fitting_prefix(text: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= columns
    };
    text.take_while(fits).collect()
}

/// Fits a text into exactly `columns` columns, padded with spaces.
pub(super) fn filled(text: &str, columns: usize) -> String {
    let text = shortened(text, columns);
    let spaces = columns.saturating_sub(width(&text));
    text + &" ".repeat(spaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_shortened_in_the_middle() {
        for (columns, expected) in
            [(9, "debian:13"), (20, "debian:13"), (8, "deb…n:13"), (5, "de…13"), (2, "…3"), (1, "…"), (0, "")]
        {
            assert_eq!(shortened("debian:13", columns), expected, "{columns}");
        }
    }

    #[test]
    fn wide_characters_take_two_columns_and_marks_none() {
        assert_eq!(width("測試 a"), 6);
        for columns in 0..12 {
            let text = shortened("測試測試測試測試", columns);
            assert!(width(&text) <= columns, "{columns}: {text:?}");
        }
        assert_eq!(shortened("測試測試測試測試", 8), "測…測試");
        // The accent would combine with the mark of the cut.
        assert_eq!(shortened("abcde\u{301}fg", 5), "ab…fg");
        assert_eq!(filled("測試", 6), "測試  ");
    }

    #[test]
    fn foreign_text_becomes_one_line_without_control_characters() {
        assert_eq!(clean("a\u{1b}[2J\u{7}b\r\nc\td\u{202e}e"), "ab c de");
        assert!(clean(&"x ".repeat(10_000)).len() < 4 << 10);
    }
}
