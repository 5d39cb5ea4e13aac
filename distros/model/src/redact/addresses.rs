//! Addresses in text: URLs, logins, and hosts that a phrase reveals.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Hosts of web pages that people cite; these are not mirrors.
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
const SCHEMES: &[&str] = &[
    "http", "https", "ftp", "ftps", "sftp", "scp", "tftp", "rsync", "ssh", "git", "s3", "gs", "ws", "wss", "socks",
    "socks4", "socks4a", "socks5", "socks5h", "docker", "oci",
];

/// Most bytes of an encoded address that are decoded.
const MAX_ENCODED: usize = 4 << 10;

/// Words that precede an address that is fetched, such as one of packages.
const FETCHED: &[&str] = &[
    "baseurl", "deb", "deb-src", "err", "fetch", "fetching", "get", "hit", "ign", "machine", "mirror", "proxy",
    "server", "url",
];
/// Number of bytes before an address that are searched for such a word.
const NEAR: usize = 64;
/// Components of paths that mark a package archive.
const ARCHIVES: &[&str] =
    &["/dists/", "/pool/", "/debian", "/ubuntu", "/alpine", "/fedora", "/repodata", "/os/", "inrelease"];

/// Separators between a scheme and its host: plain, and as programs encode an address inside another one.
const SEPARATORS: &[&str] = &["://", ":%2f%2f", "%3a%2f%2f"];

/// Phrases of apt, dnf, curl and resolvers that precede a bare host.
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

/// A URL with a host, by its positions in the text.
pub(super) struct Url {
    /// Start of user, host and port.
    pub(super) authority: usize,
    /// The host without the user, with the port.
    pub(super) host: String,
    /// Start of the path.
    pub(super) path: usize,
    /// Start of the query or the fragment.
    pub(super) query: usize,
    pub(super) end: usize,
    pub(super) cited: bool,
    /// Whether it is only a reference to a web page, because neither the URL nor the text before it says that it is
    /// fetched.
    pub(super) page: bool,
}

/// Calls `found` for every URL with a host, in order: URLs of known schemes, and any URL with a password.
pub(super) fn urls(text: &str, mut found: impl FnMut(Url)) {
    let mut from = 0;
    while let Some((at, authority)) = separator(text, from) {
        let scheme_begin = scheme_start(text, from, at);
        let scheme = text[scheme_begin..at].to_ascii_lowercase();
        // For compound schemes: `mirror+http`, `tor+https`, `apt-transport-http`.
        let known = SCHEMES.contains(&scheme.rsplit(['+', '.', '-']).next().unwrap_or_default());
        let decoded = Decoded::new(text, authority);
        let rest = &*decoded.text;
        // Passwords may contain quotes and the like; a possible login ends before the host.
        let login = login(rest);
        let path = rest[login..].find(|c: char| "/?#".contains(c) || ends_url(c)).map_or(rest.len(), |i| i + login);
        let host = rest[..path].rsplit('@').next().unwrap_or_default();
        let bare = host.trim_end_matches([',', ';', ')', ']', '.', '!']);
        let bare = if host.starts_with('[') { host } else { bare };
        let is_scheme = host.ends_with(':') && rest[path..].starts_with("//");
        if !(known || login > 0) || bare.is_empty() || is_scheme {
            from = authority;
            continue;
        }
        let query = path_end(rest, path);
        let end = match rest[query..].starts_with(['?', '#']) {
            true => rest[query..].find(ends_url).map_or(rest.len(), |i| i + query),
            false => query,
        };
        // Punctuation after a URL without a path belongs to the sentence.
        let path = path - (host.len() - bare.len());
        let name = bare.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let cited = CITED.contains(&name.as_str());
        let is_plain = scheme == "https" && login == 0 && &text[at..authority] == "://";
        let page = is_plain && is_name(bare) && !is_fetched(&text[..scheme_begin], &rest[path..query]);
        from = decoded.place(end);
        found(Url {
            authority,
            host: bare.to_owned(),
            path: decoded.place(path),
            query: decoded.place(query),
            end: from,
            cited,
            page,
        });
    }
}

