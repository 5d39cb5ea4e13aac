//! Cloud Hypervisor and Firecracker, driven as by Kata: only in virtual machines with KVM, and only if a binary is
//! available. A release that does not package them is not at fault.

use super::hotplug::scratch_disk::ScratchDisk;
use super::hotplug::waits::{Wait, within};
use super::kernel::{configuration, has_modules};
use super::packages::is_executable;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{
    Action, Bytes, ElfKernel, Environment, EnvironmentSide, Machine, OtherMachine, Question, Reply,
};
use crate::outcome::Component;
use crate::row::{Row, row};
use crate::share::Share;
use crate::smoke::guest_files::{list, load, read};
use crate::test::{Need, Place};
use crate::under;
use crate::vsock;
use model::kernel::OptionValue;
use model::profile::{ModuleUse, Runtime};
use std::fs;
use std::time::Duration;

const SOURCE: &str = include_str!("other_vmms.rs");

/// The environments in which these VMMs are tried.
const IN: &[Environment] = &[Environment::Vm];
const NEEDS: &[Need] = &[Need::Kvm];
const CLOUD_HYPERVISOR: &[Capability] = &[Capability::VmmCloudHypervisor];
const FIRECRACKER: &[Capability] = &[Capability::VmmFirecracker];
const BOOTS_CLOUD_HYPERVISOR: &[&str] = &["smoke::cloud_hypervisor_boots_to_userspace"];
const BOOTS_FIRECRACKER: &[&str] = &["smoke::firecracker_boots_to_userspace"];

/// Completes a row about Cloud Hypervisor.
const fn of_cloud_hypervisor(row: Row) -> Row {
    row.environments(IN).under(&under::CLOUD_HYPERVISOR)
}

/// Completes a row about Firecracker.
const fn of_firecracker(row: Row) -> Row {
    row.environments(IN).under(&under::FIRECRACKER)
}

/// Completes a row that boots guests of its own.
const fn with_guests(row: Row, blocked_by: &'static [&'static str]) -> Row {
    row.places(&[Place::OwnGuest]).needs(NEEDS).blocked_by(blocked_by).seconds(180)
}

pub(super) static ROWS: &[Row] = &[
    of_cloud_hypervisor(row!(Environment(kernel_comes_as_an_elf_file_for_cloud_hypervisor), CLOUD_HYPERVISOR, Kernel)),
    of_firecracker(row!(Environment(kernel_comes_as_an_elf_file_for_firecracker), FIRECRACKER, Kernel)),
    of_cloud_hypervisor(row!(Environment(kernel_says_where_a_guest_without_firmware_begins), CLOUD_HYPERVISOR, Kernel))
        .blocked_by(&["smoke::kernel_comes_as_an_elf_file_for_cloud_hypervisor"]),
    of_firecracker(row!(Environment(kernel_finds_devices_without_pci), FIRECRACKER, Kernel)),
    with_guests(
        of_cloud_hypervisor(row!(Environment(cloud_hypervisor_boots_to_userspace), CLOUD_HYPERVISOR, CloudHypervisor)),
        &["smoke::kernel_says_where_a_guest_without_firmware_begins", "smoke::kernel_has_the_modules_of_vsock"],
    ),
    with_guests(
        of_cloud_hypervisor(row!(
            Environment(cloud_hypervisor_carries_vsock_both_ways),
            CLOUD_HYPERVISOR,
            CloudHypervisor
        )),
        BOOTS_CLOUD_HYPERVISOR,
    ),
    with_guests(
        of_cloud_hypervisor(row!(Environment(cloud_hypervisor_plugs_a_disk), CLOUD_HYPERVISOR, CloudHypervisor)),
        &["smoke::cloud_hypervisor_boots_to_userspace", "smoke::kernel_has_the_modules_of_virtio_blk"],
    ),
    with_guests(
        of_cloud_hypervisor(row!(
            Environment(cloud_hypervisor_shares_files_by_virtiofsd),
            CLOUD_HYPERVISOR,
            CloudHypervisor
        )),
        &[
            "smoke::cloud_hypervisor_boots_to_userspace",
            "smoke::virtiofsd_accepts_the_profiles_flags",
            "smoke::kernel_has_the_modules_of_virtio_fs",
        ],
    ),
    with_guests(
        of_firecracker(row!(Environment(firecracker_boots_to_userspace), FIRECRACKER, Firecracker)),
        &[
            "smoke::kernel_comes_as_an_elf_file_for_firecracker",
            "smoke::kernel_finds_devices_without_pci",
            "smoke::kernel_has_the_modules_of_vsock",
        ],
    ),
    with_guests(
        of_firecracker(row!(Environment(firecracker_carries_vsock_both_ways), FIRECRACKER, Firecracker)),
        BOOTS_FIRECRACKER,
    ),
    with_guests(
        of_firecracker(row!(Environment(firecracker_fills_a_drive_that_waits), FIRECRACKER, Firecracker)),
        &["smoke::firecracker_boots_to_userspace", "smoke::kernel_has_the_modules_of_virtio_blk"],
    ),
];

