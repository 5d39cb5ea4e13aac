//! A release as a disk: its tree with the release's own init, kernel and initrd, booted as a virtual machine.
//!
//! `prepare_disk` copies a release's tree, installs the packages of a host (init, udev, containerd) with the release's
//! own package manager, makes the initrd with its own tool (Debian's is `update-initramfs`), lays the caller's files
//! over it, and has `mke2fs -d` turn it into an ext4 file: nothing is mounted and no loop device is needed.
//! The file is made once and never written to; each machine that boots it writes to an overlay of its own.
//! The same tree gives the same bytes.
//! The file is in the cache under a key of its inputs.

use crate::boot::initramfs::ExtraFile;
use crate::boot::kernel;
use crate::cache::{Image, Turn};
use crate::digest::Fields;
use crate::error::{Context, Failure, ImageError};
use crate::family::install::Install;
use crate::family::{self, PackageFamily};
use crate::job::{Job, able_to_build};
use crate::manifest::Manifest;
use crate::options::Options;
use crate::package::ExtraPackage;
use crate::prepare::prepare;
use crate::progress::{ImagePhase, ProgressMessage};
use crate::runner::tied;
use crate::tree;
use jiff::Timestamp;
use model::package::PackageName;
use model::release::Release;
use std::path::{Path, PathBuf};

/// Size of the disk, in bytes; the file is sparse, so that only its content takes space.
const SIZE: u64 = 24 << 30;
/// Size limit of an initrd, in bytes.
const MAX_INITRD: u64 = 1 << 30;
/// Version of this module's output format; another number makes new keys.
const FORMAT: u32 = 1;
/// mke2fs's settings, so that the machine's own `mke2fs.conf` does not decide what a release's kernel must understand.
/// The features are those that every kernel since 3.6 mounts.
const MKE2FS_CONF: &str = "\
[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
enable_periodic_fsck = 0
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
";

/// A bootable release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Image that the disk was made from.
    pub image: Image,
    /// The image of the disk itself; its manifest also lists the packages that make a machine of the release.
    pub host: Image,
    /// The root filesystem, ext4, without a partition table; never to be written to.
    pub root: PathBuf,
    /// The release's kernel.
    pub vmlinuz: PathBuf,
    /// The release's initrd.
    pub initrd: PathBuf,
}

/// Prepares the image of a release and makes a disk of it, or finds both in the cache.
///
/// `files` are laid over the tree, for services that the caller wants to start in the machine.
///
/// # Errors
/// As [`prepare`]; and if the release's kernel, initrd tool or `mke2fs` fails or is missing.
pub fn prepare_disk(
    release: &Release,
    options: &Options,
    files: &[ExtraFile],
    progress: &(dyn Fn(ProgressMessage) + Sync),
) -> Result<Disk, ImageError> {
    let image = prepare(release, options, progress)?;
    let mut job = Job::new(release, options, progress)?;
    let host = job.disk(&image, files).map_err(|failure| job.failed(failure))?;
    let in_host = |name: &str| host.dir.join(name);
    Ok(Disk { root: in_host(ROOT), vmlinuz: in_host("vmlinuz"), initrd: in_host("initrd"), image, host })
}

const ROOT: &str = "root.ext4";

