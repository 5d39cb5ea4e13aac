//! Comparison of a process's arguments with the profile's, word for word, apart from values that vary between runs.

use crate::check::{Check, Stop};

/// Checks that Kata passed QEMU the arguments that the profile expects.
///
/// Kata generates the arguments, and QEMU has accepted them by the time they are seen. A difference therefore means
/// that the profile does not describe this Kata, which is the harness's fault and never the distro's.
pub(super) fn agree(profile: &str, kata: &str, expected: &[String], seen: &[String]) -> Check {
    let differences = differences(expected, seen);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Stop::error(format!(
        "the profile {profile} does not say what Kata {kata} prints, which is not QEMU's fault: {}\n\
         profile: {}\nkata:    {}\n\
         hold the profiles against Kata's source: kata-qualify profiles --against CHECKOUT",
        differences.join("; "),
        expected.join(" "),
        seen.join(" ")
    )))
}

/// Lists the differences between the expected and the seen words, one line each; empty if there are none.
/// `<placeholders>` in the expected words stand for any text without a comma or blank.
///
/// Order counts only between a flag and its value: QEMU reads most options in any order, and the profile's generator
/// states the set.
fn differences(expected: &[String], seen: &[String]) -> Vec<String> {
    let expected = options(expected);
    let mut unmatched = options(seen);
    let mut lines = Vec::new();
    for expected_option in &expected {
        match unmatched.iter().position(|option| matches(expected_option, option)) {
            Some(at) => drop(unmatched.remove(at)),
            None => lines.push(format!("missing {expected_option}")),
        }
    }
    lines.extend(unmatched.iter().map(|option| format!("unexpected {option}")));
    lines
}

/// Joins each flag with its value: `-m 2048M`.
fn options(words: &[String]) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for word in words {
        match options.last_mut() {
            Some(last) if !word.starts_with('-') => {
                last.push(' ');
                last.push_str(word);
            }
            _ => options.push(word.clone()),
        }
    }
    options
}

/// Checks whether `text` is `pattern` with each `<placeholder>` replaced by text without a comma or blank.
fn matches(pattern: &str, text: &str) -> bool {
    let Some(start) = pattern.find('<') else { return pattern == text };
    let Some(length) = pattern[start..].find('>') else { return pattern == text };
    let (before, after) = (&pattern[..start], &pattern[start + length + 1..]);
    let Some(rest) = text.strip_prefix(before) else { return false };
    let longest = rest.find([',', ' ']).unwrap_or(rest.len());
    let mut ends: Vec<usize> = rest[..longest].char_indices().map(|(at, _)| at).collect();
    ends.push(longest);
    ends.into_iter().any(|end| matches(after, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn placeholders_match_only_the_parts_that_may_differ() {
        let golden =
            words("-name sandbox-<id>,debug-threads=on -m 2048M -device vhost-vsock-pci,vhostfd=<fd>,guest-cid=<cid>");
        let same = words("-m 2048M -name sandbox-kq1,debug-threads=on -device vhost-vsock-pci,vhostfd=3,guest-cid=77");
        assert_eq!(differences(&golden, &same), Vec::<String>::new());
        let other =
            words("-m 512M -name sandbox-kq1,debug-threads=on -device vhost-vsock-pci,vhostfd=3,guest-cid=77,x=y");
        let found = differences(&golden, &other);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("missing -m 2048M"), "{found:?}");
        assert!(found[3].contains("x=y"), "{found:?}");
    }

    /// A difference blames neither QEMU nor another component, and the message has both sides.
    #[test]
    fn a_difference_is_an_error_that_shows_both_sides() {
        let golden = words("-name sandbox-<id> -device virtio-blk-pci,scsi=off,drive=<disk>");
        let seen = words("-name sandbox-kq1 -device virtio-blk-pci,drive=d");
        assert_eq!(
            agree("go-3.2", "3.8.0", &golden, &words("-name sandbox-a -device virtio-blk-pci,scsi=off,drive=d")),
            Ok(())
        );
        let Err(Stop::Error { message }) = agree("go-3.2", "3.8.0", &golden, &seen) else { panic!("an error") };
        for part in
            ["go-3.2", "Kata 3.8.0", "profile: -name sandbox-<id>", "kata:    -name sandbox-kq1", "missing -device"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_placeholder_stops_at_a_comma() {
        assert!(matches("a=<x>,b", "a=1,b"));
        assert!(!matches("a=<x>,b", "a=1,c,b"));
        assert!(matches("<a>:<b>", "3:4"));
        assert!(matches("a=<x>", "a="));
        assert!(!matches("<broken", "broken"));
    }
}
