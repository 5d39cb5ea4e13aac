//! Kata's guest image in the place of an initrd: QEMU hands it over in the runtime's own form, and the root filesystem in
//! it is mounted as the kernel is told to.
//!
//! What is judged is QEMU. Kata boots an image without an initrd, so that its kernel has its drivers built in, as Kata's
//! own has and a distro's has not. The distro's kernel only looks, with its drivers loaded from our initramfs; where it
//! lacks them it cannot look, and the test is skipped.
//!
//! The image is made as Kata's builder makes it, and the harness's initramfs beside it is a deviation on record.

mod layout;

use super::BOOTS;
use super::guest_files::{list, load, read};
use super::hotplug::waits::{Wait, within};
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Setting};
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::test::Place;
use model::profile::{BlkReadOnly, ImageDriver, ModuleUse, Profile};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
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
];

/// A kernel without `rootwait` waits for no more than the drivers' first look.
const PROBE: Duration = Duration::from_secs(2);
/// Where the guest mounts it.
const ROOT: &str = "/newroot";
/// A file in it.
const FILE: &str = "words";

/// Kata's image as an NVDIMM has its size in the guest and is read-only there; the root filesystem in it is mounted by DAX
/// and read, through a mapping too.
///
/// This is what both runtimes' shipped x86_64 configurations say (`appendNvdimmImage` in
/// src/runtime/virtcontainers/qemu_arch_base.go@3.32.0, `add_nvdimm` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0). A QEMU before 6.0 has no read-only memory back
/// end, and no sandbox starts.
fn image_is_read_as_an_nvdimm(env: &dyn EnvironmentSide) -> Check {
    let options = ["ACPI_NFIT", "BLK_DEV_PMEM", "NVDIMM_PFN", "FS_DAX"];
    let form = ImageForm {
        driver: ImageDriver::Nvdimm,
        modules: ModuleUse::Nvdimm,
        disk: "pmem0",
        bytes: layout::BYTES - layout::HEADER,
        options: &options,
    };
    form.is_read(env)
}

/// Kata's image as a virtio-blk disk has its size in the guest and is read-only there; the root filesystem in it is mounted
/// and read.
///
/// With `disable_image_nvdimm`, or another `vm_rootfs_driver` for runtime-rs, and always on s390x (`appendBlockImage` in
/// src/runtime/virtcontainers/qemu_arch_base.go@3.32.0, `add_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn image_is_read_as_a_disk(env: &dyn EnvironmentSide) -> Check {
    let options = ["VIRTIO_BLK", "EXT4_FS"];
    let form = ImageForm {
        driver: ImageDriver::Blk,
        modules: ModuleUse::VirtioBlk,
        disk: "vda",
        bytes: layout::BYTES,
        options: &options,
    };
    form.is_read(env)
}

/// How a guest sees the image.
struct ImageForm<'a> {
    driver: ImageDriver,
    modules: ModuleUse,
    disk: &'a str,
    bytes: u64,
    options: &'a [&'a str],
}

