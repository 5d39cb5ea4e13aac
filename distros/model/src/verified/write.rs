//! Writing of verdicts, completely or not at all.
//!
//! The file is rendered from the old and new entries; the text is parsed again, and is not written unless it reads back
//! the same.
//! The file is replaced by a rename.
//! The same journal applied twice gives the same bytes.
//! People's data and the machine's are in different files, so that branch rules can distinguish them; a record that
//! contains `verified:` is refused.

use super::{
    Outdated, VerifiedCause, VerifiedEntry, VerifiedFile, remove_outdated, remove_overridden,
    remove_repeated_inapplicable,
};
use crate::diagnostic::is_direction_control;
use crate::distro::{DistroId, ReleaseVersion};
use crate::source::RecordError;
use crate::syntax;
use root::PinnedPath;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Longest cause or workaround that is kept, in characters.
const MAX_CAUSE: usize = 300;
/// Most causes of one capability that are kept; a capability with that many may have had more.
pub const MAX_CAUSES: usize = 16;

/// Reasons why results cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The existing file, or the new text, cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Box<RecordError>),
    /// The file belongs to another distro.
    #[error("the file has the verdicts of {found}, not of {expected}: move it elsewhere")]
    OtherDistro {
        /// The distro of the file.
        found: DistroId,
        /// The distro whose verdicts were to be written.
        expected: DistroId,
    },
    /// There are two results for the same key and capability.
    #[error("two results for release {0}: give one for each release, architecture, profile and environment")]
    Twice(String),
    /// The new text does not read back the same.
    #[error("the verdicts cannot be read back as they would be written, so nothing was written")]
    NotReadBack,
    /// The file would exceed the size limit for reading.
    #[error("the file would have more than {limit} bytes: remove old entries", limit = syntax::MAX_BYTES)]
    TooLarge,
}

/// Renders a distro's file of verdicts: the entries of the current text `old`, with those of `new` over them, in the
/// order of the record's `releases`. Results in `old` of a later day stay ([`outdated`]).
///
/// The operation is idempotent, byte for byte. Causes and workarounds are reduced to one safe line and truncated.
///
/// # Errors
///
/// If the old text cannot be read, so that its entries would be lost, or if the new one could not be read back.
pub fn apply(
    old: Option<&str>,
    distro: &DistroId,
    releases: &[&ReleaseVersion],
    new: &[VerifiedEntry],
) -> Result<String, WriteError> {
    let path = Path::new("the verdicts of today");
    let old = match old.map(|text| VerifiedFile::parse(path, text)).transpose().map_err(Box::new)? {
        Some(file) if file.distro != *distro => {
            return Err(WriteError::OtherDistro { found: file.distro, expected: distro.clone() });
        }
        Some(file) => file.entries,
        None => Vec::new(),
    };
    let entries = merged(&old, releases, new)?;
    let text = format!(
        "# What was verified of {distro}: written by `kata-qualify run --write-back`, and never by hand.\n\
         apiVersion: v1\ndistro: {}\n{}",
        quoted(distro.as_str()),
        render(&entries)
    );
    if text.len() > syntax::MAX_BYTES {
        return Err(WriteError::TooLarge);
    }
    let again = VerifiedFile::parse(Path::new("the new verdicts"), &text).map_err(Box::new)?;
    if again != (VerifiedFile { distro: distro.clone(), entries }) {
        return Err(WriteError::NotReadBack);
    }
    Ok(text)
}

/// Counts the entries of `new` that a text has and the old one has not: the changes of [`apply`], apart from removed
/// entries.
///
/// # Errors
///
/// If either text cannot be read.
pub fn changed(old: Option<&str>, text: &str, new: &[VerifiedEntry]) -> Result<usize, WriteError> {
    let old = old.map(read).transpose()?.unwrap_or_default();
    // Entries that gave way have another day, or no capability in common with the new entry.
    let is_of = |entry: &VerifiedEntry, new: &VerifiedEntry| {
        (entry.key(), entry.tested) == (new.key(), new.tested)
            && entry.capabilities.keys().all(|capability| new.capabilities.contains_key(capability))
    };
    let is_new = |entry: &&VerifiedEntry| !old.contains(entry) && new.iter().any(|one| is_of(entry, one));
    Ok(read(text)?.iter().filter(is_new).count())
}

/// Returns the results of `new` that [`apply`] leaves out because the old text has later ones.
///
/// # Errors
///
/// If the old text cannot be read.
pub fn outdated(old: Option<&str>, new: &[VerifiedEntry]) -> Result<Vec<Outdated>, WriteError> {
    let old = old.map(read).transpose()?.unwrap_or_default();
    Ok(remove_outdated(&old, &mut new.to_vec()))
}

fn read(text: &str) -> Result<Vec<VerifiedEntry>, Box<RecordError>> {
    VerifiedFile::parse(Path::new("the verdicts"), text).map(|file| file.entries).map_err(Box::new)
}

/// Replaces a file atomically: a crash leaves either the old text or the new one, complete; owner, permissions and
/// attributes stay.
///
/// A symbolic link is kept: its target is replaced.
///
/// # Errors
///
/// The error of the file system.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let place = PinnedPath::of_file(path)?;
    let old = place.attributes().map_err(io::Error::other)?;
    place.write(text.as_bytes(), old.as_ref()).map_err(io::Error::other)
}

