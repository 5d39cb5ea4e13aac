//! Plain text of a report, for mail and for a Bugzilla's description.

use crate::bug::block::Block;
use crate::bug::sections::{BugReport, Section};

/// Columns of prose: a quoted line still fits on 80.
const WIDTH: usize = 76;

/// Returns the sections, each with its heading.
pub(super) fn body(report: &BugReport<'_>) -> String {
    let mut out = String::new();
    for (section, blocks) in report.sections() {
        out.push_str(&head(section));
        for block in blocks {
            match block {
                Block::Text(text) => out.push_str(&format!("{}\n\n", wrapped(&text))),
                Block::Lines(lines) => out.push_str(&format!("{lines}\n\n")),
            }
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    with_plain_punctuation(&out)
}

/// Replaces typographic characters by ASCII: a mail with others arrives as Base64.
pub(super) fn with_plain_punctuation(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2013}' | '\u{2014}' => out.push('-'),
            '\u{2018}' | '\u{2019}' => out.push('\''),
            '\u{201c}' | '\u{201d}' => out.push('"'),
            '\u{2026}' => out.push_str("..."),
            '\u{2264}' => out.push_str("<="),
            '\u{2265}' => out.push_str(">="),
            c => out.push(c),
        }
    }
    out
}

fn head(section: Section) -> String {
    format!("{}\n{}\n\n", section.title(), "-".repeat(section.title().len()))
}

/// Wraps prose to lines of at most [`WIDTH`] columns, unless a word is longer.
pub(super) fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typographic_punctuation_becomes_ascii() {
        let text = "3.2\u{2013}3.4 \u{201c}x\u{201d} \u{2026} \u{2264} 2 \u{e9}";
        assert_eq!(with_plain_punctuation(text), "3.2-3.4 \"x\" ... <= 2 \u{e9}");
    }

    #[test]
    fn prose_is_wrapped_without_splitting_long_words() {
        let text = format!("{} {} end", "word ".repeat(20), "x".repeat(90));
        let wrapped = wrapped(&text);
        let lines: Vec<usize> = wrapped.lines().map(str::len).collect();
        assert_eq!(lines, [74, 24, 90, 3]);
        assert_eq!(wrapped.split_whitespace().count(), 22);
    }
}
