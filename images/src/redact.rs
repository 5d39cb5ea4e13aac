//! Mirror hosts, addresses and credentials are taken out of everything that leaves this crate.

/// Replaces the hosts of mirrors and proxies.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redactor {
    hosts: Vec<String>,
}

const PLACEHOLDER: &str = "MIRROR";

impl Redactor {
    /// Redacts every URL's authority, and these URLs' hosts wherever they stand.
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Redactor {
        let mut redactor = Redactor::default();
        redactor.add(urls);
        redactor
    }

    /// Redacts these URLs' hosts, too.
    pub(crate) fn add<'a>(&mut self, urls: impl IntoIterator<Item = &'a str>) {
        self.hosts.extend(urls.into_iter().filter_map(host));
        // Longest first, so that a host that is part of another leaves nothing behind.
        self.hosts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.hosts.dedup();
    }

    /// One line or a whole text without hosts, addresses of answers and credentials.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut out = addresses(&authorities(text));
        for host in &self.hosts {
            out = out.replace(host.as_str(), PLACEHOLDER);
        }
        out
    }
}

/// `http://user:pw@host:80/x` becomes `http://MIRROR/x`.
fn authorities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || "'\"<>),;|".contains(c)).unwrap_or(after.len());
        if end > 0 {
            out.push_str(PLACEHOLDER);
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// apt's `[IP: 192.0.2.1 80]` goes, and `(192.0.2.1)` and `[2001:db8::1]` too.
fn addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['[', '(']) {
        let close = if rest[open..].starts_with('[') { ']' } else { ')' };
        let Some(length) = rest[open..].find(close) else {
            break;
        };
        let inside = &rest[open + 1..open + length];
        let bare = inside.strip_prefix("IP: ").unwrap_or(inside);
        let first = bare.split(' ').next().unwrap_or_default();
        out.push_str(&rest[..=open]);
        if first.parse::<std::net::IpAddr>().is_ok() {
            out.push_str(PLACEHOLDER);
        } else {
            out.push_str(inside);
        }
        out.push(close);
        rest = &rest[open + length + 1..];
    }
    out.push_str(rest);
    out
}

/// The host of a URL: without credentials and port.
pub(crate) fn host(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_credentials_go() {
        let r = Redactor::new(["http://user:pw@mirror.example:8080/debian", "https://proxy.example/"]);
        assert_eq!(
            r.text("E: Failed to fetch http://user:pw@mirror.example:8080/debian/dists/x  404 [IP: 192.0.2.7 80]"),
            "E: Failed to fetch http://MIRROR/debian/dists/x  404 [MIRROR]"
        );
        assert_eq!(
            r.text("Could not connect to mirror.example:80 (192.0.2.7). - connect (111: Connection refused)"),
            "Could not connect to MIRROR:80 (MIRROR). - connect (111: Connection refused)"
        );
        assert_eq!(r.text("Could not resolve 'proxy.example'"), "Could not resolve 'MIRROR'");
        assert_eq!(r.text("mirror.example_debian_dists_sid"), "MIRROR_debian_dists_sid");
        assert_eq!(r.text("see https://other.example/x, [ok] (y"), "see https://MIRROR/x, [ok] (y");
        assert_eq!(r.text("file:///var/x"), "file:///var/x");
    }

    #[test]
    fn hosts_are_taken_apart() {
        assert_eq!(host("http://a@[2001:db8::1]:80/x").as_deref(), Some("2001:db8::1"));
        assert_eq!(host("file:///x"), None);
        assert_eq!(host("plain"), None);
    }
}
