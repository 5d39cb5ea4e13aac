//! What may be told: no mirror's host, no credentials, nothing that a terminal or a parser would act on.
//!
//! Text from guests, package managers and daemons is untrusted.
//! It is cleaned when images are made, when the journal is written, and once more when that is folded, so that every report
//! is safe whatever it prints.

use std::collections::BTreeSet;

/// What stands in place of a mirror's host.
pub const MIRROR: &str = "<mirror>";

/// What stands in place of a password.
pub const SECRET: &str = "<redacted>";

/// Shorter passwords are only known where they stand in an address: every word would have them.
const SHORTEST_SECRET: usize = 4;

/// Longest text in a report, in bytes.
pub const MAX_TEXT: usize = 16 << 10;

/// Longest single line in a report, in bytes.
pub const MAX_LINE: usize = 1 << 10;

/// Hosts of pages that people cite; they are no mirrors.
const CITED: &[&str] = &[
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

/// Redacts the hosts that any of the texts it was made from shows as a mirror.
///
/// apt says `Could not resolve 'mirror.example'` on one line and the URL on another, so hosts are collected over a whole run first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redactor {
    hosts: BTreeSet<String>,
    /// Passwords in all their spellings, the longest first.
    secrets: Vec<String>,
}

impl Redactor {
    /// Collects the hosts of all URLs in `texts`.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Redactor {
        let mut redactor = Redactor::default();
        for text in texts {
            if text.contains("://") || text.contains(':') {
                redactor.learn(text);
            }
        }
        redactor
    }

    /// Knows the hosts and passwords of mirrors and proxies beforehand: URLs, or hosts as they are.
    pub fn knowing<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Redactor {
        let mut redactor = Redactor::default();
        addresses.into_iter().for_each(|address| redactor.know(address));
        redactor
    }

    /// Redacts this URL's host and password, too.
    pub fn know(&mut self, address: &str) {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        // A password may hold what ends a host elsewhere.
        let host_at = rest.find('/').map_or(rest.len(), |first| match rest[..first].contains('@') {
            true => first,
            false => rest.rfind('@').map_or(first, |at| rest[at..].find('/').map_or(rest.len(), |slash| at + slash)),
        });
        let authority = &rest[..host_at];
        let (who, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let name = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        if name.contains(['.', ':']) && !CITED.contains(&name.to_ascii_lowercase().as_str()) {
            self.hosts.insert(name.to_ascii_lowercase());
        }
        if let Some((_, password)) = who.split_once(':') {
            self.secrets.extend(spellings(password).into_iter().filter(|s| s.len() >= SHORTEST_SECRET));
            self.secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
            self.secrets.dedup();
        }
    }

    /// Knows the hosts of all URLs in a text from now on.
    pub fn learn(&mut self, text: &str) {
        urls(text, |url| {
            let name = url.host.split(':').next().unwrap_or_default().to_ascii_lowercase();
            // A host without a dot may be any word; it is only redacted where it stands in a URL.
            if name.contains('.') {
                self.hosts.insert(name);
            }
        });
        phrases(text, |host| {
            self.hosts.insert(host.to_ascii_lowercase());
        });
    }

    /// `input` printable, without mirrors and credentials, and no longer than [`MAX_TEXT`].
    pub fn text(&self, input: &str) -> String {
        // Cut first, so that gigabytes cost nothing; then redact, which may lengthen a little.
        self.mirrors(&printable(input, MAX_TEXT))
    }

    /// As [`text`](Redactor::text), on one line and no longer than [`MAX_LINE`].
    pub fn line(&self, input: &str) -> String {
        one_line(&self.text(input), MAX_LINE)
    }

    /// A log's text as it is, but for mirrors and credentials: nothing where there are none.
    pub fn log(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut clean = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let told = self.mirrors(&text);
            // What is no text stays to the byte where nothing is to be taken out of it.
            if told == text { clean.extend_from_slice(line) } else { clean.extend_from_slice(told.as_bytes()) }
        }
        (clean != bytes).then_some(clean)
    }

    /// `input` without mirrors and credentials.
    pub fn mirrors(&self, input: &str) -> String {
        let hidden = self.without_secrets(input);
        let input = hidden.as_str();
        // What this text gives away besides.
        let mut own = Redactor::default();
        own.learn(input);
        let without_hosts = |text: &str| without_hosts(text, &[&self.hosts, &own.hosts]);
        let mut out = String::with_capacity(input.len());
        let mut from = 0;
        urls(input, |url| {
            out.push_str(&without_hosts(&without_logins(&input[from..url.authority])));
            out.push_str(if url.cited { &url.host } else { MIRROR });
            let path = &input[url.path..url.end];
            match path.find(['?', '#']) {
                Some(at) => {
                    out.push_str(&without_hosts(&path[..at]));
                    out.push_str("?<redacted>");
                }
                None => out.push_str(&without_hosts(path)),
            }
            from = url.end;
        });
        out.push_str(&without_hosts(&without_logins(&input[from..])));
        out
    }

    fn without_secrets(&self, input: &str) -> String {
        let mut out = input.to_owned();
        for secret in self.secrets.iter().filter(|secret| input.contains(secret.as_str())) {
            out = out.replace(secret.as_str(), SECRET);
        }
        out
    }
}

