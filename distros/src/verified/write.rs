//! Writing `verified:` back without touching a byte before it.

use super::VerifiedEntry;
use crate::diagnostic::is_direction_control;
use crate::record::{Record, RecordError};
use crate::root::Place;
use crate::syntax::{self, Kind, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Characters of a cause or workaround that are kept.
const MAX_CAUSE: usize = 300;
/// Causes of one capability that are kept.
const MAX_CAUSES: usize = 16;

/// Why results cannot be written into a record.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The record is broken, before or after the edit.
    #[error(transparent)]
    Record(#[from] Box<RecordError>),
    /// `verified:` is followed by other keys.
    #[error("`verified` must be the last key, but `{0}` follows it: move `{0}` before `verified`")]
    NotLast(String),
    /// A comment after `verified:` would be lost.
    #[error("line {0}: a comment after `verified` would be lost: move it before `verified`")]
    TrailingComment(usize),
    /// The top level is not written one key a line from the first column.
    #[error("the record's keys must each begin a line, in the first column, to write `verified` behind them")]
    NotBlock,
    /// Two results for the same place.
    #[error("two results for release {0}: give one for each release, architecture, profile and environment")]
    Twice(String),
    /// The edit would change what it must not.
    #[error("writing `verified` would change other parts of the record; nothing was written")]
    OtherChange,
    /// The record would grow beyond what is read back.
    #[error("the record would have more than {limit} bytes: remove old entries of `verified`", limit = syntax::MAX_BYTES)]
    TooLarge,
}

/// The record's text with the entries of `new` in `verified:`, replacing those with the same key.
///
/// The bytes before `verified:` stay as they are; doing it twice gives the same bytes.
/// Causes and workarounds are made one safe line and capped.
///
/// # Errors
///
/// That the record is broken, or that something but `verified:` would change.
pub fn apply(record_text: &str, new: &[VerifiedEntry]) -> Result<String, WriteError> {
    let path = Path::new("record");
    let record = Record::parse(path, record_text).map_err(Box::new)?;
    let root = tree(record_text)?;
    let prefix = prefix(record_text, &root)?;
    let entries = merged(&record, new)?;
    if entries.is_empty() && root.get("verified").is_none() {
        return Ok(record_text.to_owned());
    }
    let newline = match record_text.find('\n') {
        Some(i) if record_text[..i].ends_with('\r') => "\r\n",
        _ => "\n",
    };
    let mut text = prefix.to_owned();
    if root.get("verified").is_none() {
        if !text.ends_with('\n') {
            text += newline;
        }
        text += newline;
    }
    text += &render(&entries).replace('\n', newline);
    if text.len() > syntax::MAX_BYTES {
        return Err(WriteError::TooLarge);
    }
    let again = Record::parse(path, &text).map_err(Box::new)?;
    let same = data(&root) == data(&tree(&text)?);
    if !same || again.verified != entries || !text.starts_with(prefix) {
        return Err(WriteError::OtherChange);
    }
    Ok(text)
}

/// Replaces a file atomically: a crash leaves the old text or the new one, whole; owner, permissions and attributes stay.
///
/// A symbolic link stays one: its target is replaced.
///
/// # Errors
///
/// What the file system refused.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let place = Place::of_file(path)?;
    let old = place.attributes().map_err(io::Error::other)?;
    place.write(text.as_bytes(), old.as_ref()).map_err(io::Error::other)
}

fn tree(text: &str) -> Result<Node, WriteError> {
    syntax::parse(text).map_err(|diagnostics| {
        WriteError::Record(Box::new(RecordError { path: "record".into(), text: text.to_owned(), diagnostics }))
    })
}

/// Everything before `verified:`; the whole text when there is none.
fn prefix<'t>(text: &'t str, root: &Node) -> Result<&'t str, WriteError> {
    let entries = root.entries();
    let at_line_start = |at: usize| at == 0 || text[..at].ends_with('\n');
    if !entries.iter().all(|e| at_line_start(e.key_span.start)) {
        return Err(WriteError::NotBlock);
    }
    // A document's end mark would stand before what is appended.
    if text.lines().any(|l| l == "..." || l.starts_with("... ")) {
        return Err(WriteError::NotBlock);
    }
    let Some(at) = entries.iter().position(|e| e.key == "verified") else {
        return Ok(text);
    };
    if let Some(after) = entries.get(at + 1) {
        return Err(WriteError::NotLast(after.key.clone()));
    }
    let start = entries[at].key_span.start;
    let before = text[..start].matches('\n').count();
    for (i, line) in text[start..].lines().enumerate() {
        if line.starts_with('#') {
            return Err(WriteError::TrailingComment(before + i + 1));
        }
    }
    Ok(&text[..start])
}

