//! Kata's guest image instead of an initrd: QEMU attaches it with the runtime's own arguments, the root filesystem in
//! it is mounted as the kernel's command line says, and the guest continues from it.
//!
//! QEMU is under test. Kata boots an image without an initrd, so its kernel has the drivers built in, as Kata's own
//! kernel has and a distro's has not. The distro's kernel gets its drivers from the harness's initramfs, which then
//! hands over to the image, as a distro's own initramfs does; if the kernel lacks the drivers, the test is skipped.
//! `katas_own_image_boots` shows that a kernel with these drivers needs no initramfs.
//!
//! The image is made as Kata's builder makes it; the additional initramfs is a recorded deviation.

mod file;
mod layout;

use super::BOOTS;
use super::guest_files::{list, load, read};
use super::hotplug::waits::{Wait, within};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Setting};
use crate::outcome::Component;
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::test::{ExcludedArchitectures, Place};
use file::{Content, FILE, PROGRAM, ScratchImage, words};
use model::procfs::Mount;
use model::profile::{BlkReadOnly, ImageDriver, ModuleUse, Profile};
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = include_str!("image.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(image_is_read_as_an_nvdimm), &[Capability::VmmImageNvdimm], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::kernel_boots_to_userspace", "smoke::qemu_has_an_nvdimm"])
        .seconds(180)
        .reproduced(Reproducer::QemuRefuses),
    row!(Environment(image_is_read_as_a_disk), &[Capability::VmmImageBlk], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(180)
        .reproduced(Reproducer::QemuRefuses),
    row!(Environment(guest_runs_from_an_nvdimm), &[Capability::VmmImageNvdimm], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::image_is_read_as_an_nvdimm"])
        .seconds(180),
    row!(Environment(guest_runs_from_a_disk), &[Capability::VmmImageBlk], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::image_is_read_as_a_disk"])
        .seconds(180),
    // Not blocked by the test of the image: that one is skipped if the kernel lacks a driver.
    row!(Environment(guest_mounts_persistent_memory_by_dax), &[Capability::KernelPmem], Kernel)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::kernel_boots_to_userspace", "smoke::qemu_has_an_nvdimm"])
        .excluding(ExcludedArchitectures::Elsewhere)
        .seconds(180),
];

/// A kernel without `rootwait` does not wait longer than the drivers' first probe.
const PROBE: Duration = Duration::from_secs(2);
/// The guest's mount point of the image.
const ROOT: &str = "/newroot";

/// Kata's image as an NVDIMM has its size in the guest and is read-only there; the root filesystem in it is mounted by
/// DAX and can be read, also through a mapping.
///
/// Both runtimes' shipped x86_64 configurations attach the image this way (`appendNvdimmImage` in
/// src/runtime/virtcontainers/qemu_arch_base.go@3.32.0, `add_nvdimm` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0). A QEMU before 6.0 has no read-only memory
/// back end, and no sandbox starts.
fn image_is_read_as_an_nvdimm(env: &dyn EnvironmentSide) -> Check {
    NVDIMM.is_read(env)
}

/// Kata's image as a virtio-blk disk has its size in the guest and is read-only there; the root filesystem in it is
/// mounted and can be read.
///
/// Used with `disable_image_nvdimm`, or another `vm_rootfs_driver` for runtime-rs, and always on s390x
/// (`appendBlockImage` in src/runtime/virtcontainers/qemu_arch_base.go@3.32.0, `add_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn image_is_read_as_a_disk(env: &dyn EnvironmentSide) -> Check {
    DISK.is_read(env)
}

/// A guest runs from Kata's image as an NVDIMM: the root filesystem in it, mounted by DAX, becomes the root, and a
/// program in it is process 1, which the kernel executes from the image's own pages.
///
/// Guests of both runtimes' shipped x86_64 configurations run this way: `root=/dev/pmem0p1 rootflags=dax,…` and an init
/// in the image (`new_rootfs_kernel_params` in src/runtime-rs/crates/hypervisor/src/kernel_param.rs@4.1.0,
/// `GetKernelRootParams` in src/runtime/virtcontainers/hypervisor.go@4.1.0).
fn guest_runs_from_an_nvdimm(env: &dyn EnvironmentSide) -> Check {
    NVDIMM.is_run_from(env)
}

/// A guest runs from Kata's image as a virtio-blk disk: the root filesystem in it becomes the root, and a program in it
/// is process 1.
///
/// Used with `disable_image_nvdimm`, or another `vm_rootfs_driver`: `root=/dev/vda1` (`new_rootfs_kernel_params` in
/// src/runtime-rs/crates/hypervisor/src/kernel_param.rs@4.1.0).
fn guest_runs_from_a_disk(env: &dyn EnvironmentSide) -> Check {
    DISK.is_run_from(env)
}

/// The distro's kernel finds an NVDIMM, and mounts the root filesystem in it by DAX; a file there can be read, also
/// through a mapping.
///
/// Kata's own kernel has the drivers built in, and the shipped x86_64 configurations mount the image this way
/// (tools/packaging/kernel/configs/fragments/common/pmem.conf@4.1.0, `add_nvdimm` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0); a distro's kernel can take its place only if
/// it has them, too.
fn guest_mounts_persistent_memory_by_dax(env: &dyn EnvironmentSide) -> Check {
    let lacking = NVDIMM.lacking(env);
    ensure!(lacking.is_empty(), "the kernel {} has no {}", env.claims().kernel, lacking.join(", "));
    let image = ScratchImage::make(env, Content::File)?;
    let mut machine = NVDIMM.boot(env, &image).map_err(of_the_vmm)?;
    let machine = machine.as_mut();
    NVDIMM.mount(env, machine)?;
    NVDIMM.is_mounted(machine)?;
    can_be_read(machine)
}

/// Turns a failure to start into a skip, unless the kernel is to blame.
fn of_the_vmm(stop: Stop) -> Stop {
    match stop {
        Stop::Fail { message, blames, .. } if blames != Some(Component::Kernel) => {
            Stop::skip(format!("no guest with an NVDIMM starts (see smoke::image_is_read_as_an_nvdimm): {message}"))
        }
        other => other,
    }
}

const NVDIMM: ImageForm = ImageForm {
    driver: ImageDriver::Nvdimm,
    modules: ModuleUse::Nvdimm,
    disk: "pmem0",
    bytes: layout::BYTES - layout::HEADER,
    options: &["ACPI_NFIT", "BLK_DEV_PMEM", "NVDIMM_PFN", "FS_DAX"],
};

const DISK: ImageForm = ImageForm {
    driver: ImageDriver::Blk,
    modules: ModuleUse::VirtioBlk,
    disk: "vda",
    bytes: layout::BYTES,
    options: &["VIRTIO_BLK", "EXT4_FS"],
};

/// The form in which a guest sees the image.
struct ImageForm {
    driver: ImageDriver,
    modules: ModuleUse,
    disk: &'static str,
    bytes: u64,
    options: &'static [&'static str],
}

