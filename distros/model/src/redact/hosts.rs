//! Removal of hosts from text: known ones, and those after a login.

use super::MIRROR;
use super::addresses::{host_length, is_host};
use std::collections::BTreeSet;

/// Replaces every whole occurrence of a host in `text`; in one pass, however many hosts are known.
pub(super) fn without_hosts(text: &str, hosts: &[&BTreeSet<String>]) -> String {
    if hosts.iter().all(|set| set.is_empty()) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_of_host) {
        out.push_str(&rest[..start]);
        let run = &rest[start..];
        let end = run.find(|c: char| !is_of_host(c)).unwrap_or(run.len());
        hosts_of_run(&run[..end], hosts, &mut out);
        rest = &run[end..];
    }
    out.push_str(rest);
    out
}

/// Whether a character can occur in a known host: the characters of names, and those of addresses and unusual names.
fn is_of_host(c: char) -> bool {
    is_host(c) || ODD.contains(c) || (!c.is_ascii() && c.is_alphanumeric())
}

/// Characters that may belong to a host or be next to one: `[IP: 2001:db8::1 80]`, `lists/mirror.example_debian`.
const ODD: &str = ":_~%";

/// Longest host that is searched for; names have 253 bytes at most.
const MAX_HOST: usize = 256;
/// Most possible ends of a host that are tried per start.
const MAX_ENDS: usize = 16;

/// Replaces the hosts in a run of host characters, the longest at each possible start.
fn hosts_of_run(run: &str, hosts: &[&BTreeSet<String>], out: &mut String) {
    let bytes = run.as_bytes();
    let begins = |at: usize| at == 0 || !is_host(bytes[at - 1] as char);
    let ends = |at: usize| match bytes.get(at) {
        // A dot after a host ends the sentence unless a name goes on.
        Some(b'.') => !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric),
        Some(byte) => !is_host(*byte as char),
        None => true,
    };
    let mut from = 0;
    let mut at = 0;
    while at < run.len() {
        if !run.is_char_boundary(at) || !begins(at) {
            at += 1;
            continue;
        }
        let possible = (at + 1..=run.len().min(at + MAX_HOST))
            .filter(|end| run.is_char_boundary(*end) && ends(*end))
            .take(MAX_ENDS);
        let known = possible.filter(|end| {
            let host = run[at..*end].to_ascii_lowercase();
            hosts.iter().any(|set| set.contains(&host))
        });
        match known.last() {
            Some(end) => {
                out.push_str(&run[from..at]);
                out.push_str(MIRROR);
                from = end;
                at = end;
            }
            None => at += 1,
        }
    }
    out.push_str(&run[from..]);
}

/// Replaces `user:password@mirror.example` without a scheme; an uncertain host counts as one if a path follows.
pub(super) fn without_logins(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    let of = |word: &str| {
        let (credentials, rest) = word.rsplit_once('@')?;
        let (user, _) = credentials.split_once(':')?;
        let start =
            user.rfind(|c: char| !is_host(c)).map_or(0, |i| i + user[i..].chars().next().map_or(1, char::len_utf8));
        let (before, name) = user.split_at(start);
        let is_login = !name.is_empty()
            && !name.eq_ignore_ascii_case("mailto")
            && (!before.contains('/') || before.ends_with("//"))
            && !credentials[start..].contains('/');
        let host = host_length(rest).or_else(|| label_before_path(rest).filter(|_| begins_as_name(name)));
        host.filter(|_| is_login).map(|host| format!("{before}{MIRROR}{}", &rest[host..]))
    };
    text.split_inclusive(char::is_whitespace).map(|word| of(word).unwrap_or_else(|| word.to_owned())).collect()
}

/// Returns the length of the host in `mirror/debian` or `mirror:80/debian`.
fn label_before_path(text: &str) -> Option<usize> {
    let host = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-')?;
    let after = &text[host..];
    let after = after.strip_prefix(':').map_or(after, |port| port.trim_start_matches(|c: char| c.is_ascii_digit()));
    (begins_as_name(text) && after.starts_with('/')).then_some(host)
}

/// Whether a text begins with a letter: numbers and versions are neither hosts nor users.
fn begins_as_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
}
