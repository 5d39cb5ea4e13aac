//! Redaction of text for reports: no host of a mirror, no credentials, nothing that a terminal or a parser would
//! interpret.
//!
//! Text from guests, package managers and daemons is untrusted.
//! It is cleaned when images are built, when the journal is written, and once more when the journal is evaluated, so
//! that every report is safe.

mod addresses;
mod authority;
mod controls;
mod hosts;
mod netrc;
mod passwords;
mod people;

pub use authority::Authority;
pub use controls::{is_unprintable, one_line, without_controls};
pub use passwords::percent_decoded;
pub use people::{People, folder_of, paths_of, without_folders, without_folders_of};

use addresses::{CITED, Url, phrases, urls};
use hosts::{without_hosts, without_logins};
use netrc::without_entries;
use passwords::spellings;
use std::collections::BTreeSet;

/// Placeholder for a mirror's host.
pub const MIRROR: &str = "<mirror>";

/// Placeholder for a password.
pub const SECRET: &str = "<redacted>";

/// Shortest password that is searched for outside of addresses: shorter ones would occur in any word.
const SHORTEST_SECRET: usize = 4;

/// Longest text in a report, in bytes.
pub const MAX_TEXT: usize = 16 << 10;

/// Longest single line in a report, in bytes.
pub const MAX_LINE: usize = 1 << 10;

/// Redacts the hosts that are shown to be mirrors by any of the texts it was built from.
///
/// apt prints `Could not resolve 'mirror.example'` on one line and the URL on another, so hosts are first collected
/// over a whole run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redactor {
    hosts: BTreeSet<String>,
    /// Passwords in all their spellings, the longest first.
    secrets: Vec<String>,
    /// Users and machines whose names are hidden, too; `None` for text that stays on the machine.
    people: Option<People>,
}

impl Redactor {
    /// Collects the hosts of the URLs in `texts`, except those of web pages ([`Redactor::learn`]).
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Redactor {
        let mut redactor = Redactor::default();
        for text in texts {
            if text.contains(':') {
                redactor.learn(text);
            }
        }
        redactor
    }

    /// Creates a redactor that knows hosts and passwords of mirrors and proxies beforehand, from URLs or plain hosts.
    pub fn knowing<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Redactor {
        let mut redactor = Redactor::default();
        addresses.into_iter().for_each(|address| redactor.know(address));
        redactor
    }

    /// Also hides these people and their home directories, for text that leaves the machine.
    #[must_use]
    pub fn hiding(mut self, people: People) -> Redactor {
        self.people = Some(people);
        self
    }

    /// Adds this URL's host and password.
    pub fn know(&mut self, address: &str) {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        // A password may contain slashes: if the end of the host is ambiguous, both readings are added.
        let host_of = |at: usize| &rest[..rest[at..].find('/').map_or(rest.len(), |slash| at + slash)];
        for authority in [host_of(0), host_of(rest.rfind('@').unwrap_or_default())] {
            self.know_authority(Authority::split(authority));
        }
    }

    /// Adds the parts of `user:password@host:port`.
    fn know_authority(&mut self, authority: Authority<'_>) {
        let name = authority.host_name();
        if name.contains(['.', ':']) && !CITED.contains(&name.to_ascii_lowercase().as_str()) {
            self.hosts.insert(name.to_ascii_lowercase());
        }
        if let Some((_, password)) = authority.login {
            self.secrets.extend(spellings(password).into_iter().filter(|s| s.len() >= SHORTEST_SECRET));
            self.secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            self.secrets.dedup();
        }
    }

    /// Adds the hosts of the URLs in a text, except those of web pages: an `https` URL without a login or a port that
    /// nothing marks as fetched is only a reference.
    pub fn learn(&mut self, text: &str) {
        self.learn_where(text, |url| !url.page);
    }

    /// Like [`learn`](Redactor::learn), including web pages: for text whose addresses are all fetched by the machine.
    pub fn learn_all(&mut self, text: &str) {
        self.learn_where(text, |_| true);
    }

    fn learn_where(&mut self, text: &str, is_included: impl Fn(&Url) -> bool) {
        urls(text, |url| {
            if url.cited || !is_included(&url) {
                return;
            }
            let name = url.host.split(':').next().unwrap_or_default().to_ascii_lowercase();
            // A host without a dot may be any word; it is only redacted inside a URL.
            if name.contains('.') {
                self.hosts.insert(name);
            }
        });
        phrases(text, |host| {
            self.hosts.insert(host.to_ascii_lowercase());
        });
        self.hosts.extend(netrc::hosts(text).filter(|host| host.contains('.')).map(str::to_ascii_lowercase));
    }

