//! A cloud image, made here as a vendor would make one, becomes the base of a release; anything else is refused.
//!
//! Nothing is mocked: the image is written by the pinned QEMU, read in a guest, and completed from the mirror.
//! Root, mmdebstrap, mke2fs and a mirror or a warm cache are needed.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails by panicking")]

mod generated_image;

use harness::environments::vm::cloud::CloudImage;
use harness::environments::vm::pinned::Pinned;
use images::artifacts::sha256;
use images::external_file::ExternalFile;
use images::{Image, ImageError, ImageOrigin, Options, prepare};
use model::arch::Arch;
use model::database::Database;
use model::diagnostic::error_chain;
use model::release::Release;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn cache() -> PathBuf {
    match std::env::var_os("KATA_QUALIFY_CACHE").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(dir).unwrap(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    }
}

fn release(version: &str) -> Release {
    Database::embedded().record("debian").unwrap().release(version, Arch::X86_64).unwrap()
}

/// Returns Debian 13's plain image, from which cloud images are made.
fn trixie() -> Image {
    prepare(&release("13"), &options(), &|_| {}).unwrap_or_else(|e| panic!("no image of debian:13: {e}"))
}

fn options() -> Options {
    Options { accept_expired: true, ..Options::new(cache()) }
}

/// Returns the release's image that is based on the cloud image.
fn prepared(version: &str, source: &str, options: Options) -> Result<Image, String> {
    let release = release(version);
    let pinned = Arc::new(Pinned::new(options.clone(), &[]));
    let source = ExternalFile::parse(source).unwrap();
    let cancel = Arc::clone(&options.cancel);
    let base =
        CloudImage::open(source, &release, &Database::embedded(), pinned, cancel).map_err(|e| error_chain(&e))?;
    let options = Options { base: Some(Arc::new(base)), ..options };
    prepare(&release, &options, &|_| {}).map_err(|e: ImageError| e.to_string())
}

fn incomplete_images() -> usize {
    std::fs::read_dir(cache().join("images/.tmp")).map_or(0, Iterator::count)
}

#[test]
#[ignore = "minutes; the nightly workflow runs it with --ignored"]
fn a_cloud_image_becomes_the_base_of_its_release() {
    let plain = trixie();
    let dir = tempfile::tempdir().unwrap();
    let before = incomplete_images();
    let image = generated_image::cloud_image(&plain, dir.path());
    let named = format!("{}#sha256:{}", image.display(), sha256(&image).unwrap());

    let cloud = prepared("13", &named, options()).unwrap();
    let manifest = &cloud.manifest;
    assert_eq!(manifest.source, images::BaseSource::Cloud);
    assert_eq!(manifest.cloud_sha256, Some(sha256(&image).unwrap()));
    assert_ne!(cloud.key(), plain.key());
    let tree = cloud.rootfs();
    let text = |path: &str| std::fs::read_to_string(tree.join(path)).unwrap();
    assert!(text("etc/os-release").contains("VERSION_CODENAME=trixie"));
    assert_eq!(text(generated_image::MARK), "made here\n");
    let meta = |path: &str| tree.join(path).symlink_metadata().unwrap();
    let odd = meta(generated_image::ODD);
    assert_eq!((odd.uid(), odd.gid(), odd.mode() & 0o7777), generated_image::OWNER);
    assert_eq!((odd.ino(), odd.nlink()), (meta(generated_image::SAME).ino(), 2), "the hard link is another file");
    let mut capability = [0; 64];
    let capable = tree.join(generated_image::CAPABLE);
    let length = rustix::fs::lgetxattr(capable, "security.capability", &mut capability[..]).unwrap();
    assert_eq!(&capability[..length], generated_image::CAPABILITY);
    assert_eq!(std::fs::read_link(tree.join(generated_image::LINK)).unwrap(), Path::new("/nowhere"));
    // The separate /boot was read, and missing packages were installed, including a kernel despite the image's boot
    // loader.
    assert_eq!(text("boot/vendor"), "boot\n");
    assert!(!plain.rootfs().join("boot/vendor").exists());
    for package in ["virtiofsd", "qemu-system-x86"] {
        assert!(manifest.package(package).is_some(), "{package}");
    }
    assert_eq!(manifest.owner("/usr/libexec/virtiofsd").unwrap().package, Some("virtiofsd".parse().unwrap()));
    assert!(images::boot::kernel::find(&tree, &release("13")).is_ok());
    assert!(text("usr/sbin/update-grub").contains("exit 1"), "the image's own boot loader was not put back");

    // The second time nothing is read; offline, no mirror is contacted.
    let again = prepared("13", &named, options()).unwrap();
    assert_eq!((again.origin, again.key()), (ImageOrigin::Cached, cloud.key()));
    let offline = prepared("13", &named, Options { offline: true, ..options() }).unwrap();
    assert_eq!((offline.origin, offline.key()), (ImageOrigin::Offline, cloud.key()));
    // The plain image of the release is unchanged.
    assert_eq!(prepare(&release("13"), &options(), &|_| {}).unwrap().key(), plain.key());

    // The image is of another release.
    let other = prepared("12", &named, options()).unwrap_err();
    assert!(other.contains("(debian:13), but debian:12 was requested"), "{other}");
    // Cancelled while the image is being read.
    let cancel = Arc::new(AtomicBool::new(false));
    let (stopped, took) = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(8));
            cancel.store(true, Ordering::Relaxed);
            Instant::now()
        });
        let stopped = prepared("12", &named, Options { cancel: Arc::clone(&cancel), ..options() }).unwrap_err();
        (stopped, stopping.join().unwrap().elapsed())
    });
    assert!(stopped.contains("cancelled"), "{stopped}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(incomplete_images(), before, "something was left behind");
    std::fs::remove_dir_all(&cloud.dir).unwrap();
}

