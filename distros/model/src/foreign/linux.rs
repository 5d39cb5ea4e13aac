//! Messages of a Linux kernel on its console; no other module knows them.

/// Phrases of the lines by which a Linux kernel reports a panic: `panic` in kernel/panic.c, read in Linux 2.6, and its
/// later part `vpanic`, read in a change of 2025.
const PANIC: &[&str] = &["Kernel panic - not syncing"];
/// Phrases of the lines by which a Linux kernel reports an oops: `report_bug` in lib/bug.c, read in Linux 4; `GPFSTR`
/// in arch/x86/kernel/traps.c, read in Linux 5.8 or later; page faults and `Oops:` as in reports about Linux 5.1 to 6.18;
/// the last phrase, of x86's traps, is from a guest's log of unknown version.
const OOPS: &[&str] =
    &["Oops:", "BUG: unable to handle", "kernel BUG at", "general protection fault", "invalid opcode:"];
/// The prefix of what a kernel says before it powers off, halts or restarts: `pr_fmt` in kernel/reboot.c, read in Linux
/// 5.1.
const REBOOT: &str = "reboot: ";
/// The prefix of what the driver of PCIe slots says of a slot: drivers/pci/hotplug/pciehp_ctrl.c, Linux 4.20 to 7.0.
const PCIE_SLOT: &str = "pciehp: Slot(";
/// That driver's words for a link in a slot: the same file and versions.
const LINK_UP: &str = "Link Up";
/// That driver's words for a slot that is switched off by its button: the same file and versions.
const BUTTON_OFF: &str = "Powering off due to button press";

/// Returns the line with which the kernel reported a panic.
pub fn panic_line(log: &str) -> Option<String> {
    find(log, PANIC)
}

/// Returns the line with which the kernel reported an oops.
pub fn oops_line(log: &str) -> Option<String> {
    find(log, OOPS)
}

/// Checks whether the kernel said that it powers off, halts or restarts.
pub fn says_its_end(log: &str) -> bool {
    log.contains(REBOOT)
}

/// Checks whether the kernel saw a link in a PCIe slot.
pub fn saw_a_link(log: &str) -> bool {
    logged_of_a_slot(log, LINK_UP)
}

/// Checks whether the kernel switched a PCIe slot off for a press of its attention button.
pub fn switched_a_slot_off(log: &str) -> bool {
    logged_of_a_slot(log, BUTTON_OFF)
}

fn logged_of_a_slot(log: &str, words: &str) -> bool {
    log.lines().any(|line| line.contains(PCIE_SLOT) && line.contains(words))
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

    #[test]
    fn a_kernel_that_powers_off_says_so() {
        assert!(says_its_end("[    4.0] reboot: Power down\n"));
        assert!(!says_its_end("[    4.0] sysrq: Trigger a crash\n"));
    }

    #[test]
    fn links_and_buttons_are_only_those_of_pcie_slots() {
        let up = "[1.4] pcieport 0000:00:05.0: pciehp: Slot(0): Link Up\n";
        let off = "[2.2] pcieport 0000:00:05.0: pciehp: Slot(0): Powering off due to button press\n";
        assert_eq!((saw_a_link(up), switched_a_slot_off(up)), (true, false));
        assert_eq!((saw_a_link(off), switched_a_slot_off(off)), (false, true));
        assert!(!saw_a_link("eth0: Link Up"));
    }
}