impl Job<'_> {
    fn disk(&mut self, image: &Image, files: &[ExtraFile]) -> Result<Image, Failure> {
        let packages = machine_packages(self.family, self.release)?;
        let key = key(image, &packages, files);
        let _hold = image.hold().context("locking", &image.dir)?;
        if let Some(found) = self.store.find(&key)? {
            return Ok(found);
        }
        able_to_build(self.release)?;
        let _turn = match self.store.turn(&self.runner, &key)? {
            Turn::Made(image) => return Ok(*image),
            turn @ Turn::Ours { .. } => turn,
        };
        let workshop = self.store.workshop(&key)?;
        let tree = workshop.rootfs();
        let manifest = self.host(image, &tree, &workshop.dir, &packages)?;
        self.enter(ImagePhase::Disk);
        self.boot_files(&tree, &workshop.dir)?;
        write_files(files, &tree)?;
        self.filesystem(&tree, &workshop.dir, &key, creation_time(image))?;
        // The plain image has the base tree, and the disk has all additions.
        std::fs::remove_dir_all(&tree).context("removing", &tree)?;
        self.enter(ImagePhase::Store);
        let manifest = Manifest {
            request: Fields::default().add("disk of", &image.manifest.request).hex(),
            derived_from: Some(image.key().to_owned()),
            made: Timestamp::now(),
            timings: self.timings.clone(),
            key,
            ..manifest
        };
        workshop.finish(&self.store, &manifest)
    }

    /// Copies the tree, installs the packages of a machine in the copy, and records its content.
    fn host(&mut self, image: &Image, tree: &Path, folder: &Path, names: &[PackageName]) -> Result<Manifest, Failure> {
        let (plain, _hold) = image.plain()?;
        self.enter(ImagePhase::Copy);
        self.copy_tree(&image.rootfs(), tree)?;
        self.enter(ImagePhase::Install);
        let packages: Vec<ExtraPackage> = names.iter().cloned().map(ExtraPackage::Name).collect();
        let install = Install { tree, folder, indexes: &plain.dir, packages: &packages, required: &[] };
        self.archives()?.install(&self.runner, &install)?;
        self.enter(ImagePhase::Record);
        let mut manifest = image.manifest.clone();
        manifest.requested.extend(names.iter().cloned());
        manifest.packages = self.family.packages(tree)?;
        manifest.origins = self.family.origins(&self.runner, tree, &plain.dir, &manifest.packages)?;
        Ok(manifest)
    }

    /// Makes the initrd, and copies it and the kernel into a directory outside the tree.
    ///
    /// The tool is the release's own, with any hooks of its packages, so both files are read inside the tree after it
    /// has ended.
    fn boot_files(&self, tree: &Path, folder: &Path) -> Result<(), Failure> {
        let kernel = kernel::files(tree, self.release)?;
        let initrd = self.family.initrd(&self.runner, tree, &kernel.release)?;
        tree::copy_out(tree, &kernel.vmlinuz, kernel::MAX_IMAGE, &folder.join("vmlinuz"))?;
        tree::copy_out(tree, Path::new(&initrd), MAX_INITRD, &folder.join("initrd"))
    }

    /// Turns the tree into an ext4 filesystem: the same tree, including its times, gives the same bytes.
    fn filesystem(&self, tree: &Path, folder: &Path, key: &str, creation_time: i64) -> Result<(), Failure> {
        let image = folder.join(ROOT);
        let settings = folder.join("mke2fs.conf");
        std::fs::write(&settings, MKE2FS_CONF).context("writing", &settings)?;
        let file = std::fs::File::create(&image).context("creating", &image)?;
        file.set_len(SIZE).context("sizing", &image)?;
        self.runner.run(ImagePhase::Disk, &mut mke2fs(tree, &image, &settings, &uuid(key), creation_time))?;
        std::fs::remove_file(&settings).context("removing", &settings)
    }
}

/// Returns the command `mke2fs -d` with fixed values for everything that would otherwise depend on the clock, on chance
/// or on the machine.
fn mke2fs(tree: &Path, image: &Path, settings: &Path, uuid: &str, creation_time: i64) -> std::process::Command {
    let mut command = tied("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-L", "root", "-U", uuid, "-E"])
        .arg(format!("hash_seed={uuid},lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"))
        .arg("-d")
        .args([tree, image])
        .env("E2FSPROGS_FAKE_TIME", creation_time.to_string())
        .env("MKE2FS_CONFIG", settings)
        .env("LC_ALL", "C");
    command
}

/// Returns the checked names of the packages to install for a machine of the release; the names become arguments.
fn machine_packages(family: &dyn PackageFamily, release: &Release) -> Result<Vec<PackageName>, Failure> {
    let managers = release.container_manager.iter().chain(&release.docker);
    let packages: Vec<PackageName> = managers.flat_map(|manager| manager.packages.clone()).collect();
    family::checked(family, &packages, family.machine_packages())
}

fn key(image: &Image, packages: &[PackageName], files: &[ExtraFile]) -> String {
    let mut fields = Fields::default()
        .add("disk of", image.key())
        .add("disk format", FORMAT.to_le_bytes())
        .add("size", SIZE.to_le_bytes())
        .add("settings", MKE2FS_CONF)
        .all("packages", packages.iter().map(PackageName::as_str));
    for file in files {
        fields = fields
            .add("path", file.path.as_os_str().as_encoded_bytes())
            .add("mode", file.mode.to_le_bytes())
            .add("content", &file.content);
    }
    fields.hex()
}

/// Returns a time that depends only on the inputs: that of the newest index.
fn creation_time(image: &Image) -> i64 {
    image.manifest.indexes.iter().filter_map(|index| index.date).max().map_or(1, Timestamp::as_second)
}