/// Whether a host is a name with a dot, without a port.
fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host_length(host) == Some(host.len()) && host.parse::<Ipv4Addr>().is_err()
}

/// Whether the text before an address, or its path, says that something is fetched from it.
fn is_fetched(before: &str, path: &str) -> bool {
    // A word that is far away is unrelated.
    let near = &before[before.floor_char_boundary(before.len().saturating_sub(NEAR))..];
    let near = near.trim_end_matches(|c: char| c.is_whitespace() || "='\"([".contains(c));
    let word = near.rsplit(char::is_whitespace).next().unwrap_or_default();
    // Reduces `Err:1`, `--mirror`, `http_proxy` to a word.
    let word = word.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let end = word.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let path = path.to_ascii_lowercase();
    FETCHED.contains(&word.as_str()) || FETCHED.contains(&end) || ARCHIVES.iter().any(|part| path.contains(part))
}

/// Finds the next separator at or after `from`: its start and end.
fn separator(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut signs = text[from..].match_indices([':', '%']).map(|(i, _)| i + from);
    signs.find_map(|at| Some((at, at + separator_length(&text[at..])?)))
}

/// Returns the length of the separator at the beginning of a text.
fn separator_length(text: &str) -> Option<usize> {
    let is_here = |with: &&str| text.get(..with.len()).is_some_and(|here| here.eq_ignore_ascii_case(with));
    SEPARATORS.iter().copied().find(is_here).map(str::len)
}

/// Returns the end of a path: at a query, at the end of its URL, or at another URL, as in a proxy's path.
fn path_end(text: &str, from: usize) -> usize {
    let mut signs =
        text[from..].match_indices(|c: char| "?#:%".contains(c) || ends_url(c)).map(|(i, sign)| (i + from, sign));
    let end = |(at, sign): (usize, &str)| match sign {
        ":" | "%" => separator_length(&text[at..]).map(|_| scheme_start(text, from, at)),
        _ => Some(at),
    };
    signs.find_map(end).unwrap_or(text.len())
}

/// Returns the start of the scheme whose separator is at `at`.
fn scheme_start(text: &str, from: usize, at: usize) -> usize {
    let letters = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    let start = text[from..at].rfind(|c| !letters(c)).map_or(from, |i| {
        let i = i + from;
        i + text[i..].chars().next().map_or(1, char::len_utf8)
    });
    // The digits of a percent code, as in `url%3Dhttps`, do not belong to the scheme.
    let digits = text.as_bytes()[start..at].get(..2).filter(|_| text[..start].ends_with('%'));
    if digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) { start + 2 } else { start }
}

/// Text after a separator, with its percent codes decoded if the separator is encoded.
struct Decoded<'a> {
    text: Cow<'a, str>,
    /// Start in the original text.
    from: usize,
    /// Original position of each byte; empty if nothing was decoded.
    places: Vec<usize>,
}

impl<'a> Decoded<'a> {
    /// Takes the text from `from` to its end; encoded text only to the end of the code, or to where its path becomes
    /// another address.
    fn new(text: &'a str, from: usize) -> Decoded<'a> {
        if text[..from].ends_with('/') {
            return Decoded { text: Cow::Borrowed(&text[from..]), from, places: Vec::new() };
        }
        let bytes = &text.as_bytes()[..text.len().min(from + MAX_ENCODED)];
        let (mut decoded, mut places, mut at) = (String::new(), Vec::new(), from);
        while let Some(byte) = bytes.get(at).filter(|b| b.is_ascii_alphanumeric() || b"-_.~!*+%:@".contains(b)) {
            let code = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
            let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
            let decoded_char = char::from(code.unwrap_or(*byte));
            places.push(at);
            // A placeholder letter for non-ASCII, so that each byte stays one.
            decoded.push(if decoded_char.is_ascii() { decoded_char } else { 'x' });
            at += if code.is_some() { 3 } else { 1 };
            if decoded.ends_with("://") && !decoded.contains(['?', '#']) {
                break;
            }
        }
        places.push(at);
        Decoded { text: Cow::Owned(decoded), from, places }
    }

    /// Returns the position in the original text.
    fn place(&self, at: usize) -> usize {
        self.places.get(at).copied().unwrap_or(self.from + at)
    }
}

/// Whether a URL ends before this character.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`<>|\\{}^".contains(c)
}

