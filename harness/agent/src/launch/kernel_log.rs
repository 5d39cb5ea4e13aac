//! Messages of a Linux kernel that panics, or has an oops and continues; no other module knows them.

/// Phrases of the lines by which a Linux kernel reports a panic.
const PANIC: &[&str] = &["Kernel panic - not syncing"];
/// Phrases of the lines by which a Linux kernel reports an oops.
const OOPS: &[&str] =
    &["Oops:", "BUG: unable to handle", "kernel BUG at", "general protection fault", "invalid opcode:"];

/// Returns the line with which the kernel reported a panic.
pub fn panic_line(log: &str) -> Option<String> {
    find(log, PANIC)
}

/// Returns the line with which the kernel reported an oops.
pub(crate) fn oops_line(log: &str) -> Option<String> {
    find(log, OOPS)
}

fn find(log: &str, patterns: &[&str]) -> Option<String> {
    let line = log.lines().find(|line| patterns.iter().any(|p| line.contains(p)))?;
    Some(line.trim().chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_oopses_are_distinguished_in_kernel_logs() {
        let panic = "[    3.1] sysrq: Trigger a crash\n[    3.2] Kernel panic - not syncing: sysrq triggered crash\n";
        assert_eq!(panic_line(panic).as_deref(), Some("[    3.2] Kernel panic - not syncing: sysrq triggered crash"));
        assert_eq!(oops_line(panic), None);
        let oops = "[    5.0] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n";
        assert!(oops_line(oops).is_some());
        assert_eq!(panic_line(oops), None);
    }
}
