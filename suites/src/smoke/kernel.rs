//! The distro's kernel as Kata's guest kernel, before it is booted.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::claims::Claims;
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::outcome::FailureDetail;
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::under;
use model::kernel::{Judged, KernelConfig, KernelUse, Weight};
use model::profile::{Gate, GateKind, ModuleUse};

const SOURCE: &str = include_str!("kernel.rs");

/// The most options of one use that are listed: a kernel without netfilter lacks a hundred.
const TOLD: usize = 12;

pub(super) static ROWS: &[Row] = &[
    row!(Environment(kernel_has_iommufd), &[Capability::VmmVfio], Kernel)
        .under(&under::RS)
        .reproduced(Reproducer::KernelOptions),
    row!(Environment(kernel_image_has_its_modules), &[Capability::KernelGuest], Kernel).guards(),
    row!(Environment(kernel_has_the_options_that_the_agent_needs), &[Capability::KernelGuest], Kernel)
        .reproduced(Reproducer::KernelOptions),
    row!(Environment(kernel_has_the_modules_of_boot), &[Capability::KernelGuest], Kernel),
    row!(Environment(kernel_has_the_modules_of_vsock), &[Capability::KernelGuest, Capability::VmmVsock], Kernel),
    row!(Environment(kernel_has_the_modules_of_containers), &[Capability::KernelGuest], Kernel),
    row!(Environment(kernel_has_the_modules_of_virtio_fs), &[Capability::FsVirtioFs], Kernel),
    row!(Environment(kernel_has_the_modules_of_virtio_9p), &[Capability::FsVirtio9p], Kernel).under(&under::NINEP),
    row!(Environment(kernel_has_the_modules_of_virtio_blk), &[Capability::FsVirtioBlk], Kernel),
];

/// The kernel image and its modules belong to the same release, and the module index exists.
///
/// A guest initrd is made from both; a half-upgraded kernel package boots a guest whose modules do not load.
fn kernel_image_has_its_modules(env: &dyn EnvironmentSide) -> Check {
    let claims = env.claims();
    let image = env.run(&["test", "-s", &claims.vmlinuz], std::time::Duration::from_secs(10))?;
    ensure!(image.ok(), "{} is missing or empty", claims.vmlinuz);
    ensure!(
        is_of(&claims.vmlinuz, claims.kernel.as_str()),
        "the image is {}, the modules are of {}",
        claims.vmlinuz,
        claims.kernel
    );
    let index = format!("/lib/modules/{}/modules.dep", claims.kernel);
    let there = env.run(&["test", "-s", &index], std::time::Duration::from_secs(10))?;
    ensure!(there.ok(), "{index} is missing or empty: the kernel's modules cannot be found");
    Ok(())
}

/// Checks whether a kernel image can belong to a release, by its path: named after the release, in the directory of its
/// modules, or named after its flavour alone, like Alpine's `/boot/vmlinuz-virt`.
fn is_of(vmlinuz: &str, release: &str) -> bool {
    let (folder, name) = vmlinuz.rsplit_once('/').unwrap_or_default();
    let is_flavour = |flavour: &str| release.rsplit_once('-').is_some_and(|(_, last)| last == flavour);
    name.ends_with(release)
        || folder.strip_suffix(release).is_some_and(|above| above.ends_with("/modules/"))
        || name.strip_prefix("vmlinuz-").is_some_and(is_flavour)
}

/// Returns the kernel's configuration and its path: in /boot, with the modules (Fedora's package), or in the image
/// (Arch's).
pub(super) fn configuration(env: &dyn EnvironmentSide) -> Result<(String, KernelConfig), Stop> {
    let (path, text) = configuration_of(env.claims(), |path| env.read(path))?;
    let config = KernelConfig::parse(&text).map_err(|e| Stop::fail(format!("{path} is no configuration: {e}")))?;
    Ok((path, config))
}

fn configuration_of(claims: &Claims, read: impl Fn(&str) -> Result<String, Stop>) -> Result<(String, String), Stop> {
    let Claims { kernel, kernel_config, vmlinuz, .. } = claims;
    let [in_boot, with_modules] = [format!("/boot/config-{kernel}"), format!("/lib/modules/{kernel}/config")];
    // The error message names the usual file.
    let missing = match read(&in_boot) {
        Ok(text) => return Ok((in_boot, text)),
        Err(missing) => missing,
    };
    match (read(&with_modules), kernel_config) {
        (Ok(text), _) => Ok((with_modules, text)),
        (Err(_), Some(text)) => Ok((vmlinuz.clone(), text.clone())),
        (Err(_), None) => Err(missing),
    }
}

