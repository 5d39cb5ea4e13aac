//! Parsing of the pinned QEMU's standard error; no other module does this. The forms are those of Debian 13's QEMU
//! 10.0.
//!
//! A warning is `qemu-system-x86_64: warning: TCG doesn't support requested feature: …`; a fatal error follows QEMU's
//! name; an error after which QEMU goes on may follow `error: `, or is the message that every QEMU prints about a KVM
//! that gave up.

use agent::launch::qemu_process::kvm_error;

/// Checks whether a line is only a warning: at every start QEMU warns that an emulated CPU lacks features of its model.
fn is_warning(line: &str) -> bool {
    line.contains("warning: ")
}

fn lines(stderr: &str) -> impl Iterator<Item = &str> {
    stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !is_warning(line))
}

/// Checks whether an error is reported. A QEMU whose KVM refuses a call may report that and go on forever.
pub(super) fn reports_error(stderr: &str) -> bool {
    stderr.contains(" error: ") || kvm_error(stderr).is_some()
}

/// Returns the first line that is not a warning: after it QEMU may print a page of registers.
pub(super) fn first_line(stderr: &str) -> String {
    lines(stderr).next().unwrap_or("it printed nothing").chars().take(200).collect()
}

/// Returns the last lines that are not warnings, joined into one line.
pub(super) fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = lines(stderr).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WARNING: &str = "qemu-system-x86_64: warning: TCG doesn't support requested feature: x\n";

    #[test]
    fn warnings_are_neither_first_nor_last_lines() {
        let stderr = format!("{WARNING}\nqemu: no space\n{WARNING}");
        assert_eq!((first_line(&stderr).as_str(), last_lines(&stderr).as_str()), ("qemu: no space", "qemu: no space"));
        assert_eq!((first_line(WARNING).as_str(), last_lines(WARNING).as_str()), ("it printed nothing", ""));
    }

    #[test]
    fn an_error_is_not_mistaken_for_a_warning() {
        assert!(reports_error("qemu-system-x86_64: error: failed to set MSR 0x48b to 0x1\n"));
        assert!(reports_error("KVM internal error. Suberror: 1\nextra data[0]: 0x1\n"));
        assert!(!reports_error(WARNING));
    }
}
