//! Tests with real mmdebstrap, apt, Docker, a registry, a full disk, and a killed maker.
//!
//! A mirror must respond, or have responded once: the base image is shared through cargo's directory for tests.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use bollard::query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::TryStreamExt as _;
use images::base::oci_image::OciImage;
use images::boot::{initramfs, kernel, modules};
use images::external_file::ExternalFile;
use images::{BaseSource, ExtraPackage, ImageError, ImageErrorKind, ImageOrigin, ImagePhase, Options, docker, prepare};
use model::database::Database;
use model::release::Release;
use small::Tmpfs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

mod debian;
mod hostile;
mod plain;
mod registry;
mod small;

/// Returns the cache that keeps trixie's image between tests and runs.
fn shared_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("images-cache")
}

/// Returns trixie's image; the mirror is contacted only once for all tests.
fn trixie() -> &'static images::Image {
    static IMAGE: LazyLock<images::Image> = LazyLock::new(trixie_now);
    &IMAGE
}

/// Returns the current image of trixie on the mirror.
fn trixie_now() -> images::Image {
    let options = Options { accept_expired: true, ..Options::new(shared_cache()) };
    prepare(&debian::release("13"), &options, &|_| {}).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns trixie with nothing but its base, for tests of how an image is made, not of its content.
fn bare_trixie() -> Release {
    Release { vmms: Vec::new(), filesystems: Vec::new(), kernel: None, ..debian::release("13") }
}

fn left_overs(cache: &Path) -> usize {
    std::fs::read_dir(cache.join("images/.tmp")).map_or(0, Iterator::count)
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn trixie_becomes_a_tree_with_a_kernel_and_an_initramfs() {
    let image = trixie();
    let release = debian::release("13");
    let manifest = &image.manifest;
    assert_eq!(manifest.source, BaseSource::Bootstrap);
    assert!(manifest.package("qemu-system-x86").unwrap().version.as_str().starts_with("1:10."));
    assert_eq!(manifest.owner("/usr/libexec/virtiofsd").unwrap().package, Some("virtiofsd".parse().unwrap()));
    assert!(
        manifest.origins.iter().all(|o| o.suites.iter().any(|s| s.starts_with("trixie"))),
        "{:?}",
        manifest.origins
    );
    let text = std::fs::read_to_string(image.dir.join("manifest.json")).unwrap();
    assert!(!text.contains("://"), "the manifest names a mirror");
    assert!(!image.rootfs().join("usr/sbin/policy-rc.d").exists());

    let found = kernel::find(&image.rootfs(), &release).unwrap();
    let names = ["virtiofs", "virtio-pci", "virtio_blk", "ext4", "9pnet_virtio", "no_such_module"].map(str::to_owned);
    let resolution = modules::resolve(&image.rootfs(), &found.modules_dir, &names).unwrap();
    assert_eq!(resolution.missing, ["no_such_module"]);
    let position = |name: &str| resolution.load_order.iter().position(|m| m.name == name);
    assert!(position("fuse") < position("virtiofs") || resolution.load_order.iter().all(|m| m.name != "fuse"));
    let mut magic = [0; 6];
    initramfs::build(b"init", &resolution, &[]).unwrap().read_exact_at(&mut magic, 0).unwrap();
    assert_eq!(&magic, b"070701");

    // Unchanged: nothing is bootstrapped, and offline no mirror is contacted.
    let started = Instant::now();
    let again = trixie_now();
    assert_eq!((again.origin, again.key()), (ImageOrigin::Cached, image.key()));
    assert!(started.elapsed() < Duration::from_secs(10));
    let options =
        Options { offline: true, mirror: Some("http://127.0.0.1:9/debian".to_owned()), ..Options::new(shared_cache()) };
    let offline = prepare(&release, &options, &|_| {}).unwrap();
    assert_eq!((offline.origin, offline.made), (ImageOrigin::Offline, image.made));
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn an_overlay_gives_a_separate_derived_image() {
    let plain = trixie();
    let release = debian::release("13");
    let files = kernel::find(&plain.rootfs(), &release).unwrap();
    // Trixie's kernel has virtiofs built in, 9p as a module.
    let names = ["9p".to_owned()];
    let module = modules::resolve(&plain.rootfs(), &files.modules_dir, &names).unwrap().load_order.pop().unwrap();
    let relative = module.path.strip_prefix("/").unwrap();
    let overlay = tempfile::tempdir().unwrap();
    let folder = overlay.path().join(relative.parent().unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    let name = relative.file_name().unwrap().to_str().unwrap();
    std::fs::write(folder.join(format!(".wh.{name}")), "").unwrap();

    // Derived from the cached image: no network is needed.
    let options = Options { offline: true, overlay: Some(overlay.path().to_owned()), ..Options::new(shared_cache()) };
    let derived = prepare(&release, &options, &|_| {}).unwrap();
    assert_ne!(derived.key(), plain.key());
    assert_eq!(derived.manifest.derived_from.as_deref(), Some(plain.key()));
    let files = kernel::find(&derived.rootfs(), &release).unwrap();
    assert_eq!(modules::resolve(&derived.rootfs(), &files.modules_dir, &names).unwrap().missing, names);
    assert!(plain.rootfs().join(relative).exists(), "the plain image was changed");
    let again = prepare(&release, &options, &|_| {}).unwrap();
    assert_eq!(again.made, derived.made);
    let plain_again = prepare(&release, &Options { overlay: None, ..options }, &|_| {}).unwrap();
    assert_eq!(plain_again.key(), plain.key(), "the derived image passed for the plain one");
    std::fs::remove_dir_all(&derived.dir).unwrap();
}

#[test]
#[cfg_attr(any(lacks = "images", lacks = "dpkg-deb"), ignore = "needs root, x86_64, mmdebstrap and dpkg-deb")]
fn a_local_package_is_installed_into_a_derived_image() {
    trixie();
    let (_work, deb) = package("kata-candidate", "#!/bin/sh\n");
    let options = Options {
        offline: true,
        extra_packages: vec![deb.to_str().unwrap().parse().unwrap()],
        ..Options::new(shared_cache())
    };
    let image = prepare(&debian::release("13"), &options, &|_| {}).unwrap();
    assert_eq!(image.manifest.package("kata-candidate").unwrap().version, "2.0");
    let origin = image.manifest.origins.iter().find(|o| o.package == "kata-candidate").unwrap();
    assert!(origin.suites.is_empty());
    assert!(image.rootfs().join("usr/share/candidate/mark").exists());
    std::fs::remove_dir_all(&image.dir).unwrap();
}

/// Builds a package with a mark in it and this postinst; returns it with its temporary directory.
fn package(name: &str, postinst: &str) -> (tempfile::TempDir, PathBuf) {
    package_with(name, postinst, |_| {})
}

fn package_with(name: &str, postinst: &str, more: impl FnOnce(&Path)) -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let work = tempfile::tempdir().unwrap();
    let package = work.path().join("package");
    std::fs::create_dir_all(package.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(package.join("usr/share/candidate")).unwrap();
    std::fs::write(package.join("usr/share/candidate/mark"), "here").unwrap();
    let control = format!(
        "Package: {name}\nVersion: 2.0\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: candidate\n"
    );
    std::fs::write(package.join("DEBIAN/control"), control).unwrap();
    let script = package.join("DEBIAN/postinst");
    std::fs::write(&script, postinst).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    more(&package);
    let deb = work.path().join(format!("{name}_2.0_all.deb"));
    let built = Command::new("dpkg-deb")
        .args(["-Zgzip", "-z1", "--build"])
        .arg(&package)
        .arg(&deb)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(built.success());
    (work, deb)
}

/// Makes a separate cache with an image of another cache.
fn cache_with_image(image: &images::Image) -> tempfile::TempDir {
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::create_dir(cache.path().join("images")).unwrap();
    let copied = Command::new("cp").arg("-al").arg(&image.dir).arg(cache.path().join("images")).status().unwrap();
    assert!(copied.success());
    cache
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_package_is_not_fetched_offline() {
    trixie();
    let known: ExtraPackage = "hello".parse().unwrap();
    let options = Options { offline: true, extra_packages: vec![known], ..Options::new(shared_cache()) };
    let error = prepare(&debian::release("13"), &options, &|_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Install);
    assert!(matches!(*error.cause, ImageErrorKind::NotCached), "{error}");
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_package_that_does_not_exist_is_named() {
    trixie();
    let missing: ExtraPackage = "no-such-package-anywhere".parse().unwrap();
    let options = Options { offline: true, extra_packages: vec![missing], ..Options::new(shared_cache()) };
    let error = prepare(&debian::release("13"), &options, &|_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Install);
    assert!(
        matches!(&*error.cause, ImageErrorKind::PackageMissing { package } if package == "no-such-package-anywhere"),
        "{error}"
    );
    let command = error.command.unwrap();
    assert!(command.command.contains("apt-get"), "{}", command.command);
    assert_eq!(command.status, "exit status: 100");
}

/// Starts a mirror with exactly these files.
fn mirror(files: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&mut stream, files));
        }
    });
    format!("http://{address}/debian")
}

fn answer(stream: &mut TcpStream, files: &[(&str, &str)]) {
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..n]);
        while let Some(end) = pending.windows(4).position(|w| w == b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..end + 4);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = files.iter().find(|(name, _)| *name == path);
            let (status, body) = found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", *body));
            let reply = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn prepare_from(mirror: String, accept_expired: bool) -> (tempfile::TempDir, Result<images::Image, ImageError>) {
    let cache = tempfile::tempdir().unwrap();
    let mut release: Release = debian::release("13");
    release.suites.truncate(1);
    let options = Options {
        mirror: Some(mirror.clone()),
        security_mirror: Some(mirror),
        accept_expired,
        ..Options::new(cache.path())
    };
    let result = prepare(&release, &options, &|_| {});
    (cache, result)
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn an_expired_mirror_is_refused_unless_accepted() {
    let stale = "Suite: stable\nCodename: trixie\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nValid-Until: Sat, 08 Jan 2022 00:00:00 UTC\n";
    let files: &'static [_] = Box::leak(Box::new([("/debian/dists/trixie/InRelease", stale)]));
    let (_cache, result) = prepare_from(mirror(files), false);
    let error = result.unwrap_err();
    assert!(matches!(&*error.cause, ImageErrorKind::Expired { suite } if suite == "trixie"), "{error}");
    assert!(error.hint().unwrap().contains("--accept-expired"));
    // With expired indexes accepted it fails later and for another reason: there is no signature.
    let (cache, result) = prepare_from(mirror(files), true);
    let error = result.unwrap_err();
    assert_eq!(error.phase, ImagePhase::Bootstrap, "{error}");
    assert!(matches!(*error.cause, ImageErrorKind::Untrusted { .. }), "{error}");
    let command = error.command.as_ref().unwrap();
    assert!(command.command.contains("mmdebstrap") && !command.tail.is_empty() && command.tail.len() <= 15);
    assert!(!error.to_string().contains("127.0.0.1"), "the mirror's address shows: {error}");
    assert_eq!(left_overs(cache.path()), 0);
    assert!(images::cache::list(cache.path()).is_empty());
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn an_oversized_index_is_refused() {
    let endless: &'static str = Box::leak("Suite: stable\n".repeat(2 << 20).into_boxed_str());
    let files: &'static [_] = Box::leak(Box::new([("/debian/dists/trixie/InRelease", endless)]));
    let (cache, result) = prepare_from(mirror(files), true);
    let error = result.unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve, "{error}");
    assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
}

/// The HTTP header for `kata:s3cret"of&mirror`.
const AUTHORIZATION: &str = "authorization: basic a2f0ytpzm2nyzxqib2ymbwlycm9y";

/// Returns where the password is visible: in arguments of processes, in files of the cache that others may read.
fn leaks(cache: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let has_password = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains("s3cret");
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|e| e.file_name().to_str() != Some(&own));
    let mut found: Vec<String> = processes
        .filter(|e| std::fs::read(e.path().join("cmdline")).is_ok_and(has_password))
        .map(|e| format!("arguments of {}", e.file_name().display()))
        .collect();
    let mut folders = vec![cache.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            let private = meta.mode() & 0o077 == 0;
            if meta.is_dir() && !private {
                folders.push(entry.path());
            } else if meta.is_file() && !private && std::fs::read(entry.path()).is_ok_and(has_password) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_mirrors_credentials_are_sent_only_to_the_mirror() {
    let index = "Suite: stable\nCodename: trixie\nDate: Sat, 01 Jan 2022 00:00:00 UTC\n";
    let cache = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (authorized, leaked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (count, found, folder) = (Arc::clone(&authorized), Arc::clone(&leaked), cache.path().to_owned());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap_or_default();
            let request = String::from_utf8_lossy(&buffer[..length]).to_lowercase();
            let (status, body) = match request.contains(AUTHORIZATION) {
                true => ("200 OK", index),
                false => ("401 Unauthorized", ""),
            };
            count.fetch_add(usize::from(!body.is_empty()), Ordering::Relaxed);
            found.lock().unwrap().extend(leaks(&folder));
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    let mut release: Release = debian::release("13");
    release.suites.truncate(1);
    let mirror = Some(format!("http://kata:s3cret%22of%26mirror@{address}/debian"));
    let options = Options { mirror, ..Options::new(cache.path()) };
    let error = prepare(&release, &options, &|p| {
        assert!(!p.detail.unwrap_or_default().contains("s3cret"));
    })
    .unwrap_err();
    // There is no signature: by then both the resolver and the bootstrap have fetched the index.
    assert_eq!(error.phase, ImagePhase::Bootstrap, "{error}");
    assert!(matches!(*error.cause, ImageErrorKind::Untrusted { .. }), "{error}");
    assert!(authorized.load(Ordering::Relaxed) >= 2);
    assert_eq!(*leaked.lock().unwrap(), Vec::<String>::new());
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_release_that_the_mirror_lacks_is_named() {
    let (_cache, result) = prepare_from(mirror(&[]), false);
    let error = result.unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve);
    assert!(matches!(&*error.cause, ImageErrorKind::NoSuchRelease { what } if what == "suite trixie"), "{error}");
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn an_unreachable_mirror_is_reported_as_such() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_cache, result) = prepare_from(format!("http://{free}/debian"), false);
    let error = result.unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve);
    assert!(matches!(*error.cause, ImageErrorKind::MirrorUnreachable { cached_age: None, .. }), "{error}");
    // With an image in the cache the hint offers it.
    if images::cache::list(&shared_cache()).iter().any(|i| i.release().to_string() == "debian:13") {
        let options = Options { mirror: Some(format!("http://{free}/debian")), ..Options::new(shared_cache()) };
        let error = prepare(&debian::release("13"), &options, &|_| {}).unwrap_err();
        assert!(error.hint().unwrap().contains("with --offline"), "{:?}", error.hint());
    }
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_full_disk_is_reported() {
    trixie();
    let small = Tmpfs::new("120m");
    let options = Options { accept_expired: true, ..Options::new(small.path()) };
    let error = prepare(&debian::release("13"), &options, &|_| {}).unwrap_err();
    assert!(matches!(*error.cause, ImageErrorKind::DiskFull), "{error}");
    assert_eq!(left_overs(small.path()), 0);
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn two_makers_of_one_image_build_it_once() {
    let release = bare_trixie();
    let cache = tempfile::tempdir().unwrap();
    let options = Options { accept_expired: true, ..Options::new(cache.path()) };
    let make = || prepare(&release, &options, &|_| {}).unwrap();
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(make), scope.spawn(make));
        (one.join().unwrap(), two.join().unwrap())
    });
    let mut origins = [one.origin, two.origin];
    origins.sort();
    assert_eq!(origins, [ImageOrigin::Built, ImageOrigin::Cached]);
    assert_eq!(one.manifest, two.manifest);
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn cancelling_leaves_nothing_behind() {
    trixie();
    let cache = tempfile::tempdir().unwrap();
    let cancel = Arc::new(AtomicBool::new(false));
    let options = Options { accept_expired: true, cancel: Arc::clone(&cancel), ..Options::new(cache.path()) };
    let error = prepare(&debian::release("13"), &options, &|p| {
        if p.phase == ImagePhase::Bootstrap && p.detail.is_some() {
            cancel.store(true, Ordering::Relaxed);
        }
    })
    .unwrap_err();
    assert!(matches!(*error.cause, ImageErrorKind::Cancelled), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
    assert_eq!(users_of(cache.path()), Vec::<String>::new());
}

/// Lists users of a directory: processes that were started for it, mounts in any namespace.
fn users_of(path: &Path) -> Vec<String> {
    // Mounts name the directory by its path on its own filesystem.
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        if process.file_name().to_str().is_some_and(|n| n == std::process::id().to_string()) {
            continue;
        }
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // Names the directory even if it has become the root.
        let mounts = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        if command.contains(name) || mounts.contains(name) {
            found.push(format!("{} {command}", process.file_name().display()));
        }
    }
    found
}

const MAKER: &str = "KATA_QUALIFY_TEST_MAKER";

/// Environment variables with a package that the maker lays over the cached release, and its mirror.
const PACKAGE: &str = "KATA_QUALIFY_TEST_PACKAGE";
const MIRROR: &str = "KATA_QUALIFY_TEST_MIRROR";

/// The process that the next tests kill.
#[test]
#[ignore = "a part of the tests that kill it, which run it"]
fn maker() {
    let Some(cache) = std::env::var_os(MAKER) else { return };
    let mut options = Options { accept_expired: true, ..Options::new(cache) };
    if let Ok(package) = std::env::var(PACKAGE) {
        options = Options { offline: true, extra_packages: vec![package.parse().unwrap()], ..options };
    }
    if let Ok(mirror) = std::env::var(MIRROR) {
        options = Options { mirror: Some(mirror.clone()), security_mirror: Some(mirror), ..options };
    }
    let _ = prepare(&debian::release("13"), &options, &|_| {});
}

/// Starts a maker, waits until `working` is true, kills the maker, and waits until no process or mount of it is left.
fn kill_maker(cache: &Path, more: &[(&str, &str)], working: impl Fn() -> bool) {
    let mut maker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "maker", "--ignored"])
        .env(MAKER, cache)
        .envs(more.iter().copied())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(240);
    while !working() {
        assert!(Instant::now() < until, "the maker never began");
        assert!(maker.try_wait().unwrap().is_none(), "the maker ended early");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(users_of(cache).len() > 1, "its programs cannot be seen, so neither can their end");
    // The work of a maker that is alive is left alone.
    assert_eq!(images::sweep(cache).unwrap().removed, 0);
    maker.kill().unwrap();
    maker.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !users_of(cache).is_empty() {
        assert!(Instant::now() < until, "still there: {:?}", users_of(cache));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns whether a tree under construction has a file.
fn tree_has_file(cache: &Path, file: &str) -> bool {
    let tmp = std::fs::read_dir(cache.join("images/.tmp")).into_iter().flatten().flatten();
    tmp.into_iter().any(|e| e.path().join("rootfs").join(file).exists())
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_killed_maker_leaves_no_image_no_mount_and_no_process() {
    trixie();
    let cache = tempfile::tempdir().unwrap();
    kill_maker(cache.path(), &[], || tree_has_file(cache.path(), "var/lib/dpkg"));
    assert!(images::cache::list(cache.path()).is_empty());
    // The workshop of the image, and that of the indexes.
    assert_eq!(left_overs(cache.path()), 2);
    assert_eq!(images::sweep(cache.path()).unwrap().removed, 2);
    assert_eq!(left_overs(cache.path()), 0);
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn a_maker_killed_while_apt_is_another_user_leaves_no_process() {
    // A server that accepts connections and never responds.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = format!("http://{}/debian", listener.local_addr().unwrap());
    let connected = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&connected);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            flag.store(true, Ordering::Relaxed);
            open.push(stream);
        }
    });
    let cache = tempfile::tempdir().unwrap();
    kill_maker(cache.path(), &[(MIRROR, &mirror)], || connected.load(Ordering::Relaxed));
    assert_eq!(images::sweep(cache.path()).unwrap().removed, 1);
}

