//! The part of an address that names a host and may have credentials (RFC 3986, 3.2).

/// The parts of `user:password@host:port`, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The user and the password, which is empty if there is none; both may have percent codes.
    pub login: Option<(&'a str, &'a str)>,
    /// The host with its port, if it has one.
    pub host: &'a str,
}

impl<'a> Authority<'a> {
    /// Splits the part of an address between `://` and the path. A user or a password may contain `@`.
    pub fn split(text: &'a str) -> Authority<'a> {
        let (login, host) = text.rsplit_once('@').map_or((None, text), |(login, host)| (Some(login), host));
        Authority { login: login.map(|login| login.split_once(':').unwrap_or((login, ""))), host }
    }

    /// Returns the name or the address of the host, without port and brackets.
    pub fn host_name(self) -> &'a str {
        match self.host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    /// Returns the text after the host's last colon; a colon in brackets belongs to the host.
    pub fn port(self) -> Option<&'a str> {
        self.host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_split_into_its_parts() {
        let parts = |text| {
            let authority = Authority::split(text);
            (authority.login, authority.host_name(), authority.port())
        };
        assert_eq!(parts("mirror.example"), (None, "mirror.example", None));
        assert_eq!(parts("a%40b:p:w@mirror.example:80"), (Some(("a%40b", "p:w")), "mirror.example", Some("80")));
        assert_eq!(parts("me@x@h"), (Some(("me@x", "")), "h", None));
        assert_eq!((parts("[::1]"), parts("[::1]:80")), ((None, "::1", None), (None, "::1", Some("80"))));
        assert_eq!(parts(""), (None, "", None));
    }
}
