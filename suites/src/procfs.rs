//! Files of /proc that several tests read.

/// A path of mountinfo: the kernel writes blanks and backslashes in it as three octal digits.
pub fn unescaped(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten();
        let value = octal.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

/// The processors' flags of a /proc/cpuinfo: `svm`. Other architectures than x86 have no such line.
pub fn cpu_flags(cpuinfo: &str) -> Option<Vec<&str>> {
    let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == "flags"))?;
    Some(line.split_once(':')?.1.split_whitespace().collect())
}

/// A limit of a /proc/PID/limits by the beginning of its line, `Max open files`: the soft and the hard one, each a number
/// or `unlimited`.
pub fn limit<'t>(limits: &'t str, name: &str) -> Option<(&'t str, &'t str)> {
    let mut words = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    Some((words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_left_to_right() {
        assert_eq!(unescaped("/a\\040b"), b"/a b");
        assert_eq!(unescaped("/a\\134040b\\"), b"/a\\040b\\", "a backslash that the path itself has");
    }

    #[test]
    fn flags_are_whole_words_of_their_line() {
        let cpuinfo = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm_lock\nbugs\t\t: svm\n";
        assert_eq!(cpu_flags(cpuinfo), Some(vec!["fpu", "svm_lock"]));
        assert_eq!(cpu_flags("Features\t: fp asimd\n"), None);
    }

    #[test]
    fn a_limit_is_read_by_its_name() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             unlimited            unlimited            processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(limit(limits, "Max open files"), Some(("1024", "524288")));
        assert_eq!(limit(limits, "Max processes"), Some(("unlimited", "unlimited")));
        assert_eq!(limit(limits, "Max nice priority"), None);
    }
}
