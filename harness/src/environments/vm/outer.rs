//! The QEMU that boots releases: pinned, whatever the machine has, and with the accelerator that works here.
//!
//! Emulating a processor that virtualizes is the hardest thing that QEMU is asked here, and its versions differ in it:
//! 7.2 and 11.1 were seen to break guests of the guest, 10.0 was not.
//! So it is Debian 13's, which runs in that release's image and sees nothing else.

use crate::environments::vm::confined::{Confined, FILES};
use crate::environments::vm::tiny::{Extras, Tiny, first_line};
use images::{Hold, Image, Options, Progress, Source};
use kata_osinfo::database::Database;
use kata_osinfo::diagnostic::error_chain;
use kata_osinfo::release::Release;
use kata_osinfo::root::Root;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The release whose QEMU it is.
const PINNED: (&str, &str) = ("debian", "13");
/// The set that it finds `/dev/kvm` in; those of disks are counted from 1.
const KVM_SET: u32 = 100;
/// Where it lies there.
const PROGRAM: &str = "/usr/bin/qemu-system-x86_64";
/// How long a guest of a second or two may take to boot under KVM; where KVM hangs, it hangs for ever.
const KVM_BOOT: Duration = Duration::from_secs(30);

/// How releases' processors run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualization, which was seen to boot a guest and nests.
    Kvm,
    /// Emulation of a processor that virtualizes.
    Tcg {
        /// Why not KVM.
        why: String,
    },
}

impl Accelerator {
    /// The word in the evidence.
    pub fn name(&self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg { .. } => "tcg",
        }
    }

    /// QEMU's arguments.
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Accelerator::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // A processor of AMD's with its virtualization: nested paging makes guests of guests bearable.
            Accelerator::Tcg { .. } => &["-accel", "tcg,thread=multi", "-cpu", "EPYC,+svm,+npt"],
        }
    }
}

/// The pinned QEMU.
pub struct Outer {
    tree: PathBuf,
    release: Release,
    /// The version of its package.
    pub version: String,
    /// How it runs processors here.
    pub accelerator: Accelerator,
    _hold: Hold,
}

impl Outer {
    /// Finds the image that the QEMU comes from in the cache, or prepares it, and finds out which accelerator works.
    ///
    /// A cached image serves as it is: it is a tool here, of which the mirror need not be asked for news.
    ///
    /// # Errors
    /// When the image cannot be had.
    pub fn prepare(options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<Outer, String> {
        let mut outer = match cached(&options.cache).and_then(|image| Outer::of(&image).ok()) {
            Some(outer) => outer,
            None => Outer::of(&prepare_image(options, progress)?)?,
        };
        outer.accelerator = outer.find_accelerator();
        Ok(outer)
    }

    /// The QEMU of a prepared image, with no accelerator tried.
    ///
    /// # Errors
    /// When the image lacks QEMU.
    pub fn of(image: &Image) -> Result<Outer, String> {
        let hold = image.hold().map_err(|e| format!("holding {}: {e}", image.release()))?;
        let version = image.manifest.package("qemu-system-x86").map(|p| p.version.clone());
        let version = version.ok_or_else(|| format!("{} has no qemu-system-x86", image.release()))?;
        let accelerator = Accelerator::Tcg { why: "KVM was not tried".to_owned() };
        let outer = Outer { tree: image.rootfs(), release: pinned_release()?, version, accelerator, _hold: hold };
        let root = Root::new(&outer.tree).map_err(|e| error_chain(&e))?;
        match root.is_program(Path::new(PROGRAM)) {
            true => Ok(outer),
            false => Err(format!("{PROGRAM} is no program in the image of {}", image.release())),
        }
    }

    /// The root filesystem that it comes from.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// The release that it comes from.
    pub(super) fn release(&self) -> &Release {
        &self.release
    }

    fn loader(&self) -> PathBuf {
        self.tree.join("lib64/ld-linux-x86-64.so.2")
    }

    /// QEMU with these arguments and the accelerator's, tied to the thread that starts it, which may do what this program
    /// may: for this project's own benchmarks and tests, whose files are their own.
    pub fn unconfined(&self, arguments: &[String]) -> Command {
        let libraries = self.tree.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.loader())
            .arg("--library-path")
            .arg(&libraries)
            .arg(self.program())
            .arg("-L")
            .arg(self.tree.join("usr/share/qemu"))
            .arg("-L")
            .arg(self.tree.join("usr/share/seabios"))
            .args(self.accelerator.arguments())
            .args(arguments)
            .env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command
    }

    fn program(&self) -> PathBuf {
        self.tree.join(PROGRAM.trim_start_matches('/'))
    }

    /// QEMU with these arguments and the accelerator's, confined to its own release's files and tied to the thread that
    /// starts it; `kernel` and `initrd` are what it boots.
    ///
    /// # Errors
    /// When a file is not there.
    pub fn command(&self, kernel: &Path, initrd: &Path, arguments: &[String]) -> io::Result<Command> {
        self.command_under(&self.accelerator, kernel, initrd, arguments)
    }