impl ImageForm<'_> {
    fn is_read(&self, env: &dyn EnvironmentSide) -> Check {
        self.kernel_can_look(env)?;
        let image = ScratchImage::make(env)?;
        let content = image.sum()?;
        let mut machine = env.boot_with(Setting::Image { file: image.0.clone(), driver: self.driver })?;
        let machine = machine.as_mut();
        load(machine, self.modules)?;
        self.is_there(env, machine)?;
        let answer = machine.ask(Question::MountRoot { target: ROOT.to_owned() })?;
        answer.text("mounting the image's root filesystem in the guest")?;
        let mounts = read(machine, "/proc/self/mounts")?;
        let mount = mounts.lines().find(|line| line.split(' ').nth(1) == Some(ROOT)).unwrap_or_default();
        let options: Vec<&str> = mount.split(' ').nth(3).unwrap_or_default().split(',').collect();
        ensure!(options.contains(&"ro"), "the guest has mounted the image with {options:?}, not read-only");
        if self.driver == ImageDriver::Nvdimm {
            let dax = options.iter().any(|option| matches!(*option, "dax" | "dax=always"));
            ensure!(dax, "the guest has mounted the image with {options:?}, not by DAX");
        }
        let path = format!("{ROOT}/{FILE}");
        for (how, question) in
            [("read", Question::Read { path: path.clone() }), ("mapped", Question::ReadMapped { path: path.clone() })]
        {
            let text = machine.ask(question)?.text("reading a file of the image in the guest")?;
            ensure!(
                text == words(),
                "a file of the image, {how} in the guest, differs from its {} bytes",
                words().len()
            );
        }
        self.cannot_be_written(machine)?;
        ensure!(image.sum()? == content, "the image's file has changed, which the guest was given read-only");
        Ok(())
    }

    /// Skips where the distro's kernel has no drivers for it; it is not the kernel of guests with an image.
    fn kernel_can_look(&self, env: &dyn EnvironmentSide) -> Check {
        let claims = env.claims();
        let set = claims.modules.get(&self.modules);
        let mut lacking = set.map(|set| set.missing.clone()).unwrap_or_default();
        let config = super::kernel::configuration(env).ok().map(|(_, config)| config);
        lacking.extend(
            super::hotplug::waits::lacking(config.as_ref(), self.options).iter().map(|o| format!("CONFIG_{o}")),
        );
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(Stop::skip(format!(
                "the kernel that looks at the image, {}, has no {}; Kata's own has it built in",
                claims.kernel,
                lacking.join(", ")
            ))),
        }
    }

    fn is_there(&self, env: &dyn EnvironmentSide, machine: &mut dyn Machine) -> Check {
        let partition = format!("{}{}1", self.disk, if self.driver == ImageDriver::Nvdimm { "p" } else { "" });
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
        if self.is_told_read_only(machine.profile()) {
            let read_only = read(machine, &format!("{folder}/ro"))?;
            ensure!(read_only.trim() == "1", "/dev/{} is not read-only in the guest", self.disk);
        } else {
            env.note("this Kata does not tell QEMU that the image is read-only (`auto-read-only=on`)".to_owned());
        }
        Ok(())
    }

    /// Whether the runtime tells QEMU that the image is read-only: runtime-rs 4.0 leaves that to QEMU, which can write to
    /// the file (`BlockBackend` in src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0).
    fn is_told_read_only(&self, profile: &Profile) -> bool {
        self.driver != ImageDriver::Blk || profile.qemu.blk_read_only != BlkReadOnly::AutoReadOnly
    }

    fn cannot_be_written(&self, machine: &mut dyn Machine) -> Check {
        if !self.is_told_read_only(machine.profile()) {
            return Ok(());
        }
        let path = format!("/dev/{}", self.disk);
        let written = machine.ask(Question::Write { path, text: "scribble".into() })?.text("").is_ok();
        ensure!(!written, "the guest has written to /dev/{}, which is read-only", self.disk);
        Ok(())
    }
}

/// What is in the file: 64 KiB of numbered lines.
fn words() -> String {
    (0..4096).map(|number| format!("line {number:010}\n")).collect()
}

/// An image's file, removed when dropped.
struct ScratchImage(PathBuf);

impl ScratchImage {
    fn make(env: &dyn EnvironmentSide) -> Result<ScratchImage, Stop> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let image = ScratchImage(PathBuf::from(format!("/var/tmp/kata-qualify-image-{}-{number}", std::process::id())));
        let failed = |e: io::Error| Stop::error(format!("making an image: {e}"));
        let (tree, filesystem) = (image.0.with_extension("d"), image.0.with_extension("ext4"));
        fs::create_dir_all(&tree).map_err(failed)?;
        fs::write(tree.join(FILE), words()).map_err(failed)?;
        File::create(&filesystem).and_then(|file| file.set_len(layout::PARTITION_BYTES)).map_err(failed)?;
        let paths = [&tree, &filesystem].map(|path| path.to_string_lossy().into_owned());
        let ran = env.run(
            &["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", &paths[0], &paths[1]],
            Duration::from_secs(60),
        )?;
        let made = match ran.ok() {
            true => image.assemble(&filesystem).map_err(failed),
            false => Err(Stop::error(format!("making an image: mke2fs: {}", ran.tail()))),
        };
        let _ = fs::remove_dir_all(&tree);
        let _ = fs::remove_file(&filesystem);
        made.map(|()| image)
    }

    /// Lays the filesystem behind the tables, its holes left out.
    fn assemble(&self, filesystem: &Path) -> io::Result<()> {
        let image = File::create(&self.0)?;
        layout::write(&image)?;
        let mut at = layout::PARTITION;
        blocks(filesystem, |block| {
            if block.iter().any(|byte| *byte != 0) {
                image.write_all_at(block, at)?;
            }
            at += block.len() as u64;
            Ok(())
        })
    }

    /// A hash of the file's content.
    fn sum(&self) -> Result<u64, Stop> {
        let mut hasher = DefaultHasher::new();
        blocks(&self.0, |block| {
            hasher.write(block);
            Ok(())
        })
        .doing("reading the image's file")?;
        Ok(hasher.finish())
    }
}

impl Drop for ScratchImage {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Hands a file over in blocks.
fn blocks(path: &Path, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => with(&buffer[..count])?,
        }
    }
}