#[test]
#[ignore = "a minute; the nightly workflow runs it with --ignored"]
fn invalid_cloud_images_are_refused_with_the_reason() {
    let plain = trixie();
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| prepared("13", &path.to_string_lossy(), options()).unwrap_err();

    let empty = dir.path().join("empty.raw");
    std::fs::File::create(&empty).unwrap().set_len(64 << 20).unwrap();
    assert!(refused(&empty).contains("is not a qcow2 image, it begins with 0000000000000000"));
    // A disk without any filesystem.
    let blank = generated_image::qcow2(&plain, &empty, dir.path(), "blank.qcow2");
    let error = refused(&blank);
    assert!(
        error.contains("no root filesystem: expected an ext4, xfs or btrfs") && error.contains("/dev/vda"),
        "{error}"
    );
    // A filesystem without an operating system.
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), vec![7; 8 << 20]).unwrap();
    generated_image::filesystem(&folder, &empty, "data", 64 << 20);
    let data = generated_image::qcow2(&plain, &empty, dir.path(), "data.qcow2");
    let error = refused(&data);
    assert!(error.contains("seen: /dev/vda (ext4)"), "{error}");

    // An image that is truncated, has a backing file, or does not match its checksum.
    let whole = std::fs::read(&data).unwrap();
    let cut = dir.path().join("cut.qcow2");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    assert!(refused(&cut).contains("is truncated"), "{}", refused(&cut));
    let backed = dir.path().join("backed.qcow2");
    std::fs::write(&backed, &whole).unwrap();
    let file = std::fs::File::options().write(true).open(&backed).unwrap();
    file.write_all_at(b"/etc/shadow", 0x200).unwrap();
    file.write_all_at(&0x200_u64.to_be_bytes(), 8).unwrap();
    file.write_all_at(&11_u32.to_be_bytes(), 16).unwrap();
    assert!(refused(&backed).contains("has a backing file"), "{}", refused(&backed));
    let error = prepared("13", &format!("{}#{}", data.display(), "0".repeat(64)), options()).unwrap_err();
    assert!(error.contains(&sha256(&data).unwrap()) && error.contains(&"0".repeat(64)), "{error}");
}