impl ImageForm {
    fn is_run_from(&self, env: &dyn EnvironmentSide) -> Check {
        self.kernel_can_look(env)?;
        let image = ScratchImage::make(env, Content::Program)?;
        let mut machine = self.boot_and_mount(env, &image)?;
        let machine = machine.as_mut();
        let answer = machine.ask(Question::SwitchRoot { root: ROOT.to_owned(), program: PROGRAM.to_owned() })?;
        answer.text("leaving the guest to a program of the image")?;
        // From here on, the program in the image answers.
        let partition = self.partition();
        let root = mounted_at(machine, "/")?.map(|mount| mount.source).unwrap_or_default();
        let expected = format!("/dev/{partition}");
        ensure!(root == expected, "the guest's root was to be {expected}, it is {root:?}");
        let number = read(machine, &format!("/sys/class/block/{partition}/dev"))?;
        let maps = read(machine, "/proc/1/maps")?;
        ensure!(
            executes(&maps, PROGRAM, number.trim()),
            "process 1 was to be {PROGRAM} of /dev/{partition}, it executes {:?}",
            maps.lines().find(|line| line.contains('x')).unwrap_or_default()
        );
        let there = list(machine, "/")?;
        ensure!(
            !there.iter().any(|name| name == "modules"),
            "the guest still has the initramfs as its root: {there:?}"
        );
        let text = read(machine, &format!("/{FILE}"))?;
        ensure!(text == words(), "a file of the root filesystem differs from its {} bytes", words().len());
        Ok(())
    }

