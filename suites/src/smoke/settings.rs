//! QEMU started with settings other than the shipped ones: its own seccomp filter, an IOMMU, a firmware, a very long
//! command line.

use super::guest_files::{list, load, read};
use super::hotplug::disks::is_plugged_and_used;
use super::hotplug::interfaces::is_plugged_behind_a_port;
use super::hotplug::scratch_disk::SMALL;
use super::hotplug::waits::{Wait, blame_kernel_if_lacking, within};
use super::hotplug::{CONTAINERS, VIRTIO_BLK};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Setting, firmware};
use crate::row::{Row, row};
use crate::scratch;
use crate::test::{Need, Place};
use crate::under;
use model::procfs;
use model::profile::{ModuleUse, Runtime};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const SOURCE: &str = include_str!("settings.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(qemu_works_under_its_own_filter), &[Capability::VmmSandbox], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .under(&under::SANDBOX)
        .seconds(180),
    row!(Environment(guest_works_behind_an_iommu), &[Capability::VmmIommu], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(180),
    row!(Environment(guest_boots_by_a_firmware), &[Capability::VmmFirmware], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .needs(&[Need::Firmware])
        .seconds(240),
    row!(Environment(qemu_takes_a_very_long_command_line), &[Capability::VmmLongArguments], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::BY_PATH)
        .seconds(180),
];

/// QEMU filters its own system calls as Kata requests, boots a guest, and plugs a disk into it.
///
/// The shipped configurations name the value for `-sandbox` in a comment
/// (src/runtime/config/configuration-qemu.toml.in@3.32.0,
/// src/runtime-rs/config/configuration-qemu-runtime-rs.toml.in@4.1.0); they leave it out, for speed. A QEMU that was
/// built without seccomp does not start with this value.
fn qemu_works_under_its_own_filter(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::SeccompSandbox)?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::Other)?;
    has_a_filter(env, machine)?;
    is_plugged_and_used(env, machine)
}

/// Checks that QEMU has more seccomp filters than the process that started it.
fn has_a_filter(env: &dyn EnvironmentSide, machine: &dyn Machine) -> Check {
    let ours = Filters::of(&env.read("/proc/self/status")?);
    let qemus = Filters::of(&env.read(&format!("/proc/{}/status", machine.vmm_pid()))?);
    match (ours, qemus) {
        (Filters { count: Some(ours), .. }, Filters { count: Some(qemus), .. }) => {
            ensure!(
                qemus > ours,
                "QEMU was told to filter its system calls, and has {qemus} filters, as we have {ours}"
            );
            Ok(())
        }
        (Filters { mode: 2, .. }, _) => {
            Err(Stop::skip("the environment has a filter itself, and its kernel does not count them"))
        }
        (_, Filters { mode, .. }) => {
            ensure!(
                mode == 2,
                "QEMU was told to filter its system calls, and its mode of seccomp is {mode}, expected 2"
            );
            Ok(())
        }
    }
}

/// A process's seccomp filters.
struct Filters {
    /// The mode, which is 2 if the process has any filter.
    mode: u32,
    /// The number of filters, if the kernel counts them: from 5.9 on.
    count: Option<u32>,
}

impl Filters {
    fn of(status: &str) -> Filters {
        let number = |key: &str| procfs::status(status, key)?.parse::<u32>().ok();
        Filters { mode: number("Seccomp").unwrap_or(0), count: number("Seccomp_filters") }
    }
}

/// A guest has an Intel IOMMU, the guest's kernel uses it, and a disk that is plugged into the guest works.
///
/// With `enable_iommu` QEMU has a split interrupt controller, and the guest's devices are behind an IOMMU
/// (`appendIOMMU` in src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, `add_iommu` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0), so that a pod can pass devices through.
fn guest_works_behind_an_iommu(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::Iommu)?;
    let machine = machine.as_mut();
    has_an_iommu(env, machine)?;
    load(machine, ModuleUse::Other)?;
    is_plugged_and_used(env, machine)
}

fn has_an_iommu(env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
    let folder = "/sys/class/iommu";
    let there = list(machine, folder)?;
    if there.iter().any(|name| name.starts_with("dmar")) {
        return Ok(());
    }
    let what = format!("the guest was given an Intel IOMMU, and {folder} has [{}]", there.join(", "));
    Err(blame_kernel_if_lacking(env, &["INTEL_IOMMU"], Stop::fail(what)))
}

