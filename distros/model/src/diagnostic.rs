//! Findings about a record, with their place in the file; front ends render them.

#[cfg(feature = "excerpts")]
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};
use serde::Serialize;
use std::ops::Range;

/// Rule of the finding that there is no text to check.
pub(crate) const UNREADABLE: &str = "unreadable";

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The record cannot be used.
    Error,
    /// The record can be used, but something in it looks wrong.
    Warning,
}

/// A replacement that corrects a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// First byte that is replaced.
    pub start: usize,
    /// The byte after the last one that is replaced.
    pub end: usize,
    /// The corrected text.
    pub replacement: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The rule's stable name: `duplicate-key`.
    pub rule: &'static str,
    /// The problem: a lowercase fragment.
    pub message: String,
    /// The file as the user named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// First byte of the place.
    pub start: usize,
    /// The byte after the place.
    pub end: usize,
    /// Advice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Replacements that correct the finding, in order, not overlapping.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
}

impl Diagnostic {
    /// Creates a finding of severity [`Severity::Error`] at `span` of `text`; [`finish`] fills in file, line and
    /// column.
    pub fn error(rule: &'static str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end).max(start);
        Diagnostic {
            severity: Severity::Error,
            rule,
            message: message.into(),
            file: String::new(),
            line: 1,
            column: 1,
            start,
            end,
            hint: None,
            fixes: Vec::new(),
        }
    }

    /// Turns the finding into a warning.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether there was no text to check.
    pub fn is_unreadable(&self) -> bool {
        self.rule == UNREADABLE
    }

    /// Adds replacements.
    pub fn fixes(mut self, fixes: Vec<Fix>) -> Self {
        self.fixes = fixes;
        self
    }

    /// Formats the finding as `debian.yaml:3:1: message`, with the hint if there is one.
    pub fn one_line(&self) -> String {
        let hint = self.hint.as_ref().map(|h| format!(" (hint: {h})")).unwrap_or_default();
        printable(&format!("{}:{}:{}: {}{hint}", self.file, self.line, self.column, self.message))
    }

    /// Formats the finding as a workflow command of GitHub Actions, which shows it next to the line.
    pub fn github(&self) -> String {
        let level = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let hint = self.hint.as_ref().map(|h| format!("\nhint: {h}")).unwrap_or_default();
        format!(
            "::{level} file={},line={},col={},title={}::{}",
            property(&self.file),
            self.line,
            self.column,
            property(self.rule),
            command_data(&format!("{}{hint}", self.message)),
        )
    }

    /// Formats the finding like rustc, with the affected line; `colour` adds terminal escapes.
    ///
    /// Control characters of the file are made visible, so that a record cannot drive the terminal.
    #[cfg(feature = "excerpts")]
    pub fn human(&self, text: &str, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = printable(&self.message);
        // Only an excerpt: a long file would be searched again for each of its findings.
        let excerpt = Excerpt::of(text, self.start..self.start);
        let title = level.primary_title(message.as_str()).id(self.rule);
        let mut groups = vec![match &excerpt {
            Some(excerpt) => {
                title.element(excerpt.snippet(&self.file).annotation(AnnotationKind::Primary.span(first_line(
                    &excerpt.text,
                    self.start - excerpt.start,
                    self.end - excerpt.start,
                ))))
            }
            None => title.element(Origin::path(self.file.as_str()).line(self.line).char_column(self.column)),
        }];
        let hint = self.hint.as_deref().map(printable);
        let fixes = self.fixes.iter().map(|f| f.start).min().zip(self.fixes.iter().map(|f| f.end).max());
        let fixed = fixes.and_then(|(first, last)| Excerpt::of(text, first..last));
        if let Some(fixed) = &fixed {
            let title = hint.as_deref().unwrap_or("the corrected text");
            let mut snippet = fixed.snippet(&self.file);
            for fix in &self.fixes {
                let replacement = visible(&fix.replacement);
                snippet = snippet.patch(Patch::new(fix.start - fixed.start..fix.end - fixed.start, replacement));
            }
            groups.push(Group::with_title(Level::HELP.secondary_title(title)).element(snippet));
        } else if let Some(hint) = &hint {
            groups.push(Group::with_title(Level::HELP.with_name("hint").secondary_title(hint.as_str())));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&groups)
    }
}