/// Returns the length of `user:password@` at the beginning; the password may contain anything but spaces.
///
/// A password may contain `@` and `/`: the login ends before the first word that can only be a host, else before the
/// last that may be one.
fn login(text: &str) -> usize {
    let slash = text.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(text.len());
    // Text after a slash may be a path, which ends like a URL does, or where another URL begins.
    let mut signs = text[slash..].match_indices(|c: char| c == ':' || ends_url(c)).map(|(i, sign)| (i + slash, sign));
    let end = signs.find_map(|(at, sign)| match sign {
        ":" => text[at..].starts_with("://").then(|| scheme_start(text, slash, at)),
        _ => Some(at),
    });
    let run = &text[..end.unwrap_or(text.len())];
    let Some(colon) = run[..slash].find(':') else { return 0 };
    let plain = |c: char| !c.is_control() && !"\"'`<>|\\{}^,;()[]".contains(c);
    let is_port = run[colon + 1..slash].bytes().all(|byte| byte.is_ascii_digit());
    if is_port || !run[..colon].chars().all(plain) {
        return 0;
    }
    let may_end = |at: &usize| *at > colon && *at < run.len() && !is_digest(&run[*at..]);
    let ends = || run.match_indices('@').map(|(at, _)| at + 1).filter(may_end);
    ends().find(|at| is_surely_host(&run[*at..])).or_else(|| ends().next_back()).unwrap_or(0)
}

/// Whether a text begins with an image's digest: `name:tag@sha256:…` is not a login.
fn is_digest(text: &str) -> bool {
    ["sha256:", "sha512:"].iter().any(|digest| text.starts_with(digest))
}

/// Whether a text begins with a host, followed by something that may follow a host in a URL.
fn is_surely_host(text: &str) -> bool {
    let Some(host) = host_length(text) else { return false };
    let after = &text[host..];
    let after = after.strip_prefix(':').map_or(after, |port| port.trim_start_matches(|c: char| c.is_ascii_digit()));
    after.chars().next().is_none_or(|c| ends_url(c) || "/?#,;.)]".contains(c))
}

/// Returns the length of the host at the beginning of a text: a name with a dot, or an address.
pub(super) fn host_length(text: &str) -> Option<usize> {
    if let Some(v6) = text.strip_prefix('[') {
        let end = v6.find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.')?;
        let address = v6[..end].parse::<Ipv6Addr>().ok().filter(|_| v6[end..].starts_with(']'));
        return address.map(|_| end + 2);
    }
    let end = text.find(|c: char| !is_host(c)).unwrap_or(text.len());
    let host = text[..end].trim_end_matches('.');
    let (name, last) = host.rsplit_once('.')?;
    let is_name = !name.starts_with('.') && last.len() > 1 && !last.starts_with(|c: char| c.is_ascii_digit());
    ((is_name && !name.is_empty()) || host.parse::<Ipv4Addr>().is_ok()).then_some(host.len())
}

/// Calls `found` for every bare host that a known phrase reveals.
pub(super) fn phrases(text: &str, mut found: impl FnMut(&str)) {
    // Lowers ASCII only, so that positions are those of `text`.
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
            // apt adds the address in parentheses: `mirror.example:80 (192.0.2.1)`.
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