/// Succeeds if the VMM is available, else skips: a release that does not package one has not failed.
fn is_given(env: &dyn EnvironmentSide, vmm: Component) -> Check {
    let claims = env.claims();
    match claims.other_vmm(vmm) {
        Some(_) => Ok(()),
        None => Err(Stop::skip(format!(
            "not packaged: the record of {} names no {vmm}, and none was brought along (--component {vmm}=PATH)",
            claims.release.name()
        ))),
    }
}

/// The kernel's image contains an ELF file (vmlinux), the format that Kata gives to Cloud Hypervisor.
///
/// Kata's own kernel is uncompressed (`KERNELTYPE_CLH` in src/runtime-rs/Makefile@4.1.0); distros ship a compressed
/// image, which is unpacked first. By itself Cloud Hypervisor also boots a bzImage, since its version 39.0.
fn kernel_comes_as_an_elf_file_for_cloud_hypervisor(env: &dyn EnvironmentSide) -> Check {
    is_given(env, Component::CloudHypervisor)?;
    elf_kernel(env).map(drop)
}

/// The kernel's image contains an ELF file (vmlinux), the only format that Firecracker boots.
///
/// Kata gives it an uncompressed kernel (`KERNELTYPE_FC` in src/runtime-rs/Makefile@4.1.0); distros ship a compressed
/// image, which has to be unpacked first.
fn kernel_comes_as_an_elf_file_for_firecracker(env: &dyn EnvironmentSide) -> Check {
    is_given(env, Component::Firecracker)?;
    elf_kernel(env).map(drop)
}

/// Returns whether the ELF file has a PVH entry point. An image that the harness cannot unpack says nothing about the
/// kernel.
fn elf_kernel(env: &dyn EnvironmentSide) -> Result<bool, Stop> {
    let image = &env.claims().vmlinuz;
    match &env.claims().elf_kernel {
        Some(ElfKernel::Made { has_pvh_entry, .. }) => Ok(*has_pvh_entry),
        Some(ElfKernel::Absent) => Err(Stop::fail(format!("the kernel in {image}, unpacked, is no ELF file"))),
        Some(ElfKernel::Refused { why }) => Err(Stop::error(format!("taking the kernel out of {image}: {why}"))),
        None => Err(Stop::error("nobody took the kernel out of its image")),
    }
}

/// The kernel has a note with the entry point for guests without firmware (`CONFIG_PVH`).
///
/// Cloud Hypervisor enters an ELF kernel there and nowhere else; Kata's own kernel is built with this option
/// (tools/packaging/kernel/configs/fragments/x86_64/base.conf@4.1.0).
fn kernel_says_where_a_guest_without_firmware_begins(env: &dyn EnvironmentSide) -> Check {
    is_given(env, Component::CloudHypervisor)?;
    ensure!(elf_kernel(env)?, "the kernel {} has no PVH entry (CONFIG_PVH)", env.claims().kernel);
    Ok(())
}