/// Longest line that is shown, in bytes. In a longer line only the place of the finding would be visible, and searching
/// for the part to show takes time for each finding.
#[cfg(feature = "excerpts")]
const MAX_LINE: usize = 1000;
/// Most lines of a correction that are shown, for the same reasons: the renderer searches for each of them from the
/// first line.
#[cfg(feature = "excerpts")]
const MAX_LINES: usize = 100;

/// The lines that a span covers.
#[cfg(feature = "excerpts")]
struct Excerpt {
    text: String,
    /// Start of the excerpt in the whole text, in bytes and as a line number from 1.
    start: usize,
    line: usize,
}

#[cfg(feature = "excerpts")]
impl Excerpt {
    /// Returns `None` if a line is too long to be looked at, or there are too many lines.
    fn of(text: &str, span: Range<usize>) -> Option<Excerpt> {
        let (first, last) = (floor_boundary(text, span.start), floor_boundary(text, span.end.max(span.start)));
        // The end of the text belongs to the last line.
        let above = if first == text.len() { text.strip_suffix('\n').unwrap_or(text) } else { &text[..first] };
        let start = above.rfind('\n').map_or(0, |at| at + 1);
        let end = text[last..].find('\n').map_or(text.len(), |at| last + at + 1);
        let lines = &text[start..end];
        let is_short = lines.lines().nth(MAX_LINES).is_none() && lines.lines().all(|line| line.len() <= MAX_LINE);
        is_short.then(|| Excerpt { text: visible(lines), start, line: text[..start].matches('\n').count() + 1 })
    }

    fn snippet<'e, T: Clone>(&'e self, file: &'e str) -> Snippet<'e, T> {
        Snippet::source(self.text.as_str()).line_start(self.line).path(file)
    }
}

/// Escapes text after the `::` of a workflow command; GitHub decodes these three escapes and no others.
///
/// Other characters that control a terminal, or reverse the direction of text, are written as their numbers.
fn command_data(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| printable(line.trim_end_matches('\r'))).collect();
    lines.join("\n").replace('%', "%25").replace('\n', "%0A")
}

/// Escapes a property of a workflow command, which `:` and `,` would end.
fn property(text: &str) -> String {
    command_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Most findings that are kept per file: a person needs the first ones.
pub(crate) const MAX_FINDINGS: usize = 100;

/// Sorts the findings of a file by place, keeps at most [`MAX_FINDINGS`], and fills in file, line and column.
pub(crate) fn finish(mut found: Vec<Diagnostic>, text: &str, file: &str) -> Vec<Diagnostic> {
    found.sort_by_key(|d| d.start);
    if found.len() > MAX_FINDINGS {
        let left_out = found.len() - MAX_FINDINGS;
        found.truncate(MAX_FINDINGS);
        if let Some(last) = found.last_mut() {
            last.hint = Some(format!("{left_out} more findings are left out"));
        }
    }
    for diagnostic in &mut found {
        // A file name may contain a line feed, and the new line may be a command to the program that reads the output.
        diagnostic.file = printable(file);
        (diagnostic.line, diagnostic.column) = line_column(text, diagnostic.start);
    }
    found
}

/// Returns line and column (in characters), both from 1, of a byte offset.
pub(crate) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor_boundary(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Formats an error and its sources on one line, without sources that an error's text already contains.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        let next = e.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = e.source();
    }
    text
}

/// Returns `text` on one line, with control characters as `\u{…}`.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| -> Box<dyn Iterator<Item = char>> {
            if c.is_control() || is_direction_control(c) {
                Box::new(c.escape_unicode())
            } else {
                Box::new(std::iter::once(c))
            }
        })
        .collect()
}

/// Whether a character reorders or hides text on a terminal without being a control character.
pub(crate) fn is_direction_control(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

/// Replaces each byte of a control character (except newlines and tabs) by `?`, so that offsets stay valid.
#[cfg(feature = "excerpts")]
fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hide = (c.is_control() && !matches!(c, '\n' | '\t' | '\r')) || is_direction_control(c);
            let (shown, count) = if hide { ('?', c.len_utf8()) } else { (c, 1) };
            std::iter::repeat_n(shown, count)
        })
        .collect()
}