/// The kernel has, built in, the features without which Kata's agent cannot run containers: namespaces, control groups,
/// seccomp, …
///
/// Kata's own guest kernels are built with these options
/// (tools/packaging/kernel/configs/fragments/common/base.conf@4.1.0 and the files in the same directory); the agent
/// loads no module for them. Other options that Kata sets and this kernel lacks are noted, together with what does not
/// work without them.
fn kernel_has_the_options_that_the_agent_needs(env: &dyn EnvironmentSide) -> Check {
    let (path, config) = configuration(env)?;
    let uses = KernelUse::all(env.claims().release.arch, env.profile());
    let judged: Vec<Judged<'_>> = uses.into_iter().map(|one| Judged::of(&config, one)).collect();
    wanted_and_missing(&judged).into_iter().for_each(|note| env.note(note));
    let lacking = needed_and_missing(&judged);
    if lacking.is_empty() {
        return Ok(());
    }
    let options = needed(&judged).flat_map(names).collect();
    let detail = FailureDetail::LacksOptions { built_in: true, options };
    Err(Stop::fail(format!("{path} lacks, as built in: {}", lacking.join("; "))).showing(detail))
}

/// Returns the uses whose options the agent needs built in.
fn needed<'j, 'u>(judged: &'j [Judged<'u>]) -> impl Iterator<Item = &'j Judged<'u>> {
    judged.iter().filter(|one| {
        let of = one.kernel_use.of;
        of.built_in && of.serves == Some(Capability::KernelGuest) && one.kernel_use.weight == Weight::Required
    })
}

/// Describes the missing options that the agent needs, and what does not work without them.
fn needed_and_missing(judged: &[Judged<'_>]) -> Vec<String> {
    needed(judged).filter_map(consequence).collect()
}

/// Returns the names of the missing options, up to [`TOLD`].
fn names(judged: &Judged<'_>) -> Vec<String> {
    let missing = judged.options().filter(|(_, state)| state.is_missing());
    missing.take(TOLD).map(|(option, _)| option.name.to_owned()).collect()
}

/// Describes the missing options that Kata or containers can use, and what does not work without them.
fn wanted_and_missing(judged: &[Judged<'_>]) -> Vec<String> {
    judged.iter().filter(|one| one.kernel_use.weight == Weight::Wanted).filter_map(consequence).collect()
}

/// Describes the consequence: `xfs: XFS_FS is not set; without it, volumes with XFS are not mounted`.
fn consequence(judged: &Judged<'_>) -> Option<String> {
    let (missing, of) = (judged.missing(), judged.kernel_use.of);
    let more = match missing.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = missing.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!missing.is_empty()).then(|| format!("{}: {names}{more}; without it, {}", of.name, of.without))
}

/// The kernel has the drivers that the guest needs before its agent runs: the PCI transport and the console.
///
/// Kata's agent writes to `hvc0` and finds its devices on virtio's PCI transport (kata-agent loads no modules itself).
/// Kata's own kernel has both built in (tools/packaging/kernel/configs/fragments/common/virtio.conf@4.1.0).
fn kernel_has_the_modules_of_boot(env: &dyn EnvironmentSide) -> Check {
    has_modules(env, ModuleUse::Boot)
}

/// The kernel has vsock and its virtio transport.
///
/// The agent listens on vsock port 1024; without the transport the runtime times out ("timed out connecting to vsock").
/// That port is `DEFAULT_AGENT_VSOCK_PORT` in src/libs/kata-types/src/config/default.rs@4.1.0; Kata's own kernel has
/// the transport built in (tools/packaging/kernel/configs/fragments/common/network.conf@4.1.0).
fn kernel_has_the_modules_of_vsock(env: &dyn EnvironmentSide) -> Check {
    has_modules(env, ModuleUse::Vsock)
}

/// The kernel has the drivers that containers in a guest use: network, SCSI disks, entropy, overlayfs.
///
/// Kata hot-plugs virtio-net and virtio-scsi and stacks container root filesystems with overlayfs. Kata's own kernel
/// has them built in (tools/packaging/kernel/configs/fragments/common/virtio.conf@4.1.0,
/// tools/packaging/kernel/configs/fragments/common/fs.conf@4.1.0).
fn kernel_has_the_modules_of_containers(env: &dyn EnvironmentSide) -> Check {
    has_modules(env, ModuleUse::Other)
}

/// The kernel has virtiofs and fuse, as modules or built in.
///
/// Without them the guest cannot mount `kataShared`, and no container has a root filesystem. Kata's own kernel has them
/// built in (tools/packaging/kernel/configs/fragments/common/fs.conf@4.1.0).
fn kernel_has_the_modules_of_virtio_fs(env: &dyn EnvironmentSide) -> Check {
    has_modules(env, ModuleUse::VirtioFs)
}

/// The kernel has 9p and its virtio transport.
///
/// Kata up to 3.28 mounts 9p with `trans=virtio`; Debian's cloud kernels leave it out. The mount is in
/// `sharedDir9pOptions` in src/runtime/virtcontainers/kata_agent.go@3.28.0.
fn kernel_has_the_modules_of_virtio_9p(env: &dyn EnvironmentSide) -> Check {
    has_modules(env, ModuleUse::Virtio9p)
}

/// The kernel has virtio-blk and ext4.
///
/// Kata attaches block volumes and devmapper snapshots as virtio disks, usually with ext4. That is
/// `get_virtio_blk_pci_device_name` in src/agent/src/device/block_device_handler.rs@4.1.0.
fn kernel_has_the_modules_of_virtio_blk(env: &dyn EnvironmentSide) -> Check {
    has_modules(env, ModuleUse::VirtioBlk)
}

/// The kernel can give user space access to an IOMMU through iommufd.
///
/// runtime-rs passes an `iommufd` object before every device that it passes through
/// (src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0), and QEMU refuses to start if the host has no
/// /dev/iommu.
fn kernel_has_iommufd(env: &dyn EnvironmentSide) -> Check {
    let (path, config) = configuration(env)?;
    let gates = env.profile().gates_of(Capability::VmmVfio).filter(|g| g.kind == GateKind::KernelOption);
    let lacking = lacking(&config, gates);
    if lacking.is_empty() {
        return Ok(());
    }
    let options = lacking.iter().map(|&option| option.to_owned()).collect();
    let detail = FailureDetail::LacksOptions { built_in: false, options };
    Err(Stop::fail(format!("{path} lacks, built in or as modules: {}", lacking.join(", "))).showing(detail))
}

/// Returns the options of gates that a kernel has neither built in nor as modules.
fn lacking<'g>(config: &KernelConfig, gates: impl Iterator<Item = &'g Gate>) -> Vec<&'g str> {
    gates.map(|gate| gate.name.as_str()).filter(|option| !config.has(option)).collect()
}

