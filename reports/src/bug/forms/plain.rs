//! A report as plain text, for mail and for a Bugzilla's description.

use crate::bug::parts::{Block, Part, Report};

/// Columns of prose: a quoted line still has room on 80.
const WIDTH: usize = 76;

/// Its parts, each with its head.
pub(super) fn body(report: &Report<'_>) -> String {
    let mut out = String::new();
    for (part, blocks) in report.parts() {
        out.push_str(&head(part));
        for block in blocks {
            match block {
                Block::Text(text) => out.push_str(&format!("{}\n\n", wrapped(&text))),
                Block::Lines(lines) => out.push_str(&format!("{lines}\n\n")),
            }
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn head(part: Part) -> String {
    format!("{}\n{}\n\n", part.title(), "-".repeat(part.title().len()))
}

/// Prose in lines of at most [`WIDTH`] columns, unless a word is longer.
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
    fn prose_is_wrapped_and_a_long_word_stays_whole() {
        let text = format!("{} {} end", "word ".repeat(20), "x".repeat(90));
        let wrapped = wrapped(&text);
        let lines: Vec<usize> = wrapped.lines().map(str::len).collect();
        assert_eq!(lines, [74, 24, 90, 3]);
        assert_eq!(wrapped.split_whitespace().count(), 22);
    }
}