/// Returns the first digits of a key as a UUID.
fn uuid(key: &str) -> String {
    let digits: String = key.chars().filter(char::is_ascii_hexdigit).chain(std::iter::repeat('0')).take(32).collect();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn write_files(files: &[ExtraFile], tree: &Path) -> Result<(), Failure> {
    let root = tree::open(tree)?;
    let path = |file: &ExtraFile| Path::new("/").join(&file.path).to_string_lossy().into_owned();
    files.iter().try_for_each(|file| tree::write(&root, &path(file), file.mode, &file.content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_key_becomes_a_uuid() {
        assert_eq!(uuid("0123456789abcdef0123456789abcdef0123"), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(uuid("12"), "12000000-0000-0000-0000-000000000000");
    }

    #[test]
    #[cfg_attr(lacks = "mke2fs", ignore = "needs mke2fs")]
    fn the_same_tree_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        std::fs::write(tree.join("etc/hostname"), "kata\n").unwrap();
        std::os::unix::fs::symlink("etc/hostname", tree.join("name")).unwrap();
        let settings = dir.path().join("mke2fs.conf");
        std::fs::write(&settings, MKE2FS_CONF).unwrap();
        // More than a second apart, the resolution of the filesystem's own times.
        let make = |name: &str| {
            std::thread::sleep(std::time::Duration::from_millis(1100));
            let image = dir.path().join(name);
            std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
            let status = mke2fs(&tree, &image, &settings, &uuid("ab12"), 1_700_000_000).status().unwrap();
            assert!(status.success());
            let mut bytes = Vec::new();
            std::fs::File::open(&image).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        // A file's times are part of the tree, and the first read after a change sets one of them.
        make("zero");
        assert!(make("one") == make("two"), "two disks of one tree differ");
    }

    /// The plain image's tree is not needed any more, but its indexes list the packages that can be installed.
    #[test]
    fn the_plain_image_is_in_use_while_a_derived_disk_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::cache::Store::new(dir.path());
        let made = "2026-11-01T00:00:00Z";
        let plain = crate::cache::tests::make(&store, &"a".repeat(64), "13", made);
        let workshop = store.workshop("b").unwrap();
        std::fs::create_dir(workshop.rootfs()).unwrap();
        let manifest = crate::cache::tests::manifest(&"b".repeat(64), "13", made);
        let manifest = Manifest { derived_from: Some(plain.key().to_owned()), ..manifest };
        let candidate = workshop.finish(&store, &manifest).unwrap();
        // A concurrent `clean`, just before the packages are installed.
        let cleaned = std::sync::Mutex::new(None);
        let progress = |now: ProgressMessage| {
            if now.phase == ImagePhase::Install && now.detail.is_none() {
                let done = crate::cache::clean(dir.path(), &crate::cache::CleanScope::All).unwrap();
                cleaned.lock().unwrap().get_or_insert(done);
            }
        };
        let (release, folder) = (crate::fixtures::release("13", "trixie"), tempfile::tempdir().unwrap());
        let options = Options { offline: true, ..Options::new(dir.path()) };
        let mut job = Job::new(&release, &options, &progress).unwrap();
        // The tree is empty, so that nothing can be installed.
        assert!(job.host(&candidate, &folder.path().join("rootfs"), folder.path(), &[]).is_err());
        let in_use = cleaned.lock().unwrap().take().expect("it came to installing").in_use;
        assert!(in_use.contains(&plain.key().to_owned()), "{in_use:?}");
        std::fs::remove_dir_all(&plain.dir).unwrap();
        let failure = job.host(&candidate, &folder.path().join("again"), folder.path(), &[]).unwrap_err();
        assert!(
            failure.cause.to_string().contains("debian:13 was removed from the cache in the meantime"),
            "{}",
            failure.cause
        );
    }

    /// Returns the kernel and initrd that are kept from a tree whose `update-initramfs` runs this script.
    fn kernel_after(script: &str) -> Result<String, String> {
        let script = format!("#!/bin/sh\nset -e\n{script}\necho initrd > /boot/initrd.img-1-amd64\n");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let tree = crate::fixtures::tree_with(&[("usr/sbin/update-initramfs", script.as_str())]);
            let folder = tempfile::tempdir().unwrap();
            for part in ["boot", "lib/modules/1-amd64"] {
                std::fs::create_dir_all(tree.path().join(part)).unwrap();
            }
            std::fs::write(tree.path().join("boot/vmlinuz-1-amd64"), "kernel").unwrap();
            let (release, options) = (crate::fixtures::release("13", "trixie"), Options::new(folder.path()));
            let quiet = |_: ProgressMessage| {};
            let made = Job::new(&release, &options, &quiet).unwrap().boot_files(tree.path(), folder.path());
            let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
            let made = made.map_err(|f| format!("{}: {:?}", f.cause, f.command));
            sender.send(made.map(|()| read("vmlinuz") + &read("initrd")))
        });
        receiver.recv_timeout(std::time::Duration::from_secs(120)).expect("reading what the tool left does not end")
    }

    #[test]
    #[cfg_attr(any(lacks = "mounting", lacks = "ldd"), ignore = "needs root that may make namespaces, and ldd")]
    fn unsafe_kernel_files_from_update_initramfs_are_refused() {
        assert_eq!(kernel_after(""), Ok("kernelinitrd\n".to_owned()));
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "of the machine").unwrap();
        let place = "/boot/vmlinuz-1-amd64";
        let link = kernel_after(&format!("ln -sf {} {place}", secret.display())).unwrap_err();
        assert!(link.contains("vmlinuz-1-amd64 was not found in the tree"), "{link}");
        let fifo = kernel_after(&format!("rm {place}; mkfifo {place}")).unwrap_err();
        assert!(fifo.contains("not a regular file"), "{fifo}");
        let hole = kernel_after(&format!("truncate -s {} {place}", kernel::MAX_IMAGE + 1)).unwrap_err();
        assert!(hole.contains("more than 536870912 bytes"), "{hole}");
        let inside = kernel_after("rm -r /boot; ln -s /tmp /boot; echo other > /tmp/vmlinuz-1-amd64");
        assert_eq!(inside, Ok("other\ninitrd\n".to_owned()), "a link that leads on inside is the tree's own business");
    }
}
