//! Credentials of a mirror: taken out of its address at once, and passed only to the fetching program.

use crate::error::{Failure, ImageErrorKind};
use model::redact::{Authority, percent_decoded};
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use operator::process::PROXY_VARIABLES;

/// Returns the addresses of the proxies in this process's environment.
pub(crate) fn proxies() -> impl Iterator<Item = String> {
    PROXY_VARIABLES.iter().filter_map(|name| std::env::var(name).ok())
}

/// User and password for a mirror.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Address of the mirror, without the credentials.
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// Checks that `program` can read the user and the password from its configuration.
    ///
    /// # Errors
    /// Describes the unreadable part, without repeating it.
    pub(crate) fn check_readable_by(&self, program: &str) -> Result<(), Failure> {
        let unreadable = |word: &str| word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control());
        if !unreadable(&self.user) && !unreadable(&self.password) {
            return Ok(());
        }
        let reason = format!(
            "a mirror's user and password must not be empty or contain spaces or control characters: {program} cannot read \
             them"
        );
        Err(ImageErrorKind::BadAddress { address: self.address.clone(), reason }.into())
    }
}

/// Form of an address whose credentials can be separated.
const FORM: &str = "expected SCHEME://[USER:PASSWORD@]HOST[:PORT]/PATH or file:/PATH; write `@`, `:` and `/` in a \
                    user, a password or a path as %40, %3A and %2F";

/// Directory that is private to sandboxed programs (`sandbox`), so that they would find no mirror in it.
const HIDDEN: &str = "/tmp";
const NOT_HIDDEN: &str = "the programs that fetch packages have a /tmp of their own: move the folder out of /tmp, for \
                          example to /srv";

/// Checks that the credentials in a mirror's address can be separated, and that the fetching program can see a local
/// mirror.
///
/// # Errors
/// Describes the expected form; the address is not repeated, because a password may be anywhere in it.
pub fn check_mirror(url: &str) -> Result<(), &'static str> {
    let (address, _) = split(url)?;
    match folder(&address).is_some_and(|folder| is_hidden(&folder)) {
        true => Err(NOT_HIDDEN),
        false => Ok(()),
    }
}

/// Returns the directory of this machine that an address names.
fn folder(address: &str) -> Option<PathBuf> {
    let rest = ["file:", "copy:"].iter().find_map(|scheme| address.strip_prefix(scheme))?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/')?.1,
        None => rest,
    };
    Some(Path::new("/").join(percent_decoded(path).trim_start_matches('/')))
}

/// Returns whether a directory is hidden, by its own path or by the target of a link.
fn is_hidden(folder: &Path) -> bool {
    folder.starts_with(HIDDEN) || folder.canonicalize().is_ok_and(|real| real.starts_with(HIDDEN))
}

/// Separates an address and its credentials.
///
/// # Errors
/// As [`check_mirror`]: the rest of the address would be passed on, and a password may be in it.
pub(crate) fn split(url: &str) -> Result<(String, Option<Login>), &'static str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        let is_local = ["file:/", "copy:/"].iter().any(|scheme| url.starts_with(scheme));
        return if is_local && !url.contains('@') { Ok((url.to_owned(), None)) } else { Err(FORM) };
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = Authority::split(authority);
    let (host, port) = (authority.host, authority.port().unwrap_or("0"));
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    let has_host = !host.is_empty() || ["file", "copy"].contains(&scheme);
    if !is_scheme || !has_host || path.contains('@') || port.parse::<u16>().is_err() {
        return Err(FORM);
    }
    let address = format!("{scheme}://{host}{path}");
    let login = authority.login.map(|(user, password)| Login {
        address: address.clone(),
        user: percent_decoded(user),
        password: percent_decoded(password),
    });
    Ok((address, login))
}

/// Separates the address of a mirror from the caller and its credentials.
pub(super) fn of_mirror(url: &str) -> Result<(String, Option<Login>), ImageErrorKind> {
    let unclear = |reason: &str| ImageErrorKind::BadAddress { address: "of a mirror".into(), reason: reason.into() };
    split(url.trim_end_matches('/')).map_err(unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_split_from_their_address() {
        let (address, login) = split("https://a%40b:p%3aw%22@mirror.example:8080/debian").unwrap();
        assert_eq!(address, "https://mirror.example:8080/debian");
        let login = login.unwrap();
        assert_eq!((login.address, login.user, login.password), (address, "a@b".to_owned(), "p:w\"".to_owned()));
        for plain in
            ["file:/srv/mirror", "file:///srv/mirror", "http://[::1]/debian", "http://h:80", "mirror+https://h/x"]
        {
            assert_eq!(split(plain), Ok((plain.to_owned(), None)));
        }
        assert_eq!(format!("{:?}", split("http://user:secret@h/").unwrap().1), "Some(Login)");
    }

    #[test]
    fn the_folder_is_read_from_every_form_of_file_address() {
        for address in ["file:/srv/a%20b", "file:///srv/a%20b", "file://localhost/srv/a%20b", "copy:/srv/a%20b"] {
            assert_eq!(folder(address).as_deref(), Some(Path::new("/srv/a b")), "{address}");
            assert_eq!(check_mirror(address), Ok(()), "{address}");
        }
        assert_eq!(folder("http://mirror.example/tmp"), None);
        assert_eq!(check_mirror("http://mirror.example/tmp"), Ok(()));
        assert_eq!(check_mirror("file:/tmpfs"), Ok(()));
        assert_eq!(check_mirror("file://user:pw@/tmp/x"), Err(NOT_HIDDEN));
    }

    #[test]
    fn credentials_that_a_program_cannot_read_are_refused() {
        let check =
            |url: &str| split(url).unwrap().1.unwrap().check_readable_by("dnf").map_err(|e| e.cause.to_string());
        assert_eq!(check("http://me:p%22w@h/"), Ok(()));
        for unreadable in ["http://me@h/", "http://:pw@h/", "http://me:p%20w@h/", "http://me%0a:pw@h/"] {
            let why = check(unreadable).unwrap_err();
            assert!(why.contains("must not be empty or contain spaces") && why.contains("dnf cannot read"), "{why}");
        }
    }

    /// The rest of an address is passed on in arguments, which every user can read.
    #[test]
    fn malformed_addresses_that_may_contain_a_password_are_refused() {
        for unclear in [
            "user:secret@mirror.example/debian",
            "//user:secret@mirror.example/debian",
            "http://user:sec/ret@mirror.example/debian",
            "http://user/secret@mirror.example/debian",
            "http://user:secret",
            "http:///debian",
            "mirror.example/debian",
            "",
        ] {
            assert!(check_mirror(unclear).is_err_and(|why| why.contains("expected")), "{unclear}");
        }
    }
}
