//! Redaction of people: the names of a machine's users, its own name, and the directories of users.
//!
//! These names are no secret on the machine itself, but are removed from text that is sent to strangers.

/// Placeholder for a user's name.
const USER: &str = "<user>";
/// Placeholder for a machine's name.
const HOST: &str = "<host>";
/// Placeholder for the leading directories of a path.
const FOLDER: &str = "<folder>";
/// Parent directories of home directories.
const HOMES: &[&str] = &["/home/", "/Users/"];
/// Names that identify nobody, because many machines and users have them.
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
/// Shortest name that is hidden: shorter ones would occur in any text.
const SHORTEST: usize = 3;

/// Names of users and machines to hide in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// Names in lower case with their placeholders, the longest first.
    names: Vec<(String, &'static str)>,
}

impl People {
    /// Hides these users and machines; a machine also by the first part of its name.
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

    /// Returns the text without these names, and without the names of home directories.
    pub fn hidden(&self, text: &str) -> String {
        let mut out = without_homes(text);
        for (name, sign) in &self.names {
            out = without_word(&out, name, sign);
        }
        out
    }
}

/// Rewrites `/home/somebody/x` to `/home/<user>/x`.
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

/// Replaces a name that stands alone in a text.
fn without_word(text: &str, name: &str, sign: &str) -> String {
    // Lowers ASCII only, so that positions are those of the text.
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

/// Reduces absolute paths in a command line, or a word of it, to their last component: the rest reveals where somebody
/// works.
pub fn without_folders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('/') {
        let before = rest[..at].chars().next_back().or(out.chars().next_back());
        let end =
            rest[at..].find(|c: char| c.is_whitespace() || "'\",;#".contains(c)).map_or(rest.len(), |end| at + end);
        let path = &rest[at..end];
        let is_path = before.is_none_or(|c| c.is_whitespace() || "='\"".contains(c));
        out.push_str(&rest[..at]);
        match path.trim_end_matches('/').rsplit_once('/') {
            // `/x` and `/` reveal nothing.
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
    fn user_and_host_names_are_hidden() {
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
    fn only_the_last_part_of_a_path_remains() {
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
        fn any_text_is_redacted_without_panic(text in "\\PC*|[a-z/ =@.]*") {
            let people = People::new(["abc"], ["def"]);
            people.hidden(&text);
            without_folders(&text);
        }
    }
}