/// The kernel has the driver of virtio devices without PCI, and finds these devices from the command line.
///
/// Firecracker's machine has no PCI, and Kata tells its kernel so (`pci=off`, `fcKernelParams` in
/// src/runtime/virtcontainers/fc.go@3.32.0, `prepare_vmm_resources` in
/// src/runtime-rs/crates/hypervisor/src/firecracker/fc_api.rs@4.1.0). The Go runtime also switches ACPI off
/// (`acpi=off`): then a guest learns of its devices only by `virtio_mmio.device=` on the command line, which
/// Firecracker adds, and the kernel must parse it (`CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES`, which Kata's own kernel has:
/// tools/packaging/kernel/configs/fragments/common/mmio.conf@4.1.0).
fn kernel_finds_devices_without_pci(env: &dyn EnvironmentSide) -> Check {
    is_given(env, Component::Firecracker)?;
    has_modules(env, ModuleUse::VirtioMmio)?;
    if env.profile().runtime == Runtime::Rs {
        return Ok(());
    }
    let (path, config) = configuration(env)?;
    let option = "VIRTIO_MMIO_CMDLINE_DEVICES";
    ensure!(matches!(config.get(option), Some(OptionValue::BuiltIn)), "{path} has no {option}");
    Ok(())
}

/// Cloud Hypervisor, started and controlled over its API as by Kata's runtime, boots the distro's kernel to userspace.
///
/// `vm.create` carries the whole machine and `vm.boot` starts it (`bootVM` in src/runtime/virtcontainers/clh.go@3.32.0,
/// `boot_vm` in src/runtime-rs/crates/hypervisor/src/ch/inner_hypervisor.rs@4.1.0). The guest's agent is reached by the
/// Unix socket that stands for the guest's vsock.
fn cloud_hypervisor_boots_to_userspace(env: &dyn EnvironmentSide) -> Check {
    boots(env, Component::CloudHypervisor)
}

/// Firecracker, configured as by Kata's runtime, boots the distro's kernel to userspace.
///
/// The Go runtime describes the machine in a file (`--config-file`, `fcInit` in
/// src/runtime/virtcontainers/fc.go@3.32.0), runtime-rs by requests (`prepare_vmm_resources` in
/// src/runtime-rs/crates/hypervisor/src/firecracker/fc_api.rs@4.1.0). Neither has an initrd, which a distro's kernel
/// needs: the evidence names the harness's.
fn firecracker_boots_to_userspace(env: &dyn EnvironmentSide) -> Check {
    boots(env, Component::Firecracker)
}

fn boots(env: &dyn EnvironmentSide, vmm: Component) -> Check {
    let mut machine = boot(env, vmm, None)?;
    let running = read(&mut *machine, "/proc/sys/kernel/osrelease")?;
    let kernel = &env.claims().kernel;
    ensure!(kernel == running.trim(), "the guest was given the kernel {kernel}, and runs {:?}", running.trim());
    env.note(format!("{vmm}: {:.1} s to userspace", machine.boot_time().as_secs_f64()));
    Ok(())
}

fn boot(env: &dyn EnvironmentSide, vmm: Component, share: Option<Share>) -> Result<Box<dyn OtherMachine>, Stop> {
    is_given(env, vmm)?;
    let claims = env.claims();
    if !claims.candidates.contains_key(&vmm)
        && let Some(path) = claims.other_vmm(vmm)
    {
        is_executable(env, path.as_str(), vmm.name())?;
    }
    env.boot_by(vmm, share)
}

/// 1 MiB is sent to a guest of Cloud Hypervisor and back by vsock, and as much from the guest to its host and back.
///
/// No vhost driver is involved: the host's side is a Unix socket of the VMM's, over which a line names the port
/// (`HybridVSockDialer` in src/runtime/virtcontainers/pkg/agent/protocols/client/client.go@3.32.0, `connect_helper` in
/// src/runtime-rs/crates/agent/src/sock/hybrid_vsock.rs@4.1.0). It is the only channel to Kata's agent.
fn cloud_hypervisor_carries_vsock_both_ways(env: &dyn EnvironmentSide) -> Check {
    carries_vsock(env, Component::CloudHypervisor)
}

/// 1 MiB is sent to a guest of Firecracker and back by vsock, and as much from the guest to its host and back.
///
/// The protocol is the same as Cloud Hypervisor's (`fcAddVsock` in src/runtime/virtcontainers/fc.go@3.32.0,
/// `prepare_hvsock` in src/runtime-rs/crates/hypervisor/src/firecracker/fc_api.rs@4.1.0).
fn firecracker_carries_vsock_both_ways(env: &dyn EnvironmentSide) -> Check {
    carries_vsock(env, Component::Firecracker)
}

