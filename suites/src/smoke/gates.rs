//! QEMU's features according to its own lists: the profile's gates, each with the capability that it decides.

use super::packages::qemu_in_use;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::environment::EnvironmentSide;
use crate::outcome::{FailureDetail, ListedName};
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::under;
use model::profile::{Gate, GateKind};
use std::time::Duration;

const SOURCE: &str = include_str!("gates.rs");

/// The test that must pass before QEMU's lists are read.
const QEMU: &[&str] = &["smoke::qemu_is_where_the_record_says"];
/// The kind of script that reads the lists.
const LISTS: Reproducer = Reproducer::QemuLists;

pub(super) static ROWS: &[Row] = &[
    row!(Environment(qemu_has_the_machine_type), &[Capability::VmmBoot], Qemu).blocked_by(QEMU).reproduced(LISTS),
    row!(Environment(qemu_has_the_devices_of_the_default_path), &[Capability::VmmBoot], Qemu)
        .blocked_by(QEMU)
        .reproduced(LISTS),
    row!(Environment(qemu_has_the_objects_of_the_default_path), &[Capability::VmmBoot], Qemu)
        .blocked_by(QEMU)
        .reproduced(LISTS),
    row!(Environment(qemu_has_the_devices_of_virtio_fs), &[Capability::FsVirtioFs], Qemu)
        .blocked_by(QEMU)
        .reproduced(LISTS),
    row!(Environment(qemu_has_the_devices_of_virtio_9p), &[Capability::FsVirtio9p], Qemu)
        .blocked_by(QEMU)
        .under(&under::NINEP)
        .reproduced(LISTS),
    row!(Environment(qemu_has_an_nvdimm), &[Capability::VmmImageNvdimm], Qemu).blocked_by(QEMU).reproduced(LISTS),
    row!(Environment(qemu_has_vhost_vsock), &[Capability::VmmVsock], Qemu).blocked_by(QEMU).reproduced(LISTS),
    row!(Environment(qemu_has_virtio_net), &[Capability::VmmNet], Qemu).blocked_by(QEMU).reproduced(LISTS),
    row!(Environment(qemu_has_vhost_user_blk), &[Capability::VmmVhostUserBlk], Qemu)
        .blocked_by(QEMU)
        .under(&under::VHOST_USER_BLK)
        .reproduced(LISTS),
    row!(Environment(qemu_has_vfio), &[Capability::VmmVfio], Qemu).blocked_by(QEMU).reproduced(LISTS),
    row!(Environment(qemu_has_what_katas_build_insists_on), &[Capability::VmmBuildGate], Qemu)
        .blocked_by(QEMU)
        .under(&under::BUILD_GATE)
        .reproduced(LISTS),
    row!(Environment(qemu_has_amd_iommu), &[Capability::VmmAmdIommu], Qemu)
        .blocked_by(QEMU)
        .under(&under::AMD_IOMMU)
        .reproduced(LISTS),
    row!(Environment(qemu_has_tdx), &[Capability::VmmTdx], Qemu).blocked_by(QEMU).reproduced(LISTS),
    row!(Environment(qemu_has_sev_snp), &[Capability::VmmSevSnp], Qemu)
        .blocked_by(QEMU)
        .under(&under::SEV_SNP)
        .reproduced(LISTS),
];

/// QEMU knows the machine type that Kata passes, by exactly that name.
///
/// Kata's Go runtime refuses any other spelling ("unrecognised machinetype"), so an alias such as `q35` must exist.
/// That is `newQemuArch` in src/runtime/virtcontainers/qemu_amd64.go@4.1.0.
fn qemu_has_the_machine_type(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmBoot, &[GateKind::Machine])
}

/// QEMU has every device that Kata puts on its default command line.
///
/// Kata's own QEMU build fails its packaging step when one of them is missing
/// (tools/packaging/static-build/qemu/build-qemu.sh@4.1.0); a distro's build may have left them out.
fn qemu_has_the_devices_of_the_default_path(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmBoot, &[GateKind::Device])
}