/// Merges old entries, without the replaced parts, and new ones; the result is sanitized and in the order of the
/// record's releases.
///
/// A new entry takes over its own capabilities; what else an old entry of the same key has stays there, with its day
/// and versions, and what is not applicable stays with it. What an old entry has of a later day stays there, too.
fn merged(
    old: &[VerifiedEntry],
    releases: &[&ReleaseVersion],
    new: &[VerifiedEntry],
) -> Result<Vec<VerifiedEntry>, WriteError> {
    let mut new: Vec<VerifiedEntry> = new.iter().map(safe).collect();
    let mut seen = BTreeSet::new();
    for entry in &new {
        for capability in entry.capabilities.keys() {
            if !seen.insert((entry.key(), *capability)) {
                let what = format!("{} {} {} {}", entry.release, entry.arch, entry.profile, entry.environment);
                return Err(WriteError::Twice(what));
            }
        }
    }
    let mut all: Vec<VerifiedEntry> = old.iter().map(safe).collect();
    remove_outdated(&all, &mut new);
    remove_repeated_inapplicable(&all, &mut new);
    remove_overridden(&mut all, &new);
    all.extend(new);
    let order: BTreeMap<&ReleaseVersion, usize> =
        releases.iter().enumerate().map(|(place, release)| (*release, place)).collect();
    all.sort_by(|a, b| {
        let place = |e: &VerifiedEntry| order.get(&e.release).copied();
        let place = |e: &VerifiedEntry| place(e).unwrap_or(usize::MAX);
        (place(a), a.key(), a.tested).cmp(&(place(b), b.key(), b.tested))
    });
    Ok(all)
}

/// Returns the entry with every text on one line, without control characters, and of bounded length.
fn safe(entry: &VerifiedEntry) -> VerifiedEntry {
    let mut entry = VerifiedEntry { harness: line(&entry.harness), test_set: line(&entry.test_set), ..entry.clone() };
    for capability in entry.capabilities.values_mut() {
        capability.causes.truncate(MAX_CAUSES);
        for cause in &mut capability.causes {
            cause.message = line(&cause.message);
        }
        if let Some(workaround) = &mut capability.workaround {
            *workaround = line(workaround);
        }
    }
    if let Some(kata) = &mut entry.kata {
        kata.brought.values_mut().for_each(|what| *what = line(what));
    }
    entry
}

/// Reduces a text to one line of printable characters; idempotent.
fn line(text: &str) -> String {
    // Guest output can be huge: look only at the part that could be kept.
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
    let shortened: String = joined.chars().take(MAX_CAUSE - 1).collect();
    format!("{}…", shortened.trim_end())
}

/// Renders `verified:` as YAML; every text that could be read as something else is quoted.
fn render(entries: &[VerifiedEntry]) -> String {
    if entries.is_empty() {
        return "verified: []\n".to_owned();
    }
    let mut out = String::from("verified:\n");
    for entry in entries {
        let _ = writeln!(out, "  - release: {}", quoted(entry.release.as_str()));
        let _ = writeln!(out, "    arch: {}", entry.arch);
        let _ = writeln!(out, "    profile: {}", quoted(&entry.profile));
        let _ = writeln!(out, "    environment: {}", entry.environment);
        let _ = writeln!(out, "    basis: {}", entry.basis);
        let _ = writeln!(out, "    tested: {}", entry.tested);
        let _ = writeln!(out, "    harness: {}", quoted(&entry.harness));
        let _ = writeln!(out, "    test-set: {}", quoted(&entry.test_set));
        if entry.shaped {
            out += "    shaped: true\n";
        }
        if let Some(kata) = &entry.kata {
            let runtime = kata.runtime.name();
            let version = double_quoted(&kata.version.to_string());
            let _ = writeln!(out, "    kata:\n      version: {version}\n      runtime: {runtime}");
            if !kata.brought.is_empty() {
                out += "      brought:\n";
            }
            for (component, what) in &kata.brought {
                let _ = writeln!(out, "        {component}: {}", double_quoted(what));
            }
        }
        if !entry.versions.is_empty() {
            out += "    versions:\n";
        }
        for (package, version) in &entry.versions {
            let _ = writeln!(out, "      {}: {}", quoted(package.as_str()), quoted(version.as_str()));
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
            if capability.flaky {
                out += "        flaky: true\n";
            }
            if !capability.causes.is_empty() {
                out += "        causes:\n";
            }
            for cause in &capability.causes {
                render_cause(&mut out, cause);
            }
            if let Some(workaround) = &capability.workaround {
                let _ = writeln!(out, "        workaround: {}", double_quoted(workaround));
            }
        }
    }
    out
}

/// Renders an item of `causes`.
fn render_cause(out: &mut String, cause: &VerifiedCause) {
    let component = cause.component.map(|component| format!("component: {component}"));
    let test = cause.test.as_deref().map(|test| format!("test: {}", test_id(test)));
    let message = format!("message: {}", double_quoted(&cause.message));
    for (place, key) in component.into_iter().chain(test).chain([message]).enumerate() {
        let _ = writeln!(out, "          {} {key}", if place == 0 { "-" } else { " " });
    }
}

/// Renders a test's id without quotes: in YAML, a colon that no blank follows is part of a word.
fn test_id(id: &str) -> String {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if id.contains("::") && id.split("::").all(is_name) { id.to_owned() } else { quoted(id) }
}

/// Leaves a word plain if YAML can only read it as text; quotes everything else.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "unknown"];
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    if word { text.to_owned() } else { double_quoted(text) }
}

/// Puts a text in double quotes; it contains no control characters, so two escapes are enough.
fn double_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