pub(super) fn has_modules(env: &dyn EnvironmentSide, used_for: ModuleUse) -> Check {
    let claims = env.claims();
    let set = claims
        .modules
        .get(&used_for)
        .ok_or_else(|| Stop::error(format!("nobody looked up the modules for {used_for}")))?;
    ensure!(!set.wanted.is_empty(), "profile {} names no modules for {used_for}", env.profile().name);
    ensure!(
        set.missing.is_empty(),
        "kernel {} has neither a module nor built-in code for {}",
        claims.kernel,
        set.missing.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::profile::Profile;

    #[test]
    fn a_kernel_image_belongs_to_a_release_by_name_or_folder() {
        for (vmlinuz, release) in [
            ("/boot/vmlinuz-6.12.48+deb13-amd64", "6.12.48+deb13-amd64"),
            ("/usr/lib/modules/6.17.1-300.fc44.x86_64/vmlinuz", "6.17.1-300.fc44.x86_64"),
            ("/boot/vmlinuz-virt", "6.12.13-0-virt"),
        ] {
            assert!(is_of(vmlinuz, release), "{vmlinuz}");
            assert!(!is_of(vmlinuz, "6.1.0-56-lts"), "{vmlinuz}");
        }
        assert!(!is_of("/boot/vmlinuz", "6.12") && !is_of("/boot/vmlinuz-lts", "6.12.13-0-virt"));
    }

    #[test]
    fn the_kernel_configuration_comes_from_a_file_or_the_image() {
        let database = model::database::Database::embedded();
        let release = database.record("arch").unwrap().release("rolling", model::arch::Arch::X86_64).unwrap();
        let mut claims = Claims {
            kernel_config: Some("in the image".to_owned()),
            vmlinuz: "/usr/lib/modules/6.17/vmlinuz".to_owned(),
            ..Claims::of(release, "6.17".parse().unwrap())
        };
        let found = |claims: &Claims, files: &[&str]| {
            configuration_of(claims, |path| match files.contains(&path) {
                true => Ok("in a file".to_owned()),
                false => Err(Stop::fail(format!("{path} is missing"))),
            })
        };
        let (in_boot, with_modules) = ("/boot/config-6.17", "/lib/modules/6.17/config");
        let text = |text: &str, path: &str| Ok((path.to_owned(), text.to_owned()));
        assert_eq!(found(&claims, &[in_boot, with_modules]), text("in a file", in_boot));
        assert_eq!(found(&claims, &[with_modules]), text("in a file", with_modules));
        assert_eq!(found(&claims, &[]), text("in the image", "/usr/lib/modules/6.17/vmlinuz"));
        claims.kernel_config = None;
        assert_eq!(found(&claims, &[]), Err(Stop::fail("/boot/config-6.17 is missing")));
    }

    /// Returns all options that Kata sets for x86_64, with exceptions.
    fn config(but: &[(&str, &str)]) -> KernelConfig {
        let mut text = "# Linux/x86 6.12.48 Kernel Configuration\nCONFIG_X86_64=y\n".to_owned();
        for option in model::kernel::Fragments::kata().options(model::arch::Arch::X86_64) {
            let value = but.iter().find(|(name, _)| *name == option.name).map_or("y", |(_, value)| value);
            text += &format!("CONFIG_{}={value}\n", option.name);
        }
        KernelConfig::parse(&text).unwrap()
    }

    #[test]
    fn missing_needed_options_fail_and_missing_wanted_ones_are_noted() {
        let profile = Profile::find("go-3.29").unwrap();
        let judged = |but: &[(&str, &str)]| -> Vec<Judged<'static>> {
            let config = config(but);
            let uses = KernelUse::all(model::arch::Arch::X86_64, profile);
            uses.into_iter().map(|one| Judged::of(&config, one)).collect()
        };
        let sound = judged(&[]);
        assert!(needed_and_missing(&sound).is_empty() && wanted_and_missing(&sound).is_empty());
        let lacks = judged(&[("SECCOMP", "n"), ("EPOLL", "m"), ("XFS_FS", "n"), ("VETH", "m"), ("PRINTK_TIME", "n")]);
        assert_eq!(
            needed_and_missing(&lacks),
            [
                "agent: EPOLL is only a module; without it, Kata's agent does not run, or has no sockets, terminals or message \
             queues for containers",
                "seccomp: SECCOMP is not set; without it, no container with a seccomp profile starts, and Kubernetes gives \
             every one such a profile",
            ]
        );
        assert_eq!(needed(&lacks).flat_map(names).collect::<Vec<_>>(), ["EPOLL", "SECCOMP"]);
        let wanted = "xfs: XFS_FS is not set; without it, volumes, and images of Kata's, with XFS are not mounted";
        assert_eq!(wanted_and_missing(&lacks), [wanted]);
    }

    /// The test has failed kernels without these options since it was introduced.
    #[test]
    fn the_options_needed_by_the_agent_are_unchanged() {
        let uses = KernelUse::all(model::arch::Arch::X86_64, Profile::find("rs-4.1").unwrap());
        let needed = uses.iter().filter(|one| {
            one.of.built_in && one.weight == Weight::Required && one.of.serves == Some(Capability::KernelGuest)
        });
        let mut names: Vec<&str> = needed.flat_map(|one| &one.options).map(|option| option.name).collect();
        names.sort_unstable();
        assert_eq!(
            names.join(" "),
            "BINFMT_ELF BLK_DEV_INITRD CFS_BANDWIDTH CGROUPS CGROUP_CPUACCT CGROUP_DEVICE CGROUP_FREEZER CGROUP_PIDS \
             CGROUP_SCHED CPUSETS DEVTMPFS EPOLL FILE_LOCKING FUTEX HOTPLUG_CPU INET INOTIFY_USER IPC_NS IPV6 MEMCG \
             MEMORY_HOTPLUG MULTIUSER NAMESPACES NET_NS PID_NS POSIX_MQUEUE PROC_FS SECCOMP SECCOMP_FILTER SHMEM \
             SIGNALFD SMP SYSFS TIMERFD TMPFS UNIX UNIX98_PTYS UTS_NS"
        );
    }

    #[test]
    fn runtime_rs_accepts_iommufd_built_in_or_as_a_module() {
        let profile = Profile::all().iter().find(|p| p.name.starts_with("rs-")).unwrap();
        let gates = || profile.gates_of(Capability::VmmVfio).filter(|g| g.kind == GateKind::KernelOption);
        for config in ["CONFIG_IOMMUFD=y\n", "CONFIG_IOMMUFD=m\n"] {
            assert!(lacking(&KernelConfig::parse(config).unwrap(), gates()).is_empty(), "{config}");
        }
        assert_eq!(lacking(&KernelConfig::parse("# CONFIG_IOMMUFD is not set\n").unwrap(), gates()), ["IOMMUFD"]);
    }
}