    /// Boots a guest with the image and mounts the image's root filesystem at [`ROOT`].
    fn boot_and_mount(&self, env: &dyn EnvironmentSide, image: &ScratchImage) -> Result<Box<dyn Machine>, Stop> {
        let mut machine = self.boot(env, image)?;
        self.mount(env, machine.as_mut())?;
        Ok(machine)
    }

    fn boot(&self, env: &dyn EnvironmentSide, image: &ScratchImage) -> Result<Box<dyn Machine>, Stop> {
        env.boot_with(Setting::Image { file: image.0.clone(), driver: self.driver })
    }

    fn mount(&self, env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
        load(machine, self.modules)?;
        self.is_there(env, machine)?;
        let answer = machine.ask(Question::MountRoot { target: ROOT.to_owned() })?;
        answer.text("mounting the image's root filesystem in the guest").map(drop)
    }

    /// Returns the guest's name of the image's first partition.
    fn partition(&self) -> String {
        format!("{}{}1", self.disk, if self.driver == ImageDriver::Nvdimm { "p" } else { "" })
    }

    fn is_read(&self, env: &dyn EnvironmentSide) -> Check {
        self.kernel_can_look(env)?;
        let image = ScratchImage::make(env, Content::File)?;
        let content = image.sum()?;
        let mut machine = self.boot_and_mount(env, &image)?;
        let machine = machine.as_mut();
        self.is_mounted(machine)?;
        can_be_read(machine)?;
        self.cannot_be_written(machine)?;
        ensure!(image.sum()? == content, "the image's file has changed, which the guest was given read-only");
        Ok(())
    }

    /// Checks that the root filesystem is mounted read-only, and by DAX if it is in an NVDIMM.
    fn is_mounted(&self, machine: &mut dyn Machine) -> Check {
        let options = mounted_at(machine, ROOT)?.map(|mount| mount.options).unwrap_or_default();
        let has = |option: &str| options.iter().any(|one| one == option);
        ensure!(has("ro"), "the guest has mounted the image with {options:?}, not read-only");
        if self.driver == ImageDriver::Nvdimm {
            let dax = has("dax") || has("dax=always");
            ensure!(dax, "the guest has mounted the image with {options:?}, not by DAX");
        }
        Ok(())
    }

    /// Skips if the distro's kernel lacks the drivers, because guests with an image have another kernel.
    fn kernel_can_look(&self, env: &dyn EnvironmentSide) -> Check {
        let lacking = self.lacking(env);
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(Stop::skip(format!(
                "the kernel that looks at the image, {}, has no {}; Kata's own has it built in",
                env.claims().kernel,
                lacking.join(", ")
            ))),
        }
    }

    /// Returns the modules and options that the distro's kernel lacks for this form.
    fn lacking(&self, env: &dyn EnvironmentSide) -> Vec<String> {
        let set = env.claims().modules.get(&self.modules);
        let mut lacking = set.map(|set| set.missing.clone()).unwrap_or_default();
        let config = super::kernel::configuration(env).ok().map(|(_, config)| config);
        lacking.extend(
            super::hotplug::waits::lacking(config.as_ref(), self.options).iter().map(|o| format!("CONFIG_{o}")),
        );
        lacking
    }

    fn is_there(&self, env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
        let partition = self.partition();
        let folder = format!("/sys/class/block/{}", self.disk);
        let wait = Wait::new(machine, PROBE, &format!("the guest had /dev/{partition}"));
        let found = |machine: &mut dyn Machine| Ok(list(machine, &folder)?.contains(&partition).then_some(()));
        let progress = |machine: &mut dyn Machine| {
            let there = list(machine, "/sys/class/block")?;
            Ok(there.iter().any(|name| name == self.disk).then(|| format!("/dev/{} is there", self.disk)))
        };
        within(env, machine, &wait, self.options, found, progress)?;
        let sectors = read(machine, &format!("{folder}/size"))?;
        let bytes = sectors.trim().parse::<u64>().unwrap_or(0) * 512;
        ensure!(bytes == self.bytes, "/dev/{} has {bytes} bytes in the guest, expected {}", self.disk, self.bytes);
        if self.is_passed_read_only(machine.profile()) {
            let read_only = read(machine, &format!("{folder}/ro"))?;
            ensure!(read_only.trim() == "1", "/dev/{} is not read-only in the guest", self.disk);
        } else {
            env.note("this Kata does not tell QEMU that the image is read-only (`auto-read-only=on`)".to_owned());
        }
        Ok(())
    }

    /// Checks whether the runtime tells QEMU that the image is read-only: runtime-rs 4.0 leaves that to QEMU, which can
    /// write to the file (`BlockBackend` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0).
    fn is_passed_read_only(&self, profile: &Profile) -> bool {
        self.driver != ImageDriver::Blk || profile.qemu.blk_read_only != BlkReadOnly::AutoReadOnly
    }

    fn cannot_be_written(&self, machine: &mut dyn Machine) -> Check {
        if !self.is_passed_read_only(machine.profile()) {
            return Ok(());
        }
        let path = format!("/dev/{}", self.disk);
        let written = machine.ask(Question::Write { path, text: "scribble".into() })?.text("").is_ok();
        ensure!(!written, "the guest has written to /dev/{}, which is read-only", self.disk);
        Ok(())
    }
}