#[test]
#[cfg_attr(any(lacks = "images", lacks = "dpkg-deb"), ignore = "needs root, x86_64, mmdebstrap and dpkg-deb")]
fn a_maker_killed_in_a_postinst_leaves_nothing_after_a_sweep() {
    let plain = trixie();
    let script = "#!/bin/sh\ntouch /in-postinst\nsetsid sleep 600 &\nsleep 600\n";
    let (_work, deb) = package("kata-slow", script);
    let name = deb.to_str().unwrap();
    let cache = cache_with_image(plain);
    kill_maker(cache.path(), &[(PACKAGE, name)], || tree_has_file(cache.path(), "in-postinst"));
    assert_eq!(images::sweep(cache.path()).unwrap().removed, 1);
    assert_eq!(left_overs(cache.path()), 0);
}

const HOSTILE: &str = "KATA_QUALIFY_TEST_HOSTILE";

/// The program that the next test packs into a package.
#[test]
#[ignore = "a part of a_hostile_package_script_cannot_escape_the_sandbox, which runs it"]
fn hostile_script() {
    if std::env::var_os(HOSTILE).is_some() {
        hostile::attack();
    }
}

/// Returns the command that runs the program in the tree.
fn run_hostile() -> String {
    format!("{HOSTILE}=1 /{} --exact hostile_script --ignored --nocapture", hostile::PROGRAM)
}

