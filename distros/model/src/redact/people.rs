//! Redaction of people: the names of a machine's users, its own name, and the directories in which somebody works.
//!
//! These names are no secret on the machine itself, but are removed from text that is sent to strangers.
//! Directories that every system or every guest of Kata has stay readable: they are part of the evidence.

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
/// Directories that are the same everywhere, with everything below them.
const STANDARD: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/opt/kata",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/cache/kata-qualify",
    "/var/lib",
    "/var/run",
];
/// Directories that are the same everywhere, but not what is below them.
const SHARED: &[&str] = &["/usr/local/src", "/var/cache", "/var/tmp"];
/// Shortest name that is hidden: shorter ones would occur in any text.
const SHORTEST: usize = 3;

/// Names of users and machines to hide in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// Names in lower case with their placeholders, the longest first.
    names: Vec<(String, &'static str)>,
    /// Directories, the longest first.
    folders: Vec<String>,
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
        People { names, folders: Vec::new() }
    }

    /// Also hides these directories, except for those that are the same everywhere.
    #[must_use]
    pub fn with_folders(mut self, folders: impl IntoIterator<Item = String>) -> People {
        let folders = folders.into_iter().map(|folder| folder.trim_end_matches('/').to_owned());
        self.folders.extend(folders.filter(|folder| is_somebodys(folder)));
        longest_first(&mut self.folders);
        self
    }

    /// Returns the text without these names, and without the names of home directories.
    pub fn hidden(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for folder in &self.folders {
            out = without_folder(&out, folder);
        }
        out = without_homes(&out);
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

/// Checks whether a directory reveals where somebody works. A single name reveals nothing and may be any word.
fn is_somebodys(folder: &str) -> bool {
    let is_below =
        |root: &&str| folder.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let names = folder.split('/').filter(|name| !name.is_empty()).count();
    names > 1 && !SHARED.contains(&folder) && !STANDARD.iter().any(is_below)
}

fn longest_first(folders: &mut Vec<String>) {
    folders.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    folders.dedup();
}

/// Replaces a directory in a text, wherever a path begins with it.
fn without_folder(text: &str, folder: &str) -> String {
    if folder.is_empty() || !text.contains(folder) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in text.match_indices(folder) {
        let (before, after) = (text[..at].chars().next_back(), text[at + found.len()..].chars().next());
        // `file:///srv/x` begins with a path after its slashes; a relative path has no slash before it.
        let joins_before = before.is_some_and(|c| is_of_a_name(c) || (c == '/' && !folder.starts_with('/')));
        let joins_after = after.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if joins_before || joins_after {
            continue;
        }
        out.push_str(&text[from..at]);
        out.push_str(FOLDER);
        from = at + found.len();
    }
    out + &text[from..]
}

/// Returns the paths that one word of a command line names: of `--mirror=file:///srv/m`, `a.deb,/srv/b.deb` or
/// `virtiofsd=/srv/my project/virtiofsd`. A word may also be an option with its value, as a journal keeps them.
pub fn paths_of(word: &str) -> impl Iterator<Item = &str> {
    let value = match word.starts_with('-') {
        true => word.split_once(['=', ' ']).map_or("", |(_, value)| value),
        false => word,
    };
    // A comma may also be part of a path.
    let whole = Some(value).filter(|value| !value.contains(",/"));
    value.split(',').chain(whole).map(path_in).filter(|path| is_path(path))
}

/// Returns what may be the path in `NAME=PATH#CHECKSUM` or `file://PATH`.
fn path_in(text: &str) -> &str {
    let text = match text.split_once('=') {
        Some((name, value)) if !name.contains('/') => value,
        _ => text,
    };
    let text = text.strip_prefix("file://").unwrap_or(text);
    text.split_once("#sha").map_or(text, |(path, _)| path)
}

/// Checks whether a text is a path, and neither an address nor a cell's name: `debian:13/x86_64/vm`.
fn is_path(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    text.contains('/') && !text.contains("://") && !first.contains(':')
}

/// Returns the directory of a path, as it is written there.
pub fn folder_of(path: &str) -> Option<&str> {
    let (folder, _) = path.trim_end_matches('/').rsplit_once('/')?;
    Some(folder).filter(|folder| !folder.is_empty())
}

/// Reduces the paths in one word of a command line to their last component: the rest reveals where somebody works.
pub fn without_folders_of(word: &str) -> String {
    let mut folders: Vec<String> = paths_of(word).filter_map(folder_of).map(str::to_owned).collect();
    longest_first(&mut folders);
    without_folders(&folders.iter().fold(word.to_owned(), |word, folder| without_folder(&word, folder)))
}

/// Reduces paths in a text to their last component, as far as it tells where a path begins and ends.
pub fn without_folders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(slash) = rest.find('/') {
        // `./x` and `../x` begin before the slash.
        let at = rest[..slash].trim_end_matches('.').len();
        let before = rest[..at].chars().next_back().or(out.chars().next_back());
        let is_address = slash == at && before == Some(':') && rest[at..].starts_with("//");
        if let Some(path) = rest[at..].strip_prefix("//").filter(|_| is_address && rest[..at].ends_with("file:")) {
            out.push_str(&rest[..at + 2]);
            rest = path;
            // The path begins here, after a slash that is none of its own.
            if let Some(end) = path_end(rest, None).filter(|_| rest.starts_with('/')) {
                out.push_str(&last_of(&rest[..end]));
                rest = &rest[end..];
            }
            continue;
        }
        let end = at + path_end(&rest[at..], before).unwrap_or(rest.len() - at);
        let is_path = !is_address && before.is_none_or(|c| c.is_whitespace() || "='\",:(".contains(c));
        out.push_str(&rest[..at]);
        match is_path {
            true => out.push_str(&last_of(&rest[at..end])),
            false => out.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    out + rest
}

/// Returns the length of the path at the start of a text, after this character: a quoted path ends with its quote.
fn path_end(text: &str, before: Option<char>) -> Option<usize> {
    let quote = before.filter(|c| "'\"".contains(*c)).and_then(|quote| text.find(quote));
    let plain = || text.find(|c: char| c.is_whitespace() || "'\",;#".contains(c));
    quote.or_else(plain).or(Some(text.len()))
}

/// Returns a path reduced to its last component; `/x` and `/` reveal nothing.
fn last_of(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((folders, last)) if !folders.is_empty() => format!("{FOLDER}/{last}"),
        _ => path.to_owned(),
    }
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
            ("'/srv/a b/c'", "'<folder>/c'"),
            ("--mirror=file:///srv/client-x/m x", "--mirror=file://<folder>/m x"),
            ("a.deb,/srv/client-x/b.deb", "a.deb,<folder>/b.deb"),
            ("--out ../client-x/out", "--out <folder>/out"),
            ("--kata https://x.example/a/b.tar", "--kata https://x.example/a/b.tar"),
            ("debian:13/x86_64/container ./a/b /x /", "debian:13/x86_64/container <folder>/b /x /"),
            ("file:// and file:///x", "file:// and file:///x"),
        ] {
            assert_eq!(without_folders(text), expected, "{text}");
        }
    }

    /// A word may have spaces and commas in its paths, and be relative.
    #[test]
    fn only_the_last_part_of_a_words_paths_remains() {
        for (word, expected) in [
            ("--mirror=file:///srv/client-x/m", "--mirror=file://<folder>/m"),
            ("a.deb,/srv/client-x/b.deb", "a.deb,<folder>/b.deb"),
            ("../client-x/out", "<folder>/out"),
            ("client-x/secret/out", "<folder>/out"),
            ("/srv/my project/secret/x", "<folder>/x"),
            ("--overlay /srv/my project/secret/x", "--overlay <folder>/x"),
            ("virtiofsd=/srv/my project/virtiofsd", "virtiofsd=<folder>/virtiofsd"),
            ("/srv/a,b/c.deb", "<folder>/c.deb"),
            ("/srv/x/image.qcow2#sha256:00", "<folder>/image.qcow2#sha256:00"),
            ("https://x.example/a/b.tar", "https://x.example/a/b.tar"),
            ("debian:13/x86_64/container", "debian:13/x86_64/container"),
            ("--profile=go-3.32", "--profile=go-3.32"),
        ] {
            assert_eq!(without_folders_of(word), expected, "{word}");
        }
    }

    #[test]
    fn known_folders_are_hidden_everywhere_but_those_of_every_system_stay() {
        let folders =
            ["/srv/client-x/", "/srv/client-x/deep", "/usr/lib/qemu", "/run/kata", "/opt", "../up/x", "/var/tmp"];
        let people = People::default().with_folders(folders.map(str::to_owned));
        for (text, expected) in [
            ("opening /srv/client-x/deep/a: no", "opening <folder>/a: no"),
            ("in /srv/client-x, file:///srv/client-x/m", "in <folder>, file://<folder>/m"),
            ("/mnt/srv/client-x/a and /srv/client-xy/a", "/mnt/srv/client-x/a and /srv/client-xy/a"),
            (
                "/usr/lib/qemu/virtiofsd /run/kata/s /opt/a /var/tmp/b",
                "/usr/lib/qemu/virtiofsd /run/kata/s /opt/a /var/tmp/b",
            ),
            ("../up/x/y a../up/x/y", "<folder>/y a../up/x/y"),
        ] {
            assert_eq!(people.hidden(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_redacted_without_panic(text in "\\PC*|[a-z/ =@.]*") {
            let people = People::new(["abc"], ["def"]);
            people.with_folders([text.clone(), "/a/b".to_owned()]).hidden(&text);
            without_folders(&text);
            without_folders_of(&text);
        }
    }
}
