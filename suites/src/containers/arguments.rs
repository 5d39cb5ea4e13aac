//! A process's arguments compared with the profile's, word for word, modulo what differs from run to run.

/// What differs between the words expected, in which `<placeholders>` stand for any text without a comma or blank, and
/// the words seen: one line a difference, empty if there is none.
///
/// Order counts only between a flag and its value: QEMU reads most options in any order, and the profile's generator
/// states the set.
pub(super) fn differences(expected: &[String], seen: &[String]) -> Vec<String> {
    let expected = options(expected);
    let mut unmatched = options(seen);
    let mut lines = Vec::new();
    for wanted in &expected {
        match unmatched.iter().position(|option| matches(wanted, option)) {
            Some(at) => drop(unmatched.remove(at)),
            None => lines.push(format!("missing {wanted}")),
        }
    }
    lines.extend(unmatched.iter().map(|option| format!("unexpected {option}")));
    lines
}

/// Flags with their values: `-m 2048M`.
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

/// Whether `text` is `pattern` with each `<placeholder>` replaced by text without a comma or blank.
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
    fn placeholders_stand_for_what_differs_and_nothing_else() {
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

    #[test]
    fn a_placeholder_stops_at_a_comma() {
        assert!(matches("a=<x>,b", "a=1,b"));
        assert!(!matches("a=<x>,b", "a=1,c,b"));
        assert!(matches("<a>:<b>", "3:4"));
        assert!(matches("a=<x>", "a="));
        assert!(!matches("<broken", "broken"));
    }
}