/// A password as it was given, as it is meant, and as programs write it.
fn spellings(password: &str) -> Vec<String> {
    let meant = percent_decoded(password);
    let encoded = |upper: bool| {
        let code = |byte: u8| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => (b as char).to_string(),
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        };
        meant.bytes().map(code).collect::<String>()
    };
    let json = serde_json::to_string(&meant).unwrap_or_default();
    vec![
        password.to_owned(),
        encoded(true),
        encoded(false),
        json.trim_matches('"').to_owned(),
        meant.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        meant.chars().filter(|c| !c.is_control()).collect(),
        printable(&meant, MAX_TEXT),
        meant,
    ]
}

/// `%40` is `@`; what is no such code stays.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        (bytes, rest) = match (first, code) {
            (b'%', Some(byte)) => ([bytes, vec![byte]].concat(), &after[2..]),
            (byte, _) => ([bytes, vec![*byte]].concat(), after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `user:password@mirror.example` without a scheme before it.
fn without_logins(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    let of = |word: &str| {
        let (who, rest) = word.rsplit_once('@')?;
        let (user, _) = who.split_once(':')?;
        let host = rest.find(|c: char| !is_host(c)).map_or(rest, |end| &rest[..end]);
        let start =
            user.rfind(|c: char| !is_host(c)).map_or(0, |i| i + user[i..].chars().next().map_or(1, char::len_utf8));
        let sound = !who.contains('/') && start < user.len() && host.contains('.') && !host.starts_with('.');
        let is_name = host
            .rsplit('.')
            .next()
            .is_some_and(|last| last.len() > 1 && !last.starts_with(|c: char| c.is_ascii_digit()));
        (sound && is_name).then(|| format!("{}{MIRROR}{}", &user[..start], &rest[host.len()..]))
    };
    text.split_inclusive(char::is_whitespace).map(|word| of(word).unwrap_or_else(|| word.to_owned())).collect()
}

/// `input` on one line, its middle left out where it is longer than `max` bytes.
pub fn one_line(input: &str, max: usize) -> String {
    shorten(&input.split_whitespace().collect::<Vec<_>>().join(" "), max, " […] ")
}

/// `input` printable, without mirrors and credentials, and no longer than [`MAX_TEXT`]; only hosts that `input` itself gives away are known.
pub fn text(input: &str) -> String {
    Redactor::default().text(input)
}

/// As [`text`], for output that may not be UTF-8.
pub fn bytes(input: &[u8]) -> String {
    let half = MAX_TEXT * 2;
    if input.len() <= half * 2 {
        return text(&String::from_utf8_lossy(input));
    }
    let head = String::from_utf8_lossy(&input[..half]);
    let tail = String::from_utf8_lossy(&input[input.len() - half..]);
    text(&format!("{head}{tail}"))
}

/// `input` without escape sequences and control characters but line feeds and tabs, its head and tail kept where it is longer than `max` bytes.
pub fn printable(input: &str, max: usize) -> String {
    // Escape sequences only shorten, so what lies beyond twice the measure cannot come back in.
    let mut clean = String::with_capacity(input.len().min(max * 2));
    let bounded = shorten(input, max.saturating_mul(4), "\n");
    let mut chars = bounded.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => clean.push('\n'),
            c if is_unprintable(c) => {}
            c => clean.push(c),
        }
    }
    if bounded.len() < input.len() || clean.len() > max {
        let left_out = input.len().saturating_sub(max);
        return shorten(&clean, max, &format!("\n[… {left_out} bytes left out …]\n"));
    }
    clean
}

