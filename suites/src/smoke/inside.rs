//! Kernel features for containers, tested inside the guest: namespaces, seccomp filters, control groups, overlayfs,
//! entropy.

use super::BOOTS;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::child::{self, INNER_MOUNT, INNER_NAME, NAMESPACES, OwnProcess};
use crate::ensure;
use crate::group::Group;
use crate::reproducer::{GuestCommands, Reproducer};
use crate::row::{Row, row};
use crate::test::ExcludedArchitectures;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("inside.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Inside(guest_has_entropy_from_virtio_rng), &[Capability::VmmBoot], Qemu)
        .blocked_by(BOOTS)
        .excluding(ExcludedArchitectures::OnZ)
        .reproduced(Reproducer::Guest(GuestCommands {
            arguments: &["-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"],
            modules: &["virtio_pci", "virtio_rng"],
            commands: "grep '^virtio_rng' /sys/class/misc/hw_random/rng_current && \
                       [ \"$(head -c 4096 /dev/hwrng | wc -c)\" -eq 4096 ]",
            is_about_booting: false,
        })),
    row!(Inside(guest_has_cgroup_v2_and_its_controllers), &[Capability::KernelGuest], Kernel)
        .blocked_by(BOOTS)
        .reproduced(Reproducer::Guest(GuestCommands {
            arguments: &[],
            modules: &[],
            commands: "mkdir /cgroup && mount -t cgroup2 none /cgroup && cat /cgroup/cgroup.controllers && \
                       for one in cpu cpuset io memory pids; do \
                       grep -qw \"$one\" /cgroup/cgroup.controllers || exit 1; done",
            is_about_booting: false,
        })),
    row!(Inside(guest_has_all_namespaces), &[Capability::KernelGuest], Kernel).blocked_by(BOOTS),
    row!(Inside(guest_has_seccomp_filters), &[Capability::KernelGuest], Kernel).blocked_by(BOOTS),
    row!(Inside(guest_loads_overlayfs), &[Capability::KernelGuest], Kernel)
        .blocked_by(&["smoke::kernel_boots_to_userspace", "smoke::kernel_has_the_modules_of_containers"])
        .reproduced(Reproducer::Guest(GuestCommands {
            arguments: &[],
            modules: &["overlay"],
            commands: "cd /tmp && mkdir lower upper work merged && echo below >lower/file && \
                       mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged && \
                       [ \"$(cat merged/file)\" = below ] && echo above >merged/file && \
                       [ \"$(cat lower/file upper/file)\" = \"$(printf 'below\\nabove')\" ]",
            is_about_booting: false,
        })),
];

/// The guest's hardware random number generator is virtio-rng, and 4 KiB read from it show no pattern.
///
/// Kata always attaches it (`rng-random` with /dev/urandom): a guest short of entropy stalls at its first TLS
/// handshake. That is `appendRNGDevice` in src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, and
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn guest_has_entropy_from_virtio_rng() -> Check {
    let current =
        fs::read_to_string("/sys/class/misc/hw_random/rng_current").doing("asking for the generator in use")?;
    ensure!(current.trim().starts_with("virtio_rng"), "the guest's random number generator is {:?}", current.trim());
    let mut device = File::open("/dev/hwrng").doing("opening /dev/hwrng")?;
    let mut bytes = [0; 4096];
    device.read_exact(&mut bytes).doing("reading 4096 bytes from /dev/hwrng")?;
    let mut seen = [0_u32; 256];
    for byte in bytes {
        seen[usize::from(byte)] += 1;
    }
    // In 4096 random bytes each value occurs about 16 times, and almost never more than 50 times.
    let (kinds, most) = (seen.iter().filter(|count| **count > 0).count(), seen.iter().max().copied().unwrap_or(0));
    ensure!(
        kinds > 200 && most < 64,
        "4096 bytes of /dev/hwrng have {kinds} different values, one of them {most} times"
    );
    let (first, second) = bytes.split_at(2048);
    ensure!(first != second, "/dev/hwrng repeats itself after 2048 bytes");
    Ok(())
}

/// A process of the guest can leave each of its namespaces for a new one, and its changes there are not seen outside.
///
/// The agent creates mount, pid, net, ipc and uts namespaces for each container (and user and cgroup ones on request).
/// That is `do_init_child` in src/agent/rustjail/src/container.rs@4.1.0 and src/agent/src/namespace.rs@4.1.0.
fn guest_has_all_namespaces() -> Check {
    for (name, _) in NAMESPACES {
        child::run(&["unshare", name], &format!("leaving the {name} namespace"))?;
    }
    let outside = rustix::system::uname().nodename().to_string_lossy().into_owned();
    ensure!(outside != INNER_NAME, "a host name set in a UTS namespace is the guest's own");
    let file = format!("{INNER_MOUNT}/file");
    ensure!(!Path::new(&file).exists(), "what was mounted in a mount namespace is seen outside, at {file}");
    Ok(())
}