/// Returns the attempts that succeeded.
fn succeeded(report: &str) -> Vec<&str> {
    assert!(report.contains("chroot and fchdir"), "not all was tried:\n{report}");
    report.lines().filter_map(|line| line.strip_prefix("SUCCEEDED ")).collect()
}

#[test]
#[cfg_attr(any(lacks = "images", lacks = "dpkg-deb"), ignore = "needs root, x86_64, mmdebstrap and dpkg-deb")]
fn a_hostile_package_script_cannot_escape_the_sandbox() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    let plain = trixie();
    let cache = cache_with_image(plain);
    let secret = cache.path().join("secret");
    std::fs::write(&secret, "of the machine").unwrap();
    let device = std::fs::metadata(&secret).unwrap().dev();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = format!("kata-qualify-test-{}", std::process::id());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(&socket).unwrap();
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&name).unwrap();
    let knowledge = hostile::Knowledge {
        secret: secret.to_str().unwrap().to_owned(),
        handles: [secret.as_path(), Path::new("/")].map(|p| hostile::Handle::of(p).unwrap()).to_vec(),
        device: (rustix::fs::major(device), rustix::fs::minor(device)),
        port: listener.local_addr().unwrap().port(),
        socket,
    };
    let script = format!("#!/bin/sh\n{} > /{} 2>&1\n", run_hostile(), hostile::REPORT);
    let (_work, deb) = package_with("kata-hostile", &script, |package| {
        std::fs::copy(std::env::current_exe().unwrap(), package.join(hostile::PROGRAM)).unwrap();
        std::fs::write(package.join(hostile::KNOWLEDGE), knowledge.text()).unwrap();
    });
    let options = Options {
        offline: true,
        extra_packages: vec![deb.to_str().unwrap().parse().unwrap()],
        ..Options::new(cache.path())
    };
    let image = prepare(&debian::release("13"), &options, &|_| {}).unwrap();
    let report = std::fs::read_to_string(image.rootfs().join(hostile::REPORT)).unwrap();
    let out = succeeded(&report);
    assert!(out.is_empty(), "a package's script succeeded in: {out:#?}\n{report}");

    // The same program as root in chroot(2) gets out, which shows that its attempts are real.
    let control = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "chroot"])
        .arg(image.rootfs())
        .args(["sh", "-c", &format!("mount -t proc proc /proc; {}", run_hostile())])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&control.stdout).into_owned();
    let out = succeeded(&report);
    for attempt in [
        "making a node /disk",
        "mounting devtmpfs",
        "the machine's loopback",
        "an abstract socket",
        "chroot and fchdir",
    ] {
        assert!(out.contains(&attempt), "{attempt} fails without namespaces, too:\n{report}");
    }
    assert!(out.iter().any(|attempt| attempt.starts_with("opening a file of the machine by its handle")), "{report}");
    assert!(out.iter().any(|attempt| attempt.starts_with("writing to sysctl")), "{report}");
}

