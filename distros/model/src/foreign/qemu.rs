//! Messages of QEMU, on standard error and in QMP's refusals; no other module knows them.
//!
//! A warning is `qemu-system-x86_64: warning: TCG doesn't support requested feature: …`; a fatal error follows QEMU's
//! name and the argument that it is about, if there is one (`print_loc` in util/error-report.c); an error after which
//! QEMU goes on may follow `error: `, or is the message that every QEMU prints about a KVM that gave up.

/// Beginnings of the lines by which QEMU reports that KVM gave up on a guest, before the CPU's registers: from
/// `kvm_handle_internal_error` and `kvm_cpu_exec` (accel/kvm/kvm-all.c of QEMU 5.2 to 10.0) and x86's
/// `kvm_arch_handle_exit` (target/i386/kvm/kvm.c).
const GAVE_UP: [&str; 3] = ["KVM internal error", "error: kvm run failed", "KVM: entry failed"];
/// The words before the number of the signal that ends QEMU: `qemu_kill_report`, QEMU 0.11 and later.
const ON_SIGNAL: &str = "terminating on signal ";
/// The mark of a warning: `vreport` in util/error-report.c, seen with Debian 13's QEMU 10.0.
const WARNING: &str = "warning: ";
/// The mark of an error after which QEMU may go on, seen with Debian 13's QEMU 10.0.
const ERROR: &str = " error: ";
/// QEMU has no `/dev/kvm`, in lower case: `kvm_init` in accel/kvm/kvm-all.c, read in a change to QEMU 9.
const NO_KVM: &str = "could not access kvm kernel module";
/// What follows the path of a socket without a listener: `Failed to connect to 'PATH': …` of util/qemu-sockets.c, read
/// in QEMU 6.1 or later.
const NO_LISTENER: &str = "': Connection refused";
/// A property that a device or object does not have: `Property 'TYPE.NAME' not found`, seen with QEMU 5.2, 10.0 and
/// 11.1.
const NO_PROPERTY: (&str, &str) = ("Property '", "' not found");
/// A bus that takes devices only at the start: `QERR_BUS_NO_HOTPLUG` in include/qapi/qmp/qerror.h, seen with QEMU 5.2.
const NO_HOTPLUG: (&str, &str) = ("Bus '", "' does not support hotplugging");
/// A value of another JSON type than expected: `QERR_INVALID_PARAMETER_TYPE` in the same file, seen with QEMU 10.0 and
/// 11.1.
const WRONG_TYPE: &str = "Invalid parameter type";

/// An argument of its command line that QEMU refused, on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The flag: `-device`.
    pub flag: String,
    /// The flag's value.
    pub value: String,
    /// QEMU's words about the argument.
    pub words: String,
}

/// Parses QEMU's refusal from a text that quotes it: `qemu-system-x86_64: -device x,y=z: words`.
pub fn refusal(text: &str) -> Option<Refusal> {
    text.lines().find_map(|line| {
        let (_, quoted) = line.split_once(": -")?;
        let (flag, rest) = quoted.split_once(' ')?;
        let (value, words) = rest.split_once(": ")?;
        let is_flag = !flag.is_empty() && flag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let refusal = Refusal { flag: format!("-{flag}"), value: value.to_owned(), words: words.trim().to_owned() };
        (is_flag && !refusal.words.is_empty()).then_some(refusal)
    })
}

/// What QEMU's words about an argument, or about a command of QMP, mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint<'w> {
    /// A device or object has no such property.
    NoProperty {
        /// The type: `virtio-blk-pci`.
        of: &'w str,
        /// The property: `scsi`.
        name: &'w str,
    },
    /// A bus takes no device while the guest runs.
    NoHotplug {
        /// The bus: `pci-bridge-0`.
        bus: &'w str,
    },
    /// A value has another JSON type than expected.
    WrongType,
    /// Anything else.
    Other,
}

impl Complaint<'_> {
    /// Reads QEMU's words.
    pub fn of(words: &str) -> Complaint<'_> {
        let property = || between(words, NO_PROPERTY)?.rsplit_once('.');
        if let Some((of, name)) = property() {
            return Complaint::NoProperty { of, name };
        }
        match between(words, NO_HOTPLUG) {
            Some(bus) => Complaint::NoHotplug { bus },
            None if words.contains(WRONG_TYPE) => Complaint::WrongType,
            None => Complaint::Other,
        }
    }
}

/// Returns the text between two others.
fn between<'t>(text: &'t str, (before, after): (&str, &str)) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// Returns QEMU's line about a KVM that gave up on its guest, if any: QEMU then pauses the guest and runs forever.
pub fn kvm_error(stderr: &str) -> Option<String> {
    let line = stderr.lines().find(|line| GAVE_UP.iter().any(|beginning| line.starts_with(beginning)))?;
    Some(line.trim().chars().take(200).collect())
}

