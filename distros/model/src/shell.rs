//! Quoting of words for a shell's command line.

/// Quotes any text as one word for a POSIX shell; left plain if no shell would interpret it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._/:@%,=".contains(c);
    // A first word `a=b` would be an assignment; zsh expands `=ls` to a path.
    let is_name = |name: &str| name.trim_end_matches('+').chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let assigns = word.split_once('=').is_some_and(|(name, _)| is_name(name));
    match !word.is_empty() && word.chars().all(is_plain) && !assigns {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text that `sh` reads from a quoted word.
    fn read(word: &str) -> String {
        let script = format!("printf '%s' {}", quoted(word));
        let stdout = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        String::from_utf8(stdout).unwrap()
    }

    #[test]
    fn only_words_special_to_a_shell_are_quoted() {
        for word in ["--option=Dir::Etc=/x", "q35,accel=kvm", "qemu-kvm:amd64", "/usr/bin/qemu", "g++", "50%", "a@b"] {
            assert_eq!(quoted(word), word);
            assert_eq!(read(word), word);
        }
        for (word, expected) in [
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("A=b", "'A=b'"),
            ("a+=b", "'a+=b'"),
            ("=ls", "'=ls'"),
            ("~", "'~'"),
            ("1~rc", "'1~rc'"),
            ("$(id)", "'$(id)'"),
            ("a\nb", "'a\nb'"),
            (r"\", r"'\'"),
        ] {
            assert_eq!(quoted(word), expected);
            assert_eq!(read(word), word);
        }
    }
}