#[test]
#[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
fn the_tree_is_identical_to_one_made_without_namespaces() {
    let image = trixie();
    let sources = std::fs::read_to_string(image.dir.join("apt/sources.list")).unwrap();
    let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tree = work.path().join("tree");
    plain::make(&tree, &sources, &image.manifest.requested);
    let (theirs, ours) = (plain::inventory(&tree), plain::inventory(&image.rootfs()));
    assert!(theirs.len() > 5_000, "{}", theirs.len());
    let differ = plain::differences(&theirs, &ours);
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), theirs.len(), differ.join("\n"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
#[cfg_attr(any(lacks = "images", lacks = "docker"), ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn docker_runs_the_imported_tree() {
    let runtime = runtime();
    let docker = runtime.block_on(docker::connect()).unwrap();
    let plain = trixie();
    // A separate image, so that no image of other tests is touched.
    let overlay = tempfile::tempdir().unwrap();
    std::fs::write(overlay.path().join("mark"), "docker_runs_the_imported_tree").unwrap();
    let options = Options { offline: true, overlay: Some(overlay.path().to_owned()), ..Options::new(shared_cache()) };
    let image = prepare(&debian::release("13"), &options, &|_| {}).unwrap();
    assert_ne!(image.key(), plain.key());
    runtime.block_on(async {
        let tag = docker::ensure_imported(&docker, &image).await.unwrap();
        let id = docker.inspect_image(&tag).await.unwrap().id;
        let started = Instant::now();
        assert_eq!(docker::ensure_imported(&docker, &image).await.unwrap(), tag);
        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!(docker.inspect_image(&tag).await.unwrap().id, id, "imported twice");
        let script = "cat /mark; qemu-system-x86_64 --version; stat -c %a /usr/bin/passwd; stat -c %U /etc/shadow";
        let output = registry::run(&docker, &tag, script).await;
        assert!(output.starts_with("docker_runs_the_imported_treeQEMU emulator version 10."), "{output}");
        assert!(output.ends_with("4755\nroot\n"), "{output}");
        // A clean of another cache leaves it alone, and so does a clean of its own cache as long as that has the image.
        let other = tempfile::tempdir().unwrap();
        assert_eq!(docker::remove_orphans(&docker, other.path()).await.unwrap(), docker::Removed::default());
        let removed = docker::remove_orphans(&docker, &shared_cache()).await.unwrap().removed;
        assert!(!removed.contains(&tag), "{removed:?}");
        assert_eq!(docker.inspect_image(&tag).await.unwrap().id, id);
        std::fs::remove_dir_all(&image.dir).unwrap();
        let removed = docker::remove_orphans(&docker, &shared_cache()).await.unwrap().removed;
        assert!(removed.contains(&tag), "{removed:?}");
        assert!(docker.inspect_image(&tag).await.is_err());
    });
}

