//! Whose machine it was: names of its users and its own name, and the folders that lead there.
//!
//! On the machine itself they are no secret; what is sent to strangers does without them.

/// The word in place of a user's name.
const USER: &str = "<user>";
/// The word in place of a machine's name.
const HOST: &str = "<host>";
/// The word in place of the folders that a path begins with.
const FOLDER: &str = "<folder>";
/// Folders that have the users' own.
const HOMES: &[&str] = &["/home/", "/Users/"];
/// Names that say nothing of anybody, because many machines and users have them.
const NOBODYS: &[&str] = &[
    "admin",
    "alpine",
    "archlinux",
    "build",
    "builder",
    "buildd",
    "centos",
    "container",
    "debian",
    "docker",
    "fedora",
    "host",
    "kata",
    "kvm",
    "linux",
    "localhost",
    "machine",
    "nobody",
    "qemu",
    "root",
    "runner",
    "sudo",
    "test",
    "ubuntu",
    "user",
    "vagrant",
];
/// Shorter ones would be found in any text.
const SHORTEST: usize = 3;

/// Names of users and machines that a text is not to give away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// Each with what stands in its place, in lower case, the longest first.
    names: Vec<(String, &'static str)>,
}

impl People {
    /// These users and machines; a machine is also known by the first part of its name.
    pub fn new<'a>(users: impl IntoIterator<Item = &'a str>, machines: impl IntoIterator<Item = &'a str>) -> People {
        let parts = |name: &'a str| [Some(name), name.split_once('.').map(|(first, _)| first)];
        let machines = machines.into_iter().flat_map(parts).flatten().map(|name| (name, HOST));
        let named = users.into_iter().map(|name| (name, USER)).chain(machines);
        let mut names: Vec<(String, &'static str)> = named
            .map(|(name, sign)| (name.to_ascii_lowercase(), sign))
            .filter(|(name, _)| name.len() >= SHORTEST && !NOBODYS.contains(&name.as_str()))
            .collect();
        names.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        names.dedup_by(|a, b| a.0 == b.0);
        People { names }
    }

    /// A text without them, and without the names of home folders.
    pub fn hidden(&self, text: &str) -> String {
        let mut out = without_homes(text);
        for (name, sign) in &self.names {
            out = without_word(&out, name, sign);
        }
        out
    }
}

/// `/home/somebody/x` as `/home/<user>/x`.
fn without_homes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, home)) = HOMES.iter().filter_map(|home| Some((rest.find(home)?, *home))).min() {
        let after = &rest[at + home.len()..];
        let end = after.find(|c: char| !is_of_a_name(c)).unwrap_or(after.len());
        out.push_str(&rest[..at + home.len()]);
        if end > 0 {
            out.push_str(USER);
        }
        rest = &after[end..];
    }
    out + rest
}

/// A text without a name where it stands alone.
fn without_word(text: &str, name: &str, sign: &str) -> String {
    // ASCII only, so that positions are those of the text.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in lower.match_indices(name) {
        let end = at + found.len();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if at < from || joins(text[..at].chars().next_back()) || joins(text[end..].chars().next()) {
            continue;
        }
        out.push_str(&text[from..at]);
        out.push_str(sign);
        from = end;
    }
    out + &text[from..]
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || "._-".contains(c)
}

/// A command line, or a word of it, whose absolute paths keep their last part only: the rest says where somebody works.
pub fn without_folders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let begins = rest[..at].chars().next_back().or(out.chars().next_back());
        let end =
            rest[at..].find(|c: char| c.is_whitespace() || "'\",;#".contains(c)).map_or(rest.len(), |end| at + end);
        let path = &rest[at..end];
        let is_path = begins.is_none_or(|c| c.is_whitespace() || "='\"".contains(c));
        out.push_str(&rest[..at]);
        match path.trim_end_matches('/').rsplit_once('/') {
            // `/x` and `/` say nothing of anybody.
            Some((folders, last)) if is_path && !folders.is_empty() => {
                out.push_str(&format!("{FOLDER}/{last}"));
            }
            _ => out.push_str(path),
        }
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_named() {
        let people = People::new(["alice", "root", "al"], ["forge.lab.example", "debian"]);
        for (text, expected) in [
            ("/home/bob/src and /home/alice", "/home/<user>/src and /home/<user>"),
            ("alice@forge: Alice, malice, alice-2", "<user>@<host>: <user>, malice, alice-2"),
            ("FORGE.lab.example forge reforged", "<host> <host> reforged"),
            ("root on debian in al", "root on debian in al"),
            ("/home/ and /root/x", "/home/ and /root/x"),
            ("", ""),
        ] {
            assert_eq!(people.hidden(text), expected, "{text}");
        }
    }

    #[test]
    fn of_paths_the_last_part_is_left() {
        for (text, expected) in [
            ("--overlay /srv/work/tree", "--overlay <folder>/tree"),
            ("virtiofsd=/srv/build/virtiofsd", "virtiofsd=<folder>/virtiofsd"),
            ("/srv/x/image.qcow2#sha256:00", "<folder>/image.qcow2#sha256:00"),
            ("'/srv/a b/c'", "'<folder>/a b/c'"),
            ("--kata https://x.example/a/b.tar", "--kata https://x.example/a/b.tar"),
            ("debian:13/x86_64/container ./a/b /x /", "debian:13/x86_64/container ./a/b /x /"),
        ] {
            assert_eq!(without_folders(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*|[a-z/ =@.]*") {
            let people = People::new(["abc"], ["def"]);
            people.hidden(&text);
            without_folders(&text);
        }
    }
}
