//! Words of a shell's command line.

/// A word for a POSIX shell that is this text, whatever is in it; plain where no shell would read it otherwise.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._/:@%,=".contains(c);
    // The first word of a command would be an assignment then; to zsh `=ls` is a path.
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

    /// What `sh` makes of a word.
    fn read(word: &str) -> String {
        let script = format!("printf '%s' {}", quoted(word));
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn what_means_nothing_to_a_shell_stays_plain() {
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
