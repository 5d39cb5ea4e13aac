//! Credentials in the form of netrc(5) and apt's `auth.conf`: `machine mirror.example login me password s3cret`.

use super::addresses::CITED;
use super::{MIRROR, SECRET};
use std::ops::Range;

/// Keys that follow a host, each with a value.
const KEYS: [&str; 3] = ["login", "password", "account"];

/// An entry that has a password, by its positions in the text.
struct NetrcEntry {
    /// The host, or an address that contains it; `None` for `default`.
    machine: Option<Range<usize>>,
    /// The values of the keys.
    values: Vec<Range<usize>>,
}

/// Replaces the hosts, logins and passwords of netrc entries in `text`; an address with a scheme stays.
pub(super) fn without_entries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for entry in entries(text) {
        let host = entry.machine.and_then(|place| host(text, place)).map(|place| (place, MIRROR));
        for (place, placeholder) in host.into_iter().chain(entry.values.into_iter().map(|place| (place, SECRET))) {
            out.push_str(&text[from..place.start]);
            out.push_str(placeholder);
            from = place.end;
        }
    }
    out.push_str(&text[from..]);
    out
}

/// Returns the hosts of netrc entries.
pub(super) fn hosts(text: &str) -> impl Iterator<Item = &str> {
    entries(text).into_iter().filter_map(|entry| Some(&text[host(text, entry.machine?)?]))
}

/// Returns the host at the beginning of `mirror.example:8080/debian`.
fn host(text: &str, machine: Range<usize>) -> Option<Range<usize>> {
    let word = &text[machine.clone()];
    let name = word.split([':', '/']).next().filter(|name| !name.is_empty() && !word.contains("://"))?;
    let cited = CITED.contains(&name.to_ascii_lowercase().as_str());
    (!cited).then_some(machine.start..machine.start + name.len())
}

fn entries(text: &str) -> Vec<NetrcEntry> {
    let mut entries = Vec::new();
    if !text.contains("password") {
        return entries;
    }
    let words = words(text);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let machine = match text[word.clone()].trim_start_matches(|c: char| !c.is_ascii_alphanumeric()) {
            "machine" => words.get(at).cloned(),
            "default" => None,
            _ => continue,
        };
        let mut next = at + usize::from(machine.is_some());
        let mut values = Vec::new();
        let mut has_password = false;
        while let Some([key, value]) = words.get(next..next + 2) {
            let key = &text[key.clone()];
            if !KEYS.contains(&key) {
                break;
            }
            has_password |= key == "password";
            values.push(value.clone());
            next += 2;
        }
        if has_password {
            entries.push(NetrcEntry { machine, values });
            at = next;
        }
    }
    entries
}

/// Splits a text into words; a word in quotation marks may contain spaces.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(|c: char| !c.is_whitespace()).map(|i| i + from) {
        let rest = &text[start..];
        let plain = rest.find(char::is_whitespace).unwrap_or(rest.len());
        from = start + quoted(rest).unwrap_or(plain);
        words.push(start..from);
    }
    words
}

/// Returns the length of a word in quotation marks that ends on its line.
fn quoted(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('"')?;
    let end = inside.find(['"', '\n']).filter(|end| inside[*end..].starts_with('"'))?;
    let after = inside[end + 1..].chars().next();
    after.is_none_or(char::is_whitespace).then_some(end + 2)
}