fn carries_vsock(env: &dyn EnvironmentSide, vmm: Component) -> Check {
    let bytes = 1 << 20;
    let mut machine = boot(env, vmm, None)?;
    machine.ask(Question::VsockEcho { port: vsock::AGENT_PORT })?.text("listening on vsock in the guest")?;
    let stream = machine.dial(vsock::AGENT_PORT)?;
    let dialling = "dialling the guest over vsock";
    let host = super::vhost::in_a_thread(Duration::from_secs(60), dialling, move || vsock::exchange(stream, bytes))?;
    ensure!(host == bytes, "of {bytes} bytes to the guest, {host} came back unchanged");
    let port = vsock::TEST_PORTS.start;
    vsock::echo(machine.listen(port)?);
    let guest = machine.ask(Question::VsockDial { port, bytes })?.count("dialling the host over vsock")?;
    ensure!(guest == bytes, "of {bytes} bytes to the host, {guest} came back unchanged");
    Ok(())
}

/// A disk that is plugged into a running guest of Cloud Hypervisor appears there, and holds data.
///
/// Containers get block volumes and, with a block snapshotter, their root filesystems by `vm.add-disk`
/// (`hotplugAddBlockDevice` in src/runtime/virtcontainers/clh.go@3.32.0, `handle_block_device` in
/// src/runtime-rs/crates/hypervisor/src/ch/inner_device.rs@4.1.0).
fn cloud_hypervisor_plugs_a_disk(env: &dyn EnvironmentSide) -> Check {
    plugs_a_disk(env, Component::CloudHypervisor)
}

/// An empty placeholder drive in a running guest of Firecracker takes a file, and holds data.
///
/// Firecracker cannot plug drives: Kata starts it with placeholder drives and gives them containers' root filesystems
/// by `PATCH /drives` (`createDiskPool` and `fcUpdateBlockDrive` in src/runtime/virtcontainers/fc.go@3.32.0,
/// `patch_container_rootfs` in src/runtime-rs/crates/hypervisor/src/firecracker/fc_api.rs@4.1.0).
fn firecracker_fills_a_drive_that_waits(env: &dyn EnvironmentSide) -> Check {
    plugs_a_disk(env, Component::Firecracker)
}

fn plugs_a_disk(env: &dyn EnvironmentSide, vmm: Component) -> Check {
    let mut machine = boot(env, vmm, None)?;
    let disk = ScratchDisk::new()?;
    load(&mut *machine, ModuleUse::VirtioBlk)?;
    machine.plug_disk(&disk.0)?;
    let machine: &mut dyn Machine = &mut *machine;
    // The first disk; a placeholder drive exists from the beginning, with size 0.
    let size = "/sys/block/vda/size";
    let wait = Wait::of_test(machine, Duration::from_secs(10), "the guest had a disk vda that is not empty");
    let found = |machine: &mut dyn Machine| -> Result<Option<()>, Stop> {
        let there = list(machine, "/sys/block")?.iter().any(|name| name == "vda");
        Ok((there && read(machine, size)?.trim() != "0").then_some(()))
    };
    within(env, machine, &wait, &["VIRTIO_BLK"], found, |_| Ok(None))?;
    disk.is_used(machine, "vda")
}