/// QEMU has every object (memory back ends, random number source) that Kata puts on its default command line.
///
/// Without them QEMU refuses Kata's `-object` arguments and no guest starts. They are in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0 and src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_has_the_objects_of_the_default_path(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmBoot, &[GateKind::Object])
}

/// QEMU has the device and the memory back end that virtio-fs needs.
///
/// virtio-fs is Kata's default shared filesystem since 2.0; without `vhost-user-fs` no daemon can be attached. Kata's
/// build of QEMU insists on it (tools/packaging/static-build/qemu/build-qemu.sh@4.1.0).
fn qemu_has_the_devices_of_virtio_fs(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::FsVirtioFs, &[GateKind::Device, GateKind::Object])
}

/// QEMU has its 9p server built in.
///
/// Kata up to 3.28 can share files over 9p; Enterprise Linux builds QEMU with `--disable-virtfs`. That is
/// `append9PVolume` in src/runtime/virtcontainers/qemu_arch_base.go@3.28.0.
fn qemu_has_the_devices_of_virtio_9p(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::FsVirtio9p, &[GateKind::Device])
}

/// QEMU has the NVDIMM device, as which Kata's image is attached by default.
///
/// Both runtimes' shipped configurations for x86_64 attach the image as an NVDIMM; `disable_image_nvdimm` or
/// `vm_rootfs_driver` can change that. That is `appendNvdimmImage` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, and
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_has_an_nvdimm(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmImageNvdimm, &[GateKind::Device])
}

/// QEMU has the vhost-vsock device.
///
/// It is the channel to Kata's guest agent; there is no other for QEMU. Its name is `VHostVSockPCI` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0; runtime-rs adds it in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_has_vhost_vsock(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmVsock, &[GateKind::Device])
}

/// QEMU has the virtio network device.
///
/// Kata attaches the pod's network to the guest with it. Its name is `VirtioNetPCI` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0; runtime-rs adds it in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_has_virtio_net(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmNet, &[GateKind::Device])
}

/// QEMU has the vhost-user-blk device.
///
/// SPDK volumes reach a Kata guest through it; nothing on the default path needs it. That is `VhostUserBlk` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0.
fn qemu_has_vhost_user_blk(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmVhostUserBlk, &[GateKind::Device])
}

/// QEMU has vfio-pci and the ports that Kata plugs it into.
///
/// Device pass-through needs it; nothing on the default path does. The device is `VfioPCI` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0, and Kata's build of QEMU insists on all of them
/// (tools/packaging/static-build/qemu/build-qemu.sh@4.1.0).
fn qemu_has_vfio(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmVfio, &[GateKind::Device, GateKind::Object])
}

/// QEMU has the devices that Kata's own build of it insists on, beyond those of the default path.
///
/// These are a balloon, virtio-mem, bridges and IOMMUs that only some settings use; Kata's packaging of QEMU fails
/// without them (tools/packaging/static-build/qemu/build-qemu.sh@4.1.0).
fn qemu_has_what_katas_build_insists_on(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmBuildGate, &[GateKind::Device])
}

/// QEMU has the AMD IOMMU.
///
/// Kata's build gate requires it; Enterprise Linux leaves it out, which matters only for pass-through on AMD. That is
/// tools/packaging/static-build/qemu/build-qemu.sh@4.1.0.
fn qemu_has_amd_iommu(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmAmdIommu, &[GateKind::Device])
}

/// QEMU can make Intel TDX guests.
///
/// Kata's confidential containers on Intel need the `tdx-guest` object (QEMU 10.1 on). That is `TDXGuest` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0, and src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_has_tdx(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmTdx, &[GateKind::Object])
}

/// QEMU can make AMD SEV-SNP guests.
///
/// Kata's confidential containers on AMD need the `sev-snp-guest` object (QEMU 9.1 on). That is `SNPGuest` in
/// src/runtime/pkg/govmm/qemu/qemu.go@4.1.0, and src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_has_sev_snp(env: &dyn EnvironmentSide) -> Check {
    offered(env, Capability::VmmSevSnp, &[GateKind::Object])
}

