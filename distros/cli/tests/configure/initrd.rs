//! An initrd is judged by its content, at configuration and afterwards.

use crate::machine::{Machine, cpio, with};

const CONFIGURE: &[&str] = &["configure", "--profile", "go-3.29"];
const FALLBACK: &[&str] = &["fallback", "--profile", "go-3.29", "--initrd", "/boot/kata.img"];
const CHECK: &[&str] = &["check", "--all", "--quiet"];

#[test]
fn unsuitable_initrds_are_refused_or_reported() {
    let machine = Machine::new();
    machine.file("m/boot/kata.img", &cpio(&["usr/bin/kata-agent", "lib/modules/5.10.0-9-amd64/virtiofs.ko"]));
    let expected = "its modules are for 5.10.0-9-amd64, not 6.1";
    assert_usage_error(&machine, expected);
    let output = machine.run(&with(CONFIGURE, &["--dry-run", "--force"]));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    assert!(output.stderr.contains("warning: not for production"), "{}", output.stderr);
    // The host's own initrd.
    machine.file("m/boot/kata.img", &cpio(&["init", "lib/modules/6.1/virtiofs.ko"]));
    let output = machine.run(&with(CONFIGURE, &["--dry-run"]));
    assert!(output.stderr.contains("/boot/kata.img does not seem to contain Kata's agent"), "{}", output.stderr);
    assert!(output.stderr.contains("warning: not for production"), "{}", output.stderr);
    machine.file("m/boot/kata.img", &cpio(&["usr/bin/kata-agent"]));
    let output = machine.run(&with(CONFIGURE, &["--dry-run"]));
    assert!(output.stderr.contains("note: initrd: /boot/kata.img has no modules"), "{}", output.stderr);
    assert!(!output.stderr.contains("not for production"), "{}", output.stderr);
    machine.file("m/boot/kata.img", "kernel");
    assert_usage_error(&machine, "cannot be unpacked by any kernel: ");
    std::fs::remove_file(machine.path("m/boot/kata.img")).expect("removed");
    assert_usage_error(&machine, "initrd /boot/kata.img: no such file");
}

/// Checks that a file that a user named by mistake is a usage error, not a statement about the distro.
fn assert_usage_error(machine: &Machine, expected: &str) {
    for call in [with(CONFIGURE, &["--dry-run"]), FALLBACK.to_vec()] {
        let output = machine.run(&call);
        assert_eq!(output.code, 2, "{call:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(expected), "{call:?}: {}", output.stderr);
        let all = output.stdout + &output.stderr;
        assert!(!all.contains("known not to") && !all.contains("kernel.guest"), "{call:?}: {all}");
    }
}

#[test]
fn check_reports_an_initrd_rebuilt_for_another_kernel() {
    let machine = Machine::new();
    assert_eq!(machine.run(&with(CONFIGURE, &[])).code, 0);
    let check_output = || machine.run(CHECK).stdout;
    assert!(!check_output().contains("configured:"), "{}", check_output());
    machine.file("m/boot/kata.img", &cpio(&["usr/bin/kata-agent", "lib/modules/6.2/virtiofs.ko"]));
    let expected = "hypervisor.qemu.initrd is /boot/kata.img, which does not belong to /boot/vmlinuz-6.1: its modules are for 6.2, not 6.1";
    assert!(check_output().contains(expected), "{}", check_output());
    assert_eq!(machine.run(CHECK).code, 1);
}
