//! QEMU's arguments for a machine, except for the processor's.

use super::outer::MachineAccelerator;
use super::{SEED, Size};
use crate::level::EMULATED_MARK;
use images::Disk;
use model::arch::Arch;
use protocol::message::VM_PORT;
use serde_json::json;
use std::path::Path;

/// The number of the descriptor of the agent's line.
pub(super) const LINE_FD: i32 = 10;
/// The descriptor of the serial line.
pub(super) const SERIAL_FD: i32 = 11;
/// The descriptor of the archive with the agent.
pub(super) const SEED_FD: i32 = 12;
/// The descriptor of the disk.
pub(super) const ROOT_FD: i32 = 13;
/// The descriptor of the layer over the disk.
pub(super) const LAYER_FD: i32 = 14;

/// Returns the name of a machine with this disk, made from the disk's directory, which is the key of its image.
pub fn name(disk: &Disk) -> String {
    let folder = disk.root.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    format!("kata-qualify-{}", folder.chars().filter(char::is_ascii_alphanumeric).take(12).collect::<String>())
}

/// Returns QEMU's arguments, except for the accelerator's. A machine that is emulated, at whatever level, is marked for
/// a harness inside it, because KVM in the machine hides the emulation below. On processors other than x86_64's, a
/// harness assumes that every machine is emulated.
pub(super) fn of(
    arch: Arch,
    accelerator: &MachineAccelerator,
    disk: &Disk,
    size: Size,
    is_emulated: bool,
) -> Vec<String> {
    let bus = arch.virtio_bus();
    let mut words: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"].map(str::to_owned).into();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("-name", name(disk));
    add("-machine", machine(arch, accelerator).to_owned());
    if is_emulated && arch == Arch::X86_64 {
        add("-smbios", format!("type=3,asset={EMULATED_MARK}"));
    }
    add("-smp", size.cpus.to_string());
    add("-m", format!("{}M", size.memory_mib));
    // A kernel that panics reboots at once, and QEMU then ends because of -no-reboot.
    let own = kernel_params(arch);
    let console = arch.serial_console();
    add("-append", format!("root=/dev/vda rw console={console} panic=-1{own} systemd.show_status=0"));
    for (fd, set) in [(ROOT_FD, 2), (LAYER_FD, 3)] {
        add("-add-fd", format!("fd={fd},set={set}"));
    }
    let unsafely = json!({"no-flush": true});
    for node in [
        json!({"driver": "file", "node-name": "root-file", "filename": "/dev/fdset/2", "read-only": true, "auto-read-only": false, "locking": "off"}),
        json!({"driver": "raw", "node-name": "root-disk", "file": "root-file", "read-only": true}),
        json!({"driver": "file", "node-name": "layer-file", "filename": "/dev/fdset/3", "cache": unsafely, "locking": "off"}),
        json!({"driver": "qcow2", "node-name": "root", "file": "layer-file", "backing": "root-disk", "cache": unsafely}),
    ] {
        add("-blockdev", node.to_string());
    }
    add("-device", format!("virtio-blk-{bus},drive=root,serial=root"));
    add("-add-fd", format!("fd={SEED_FD},set=1"));
    add("-drive", "file=/dev/fdset/1,format=raw,if=none,id=seed,readonly=on".to_owned());
    add("-device", format!("virtio-blk-{bus},drive=seed,serial={SEED}"));
    add("-object", "rng-random,id=rng,filename=/dev/urandom".to_owned());
    add("-device", format!("virtio-rng-{bus},rng=rng"));
    add("-chardev", format!("socket,id=serial,fd={SERIAL_FD}"));
    add("-serial", "chardev:serial".to_owned());
    add("-chardev", format!("socket,id=line,fd={LINE_FD}"));
    add("-device", format!("virtio-serial-{bus},id=ports"));
    add("-device", format!("virtserialport,bus=ports.0,chardev=line,name={VM_PORT}"));
    words
}

/// Returns the machine type; an emulated machine virtualizes, if QEMU has such a type.
///
/// Measured with QEMU 10.0.2 of Debian 13: Arm's kernel finds EL2 and `accel=kvm` works in the machine; POWER's loads
/// kvm-hv; IBM Z's has no `/dev/kvm`.
fn machine(arch: Arch, accelerator: &MachineAccelerator) -> &'static str {
    match (arch, accelerator) {
        (Arch::Aarch64, MachineAccelerator::Tcg { .. }) => "virt,virtualization=on,gic-version=3",
        (Arch::Aarch64, MachineAccelerator::Kvm) => "virt,gic-version=host",
        (Arch::Ppc64le, MachineAccelerator::Tcg { .. }) => "pseries,cap-nested-hv=on",
        (Arch::X86_64 | Arch::Ppc64le | Arch::S390x, _) => arch.machine_type(),
    }
}

/// Returns kernel parameters for late timers: on a busy machine an emulated timer is late, and an x86 kernel considers
/// it broken unless told not to check. For the same reason Linux 7.2's watchdog replaces the TSC by the HPET, and each
/// read of the HPET leaves the machine.
fn kernel_params(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => " tsc=reliable no_timer_check",
        Arch::Aarch64 | Arch::Ppc64le | Arch::S390x => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_machines_offer_virtualization_where_qemu_can() {
        let emulated = MachineAccelerator::Tcg { why: "of a test".to_owned(), dead_kvm: false };
        let all: Vec<&str> = Arch::ALL.iter().map(|arch| machine(*arch, &emulated)).collect();
        assert_eq!(all, ["q35", "virt,virtualization=on,gic-version=3", "pseries,cap-nested-hv=on", "s390-ccw-virtio"]);
        for arch in Arch::ALL {
            let words = emulated.arguments(*arch).join(" ");
            assert!(words.starts_with("-accel tcg,thread=multi -cpu "), "{arch}: {words}");
            assert_eq!(words.contains("svm"), *arch == Arch::X86_64, "{arch}: {words}");
        }
    }
}