/// Returns the number of the signal that QEMU says it ends on: SIGTERM, SIGINT or SIGHUP, after which it exits with 0.
pub fn ends_on_signal(stderr: &str) -> Option<i32> {
    stderr.lines().find_map(|line| {
        let rest = line.split_once(ON_SIGNAL)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

/// Checks whether a text quotes QEMU's message that it cannot use `/dev/kvm`, in any case.
pub fn lacks_kvm(text: &str) -> bool {
    text.to_lowercase().contains(NO_KVM)
}

/// Checks whether a text quotes QEMU's message that nobody listens on a socket, given the end of its path.
pub fn found_no_listener(text: &str, socket: &str) -> bool {
    text.contains(&format!("{socket}{NO_LISTENER}"))
}

/// Checks whether an error is reported. A QEMU whose KVM refuses a call may report that and go on forever.
pub fn reports_error(stderr: &str) -> bool {
    stderr.contains(ERROR) || kvm_error(stderr).is_some()
}

/// Returns the first line that is not a warning: after it QEMU may print a page of registers.
pub fn first_line(stderr: &str) -> String {
    lines(stderr).next().unwrap_or("it printed nothing").chars().take(200).collect()
}

/// Returns the last lines that are not warnings, joined into one line.
pub fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = lines(stderr).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

/// Returns the lines that are not warnings: at every start QEMU warns that an emulated CPU lacks features of its model.
fn lines(stderr: &str) -> impl Iterator<Item = &str> {
    stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains(WARNING))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_WARNING: &str = "qemu-system-x86_64: warning: TCG doesn't support requested feature: x\n";

    #[test]
    fn a_refused_argument_is_separated_from_the_error_message() {
        let message = "starting QEMU: QEMU exited with 1: qemu-system-x86_64: -object \
                       memory-backend-file,id=mem0,size=1: Property 'memory-backend-file.readonly' not found";
        let refused = refusal(message).unwrap();
        assert_eq!((refused.flag.as_str(), refused.value.as_str()), ("-object", "memory-backend-file,id=mem0,size=1"));
        assert_eq!(refused.words, "Property 'memory-backend-file.readonly' not found");
        assert_eq!(refusal("virtiofsd ended at once (exit code 1): fuse: unknown option(s): `-o x'"), None);
        assert_eq!(refusal(""), None);
    }

    #[test]
    fn qemus_words_have_a_meaning() {
        for (words, meaning) in [
            ("Property 'virtio-blk-pci.scsi' not found", Complaint::NoProperty { of: "virtio-blk-pci", name: "scsi" }),
            ("Bus 'pci-bridge-0' does not support hotplugging", Complaint::NoHotplug { bus: "pci-bridge-0" }),
            ("Invalid parameter type for 'multifunction', expected: boolean", Complaint::WrongType),
            ("Bus 'pci-bridge-0' not found", Complaint::Other),
            ("Property 'x' not found", Complaint::Other),
            ("", Complaint::Other),
        ] {
            assert_eq!(Complaint::of(words), meaning, "{words}");
        }
    }

    #[test]
    fn a_kvm_error_is_distinguished_from_a_warning() {
        let stderr = "qemu-system-x86_64: warning: x\nKVM internal error. Suberror: 1\nextra data[0]: 0x1\n";
        assert_eq!(kvm_error(stderr).as_deref(), Some("KVM internal error. Suberror: 1"));
        assert!(kvm_error("error: kvm run failed Bad address\n").is_some());
        assert_eq!(kvm_error("qemu-system-x86_64: warning: x\n"), None);
    }

    #[test]
    fn the_signal_that_qemu_ends_on_is_read() {
        let stderr = format!("{A_WARNING}qemu-system-x86_64: terminating on signal 15 from pid 3254 (bash)\n");
        assert_eq!(ends_on_signal(&stderr), Some(15));
        assert_eq!(ends_on_signal(A_WARNING), None);
    }

    #[test]
    fn what_qemu_could_not_reach_is_recognised() {
        let listener = "qemu-system-x86_64: -chardev socket,path=/run/vc/vm/x/vhost-fs.sock: Failed to connect to \
                        '/run/vc/vm/x/vhost-fs.sock': Connection refused";
        assert!(found_no_listener(listener, "vhost-fs.sock") && !found_no_listener(listener, "other.sock"));
        assert!(lacks_kvm("Could not access KVM kernel module: No such file or directory"));
        assert!(!lacks_kvm(listener));
    }

    #[test]
    fn warnings_are_neither_first_nor_last_lines() {
        let stderr = format!("{A_WARNING}\nqemu: no space\n{A_WARNING}");
        assert_eq!((first_line(&stderr).as_str(), last_lines(&stderr).as_str()), ("qemu: no space", "qemu: no space"));
        assert_eq!((first_line(A_WARNING).as_str(), last_lines(A_WARNING).as_str()), ("it printed nothing", ""));
    }

    #[test]
    fn an_error_is_not_mistaken_for_a_warning() {
        assert!(reports_error("qemu-system-x86_64: error: failed to set MSR 0x48b to 0x1\n"));
        assert!(reports_error("KVM internal error. Suberror: 1\nextra data[0]: 0x1\n"));
        assert!(!reports_error(A_WARNING));
    }
}