/// Checks that QEMU's list has every gate of the capability and of these kinds; the message names all missing ones.
fn offered(env: &dyn EnvironmentSide, capability: Capability, kinds: &[GateKind]) -> Check {
    let arch = env.claims().release.arch;
    let all_gates: Vec<&Gate> = env.profile().gates_of(capability).filter(|g| kinds.contains(&g.kind)).collect();
    if all_gates.is_empty() {
        return Err(Stop::error(format!("profile {} has no gate for {capability}", env.profile().name)));
    }
    let gates: Vec<Gate> = all_gates.into_iter().filter_map(|gate| gate.on(arch)).collect();
    if gates.is_empty() {
        return Err(Stop::skip(format!("kata asks for nothing of {capability} on {arch}")));
    }
    let (mut missing, mut sources) = (Vec::new(), Vec::new());
    for kind in kinds {
        if gates.iter().any(|g| g.kind == *kind) {
            let list = help(env, *kind)?;
            for gate in gates.iter().filter(|g| g.kind == *kind && !list.iter().any(|known| known == &g.name)) {
                missing.push(ListedName { flag: flag(*kind).to_owned(), name: gate.name.clone() });
                sources.push(gate.source.as_str());
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(not_offered(&qemu_in_use(env)?, missing).citing(sources))
}

/// Returns the failure that QEMU's lists lack names.
fn not_offered(qemu: &str, names: Vec<ListedName>) -> Stop {
    let words: Vec<String> = names.iter().map(|ListedName { flag, name }| format!("{flag} {name}")).collect();
    Stop::fail(format!("{qemu} does not offer {}", words.join(", "))).showing(FailureDetail::NotListed { names })
}

fn flag(kind: GateKind) -> &'static str {
    match kind {
        GateKind::Machine => "-machine",
        GateKind::Device => "-device",
        GateKind::Object => "-object",
        GateKind::KernelOption => "CONFIG_",
    }
}

/// Returns the names in QEMU's own list.
fn help(env: &dyn EnvironmentSide, kind: GateKind) -> Result<Vec<String>, Stop> {
    if kind == GateKind::KernelOption {
        return Err(Stop::error("a kernel's option is in no list of QEMU's"));
    }
    let path = qemu_in_use(env)?;
    let output = env.run(&[&path, flag(kind), "help"], Duration::from_secs(60))?;
    if !output.ok() {
        return Err(Stop::fail(format!("{path} {} help failed with {:?}: {}", flag(kind), output.code, output.tail())));
    }
    let names = names(&output.stdout, kind);
    if names.is_empty() {
        return Err(Stop::fail(format!("{path} {} help lists nothing: {}", flag(kind), output.tail())));
    }
    Ok(names)
}

/// Parses a list: `-device help` prints `name "virtio-blk-pci", bus PCI`; the others print the name first on its line.
fn names(text: &str, kind: GateKind) -> Vec<String> {
    text.lines()
        .filter_map(|line| match kind {
            GateKind::Device => line.strip_prefix("name \"")?.split('"').next(),
            GateKind::Machine | GateKind::Object | GateKind::KernelOption => line.split_whitespace().next(),
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_are_in_the_message_and_in_the_detail() {
        let name = |flag: &str, name: &str| ListedName { flag: flag.to_owned(), name: name.to_owned() };
        let names = vec![name("-device", "nvdimm"), name("-object", "tdx-guest")];
        let expected = Stop::fail("/q does not offer -device nvdimm, -object tdx-guest");
        let detail = FailureDetail::NotListed { names: names.clone() };
        assert_eq!(not_offered("/q", names), expected.showing(detail));
    }

    #[test]
    fn names_are_parsed_from_each_list_of_qemu() {
        let devices = "Controller/Bridge/Hub devices:\nname \"pci-bridge\", bus PCI, desc \"x\"\n\nname \"loader\"\n";
        assert_eq!(names(devices, GateKind::Device), ["pci-bridge", "loader"]);
        let machines = "Supported machines are:\nq35                  Standard PC (alias of pc-q35-7.2)\n";
        assert!(names(machines, GateKind::Machine).contains(&"q35".to_owned()));
        assert_eq!(names("List of user creatable objects:\n  rng-random\n", GateKind::Object)[1], "rng-random");
    }
}
