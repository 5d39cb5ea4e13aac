//! A mirror's credentials: parted from its address at once, and handed to nobody but who fetches.

use crate::error::{Cause, Failure};
use kata_osinfo::redact::percent_decoded;
use std::fmt;

/// Who asks a mirror, and the word that lets it in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The mirror's address, without these.
    address: String,
    user: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// The address without the credentials in it, and these.
pub(crate) fn part(url: &str) -> (String, Option<Login>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((who, host)) = authority.rsplit_once('@') else { return (url.to_owned(), None) };
    let address = format!("{scheme}://{host}{path}");
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    let login = Login { address: address.clone(), user: percent_decoded(user), password: percent_decoded(password) };
    (address, Some(login))
}

impl Login {
    /// A line of apt_auth.conf(5).
    ///
    /// # Errors
    /// What that file has no way to say.
    pub(crate) fn line(&self) -> Result<String, Failure> {
        let unsayable = |word: &str| word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control());
        if unsayable(&self.user) || unsayable(&self.password) || self.user.starts_with('#') {
            let reason = "apt's auth.conf, by which a mirror's credentials are handed on, takes neither an empty user or password nor spaces or control characters in them";
            return Err(Cause::BadAddress { address: self.address.clone(), reason: reason.to_owned() }.into());
        }
        Ok(format!("machine {} login {} password {}\n", self.address, self.user, self.password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_its_credentials_are_parted() {
        let (address, login) = part("https://a%40b:p%3aw%22@mirror.example:8080/debian");
        assert_eq!(address, "https://mirror.example:8080/debian");
        let line = login.unwrap().line().unwrap();
        assert_eq!(line, "machine https://mirror.example:8080/debian login a@b password p:w\"\n");
        assert_eq!(part("http://mirror.example/debian@x"), ("http://mirror.example/debian@x".to_owned(), None));
        assert_eq!(part("file:/srv/mirror").1, None);
        assert!(part("http://user:p%20w@h/").1.unwrap().line().is_err());
        assert_eq!(format!("{:?}", part("http://user:secret@h/").1), "Some(Login)");
    }
}