/// Makes a cache with an image of one file.
fn small(key: &str) -> (tempfile::TempDir, images::Image) {
    let cache = tempfile::tempdir().unwrap();
    images::cache::id(cache.path()).unwrap();
    let dir = cache.path().join("images").join(key);
    std::fs::create_dir_all(dir.join("rootfs/etc")).unwrap();
    std::fs::write(dir.join("rootfs/etc/hostname"), "kata\n").unwrap();
    let manifest = images::Manifest {
        format: images::manifest::FORMAT,
        key: key.to_owned(),
        request: "request".to_owned(),
        distro: "debian".parse().unwrap(),
        version: "13".parse().unwrap(),
        arch: model::arch::Arch::X86_64,
        source: BaseSource::Bootstrap,
        oci_digest: None,
        cloud_sha256: None,
        derived_from: None,
        made: "2026-11-01T00:00:00Z".parse().unwrap(),
        accepted_expired: vec![],
        indexes: vec![],
        requested: vec![],
        packages: vec![],
        origins: vec![],
        owners: vec![],
        timings: vec![],
    };
    std::fs::write(dir.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    let image = images::cache::list(cache.path()).pop().unwrap();
    (cache, image)
}

#[test]
#[cfg_attr(lacks = "docker", ignore = "needs Docker")]
fn caches_with_the_same_image_do_not_share_it_in_docker() {
    let runtime = runtime();
    let docker = runtime.block_on(docker::connect()).unwrap();
    let key = format!("{:08x}{}", std::process::id(), "0".repeat(56));
    let ((first, image), (second, same)) = (small(&key), small(&key));
    runtime.block_on(async {
        let tag = docker::ensure_imported(&docker, &image).await.unwrap();
        let other = docker::ensure_imported(&docker, &same).await.unwrap();
        assert_ne!(tag, other);
        // As an earlier version left it: one tag for all caches, and the label of the cache that came first.
        let (old, _) = tag.rsplit_once('-').unwrap();
        let (repository, version) = old.rsplit_once(':').unwrap();
        let name = TagImageOptionsBuilder::new().repo(repository).tag(version).build();
        docker.tag_image(&tag, Some(name.clone())).await.unwrap();
        assert_eq!(docker::remove_orphans(&docker, first.path()).await.unwrap().removed, [old]);
        docker.inspect_image(&tag).await.unwrap();
        docker.tag_image(&tag, Some(name)).await.unwrap();
        std::fs::remove_dir_all(&image.dir).unwrap();
        let mut removed = docker::remove_orphans(&docker, first.path()).await.unwrap().removed;
        removed.sort();
        assert_eq!(removed, [old, tag.as_str()]);
        docker.inspect_image(&other).await.unwrap();
        std::fs::remove_dir_all(&same.dir).unwrap();
        assert_eq!(docker::remove_orphans(&docker, second.path()).await.unwrap().removed, [other.as_str()]);
    });
}

/// Makes a minimal tree, as in a registry: the release's essential packages and apt.
fn minimal_tree(plain: &images::Image, tar: &Path) {
    let sources = std::fs::read_to_string(plain.dir.join("apt/sources.list")).unwrap();
    let line = sources.lines().next().unwrap();
    let status = Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=minbase", "--quiet", "--aptopt=Acquire::Check-Valid-Until \"false\"", ""])
        .arg(tar)
        .arg(line)
        .status()
        .unwrap();
    assert!(status.success());
}