/// Whether a character has no place in a report: controls, U+FFFE and U+FFFF, and the marks that turn the direction of text around.
pub fn is_unprintable(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
        c if c.is_control() => true,
        c => (c as u32) & 0xfffe == 0xfffe,
    }
}

/// The head and the tail of `input` around `mark`, at most `max` bytes of it.
fn shorten(input: &str, max: usize, mark: &str) -> String {
    if input.len() <= max {
        return input.to_owned();
    }
    let head = input.floor_char_boundary(max / 2);
    let tail = input.ceil_char_boundary(input.len() - (max - max / 2));
    format!("{}{mark}{}", &input[..head], &input[tail..])
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After ESC: a control sequence, an operating system command, or a single character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        // Ends with BEL or ESC \; an unended one must not swallow what follows the line.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(c) if c.is_ascii() && !c.is_ascii_control() => {
            let intermediate = (' '..='/').contains(c);
            chars.next();
            if intermediate {
                chars.next_if(|c| ('0'..='~').contains(c));
            }
        }
        _ => {}
    }
}

/// After ESC [: parameters and a final character.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

struct Url {
    /// Where user, host and port begin.
    authority: usize,
    /// Without the user, with the port.
    host: String,
    /// Where the path begins.
    path: usize,
    end: usize,
    cited: bool,
}

/// Calls `found` for every URL with a host, in order.
fn urls(text: &str, mut found: impl FnMut(Url)) {
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
fn phrases(text: &str, mut found: impl FnMut(&str)) {
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

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '.'
}

/// `text` with every whole occurrence of a host replaced; in one pass, however many hosts are known.
fn without_hosts(text: &str, hosts: &[&BTreeSet<String>]) -> String {
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

/// What may stand in a host that is known: the characters of names, and what addresses and odd names have besides.
fn is_of_host(c: char) -> bool {
    is_host(c) || ODD.contains(c) || (!c.is_ascii() && c.is_alphanumeric())
}

/// Characters that may be a host's own or stand beside one: `[IP: 2001:db8::1 80]`, `lists/mirror.example_debian`.
const ODD: &str = ":_~%";

/// Longest host that is looked for; names have 253 bytes at most.
const MAX_HOST: usize = 256;
/// Places in a run where a host may end, that are tried from one beginning.
const MAX_ENDS: usize = 16;

/// Replaces the hosts in a run of their characters, the longest from each place where one may begin.
fn hosts_of_run(run: &str, hosts: &[&BTreeSet<String>], out: &mut String) {
    let bytes = run.as_bytes();
    let begins = |at: usize| at == 0 || !is_host(bytes[at - 1] as char);
    let ends = |at: usize| match bytes.get(at) {
        // A full stop after a host ends the sentence unless a name goes on.
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

#[cfg(test)]
mod tests;