/// Checks that the guest reads the file in the mounted image, also through a mapping.
fn can_be_read(machine: &mut dyn Machine) -> Check {
    let path = format!("{ROOT}/{FILE}");
    for (how, question) in
        [("read", Question::Read { path: path.clone() }), ("mapped", Question::ReadMapped { path: path.clone() })]
    {
        let text = machine.ask(question)?.text("reading a file of the image in the guest")?;
        ensure!(text == words(), "a file of the image, {how} in the guest, differs from its {} bytes", words().len());
    }
    Ok(())
}

/// Returns the first mount that the guest has at a place.
fn mounted_at(machine: &mut dyn Machine, place: &str) -> Result<Option<Mount>, Stop> {
    let mounts = read(machine, "/proc/self/mountinfo")?;
    Ok(Mount::all(mounts.as_bytes()).find(|mount| mount.at == Path::new(place)))
}

/// Checks in /proc/PID/maps whether a process executes pages of a program on the device with this number, `259:1`.
fn executes(maps: &str, program: &str, number: &str) -> bool {
    let Some((Ok(major), Ok(minor))) = number.split_once(':').map(|(a, b)| (a.parse::<u32>(), b.parse::<u32>())) else {
        return false;
    };
    let device = format!("{major:02x}:{minor:02x}");
    maps.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, how, _, on, _, path] if how.contains('x') && on == device && path == program)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::message;
    use crate::smoke::fake_machine::FakeEnvironment;

    #[test]
    fn a_kernel_without_the_driver_fails_and_a_vmm_without_it_is_skipped() {
        let env = FakeEnvironment::of("go-3.32").without(ModuleUse::Nvdimm, "nd_pmem");
        let lacking = message(guest_mounts_persistent_memory_by_dax(&env));
        assert_eq!(lacking, "the kernel 6.12 has no nd_pmem");
        assert!(matches!(NVDIMM.kernel_can_look(&env), Err(Stop::Skip { .. })));
        for (stop, is_skip) in [
            (Stop::blame(Component::Qemu, "no readonly"), true),
            (Stop::fail("it did not start"), true),
            (Stop::blame(Component::Kernel, "it panicked"), false),
        ] {
            assert_eq!(matches!(of_the_vmm(stop), Stop::Skip { .. }), is_skip);
        }
    }

    #[test]
    fn a_running_program_is_recognised_by_its_executable_mapping() {
        let maps = "7f00-7f10 r--p 00000000 103:01 12 /sbin/init\n7f10-7f90 r-xp 00010000 103:01 12 /sbin/init\n\
                    7ffc-7ffd rw-p 00000000 00:00 0 [stack]\n";
        assert!(executes(maps, "/sbin/init", "259:1"));
        let rest = [("/sbin/init", "254:1"), ("/init", "259:1"), ("/sbin/init", ""), ("[stack]", "0:0")];
        for (program, number) in rest {
            assert!(!executes(maps, program, number), "{program} {number}");
        }
    }
}