/// Docker writes the archive, and is not used afterwards.
#[test]
#[cfg_attr(any(lacks = "images", lacks = "docker"), ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn a_docker_save_archive_is_accepted_as_a_base() {
    let runtime = runtime();
    let docker = runtime.block_on(docker::connect()).unwrap();
    let plain = trixie();
    let dir = tempfile::tempdir().unwrap();
    let (tar, saved) = (dir.path().join("base.tar"), dir.path().join("saved.tar"));
    minimal_tree(plain, &tar);
    let (repository, tag) = ("kata-qualify-test/saved", std::process::id().to_string());
    let reference = format!("{repository}:{tag}");
    runtime.block_on(async {
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(&tag).build();
        let body = bollard::body_full(std::fs::read(&tar).unwrap().into());
        docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
        let chunks: Vec<_> = docker.export_image(&reference).try_collect().await.unwrap();
        let mut file = std::fs::File::create(&saved).unwrap();
        chunks.iter().for_each(|chunk| file.write_all(chunk).unwrap());
        registry::forget(&docker, &reference).await;
    });
    let cache = tempfile::tempdir().unwrap();
    let mut release = debian::release("13");
    // QEMU and its dependencies would take as long as everything else.
    release.vmms.clear();
    let source = ExternalFile::parse(saved.to_str().unwrap()).unwrap();
    let base = OciImage::open(source, &release, &Database::embedded(), Arc::default()).unwrap();
    let options = Options { base: Some(Arc::new(base)), accept_expired: true, ..Options::new(cache.path()) };
    let image = prepare(&release, &options, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(image.manifest.source, BaseSource::OciImage);
    assert!(image.manifest.oci_digest.as_deref().is_some_and(|d| d.starts_with("sha256:")));
    let version = |image: &images::Image, name: &str| image.manifest.package(name).map(|p| p.version.clone());
    for package in ["virtiofsd", "linux-image-amd64"] {
        assert_eq!(version(&image, package), version(plain, package), "{package}");
    }
    assert_eq!(left_overs(cache.path()), 0);
    assert_eq!(prepare(&release, &options, &|_| {}).unwrap().origin, ImageOrigin::Cached);
    // Without that base the request is for another image.
    let offline = Options { base: None, offline: true, ..options };
    assert!(matches!(*prepare(&release, &offline, &|_| {}).unwrap_err().cause, ImageErrorKind::NotCached));
}