/// A seccomp filter (mode 2) refuses one system call, allows the others, and kills the process if it says so.
///
/// Kata's agent applies the container's seccomp profile inside the guest and reports support for it to the runtime.
/// That is `init_seccomp` in src/agent/rustjail/src/seccomp.rs@4.1.0.
fn guest_has_seccomp_filters() -> Check {
    child::run(&["refused"], "a process under a filter that refuses getppid")?;
    let (status, output) = OwnProcess::start(&["killed"])?.finish()?;
    // SIGSYS.
    ensure!(status.signal() == Some(31), "a process whose filter kills it for getppid ended with {status}: {output}");
    Ok(())
}

/// The guest's cgroup v2 has the controllers of container limits; limits on processes, memory and CPU time hold, and a
/// group can be bound to a CPU and frozen.
///
/// Kata's agent options ask for the unified hierarchy (`systemd.unified_cgroup_hierarchy=1`); limits inside the guest
/// are set through these controllers (`set` in src/agent/rustjail/src/cgroups/fs/mod.rs@4.1.0). This guest has only one
/// CPU; `groups_bind_to_one_of_two_cpus` shows that a group can be bound to one of several. The guest has no disk, so
/// for `io` only the file is checked; `guest_limits_a_disks_use` measures the limits.
fn guest_has_cgroup_v2_and_its_controllers() -> Check {
    let controllers = Group::controllers()?;
    let wanted = ["cpu", "cpuset", "io", "memory", "pids"];
    let missing: Vec<&str> =
        wanted.into_iter().filter(|c| !controllers.split_whitespace().any(|there| there == *c)).collect();
    ensure!(missing.is_empty(), "cgroup v2 lacks {}; it has {:?}", missing.join(", "), controllers.trim());
    let group = Group::new(&wanted)?;
    group.limits_processes()?;
    group.limits_memory()?;
    group.limits_cpu_time()?;
    group.binds_to(0)?;
    group.freezes()?;
    group.get("io.max").map(drop)
}

/// The guest's overlayfs stacks two layers: both are seen, written files are copied up, removed files are whited out.
///
/// The agent stacks image layers with overlayfs; a module built for another kernel would fail here. That is
/// `OverlayfsHandler` in src/agent/src/storage/fs_handler.rs@4.1.0.
fn guest_loads_overlayfs() -> Check {
    let layers = Layers::mount()?;
    let merged = |name: &str| layers.0.join("merged").join(name);
    let text = |path: PathBuf| fs::read_to_string(&path).doing(format!("reading {}", path.display()));
    for (name, from) in [("bottom", "bottom"), ("top", "top"), ("both", "top")] {
        let seen = text(merged(name))?;
        ensure!(seen == from, "{name}: expected the {from} layer's content, saw {seen:?}");
    }
    fs::write(merged("bottom"), "written").doing("writing through the stack")?;
    let (below, above) = (text(layers.0.join("lower1/bottom"))?, text(layers.0.join("upper/bottom"))?);
    ensure!(below == "bottom", "what was written through the stack reached the layer below: {below:?}");
    ensure!(above == "written", "what was written through the stack was not copied up: {above:?}");
    fs::remove_file(merged("top")).doing("removing through the stack")?;
    ensure!(!merged("top").exists(), "a file that was removed is still seen");
    ensure!(layers.0.join("lower2/top").exists(), "a file that was removed through the stack is gone from its layer");
    let white = fs::symlink_metadata(layers.0.join("upper/top")).doing("looking for the whiteout")?;
    ensure!(white.file_type().is_char_device() && white.rdev() == 0, "the whiteout is no character device 0:0");
    Ok(())
}

/// Two read-only layers and a writable one, mounted; dropping the value unmounts them.
struct Layers(PathBuf);

impl Layers {
    fn mount() -> Result<Layers, Stop> {
        let layers = Layers(PathBuf::from("/scratch/layers"));
        for folder in ["lower1", "lower2", "upper", "work", "merged"] {
            fs::create_dir_all(layers.0.join(folder)).doing(format!("making the folder {folder}"))?;
        }
        for (layer, file, text) in [
            ("lower1", "bottom", "bottom"),
            ("lower1", "both", "bottom"),
            ("lower2", "top", "top"),
            ("lower2", "both", "top"),
        ] {
            fs::write(layers.0.join(layer).join(file), text).doing(format!("filling {layer}"))?;
        }
        let options = c"lowerdir=/scratch/layers/lower2:/scratch/layers/lower1,upperdir=/scratch/layers/upper,workdir=/scratch/layers/work";
        mount("overlay", layers.0.join("merged"), "overlay", MountFlags::empty(), options)
            .doing("mounting an overlayfs")?;
        Ok(layers)
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        let _ = unmount(self.0.join("merged"), UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.0);
    }
}