/// A guest boots with the distro's UEFI firmware; under runtime-rs an interface that is then plugged carries packets.
///
/// `firmware` in the configuration becomes `-bios` (`appendBios` in src/runtime/pkg/govmm/qemu/qemu.go@3.32.0,
/// `add_bios` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0). This kind of firmware reserves
/// windows for plugged devices only behind PCIe ports, so runtime-rs puts its bridge there (`DeviceNestedPcieBridge`),
/// and Go from 4.0 on.
fn guest_boots_by_a_firmware(env: &dyn EnvironmentSide) -> Check {
    let is_there =
        |file: &&&str| env.run(&["test", "-f", file], Duration::from_secs(10)).is_ok_and(|output| output.ok());
    let file = firmware::files(env.claims().release.arch)
        .iter()
        .find(is_there)
        .ok_or_else(|| Stop::error("the firmware is gone"))?;
    let mut machine = env.boot_with(Setting::Firmware(PathBuf::from(file)))?;
    let machine = machine.as_mut();
    sees_the_firmware(env, machine, file)?;
    if machine.profile().runtime == Runtime::Go {
        return Ok(());
    }
    load(machine, ModuleUse::Other)?;
    is_plugged_behind_a_port(env, machine)
}

/// The guest's kernel options for being started by the firmware as an EFI program, and for showing that it was.
const FOR_FIRMWARE: &[&str] = &["EFI", "EFI_STUB"];

fn sees_the_firmware(env: &dyn EnvironmentSide, machine: &mut dyn Machine, file: &str) -> Check {
    let bits = read(machine, "/sys/firmware/efi/fw_platform_size");
    let bits = bits.map_err(|stop| blame_kernel_if_lacking(env, FOR_FIRMWARE, stop))?;
    ensure!(bits.trim() == "64", "the guest was started with {file}, and sees a firmware of {:?} bits", bits.trim());
    Ok(())
}

/// QEMU can be started with a command line of more than 64 KiB, with disks whose files are in very deep directories,
/// and the guest can read each of them.
///
/// A command line grows with every disk, share and device of a pod, each with the path of its file (`BlockDevice` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0, `add_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0); a large pod would be the first to reach a
/// limit.
fn qemu_takes_a_very_long_command_line(env: &dyn EnvironmentSide) -> Check {
    let disks = DeepDisks::new()?;
    let mut machine = env.boot_with(Setting::Disks(disks.files.clone()))?;
    let machine = machine.as_mut();
    let passed = env.read(&format!("/proc/{}/cmdline", machine.vmm_pid()))?.len();
    ensure!(passed > LONG, "the command line was to have more than {LONG} bytes, and has {passed}");
    load(machine, ModuleUse::VirtioBlk)?;
    let count = disks.files.len();
    let wait = Wait::of_test(machine, Duration::from_secs(10), &format!("the guest had {count} disks"));
    let names = |machine: &mut dyn Machine| {
        let all = list(machine, "/sys/block")?;
        Ok(all.into_iter().filter(|name| name.starts_with("vd")).collect::<Vec<String>>())
    };
    let found = |machine: &mut dyn Machine| names(machine).map(|names| (names.len() >= count).then_some(names));
    let progress = |machine: &mut dyn Machine| {
        names(machine).map(|names| (!names.is_empty()).then(|| format!("it has {}", names.len())))
    };
    let names = within(env, machine, &wait, &["VIRTIO_BLK"], found, progress)?;
    let mut contents = BTreeSet::new();
    for name in names {
        let content = read(machine, &format!("/dev/{name}"))?;
        contents.insert(content);
    }
    let expected: BTreeSet<String> = (0..count).map(content).collect();
    let right = contents.intersection(&expected).count();
    ensure!(right == count, "of {count} disks the guest reads {right} with the content that they have on the host");
    Ok(())
}

/// The length that the command line must exceed, bytes.
const LONG: usize = 64 << 10;

/// Returns the content of a disk, which no other disk has.
fn content(number: usize) -> String {
    char::from(b'A' + u8::try_from(number % 26).unwrap_or(0)).to_string().repeat(SMALL)
}

/// Disks in a directory so deep that their paths are nearly as long as the limit; dropping the value removes
/// everything.
struct DeepDisks {
    top: PathBuf,
    files: Vec<PathBuf>,
}