/// A guest of Cloud Hypervisor mounts Kata's share by the distro's virtiofsd, and host and guest see each other's
/// files.
///
/// The guest's memory must be shared with the daemon (`memory.shared`), and `vm.create` names the daemon's socket
/// (`addVolume` in src/runtime/virtcontainers/clh.go@3.32.0, `get_shared_devices` in
/// src/runtime-rs/crates/hypervisor/src/ch/inner_device.rs@4.1.0). The share's properties are tested under QEMU.
fn cloud_hypervisor_shares_files_by_virtiofsd(env: &dyn EnvironmentSide) -> Check {
    let mut machine = boot(env, Component::CloudHypervisor, Some(Share::VirtioFs))?;
    let folder = machine.shared_dir().ok_or_else(|| Stop::error("the guest was given no share"))?;
    let content = |side: &str| format!("written by the {side}").into_bytes();
    fs::write(folder.join("of-the-host"), content("host"))
        .map_err(|e| Stop::error(format!("writing to the share's folder: {e}")))?;
    match machine.act(Action::Read { path: Bytes::from("of-the-host") })? {
        Reply::Data { data } => ensure!(data.0 == content("host"), "the guest reads of the host's file {:?}", data.0),
        other => return Err(Stop::fail(format!("reading the host's file in the guest: {other:?}"))),
    }
    let (path, data) = (Bytes::from("of-the-guest"), Bytes(content("guest")));
    match machine.act(Action::Write { path, data, append: false, sync: true })? {
        Reply::Done => {}
        other => return Err(Stop::fail(format!("writing a file in the guest: {other:?}"))),
    }
    let there = fs::read(folder.join("of-the-guest")).doing("reading the guest's file on the host")?;
    ensure!(there == content("guest"), "the host reads of the guest's file {there:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::ModuleSet;
    use crate::smoke::fake_machine::FakeEnvironment;
    use crate::test::Suite;
    use model::other_vmm::OtherVmm;

    fn skipped(check: Check) -> String {
        match check {
            Err(Stop::Skip { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_release_that_packages_no_other_vmm_has_not_failed() {
        let env = FakeEnvironment::of("rs-4.1");
        for row in ROWS {
            let crate::test::Body::Environment(body) = row.body else { panic!("{}", row.name) };
            let reason = skipped(body(&env));
            assert!(reason.starts_with("not packaged: the record of debian:13 names no "), "{}: {reason}", row.name);
            assert!(reason.contains("--component "), "{}: {reason}", row.name);
        }
    }

    /// Every VMM with a test has profiles whose demands were read, because an empty list would mean every profile.
    #[test]
    fn a_test_applies_where_its_own_vmm_has_been_read() {
        for row in ROWS {
            let vmm = match row.proves {
                [Capability::VmmCloudHypervisor] => Component::CloudHypervisor,
                [Capability::VmmFirecracker] => Component::Firecracker,
                other => panic!("{} proves {other:?}", row.name),
            };
            let [place] = row.places else { panic!("{} has several places", row.name) };
            let read: Vec<&str> =
                OtherVmm::of(vmm).unwrap().profiles.iter().map(|under| under.profile.as_str()).collect();
            assert_eq!(row.test(Suite::Smoke, "smoke", *place, None).profiles, read, "{}", row.name);
            assert!(!read.is_empty(), "{vmm}");
        }
    }

    #[test]
    fn kernel_tests_judge_the_claimed_elf_kernel_and_configuration() {
        let mut env = FakeEnvironment::of("go-3.32").with("/boot/config-6.12", &["CONFIG_VIRTIO_MMIO=m\n"]);
        for vmm in [Component::CloudHypervisor, Component::Firecracker] {
            env.claims.candidates.insert(vmm, "/opt/vmm".parse().unwrap());
        }
        let wanted = vec!["virtio_mmio".to_owned()];
        let set = ModuleSet { load: wanted.clone(), wanted, missing: Vec::new() };
        env.claims.modules.insert(ModuleUse::VirtioMmio, set);
        let is_there = |env: &FakeEnvironment| {
            let (first, second) = (
                kernel_comes_as_an_elf_file_for_cloud_hypervisor(env),
                kernel_comes_as_an_elf_file_for_firecracker(env),
            );
            assert_eq!(first, second);
            first
        };
        assert!(matches!(is_there(&env), Err(Stop::Error { .. })), "nobody made one");
        env.claims.elf_kernel = Some(ElfKernel::Refused { why: "lz4".to_owned() });
        assert!(matches!(is_there(&env), Err(Stop::Error { .. })), "the harness cannot unpack it");
        env.claims.elf_kernel = Some(ElfKernel::Absent);
        assert!(matches!(is_there(&env), Err(Stop::Fail { .. })));
        env.claims.elf_kernel = Some(ElfKernel::Made { path: "/vmlinux".to_owned(), has_pvh_entry: false });
        assert_eq!(is_there(&env), Ok(()));
        let Err(Stop::Fail { message, .. }) = kernel_says_where_a_guest_without_firmware_begins(&env) else { panic!() };
        assert!(message.contains("CONFIG_PVH"), "{message}");
        let Err(Stop::Fail { message, .. }) = kernel_finds_devices_without_pci(&env) else { panic!() };
        assert!(message.contains("VIRTIO_MMIO_CMDLINE_DEVICES"), "{message}");
    }
}
