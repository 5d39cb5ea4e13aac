//! Addresses in text: URLs, logins, and hosts that a phrase gives away.

/// Hosts of pages that people cite; they are no mirrors.
pub(super) const CITED: &[&str] = &[
    "bugs.debian.org",
    "bugs.launchpad.net",
    "bugzilla.opensuse.org",
    "bugzilla.redhat.com",
    "bugzilla.suse.com",
    "docs.kernel.org",
    "github.com",
    "gitlab.com",
    "localhost",
    "www.qemu.org",
];

/// Schemes whose hosts are mirrors, registries or proxies; `file:` and the like have none.
const SCHEMES: &[&str] = &["http", "https", "ftp", "ftps", "rsync", "ssh", "socks", "socks5", "socks5h", "docker"];

/// Phrases of apt, dnf, curl and resolvers that a bare host follows.
const PHRASES: &[&str] = &[
    "could not resolve host: ",
    "could not resolve proxy: ",
    "could not resolve ",
    "could not connect to ",
    "cannot initiate the connection to ",
    "unable to connect to ",
    "failed to connect to ",
    "connecting to ",
    "temporary failure resolving ",
    "something wicked happened resolving ",
    "[ip: ",
    "/lists/partial/",
    "/lists/",
];

/// A URL with a host, by its places in the text.
pub(super) struct Url {
    /// Where user, host and port begin.
    pub(super) authority: usize,
    /// Without the user, with the port.
    pub(super) host: String,
    /// Where the path begins.
    pub(super) path: usize,
    pub(super) end: usize,
    pub(super) cited: bool,
}

/// Calls `found` for every URL with a host, in order.
pub(super) fn urls(text: &str, mut found: impl FnMut(Url)) {
    let mut from = 0;
    while let Some(at) = text[from..].find("://").map(|i| i + from) {
        let authority = at + 3;
        let letters = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
        let start = text[from..at].rfind(|c| !letters(c)).map_or(from, |i| {
            let i = i + from;
            i + text[i..].chars().next().map_or(1, char::len_utf8)
        });
        let scheme = text[start..at].to_ascii_lowercase();
        // `mirror+http`, `tor+https`, `apt-transport-http`.
        let known = SCHEMES.contains(&scheme.rsplit(['+', '.', '-']).next().unwrap_or_default());
        let stop = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>|\\{}^".contains(c);
        // Passwords have quotes and the like; what looks like one ends before the host.
        let from_host = authority + login(&text[authority..]);
        let end = text[from_host..].find(stop).map_or(text.len(), |i| i + from_host);
        let path = text[from_host..end].find(['/', '?', '#']).map_or(end, |i| i + from_host);
        let host = text[authority..path].rsplit('@').next().unwrap_or_default();
        let bare = host.trim_end_matches([',', ';', ')', ']', '.', '!']);
        let bare = if host.starts_with('[') { host } else { bare };
        if !known || bare.is_empty() {
            from = authority;
            continue;
        }
        // Punctuation after a URL without a path belongs to the sentence.
        let path = path - (host.len() - bare.len());
        let name = bare.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let cited = CITED.contains(&name.as_str());
        let (host, end) = (bare.to_owned(), end.max(path));
        from = end;
        found(Url { authority, host, path, end, cited });
    }
}

/// How long `user:password@` at the beginning is, whatever is in the password but spaces.
fn login(text: &str) -> usize {
    let run = text.find(|c: char| c.is_whitespace() || c == '/').map_or(text, |end| &text[..end]);
    let Some(at) = run.rfind('@') else { return 0 };
    let user = run.find(':').filter(|colon| *colon < at).map(|colon| &run[..colon]);
    let plain = |c: char| !c.is_control() && !"\"'`<>|\\{}^,;()[]".contains(c);
    if user.is_some_and(|user| user.chars().all(plain)) { at + 1 } else { 0 }
}

/// Calls `found` for every bare host that a known phrase gives away.
pub(super) fn phrases(text: &str, mut found: impl FnMut(&str)) {
    // ASCII only, so that positions are those of `text`.
    let lower = text.to_ascii_lowercase();
    for phrase in PHRASES {
        let mut from = 0;
        while let Some(at) = lower[from..].find(phrase).map(|i| i + from + phrase.len()) {
            from = at;
            let rest = text[at..].trim_start_matches(['\'', '"', '[']);
            let end = rest.find(|c: char| !is_host(c)).unwrap_or(rest.len());
            let host = rest[..end].trim_end_matches('.');
            if host.contains('.') && !host.starts_with('.') && !CITED.contains(&host.to_ascii_lowercase().as_str()) {
                found(host);
            }
            // apt puts the address in parentheses: `mirror.example:80 (192.0.2.1)`.
            let after = rest[end..].trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
            if let Some(address) = after.strip_prefix(" (") {
                let end = address.find(|c: char| !(is_host(c) || c == ':')).unwrap_or(address.len());
                if address[..end].contains(['.', ':']) {
                    found(&address[..end]);
                }
            }
        }
    }
}

pub(super) fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '.'
}