#[test]
#[cfg_attr(
    any(lacks = "images", lacks = "docker", lacks = "docker-registry"),
    ignore = "needs root, x86_64, mmdebstrap, Docker and docker-registry"
)]
fn an_image_is_made_from_a_registrys_oci_image() {
    let runtime = runtime();
    let docker = runtime.block_on(docker::connect()).unwrap();
    let registry = registry::Registry::start();
    let plain = trixie();
    let reference = format!("{}/debian:13", registry.address);
    let base = tempfile::tempdir().unwrap();
    let tar = base.path().join("base.tar");
    minimal_tree(plain, &tar);
    runtime.block_on(registry::publish(&docker, &tar, &reference));

    let cache = tempfile::tempdir().unwrap();
    let mut release = debian::release("13");
    release.oci_image = Some(reference.clone());
    // QEMU and its dependencies would take as long as everything else.
    release.vmms.clear();
    let options = Options { source: BaseSource::Oci, accept_expired: true, ..Options::new(cache.path()) };
    let image = prepare(&release, &options, &|_| {}).unwrap();
    assert_eq!(image.manifest.source, BaseSource::Oci);
    assert!(image.manifest.oci_digest.as_deref().is_some_and(|d| d.starts_with("sha256:")));
    let version = |image: &images::Image, name: &str| image.manifest.package(name).map(|p| p.version.clone());
    for package in ["virtiofsd", "linux-image-amd64"] {
        assert_eq!(version(&image, package), version(plain, package), "{package}");
    }
    kernel::find(&image.rootfs(), &release).unwrap();
    assert_eq!(prepare(&release, &options, &|_| {}).unwrap().origin, ImageOrigin::Cached);

    release.oci_image = Some(format!("{}/debian:no-such-tag", registry.address));
    let error = prepare(&release, &options, &|_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Pull);
    assert!(matches!(*error.cause, ImageErrorKind::NoSuchImage { .. }), "{error}");
    runtime.block_on(registry::forget(&docker, &reference));
    drop(registry);
    release.oci_image = Some(reference);
    let error = prepare(&release, &options, &|_| {}).unwrap_err();
    assert!(matches!(*error.cause, ImageErrorKind::RegistryUnreachable { cached_age: Some(_), .. }), "{error}");
}
