//! Reads control files in the format of deb822(5): stanzas of fields, separated by empty lines.
//!
//! dpkg's database, apt's sources and lists, and uploads have this format. As in apt and dpkg, only an empty line ends
//! a stanza, a line of blanks does not; a line that begins with `#` is a comment.

use std::io::{self, BufRead};
use std::iter::from_fn;

/// One stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stanza<'t> {
    /// Its lines, from the first that is no comment to the last before an empty line.
    text: &'t str,
    /// Number of its first line in the text, from 1.
    line: usize,
}

/// One field of a stanza: a name, and a value of one or more lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'t> {
    /// The name; names are the same in upper and lower case.
    pub name: &'t str,
    /// Number of its first line in the text, from 1.
    pub line: usize,
    /// Everything after the colon.
    text: &'t str,
}

/// A line that neither is the beginning of a field nor continues one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAField {
    /// Its number in the text, from 1.
    pub line: usize,
}

/// Returns the stanzas of a text; the last one need not be followed by an empty line.
pub fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let (mut rest, mut number) = (text, 1);
    from_fn(move || {
        while !rest.is_empty() {
            let (mut start, mut end, mut first) = (0, 0, number);
            let mut after = rest.len();
            for line in rest.split_inclusive('\n') {
                number += 1;
                if is_empty(line) {
                    after = end + line.len();
                    break;
                }
                if start == end && is_comment(line) {
                    (start, first) = (start + line.len(), number);
                }
                end += line.len();
            }
            let stanza = &rest[start..end];
            rest = &rest[after..];
            if !stanza.is_empty() {
                return Some(Stanza { text: stanza, line: first });
            }
        }
        None
    })
}

/// Calls `read` for each stanza of a file that is too large to be kept in memory; lines are counted from the stanza's
/// first one.
///
/// # Errors
///
/// Fails if the file cannot be read or is not UTF-8.
pub fn each_stanza(mut file: impl BufRead, mut read: impl FnMut(Stanza<'_>)) -> io::Result<()> {
    let mut text = String::new();
    loop {
        let length = text.len();
        let has_ended = file.read_line(&mut text)? == 0;
        if has_ended || is_empty(&text[length..]) {
            stanzas(&text).for_each(&mut read);
            text.clear();
        }
        if has_ended {
            return Ok(());
        }
    }
}

impl<'t> Stanza<'t> {
    /// Returns the number of its first line in the text, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = Result<Field<'t>, NotAField>> + use<'t> {
        let (mut rest, mut number) = (self.text, self.line);
        from_fn(move || {
            let line = number;
            let head = rest.split_inclusive('\n').next()?;
            let more = rest[head.len()..].split_inclusive('\n');
            let more = more.take_while(|line| line.starts_with([' ', '\t']) || is_comment(line));
            let mut length = head.len();
            for line in more {
                length += line.len();
                number += 1;
            }
            number += 1;
            let (whole, after) = rest.split_at(length);
            rest = after;
            let Some((name, _)) = head.split_once(':').filter(|(name, _)| is_name(name.trim_end())) else {
                return Some(Err(NotAField { line }));
            };
            Some(Ok(Field { name: name.trim_end(), line, text: &whole[name.len() + 1..] }))
        })
    }

    /// Returns the field of a name; as for apt, the last one counts. Lines that are not part of a field are skipped.
    pub fn field(&self, name: &str) -> Option<Field<'t>> {
        self.fields().filter_map(Result::ok).filter(|field| field.name.eq_ignore_ascii_case(name)).last()
    }

    /// Returns the first line of the field of a name, without blanks around it.
    pub fn value(&self, name: &str) -> Option<&'t str> {
        Some(self.field(name)?.first_line())
    }
}

impl<'t> Field<'t> {
    /// Returns the lines of the value, each without blanks around it.
    pub fn lines(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.text.lines().filter(|line| !is_comment(line)).map(str::trim)
    }

    /// Returns the first line of the value, without blanks around it.
    pub fn first_line(&self) -> &'t str {
        self.text.lines().next().unwrap_or_default().trim()
    }

    /// Returns the words of the value, of all lines.
    pub fn words(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        self.lines().flat_map(str::split_whitespace)
    }
}

fn is_empty(line: &str) -> bool {
    matches!(line, "\n" | "\r\n" | "\r")
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// Checks whether a text is a valid field name: printable, without a leading hyphen (Debian policy 5.1).
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\n\n#\nTypes : deb\nSuites:\n sid\n# why\n\ttrixie \n\nX: 1\r\n \r\n Y: 2\r\n\r\n\n\
        -----BEGIN\nHash: a\nhash: b";

    /// Returns each stanza's line, and its fields with their lines and words.
    fn read(text: &str) -> Vec<(usize, Vec<String>)> {
        let field = |field: Result<Field<'_>, NotAField>| match field {
            Ok(field) => format!("{} {}: {}", field.line, field.name, field.words().collect::<Vec<_>>().join(" ")),
            Err(NotAField { line }) => format!("{line}?"),
        };
        stanzas(text).map(|stanza| (stanza.line(), stanza.fields().map(field).collect())).collect()
    }

    #[test]
    fn stanzas_and_fields_have_their_lines() {
        let expected: [(usize, &[&str]); 3] = [
            (4, &["4 Types: deb", "5 Suites: sid trixie"]),
            (10, &["10 X: 1 Y: 2"]),
            (15, &["15?", "16 Hash: a", "17 hash: b"]),
        ];
        assert_eq!(read(TEXT), expected.map(|(line, fields)| (line, fields.iter().map(|f| (*f).to_owned()).collect())));
        assert_eq!(read(" y: z\n"), [(1, vec!["1?".to_owned()])], "what does it continue?");
        assert_eq!(read("#\n# only comments\n\n\n"), []);
        let last = stanzas(TEXT).last().unwrap();
        assert_eq!(last.value("HASH"), Some("b"), "the last one counts");
        assert_eq!(last.value("None"), None);
        let suites = stanzas(TEXT).next().unwrap().field("suites").unwrap();
        assert_eq!((suites.first_line(), suites.lines().collect::<Vec<_>>()), ("", vec!["", "sid", "trixie"]));
    }

    #[test]
    fn a_file_is_read_stanza_by_stanza_like_a_text() {
        let mut found = Vec::new();
        each_stanza(TEXT.as_bytes(), |stanza| found.push(stanza.text.to_owned())).unwrap();
        assert_eq!(found, stanzas(TEXT).map(|stanza| stanza.text).collect::<Vec<_>>());
        assert!(each_stanza(&b"A: \xff\n"[..], |_| {}).is_err(), "it is not UTF-8");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "(?s)(\n|\r|#| |:|a|.){0,40}") {
            let mut streamed = 0;
            each_stanza(text.as_bytes(), |_| streamed += 1).unwrap();
            proptest::prop_assert_eq!(read(&text).len(), streamed);
        }
    }
}
