//! Parsers for files of `/proc`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// A mount, as a line of `/proc/PID/mountinfo` describes it (proc_pid_mountinfo(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the device of its files: `8:1`.
    pub device: String,
    /// The mount point.
    pub at: PathBuf,
    /// The filesystem type.
    pub kind: String,
    /// The mount source: a device, or an arbitrary name.
    pub source: String,
    /// The options of the mount and then those of its filesystem: `ro`, `size=64k`.
    pub options: Vec<String>,
}

impl Mount {
    /// Parses a whole table, in its order: of several mounts at one place the last one is visible.
    pub fn all(mountinfo: &[u8]) -> impl DoubleEndedIterator<Item = Mount> {
        mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::read)
    }

    /// Parses one line; returns `None` if it is malformed.
    pub fn read(line: &[u8]) -> Option<Mount> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = String::from_utf8(fields.nth(2)?.to_vec()).ok()?;
        let at = path(fields.nth(1)?);
        let of_mount = fields.next()?;
        // Between the options and the type there are any number of optional fields, and then a dash.
        fields.find(|field| *field == b"-")?;
        let text = |field: &[u8]| String::from_utf8_lossy(&unescaped(field)).into_owned();
        let (kind, source, of_filesystem) = (text(fields.next()?), text(fields.next()?), fields.next()?);
        let options = [of_mount, of_filesystem].into_iter().flat_map(|field| field.split(|byte| *byte == b','));
        Some(Mount { device, at, kind, source, options: options.map(text).collect() })
    }

    /// Checks whether the mount or its filesystem has the option: `ro`.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|one| one == option)
    }
}

/// Decodes a path in a table of mounts.
fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescaped(field)))
}

/// Decodes the kernel's escapes: blanks, line ends and backslashes in a field are written as a backslash and three
/// octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.split_first_chunk::<3>().filter(|_| first == b'\\');
        match code.and_then(|(digits, end)| Some((octal(*digits)?, end))) {
            Some((byte, end)) => {
                bytes.push(byte);
                rest = end;
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

/// Returns a number of `/proc/meminfo`, in KiB if it is an amount: `MemAvailable`, `HugePages_Free`.
///
/// `None` if the kernel does not report it: `MemAvailable` exists since Linux 3.14.
pub fn meminfo(table: &str, key: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the value of a key in `/proc/PID/status` (proc_pid_status(5)), trimmed: `2` of `Seccomp`, `2048 kB` of
/// `VmRSS`.
pub fn status<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Returns the value of a key in /proc/cpuinfo for the first processor that has it, trimmed: `AuthenticAMD` of
/// `vendor_id`.
pub fn cpu<'t>(cpuinfo: &'t str, key: &str) -> Option<&'t str> {
    let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim())
}

/// Returns the processor flags in /proc/cpuinfo: `svm`. Architectures other than x86 have no such line.
pub fn cpu_flags(cpuinfo: &str) -> Option<Vec<&str>> {
    Some(cpu(cpuinfo, "flags")?.split_whitespace().collect())
}

/// Returns the soft and the hard limit in /proc/PID/limits, by the beginning of the line (`Max open files`); each is a
/// number or `unlimited`.
pub fn limit<'t>(limits: &'t str, name: &str) -> Option<(&'t str, &'t str)> {
    let mut words = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
    Some((words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_escapes_in_a_path_are_decoded_left_to_right() {
        assert_eq!(unescaped(b"/a\\040b"), b"/a b");
        assert_eq!(unescaped(b"/a\\134040b\\"), b"/a\\040b\\", "a backslash that the path itself has");
        assert_eq!(unescaped(b"/\xff\\0400"), b"/\xff 0", "a path is bytes, and a code has three digits");
        for no_code in [&b"\\04"[..], b"\\048", b"\\+12", b"\\777"] {
            assert_eq!(unescaped(no_code), no_code);
        }
    }

    #[test]
    fn a_mount_is_parsed_with_any_optional_fields_before_the_dash() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      no line of it\n\
                      31 22 0:40 /of /mnt/a\\040b rw,relatime shared:1 master:2 - fuse.x a\\040name rw\n";
        let read: Vec<Mount> = Mount::all(table).collect();
        let mount = |device: &str, at: &str, kind: &str, source: &str, options: &[&str]| Mount {
            device: device.to_owned(),
            at: PathBuf::from(at),
            kind: kind.to_owned(),
            source: source.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        let root = mount("8:1", "/", "ext4", "/dev/sda1", &["rw", "rw"]);
        assert!(root.has("rw") && !root.has("r"));
        let options = ["rw", "relatime", "rw"];
        assert_eq!(read, [root, mount("0:40", "/mnt/a b", "fuse.x", "a name", &options)]);
        let dash = b"31 22 0:40 / - rw shared:1 - tmpfs - ro,size=64k";
        let named_like_the_dash = mount("0:40", "-", "tmpfs", "-", &["rw", "ro", "size=64k"]);
        assert_eq!(Mount::read(dash), Some(named_like_the_dash));
    }

    #[test]
    fn a_meminfo_value_is_found_by_its_whole_key() {
        let table = "MemTotal:       16384256 kB\nMemAvailable:    8192128 kB\nHugePages_Free:      256\n";
        assert_eq!(meminfo(table, "MemAvailable"), Some(8_192_128));
        assert_eq!(meminfo(table, "HugePages_Free"), Some(256));
        assert_eq!((meminfo(table, "Mem"), meminfo(table, "MemFree")), (None, None));
    }

    #[test]
    fn a_status_value_is_found_by_its_whole_key() {
        let text = "Name:\tSeccomp: 9\nVmRSS:\t    2048 kB\nSeccomp_filters:\t3\nSeccomp:\t2\nGroups:\t\n";
        assert_eq!((status(text, "Seccomp"), status(text, "Seccomp_filters")), (Some("2"), Some("3")));
        assert_eq!((status(text, "VmRSS"), status(text, "Groups")), (Some("2048 kB"), Some("")));
        assert_eq!((status(text, "Vm"), status(text, "VmHWM")), (None, None));
    }

    #[test]
    fn cpu_flags_are_split_into_whole_words() {
        let cpuinfo = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm_lock\nbugs\t\t: svm\n";
        assert_eq!(cpu_flags(cpuinfo), Some(vec!["fpu", "svm_lock"]));
        assert_eq!(cpu_flags("Features\t: fp asimd\n"), None);
        assert_eq!((cpu(cpuinfo, "vendor_id"), cpu(cpuinfo, "vendor")), (Some("AuthenticAMD"), None));
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