    /// Returns `input` printable, without mirrors and credentials, and no longer than [`MAX_TEXT`].
    pub fn text(&self, input: &str) -> String {
        // Truncated first, so that gigabytes cost nothing; the redaction may lengthen it a little.
        self.mirrors(&without_controls(input, MAX_TEXT))
    }

    /// Like [`text`](Redactor::text), on one line and no longer than [`MAX_LINE`].
    pub fn line(&self, input: &str) -> String {
        one_line(&self.text(input), MAX_LINE)
    }

    /// Returns a log without mirrors and credentials but otherwise unchanged; `None` if there is nothing to redact.
    pub fn log(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut clean = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let redacted = self.mirrors(&text);
            // A line with nothing to redact stays byte for byte, even if it is not UTF-8.
            if redacted == text { clean.extend_from_slice(line) } else { clean.extend_from_slice(redacted.as_bytes()) }
        }
        (clean != bytes).then_some(clean)
    }

    /// Returns `input` without mirrors and credentials.
    pub fn mirrors(&self, input: &str) -> String {
        let hidden = self.without_secrets(input);
        // Mirrors that only this text reveals.
        let mut own = Redactor::default();
        own.learn(&hidden);
        let is_known = |host: &str| [&self.hosts, &own.hosts].iter().any(|hosts| hosts.contains(host));
        let is_kept = |url: &Url| url.cited || (url.page && !is_known(&url.host.to_ascii_lowercase()));
        let render_host = |url: &Url| if is_kept(url) { url.host.clone() } else { MIRROR.to_owned() };
        let redacted =
            rewritten(&without_entries(&hidden), |text| without_hosts(text, &[&self.hosts, &own.hosts]), render_host);
        match &self.people {
            Some(people) => people.hidden(&redacted),
            None => redacted,
        }
    }

    fn without_secrets(&self, input: &str) -> String {
        let mut out = input.to_owned();
        for secret in self.secrets.iter().filter(|secret| input.contains(secret.as_str())) {
            out = out.replace(secret.as_str(), SECRET);
        }
        out
    }
}

/// Returns `input` without credentials and with the same number of lines; unlike in [`Redactor::mirrors`], addresses
/// keep their host.
pub fn without_credentials(input: &str) -> String {
    let input = without_entries(input);
    rewritten(&input, str::to_owned, |url| match input[url.authority..url.path] == url.host {
        true => url.host.clone(),
        false => format!("{SECRET}@{}", url.host),
    })
}

/// Rewrites `input` without logins and queries; `host` renders the hosts, and `plain` the text around them.
fn rewritten(input: &str, plain: impl Fn(&str) -> String, host: impl Fn(&Url) -> String) -> String {
    let mut out = String::with_capacity(input.len());
    let mut from = 0;
    urls(input, |url| {
        out.push_str(&plain(&without_logins(&input[from..url.authority])));
        out.push_str(&host(&url));
        out.push_str(&plain(&input[url.path..url.query]));
        if url.query < url.end {
            // A query that was redacted before has nothing left to hide.
            let is_hidden = &input[url.query..url.end] == "?" && input[url.end..].starts_with(SECRET);
            out.push_str(if is_hidden { "?" } else { "?<redacted>" });
        }
        from = url.end;
    });
    out.push_str(&plain(&without_logins(&input[from..])));
    out
}

/// Returns `input` printable, without mirrors and credentials, and no longer than [`MAX_TEXT`]; only hosts that `input`
/// itself reveals are known.
pub fn text(input: &str) -> String {
    Redactor::default().text(input)
}

/// Like [`text`], for output that may not be UTF-8.
pub fn bytes(input: &[u8]) -> String {
    let half = MAX_TEXT * 2;
    if input.len() <= half * 2 {
        return text(&String::from_utf8_lossy(input));
    }
    let head = String::from_utf8_lossy(&input[..half]);
    let tail = String::from_utf8_lossy(&input[input.len() - half..]);
    text(&format!("{head}{tail}"))
}

#[cfg(test)]
mod tests;