impl DeepDisks {
    fn new() -> Result<DeepDisks, Stop> {
        let top = scratch::path("deep");
        // Directories with names of 200 bytes, up to about 3900 of the 4096 bytes that a path may have.
        let folder = (0..19).fold(top.clone(), |folder, _| folder.join("d".repeat(200)));
        let length = folder.as_os_str().len();
        let mut disks = DeepDisks { top, files: Vec::new() };
        let failed = |e: std::io::Error| Stop::error(format!("making disks in a deep folder: {e}"));
        // Fails if another user was faster: what is in a directory of that user may be links.
        fs::create_dir(&disks.top).and_then(|()| fs::create_dir_all(&folder)).map_err(failed)?;
        for number in 0..=LONG / length {
            let file = folder.join(format!("disk{number}"));
            fs::write(&file, content(number)).map_err(failed)?;
            disks.files.push(file);
        }
        Ok(disks)
    }
}

impl Drop for DeepDisks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Component;
    use crate::smoke::fake_machine::{FakeEnvironment, FakeMachine};

    #[test]
    fn a_seccomp_filter_is_detected_by_count_or_by_mode() {
        let judged = |ours: &str, qemus: &str| {
            let env =
                FakeEnvironment::of("go-3.32").with("/proc/self/status", &[ours]).with("/proc/1/status", &[qemus]);
            has_a_filter(&env, &FakeMachine::of("go-3.32"))
        };
        let (none, one, two) = (
            "Seccomp:\t0\nSeccomp_filters:\t0\n",
            "Seccomp:\t2\nSeccomp_filters:\t1\n",
            "Seccomp:\t2\nSeccomp_filters:\t2\n",
        );
        assert_eq!((judged(none, one), judged(one, two)), (Ok(()), Ok(())));
        let message = "QEMU was told to filter its system calls, and has 1 filters, as we have 1";
        assert_eq!(judged(one, one), Err(Stop::fail(message)));
        // The kernel does not count filters.
        assert_eq!(judged("Seccomp:\t0\n", "Seccomp:\t2\n"), Ok(()));
        assert!(matches!(judged("Seccomp:\t0\n", "Seccomp:\t0\n"), Err(Stop::Fail { .. })));
        assert!(matches!(judged("Seccomp:\t2\n", "Seccomp:\t2\n"), Err(Stop::Skip { .. })));
    }

    #[test]
    fn a_missing_iommu_blames_the_kernel_only_if_it_has_no_driver() {
        let judged = |there: &str, config: &str| {
            let env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &[config]);
            let mut machine = FakeMachine::of("go-3.32");
            machine.files.insert("/sys/class/iommu".to_owned(), there.to_owned());
            has_an_iommu(&env, &mut machine)
        };
        assert_eq!(judged("dmar0\n", ""), Ok(()));
        assert!(matches!(judged("", "CONFIG_INTEL_IOMMU=y\n"), Err(Stop::Fail { blames: None, .. })));
        let lacks = judged("", "CONFIG_SMP=y\n");
        assert!(matches!(lacks, Err(Stop::Fail { blames: Some(Component::Kernel), .. })));
    }

    #[test]
    fn missing_firmware_blames_a_kernel_without_efi() {
        let judged = |bits: Option<&str>, config: &str| {
            let env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &[config]);
            let mut machine = FakeMachine::of("go-3.32");
            let seen = bits.map(|bits| ("/sys/firmware/efi/fw_platform_size".to_owned(), bits.to_owned()));
            machine.files = seen.into_iter().collect();
            sees_the_firmware(&env, &mut machine, "OVMF.fd")
        };
        let has = "CONFIG_EFI=y\nCONFIG_EFI_STUB=y\n";
        assert_eq!(judged(Some("64\n"), has), Ok(()));
        assert!(matches!(judged(Some("32\n"), has), Err(Stop::Fail { blames: None, .. })));
        assert!(matches!(judged(None, has), Err(Stop::Fail { blames: None, .. })));
        let lacks = judged(None, "CONFIG_SMP=y\n");
        assert!(matches!(lacks, Err(Stop::Fail { blames: Some(Component::Kernel), .. })));
    }

    #[test]
    fn disks_in_a_deep_folder_make_a_long_command_line_and_are_removed() {
        let disks = DeepDisks::new().unwrap();
        let lengths: Vec<usize> = disks.files.iter().map(|file| file.as_os_str().len()).collect();
        assert!(lengths.iter().sum::<usize>() > LONG && lengths.iter().all(|length| *length < 4096), "{lengths:?}");
        // The root bus of a q35 has room for this many, in addition to every guest's devices.
        assert!(lengths.len() <= 20, "{}", lengths.len());
        assert_ne!(content(0), content(1));
        let top = disks.top.clone();
        drop(disks);
        assert!(!top.exists());
    }
}