    pub(super) fn command_under(
        &self,
        accelerator: &Accelerator,
        kernel: &Path,
        initrd: &Path,
        arguments: &[String],
    ) -> io::Result<Command> {
        let files = [(kernel, "kernel"), (initrd, "initrd")];
        let confined = Confined::to(&self.tree, &files, *accelerator == Accelerator::Kvm)?;
        let mut command = Command::new(PROGRAM);
        if let Some(kvm) = confined.kvm() {
            command.args(["-add-fd".to_owned(), format!("fd={kvm},set={KVM_SET}")]);
        }
        command
            .args(["-kernel".to_owned(), format!("{FILES}/kernel"), "-initrd".to_owned(), format!("{FILES}/initrd")])
            // Guests are strangers, and it has no need to start anything.
            .args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"])
            .args(["-L", "/usr/share/qemu", "-L", "/usr/share/seabios"])
            .args(accelerator.arguments().iter().map(|word| match *word {
                "kvm" => format!("kvm,device=/dev/fdset/{KVM_SET}"),
                other => other.to_owned(),
            }))
            .args(arguments)
            .env_clear();
        confined.around(&mut command);
        Ok(command)
    }

    /// KVM where it boots the pinned release's kernel to our agent and would let guests have it, too; else emulation.
    fn find_accelerator(&self) -> Accelerator {
        match self.kvm_works() {
            Ok(()) => Accelerator::Kvm,
            Err(why) => Accelerator::Tcg { why },
        }
    }

    fn kvm_works(&self) -> Result<(), String> {
        let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
        opened.map_err(|e| format!("/dev/kvm: {e}"))?;
        self.boots_under_kvm()?;
        let nests = ["kvm_amd", "kvm_intel"].iter().any(|module| {
            let value = std::fs::read_to_string(format!("/sys/module/{module}/parameters/nested"));
            value.is_ok_and(|v| matches!(v.trim(), "1" | "Y"))
        });
        if !nests {
            return Err("KVM here does not nest: a virtual machine would have no KVM of its own".to_owned());
        }
        Ok(())
    }

    /// Boots a guest with our agent as its init; where KVM is broken QEMU exits, or hangs until the deadline.
    fn boots_under_kvm(&self) -> Result<(), String> {
        let tiny = Tiny::start(self, &Accelerator::Kvm, Extras::default()).map_err(|e| format!("trying KVM: {e}"))?;
        // A QEMU whose KVM refuses it may say so and go on for ever.
        let refused = || tiny.said().contains(" error: ");
        let booted = tiny.client.wait_for_hello(KVM_BOOT, || tiny.runs() && !refused());
        booted.map_err(|_| match tiny.ending() {
            Some(how) => format!("no guest boots under KVM: {how}"),
            None if refused() => format!("no guest boots under KVM: {}", first_line(&tiny.said())),
            None => format!(
                "no guest boots under KVM: nothing within {} s: {}",
                KVM_BOOT.as_secs(),
                first_line(&tiny.said())
            ),
        })
    }
}

/// The pinned QEMU of a run, prepared when it is first wanted.
pub struct Pinned {
    options: Options,
    outer: OnceLock<Result<Arc<Outer>, String>>,
}

impl Pinned {
    /// One that will be prepared so.
    pub fn new(options: Options) -> Pinned {
        Pinned { options, outer: OnceLock::new() }
    }

    /// The QEMU; blocks while it is prepared.
    ///
    /// # Errors
    /// When it cannot be had; the same error from then on.
    pub fn get(&self) -> Result<Arc<Outer>, String> {
        self.outer.get_or_init(|| Outer::prepare(&self.options, &|_| {}).map(Arc::new)).clone()
    }

    /// The same, if it is known by now.
    pub fn if_known(&self) -> Option<&Outer> {
        self.outer.get()?.as_ref().ok().map(AsRef::as_ref)
    }
}

fn prepare_image(options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<Image, String> {
    let release = pinned_release()?;
    // Candidates and cloud images are under test; they are never what boots the others.
    let options = Options { extra_packages: Vec::new(), overlay: None, base: None, ..options.clone() };
    images::prepare(&release, &options, progress).map_err(|e| {
        format!("preparing {} for its QEMU, which boots virtual machines: {}", release.name(), error_chain(&e))
    })
}

/// The release whose QEMU it is.
fn pinned_release() -> Result<Release, String> {
    let database = Database::embedded();
    let record = database.record(PINNED.0).map_err(|e| e.to_string())?;
    record.release(PINNED.1, kata_osinfo::arch::Arch::X86_64).map_err(|e| e.to_string())
}

/// The newest image of the pinned release in the cache, as the distro ships it.
pub fn cached(cache: &Path) -> Option<Image> {
    let name = format!("{}:{}", PINNED.0, PINNED.1);
    let plain = |image: &Image| {
        let manifest = &image.manifest;
        image.release() == name && manifest.derived_from.is_none() && manifest.source != Source::Cloud
    };
    images::cache::list(cache).into_iter().find(plain)
}

/// The accelerator that works here, by the cached image of the pinned release.
///
/// # Errors
/// When there is no such image or it lacks QEMU.
pub fn try_cached(image: &Image) -> Result<Outer, String> {
    let mut outer = Outer::of(image)?;
    outer.accelerator = outer.find_accelerator();
    Ok(outer)
}