/// Returns the part of a span on its first line: a whole block would drown the message.
#[cfg(feature = "excerpts")]
fn first_line(text: &str, start: usize, end: usize) -> Range<usize> {
    let start = floor_boundary(text, start);
    let end = floor_boundary(text, end);
    match text[start..end.max(start)].find('\n') {
        Some(i) => start..start + i,
        None => start..end.max(start),
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_chain_repeats_no_cause() {
        #[derive(Debug, thiserror::Error)]
        #[error("x cannot be read: {source}")]
        struct Outer {
            source: std::io::Error,
        }
        let outer = Outer { source: std::io::Error::other("no regular file") };
        assert_eq!(error_chain(&outer), "x cannot be read: no regular file");
        let outer = anyhow::Error::new(std::io::Error::other("no regular file")).context("reading x");
        assert_eq!(error_chain(outer.as_ref()), "reading x: no regular file");
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        assert_eq!(line_column("aé\nüb: c", 0), (1, 1));
        assert_eq!(line_column("aé\nüb: c", 6), (2, 2));
        assert_eq!(line_column("ab", 99), (1, 3));
    }

    #[test]
    fn a_workflow_command_cannot_be_broken_out_of() {
        let text = "a: 1\n";
        let found = Diagnostic::error("syntax", text, 0..1, "50%\n::error::x").hint("h").warning();
        let shown = finish(vec![found], text, "a,b:c.yaml")[0].github();
        assert_eq!(shown, "::warning file=a%2Cb%3Ac.yaml,line=1,col=1,title=syntax::50%25%0A::error::x%0Ahint: h");
    }

    #[test]
    fn a_workflow_command_is_printable() {
        let found = Diagnostic::error("syntax", "a", 0..1, "x\u{1b}[31m\u{7}\r\u{202e}\u{0}").hint("\u{9b}1m");
        let shown = finish(vec![found], "a", "b\u{1b}\n\u{7}.yaml")[0].github();
        assert!(!shown.chars().any(|c| c.is_control() || is_direction_control(c)), "{shown:?}");
        assert!(shown.contains("x\\u{1b}[31m"), "{shown}");
    }

    #[cfg(feature = "excerpts")]
    #[test]
    fn a_long_line_is_reported_by_place_without_an_excerpt() {
        let text = format!("a: 1\nb: [{}]\n", "amd64, ".repeat(1000));
        let fix = Fix { start: 9, end: 14, replacement: "x86_64".to_owned() };
        let found = Diagnostic::error("unknown-arch", &text, 9..14, "unknown").hint("use x86_64").fixes(vec![fix]);
        let shown = finish(vec![found], &text, "x.yaml")[0].human(&text, false);
        assert!(shown.contains("--> x.yaml:2:5\n") && shown.contains("hint: use x86_64"), "{shown}");
        assert!(shown.len() < 200, "{shown}");
        // Nor are too many lines shown.
        let text = "a: 1\n".repeat(2 * MAX_LINES);
        let fix = Fix { start: 0, end: text.len() - 1, replacement: "b: 1".to_owned() };
        let found = Diagnostic::error("x", &text, 0..1, "m").hint("use b").fixes(vec![fix]);
        let shown = finish(vec![found], &text, "x.yaml")[0].human(&text, false);
        assert!(shown.contains("hint: use b") && shown.len() < 200, "{shown}");
        // Long lines above and below do not matter, nor does the part of a span after its first line.
        let long = format!("a: 1\n# {}\n", "x".repeat(2000));
        let shown = finish(vec![Diagnostic::error("x", &long, 3..2000, "m")], &long, "x.yaml")[0].human(&long, false);
        assert!(shown.contains("1 | a: 1\n") && shown.len() < 200, "{shown}");
    }

    #[cfg(feature = "excerpts")]
    #[test]
    fn control_characters_of_a_record_never_reach_the_terminal() {
        let text = "distro: \u{1b}[31mred\u{202e}\n";
        let found = Diagnostic::error("syntax", text, 8..12, "bad \u{1b}[0m value");
        let shown = finish(vec![found], text, "x.yaml")[0].human(text, false);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(!shown.contains('\u{202e}'), "{shown}");
        assert!(shown.contains("x.yaml:1:9"), "{shown}");
    }
}