/// Old entries that are not replaced and the new ones, made safe, in the order of the record's releases.
fn merged(record: &Record, new: &[VerifiedEntry]) -> Result<Vec<VerifiedEntry>, WriteError> {
    let new: Vec<VerifiedEntry> = new.iter().map(safe).collect();
    let mut keys = BTreeSet::new();
    for entry in &new {
        if !keys.insert(entry.key()) {
            let what = format!("{} {} {} {}", entry.release, entry.arch, entry.profile, entry.environment);
            return Err(WriteError::Twice(what));
        }
    }
    let mut all: Vec<VerifiedEntry> =
        record.verified.iter().filter(|old| !keys.contains(&old.key())).map(safe).collect();
    all.extend(new.iter().cloned());
    let order: BTreeMap<&str, usize> =
        record.releases.iter().enumerate().map(|(i, r)| (r.version.as_str(), i)).collect();
    all.sort_by(|a, b| {
        let place = |e: &VerifiedEntry| order.get(e.release.as_str()).copied();
        let place = |e: &VerifiedEntry| place(e).unwrap_or(usize::MAX);
        (place(a), a.key()).cmp(&(place(b), b.key()))
    });
    Ok(all)
}

/// The entry with every text on one line, without control characters, and of bounded length.
fn safe(entry: &VerifiedEntry) -> VerifiedEntry {
    let by_name = |(name, version): (&String, &String)| (line(name), line(version));
    let mut entry = VerifiedEntry {
        release: line(&entry.release),
        profile: line(&entry.profile),
        environment: entry.environment,
        harness: line(&entry.harness),
        test_set: line(&entry.test_set),
        versions: entry.versions.iter().map(by_name).collect(),
        ..entry.clone()
    };
    for capability in entry.capabilities.values_mut() {
        capability.causes.truncate(MAX_CAUSES);
        for cause in &mut capability.causes {
            *cause = line(cause);
        }
        if let Some(workaround) = &mut capability.workaround {
            *workaround = line(workaround);
        }
    }
    entry
}

/// One line of printable text; doing it again changes nothing.
fn line(text: &str) -> String {
    // Guest output can be huge: look only at what could be kept.
    let spaced: String = text
        .chars()
        .take(MAX_CAUSE * 8)
        .map(|c| match c {
            c if c.is_control() || is_direction_control(c) => ' ',
            c => c,
        })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let joined = words.join(" ");
    if joined.is_empty() {
        return "(empty)".to_owned();
    }
    if joined.chars().count() <= MAX_CAUSE {
        return joined;
    }
    let kept: String = joined.chars().take(MAX_CAUSE - 1).collect();
    format!("{}…", kept.trim_end())
}

/// `verified:` as YAML; every text that could be read otherwise is quoted.
fn render(entries: &[VerifiedEntry]) -> String {
    if entries.is_empty() {
        return "verified: []\n".to_owned();
    }
    let mut out = String::from("verified:\n");
    for entry in entries {
        let _ = writeln!(out, "  - release: {}", quoted(&entry.release));
        let _ = writeln!(out, "    arch: {}", entry.arch);
        let _ = writeln!(out, "    profile: {}", quoted(&entry.profile));
        let _ = writeln!(out, "    environment: {}", entry.environment);
        let _ = writeln!(out, "    basis: {}", entry.basis);
        let _ = writeln!(out, "    tested: {}", entry.tested);
        let _ = writeln!(out, "    harness: {}", quoted(&entry.harness));
        let _ = writeln!(out, "    test-set: {}", quoted(&entry.test_set));
        if !entry.versions.is_empty() {
            out += "    versions:\n";
        }
        for (package, version) in &entry.versions {
            let _ = writeln!(out, "      {}: {}", quoted(package), quoted(version));
        }
        out += match entry.capabilities.is_empty() {
            true => "    capabilities: {}\n",
            false => "    capabilities:\n",
        };
        let mut capabilities: Vec<_> = entry.capabilities.iter().map(|(c, verdict)| (c.name(), verdict)).collect();
        capabilities.sort_unstable_by_key(|(name, _)| *name);
        for (name, capability) in capabilities {
            if capability.is_plain() {
                let _ = writeln!(out, "      {}: {}", quoted(name), capability.verdict);
                continue;
            }
            let _ = writeln!(out, "      {}:", quoted(name));
            let _ = writeln!(out, "        verdict: {}", capability.verdict);
            if !capability.causes.is_empty() {
                out += "        causes:\n";
            }
            for cause in &capability.causes {
                let _ = writeln!(out, "          - {}", double_quoted(cause));
            }
            if let Some(workaround) = &capability.workaround {
                let _ = writeln!(out, "        workaround: {}", double_quoted(workaround));
            }
        }
    }
    out
}

/// A word that YAML can only read as text stands plain; all else in quotes.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "unknown"];
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if word { text.to_owned() } else { double_quoted(text) }
}

/// In double quotes; the text holds no control characters, so two escapes are enough.
fn double_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The values before `verified:` with their spelling; two of them are equal when nothing else changed.
fn data(root: &Node) -> Vec<String> {
    fn walk(node: &Node, out: &mut Vec<String>) {
        match &node.kind {
            Kind::Null => out.push("~".into()),
            Kind::Scalar(value) => out.push(format!("={value}")),
            Kind::List(items) => {
                out.push(format!("[{}", items.len()));
                items.iter().for_each(|i| walk(i, out));
            }
            Kind::Map(entries) => {
                out.push(format!("{{{}", entries.len()));
                for entry in entries {
                    out.push(format!("{}:", entry.key));
                    walk(&entry.value, out);
                }
            }
        }
    }
    let mut out = Vec::new();
    for entry in root.entries().iter().filter(|e| e.key != "verified") {
        out.push(format!("{}:", entry.key));
        walk(&entry.value, &mut out);
    }
    out
}

#[cfg(test)]
mod tests;
