//! Kernel command lines that Kata gives these guests, with the deviations that every guest here has.

use crate::guest::Guest;
use model::profile::Runtime;

/// Location of the root filesystem in Kata's image, passed to every guest, even one with an initrd:
/// `GetKernelRootParams` in src/runtime/virtcontainers/hypervisor.go@3.32.0, `new_rootfs_kernel_params` in
/// src/runtime-rs/crates/hypervisor/src/kernel_param.rs@4.1.0.
const ROOT: [&str; 3] = ["root=/dev/vda1", "rootflags=data=ordered,errors=remount-ro ro", "rootfstype=ext4"];

/// Parameters of `KernelParams::new` in the same file of runtime-rs.
const OF_RUST: [&str; 5] = [
    "reboot=k",
    "panic=1",
    "systemd.unit=kata-containers.target",
    "systemd.mask=systemd-networkd.service",
    "systemd.mask=systemd-networkd.socket",
];

/// `kernel_params` as shipped: src/runtime/arch/amd64-options.mk@3.32.0, src/runtime-rs/arch/x86_64-options.mk@4.1.0.
const SHIPPED: [&str; 2] = ["cgroup_no_v1=all", "systemd.unified_cgroup_hierarchy=1"];

/// The serial port of [`crate::deviation::OtherVmmDeviation::SerialLog`], in the place of Kata's `quiet`.
const SERIAL: &str = "console=ttyS0,115200n8";

/// Returns the parameters for Cloud Hypervisor: `clhKernelParams` in src/runtime/virtcontainers/clh.go@3.32.0,
/// `get_kernel_params` in src/runtime-rs/crates/hypervisor/src/ch/inner_hypervisor.rs@4.1.0.
pub(crate) fn of_cloud_hypervisor(runtime: Runtime, guest: &Guest) -> String {
    let words: Vec<&str> = match runtime {
        Runtime::Go => [&ROOT[..], &["panic=1", "no_timer_check", "noreplace-smp", SERIAL], &SHIPPED].concat(),
        Runtime::Rs => {
            let extra = ["no_timer_check", "noreplace-smp", "systemd.log_target=console"];
            [&OF_RUST[..], &[SERIAL], &ROOT, &extra, &SHIPPED].concat()
        }
    };
    with_line(&words, guest)
}

/// Returns the parameters for Firecracker: `fcKernelParams` in src/runtime/virtcontainers/fc.go@3.32.0, after the
/// shipped ones; `prepare_vmm_resources` in src/runtime-rs/crates/hypervisor/src/firecracker/fc_api.rs@4.1.0, and
/// `KERNELPARAMS_FC` in src/runtime-rs/Makefile@4.1.0.
pub(crate) fn of_firecracker(runtime: Runtime, guest: &Guest) -> String {
    let words: Vec<&str> = match runtime {
        Runtime::Go => {
            let own = [
                "pci=off",
                "reboot=k",
                "panic=1",
                "iommu=off",
                "net.ifnames=0",
                "random.trust_cpu=on",
                "acpi=off",
                // Instead of 8250.nr_uarts=0, as with enable_debug.
                "console=ttyS0",
                "agent.log_vport=1025",
            ];
            [&SHIPPED[..], &ROOT, &own].concat()
        }
        Runtime::Rs => {
            let own = ["pci=off", "iommu=off"];
            [&OF_RUST[..], &own, &ROOT, &["console=ttyS0", "agent.log_vport=1025"]].concat()
        }
    };
    with_line(&words, guest)
}

fn with_line(words: &[&str], guest: &Guest) -> String {
    let mut line = words.join(" ");
    if guest.terse {
        line.push_str(" loglevel=5");
    }
    format!("{line} {}", guest.line())
}
