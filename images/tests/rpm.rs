//! Images of RPMs for real: this machine's dnf and rpm, and a signed repository of three packages that the tests make.
//!
//! The tree's programs are copies of this machine's bash and rpm: a release's own would have to come from a mirror.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use images::base::{BaseContent, BaseError, BaseProvider, BaseTask, ReadBase};
use images::{BaseSource, ExtraPackage, Image, ImageError, ImageErrorKind, ImageOrigin, ImagePhase, Options, prepare};
use model::package_manager::PackageManager;
use model::release::Release;
use signed::{Signed, half_of, has_candidate, is_whole, left_overs, run, scripts};
use small::Tmpfs;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[expect(dead_code, reason = "other tests run containers, too")]
mod registry;
mod signed;
mod small;

/// Capabilities of every base of Fedora: here one package provides them all.
const BASE: &str =
    "bash coreutils filesystem glibc-minimal-langpack rpm system-release distribution-release e2fsprogs /bin/sh";

/// Commands that install files for the tree's own rpm: programs with their libraries, rpm's configuration, and Fedora's
/// location of the database.
const INSTALL_BASE: &str = r#"
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/lib %{buildroot}/etc %{buildroot}/tmp %{buildroot}/proc %{buildroot}/sys
for folder in bin lib lib64; do mkdir -p %{buildroot}/usr/$folder; ln -s usr/$folder %{buildroot}/$folder; done
for program in /usr/bin/rpm /usr/bin/bash; do
    for file in $program $(ldd $program | grep -o '/[^ ]*'); do
        case $file in /usr/*) to=$file;; *) to=/usr$file;; esac
        mkdir -p "%{buildroot}$(dirname $to)"
        cp -L $file %{buildroot}$to
    done
done
ln -s bash %{buildroot}/usr/bin/sh
cp -r /usr/lib/rpm %{buildroot}/usr/lib/rpm
mkdir -p %{buildroot}/usr/lib/rpm/macros.d
echo '%%_dbpath /var/lib/rpm' > %{buildroot}/usr/lib/rpm/macros.d/macros.kq
echo root:x:0:0:root:/root:/bin/sh > %{buildroot}/etc/passwd
echo root:x:0: > %{buildroot}/etc/group
printf 'ID=fedora\nVERSION_ID=1\n' > %{buildroot}/etc/os-release
"#;

/// A repository, and the keys that sign packages.
struct Repository {
    keys: Signed,
}

impl Repository {
    /// Makes the base, `kq-hello` that the record wants, and its dependency; the key `right` signs all packages.
    fn new() -> Repository {
        let repository = Repository { keys: Signed::new() };
        std::fs::create_dir(repository.folder()).unwrap();
        repository.package("kq-base", "1.0", &format!("Provides: {BASE}\n"), INSTALL_BASE, "/*");
        repository.package("kq-library", "1.0", "", "", "");
        repository.package("kq-hello", "1.0", "Requires: kq-library\n", "", "");
        for package in std::fs::read_dir(repository.folder()).unwrap() {
            repository.sign(&package.unwrap().path());
        }
        repository.index();
        repository
    }

    fn folder(&self) -> PathBuf {
        self.keys.path().join("repository")
    }

    fn sign(&self, package: &Path) {
        let mut sign = self.keys.command("rpmsign");
        sign.args(["--define", "__gpg /usr/bin/gpg", "--define", "_gpg_name right@b.example", "--addsign"]);
        run(sign.arg(package));
    }

    /// Serves the repository; returns its address.
    fn serve(&self) -> String {
        let (listener, folder) = (TcpListener::bind("127.0.0.1:0").unwrap(), self.folder());
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &folder)));
        format!("http://{address}")
    }

    fn index(&self) {
        run(Command::new("createrepo_c").arg("--quiet").arg(self.folder()));
    }

    /// Makes a package whose script records that it has run.
    fn package(&self, name: &str, version: &str, fields: &str, install: &str, files: &str) -> PathBuf {
        let mut spec =
            format!("Name: {name}\nEpoch: 1\nVersion: {version}\nRelease: 1\nSummary: {name}\nLicense: none\n");
        writeln!(spec, "BuildArch: noarch\nAutoReqProv: no\n{fields}%description\n{name}").unwrap();
        writeln!(spec, "%post\necho {name} {version} >> /scripts").unwrap();
        writeln!(spec, "%install\nmkdir -p %{{buildroot}}/usr/share/{name}").unwrap();
        writeln!(spec, "echo {version} > %{{buildroot}}/usr/share/{name}/mark\n{install}").unwrap();
        let files = if files.is_empty() { format!("/usr/share/{name}") } else { files.to_owned() };
        writeln!(spec, "%files\n{files}").unwrap();
        let file = self.keys.path().join(format!("{name}.spec"));
        std::fs::write(&file, spec).unwrap();
        let define = |text: String| ["--define".to_owned(), text];
        let mut build = Command::new("rpmbuild");
        build.args(["-bb", "--quiet", "--nodeps"]);
        build.args(define(format!("_topdir {}", self.keys.path().join("build").display())));
        build.args(define(format!("_rpmdir {}", self.folder().display())));
        build.args(define("_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned()));
        build.args(define("_binary_payload w0.ufdio".to_owned())).args(define("__os_install_post %{nil}".to_owned()));
        build.args(define("_binaries_in_noarch_packages_terminate_build 0".to_owned()));
        run(build.args(define("_build_id_links none".to_owned())).arg(&file));
        self.folder().join(format!("{name}-{version}-1.noarch.rpm"))
    }

    /// Packs the tree of an image with settings and a key of its own, as in a vendor's base; returns the archive.
    fn base(&self, image: &Image, folder: &Path) -> PathBuf {
        for (path, content) in [
            (
                "etc/yum.repos.d/own.repo",
                format!("[own]\nbaseurl={}\ngpgkey=file:///etc/pki/rpm-gpg/KEY\n", self.serve()),
            ),
            ("etc/pki/rpm-gpg/KEY", std::fs::read_to_string(self.keys.key("right")).unwrap()),
        ] {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let tar = folder.join("base.tar");
        let mut pack = Command::new("tar");
        pack.arg("-cf").arg(&tar).arg("-C").arg(image.rootfs()).arg(".");
        run(pack.arg("-C").arg(folder).args(["etc/yum.repos.d", "etc/pki"]));
        tar
    }

    /// Makes the image of a release with these packages.
    fn prepared(&self, cache: &Path, key: &str, change: impl FnOnce(&mut Options)) -> Result<Image, ImageError> {
        self.prepared_of(&release(), cache, key, change)
    }

    fn prepared_of(
        &self,
        release: &Release,
        cache: &Path,
        key: &str,
        change: impl FnOnce(&mut Options),
    ) -> Result<Image, ImageError> {
        self.keys.prepared(release, &self.folder(), cache, key, change)
    }
}

fn release() -> Release {
    Release { module_platform: Some("f1".to_owned()), ..signed::release("fedora", "1", PackageManager::Dnf) }
}

/// Returns a release of openSUSE, which has signed indexes.
fn leap() -> Release {
    Release { distro: "opensuse".parse().unwrap(), package_manager: PackageManager::Zypper, ..release() }
}

/// Answers one request with a file of the directory.
fn answer(mut stream: TcpStream, folder: &Path) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..n]);
        if request.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let found = std::fs::read(folder.join(path));
    let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

#[test]
#[cfg_attr(lacks = "dnf-images", ignore = "needs root, x86_64, dnf, rpm, createrepo-c and gnupg")]
fn an_image_and_a_derived_candidate_are_made_from_a_signed_repository() {
    let repository = Repository::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = repository.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let leftovers = ["fetch", "archives", "keyring", "rootfs/var/cache/kata-qualify", "rootfs/.kata-qualify-unpacked"];
    is_whole(&image, ["1:1.0-1", "noarch", "kq-hello"], "mirror", &leftovers);
    let repomd = repository.folder().join("repodata/repomd.xml");
    assert_eq!(image.manifest.indexes[0].sha256, images::artifacts::sha256(&repomd).unwrap());
    // The tree's own rpm has run each script once.
    assert_eq!(scripts(&image), "kq-base 1.0\nkq-library 1.0\nkq-hello 1.0\n");

    let again = repository.prepared(cache.path(), "right", |_| {}).unwrap();
    assert_eq!((again.origin, again.key()), (ImageOrigin::Cached, image.key()));

    // A candidate needs no signature, and no network: its dependencies are installed already.
    let candidate = repository.package("kq-hello", "0.9", "Requires: kq-library\n", "", "");
    let aside = repository.keys.path().join("kq-hello-0.9-1.noarch.rpm");
    std::fs::rename(candidate, &aside).unwrap();
    let file: ExtraPackage = aside.to_str().unwrap().parse().unwrap();
    let with = |package: ExtraPackage| {
        repository.prepared(cache.path(), "right", |options| {
            options.offline = true;
            options.extra_packages = vec![package];
        })
    };
    let derived = with(file).unwrap_or_else(|e| panic!("{e}"));
    has_candidate(&derived, "1:0.9-1");
    assert!(scripts(&derived).ends_with("kq-hello 0.9\n"));
    assert!(!derived.dir.join("dnf").exists(), "the indexes are the plain image's");
    assert_eq!(scripts(&image), "kq-base 1.0\nkq-library 1.0\nkq-hello 1.0\n", "the plain image was changed");

    let error = with("no-such-package".parse().unwrap()).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Install, "{error}");
    assert!(
        matches!(&*error.cause, ImageErrorKind::PackageMissing { package } if package == "no-such-package"),
        "{error}"
    );
    assert_eq!(left_overs(cache.path()), 0);
}

#[test]
#[cfg_attr(lacks = "dnf-images", ignore = "needs root, x86_64, dnf, rpm, createrepo-c and gnupg")]
fn wrong_signatures_and_incomplete_indexes_are_refused() {
    let repository = Repository::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let error = repository.prepared(cache.path(), "wrong", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Bootstrap, "{error}");
    let ImageErrorKind::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.contains("kq-base-1.0-1.noarch") && detail.contains("wrong.asc"), "{detail}");

    let none = repository.prepared(cache.path(), "right", |options| options.keys.clear()).unwrap_err();
    assert!(matches!(&*none.cause, ImageErrorKind::Untrusted { detail } if detail.contains("--mirror-key")), "{none}");

    // The mirror has the new index and the old package list.
    let lists = std::fs::read_dir(repository.folder().join("repodata")).unwrap();
    let list = lists.map(|entry| entry.unwrap().path()).find(|p| p.to_string_lossy().ends_with("-primary.xml.gz"));
    std::fs::write(list.unwrap(), "of yesterday").unwrap();
    let error = repository.prepared(cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve, "{error}");
    let ImageErrorKind::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.contains("checksum doesn't match") && detail.contains("repository mirror"), "{detail}");

    std::fs::remove_dir_all(repository.folder().join("repodata")).unwrap();
    let error = repository.prepared(cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve, "{error}");
    assert!(matches!(*error.cause, ImageErrorKind::MirrorUnreachable { .. }), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
    assert!(images::cache::list(cache.path()).is_empty());
}

/// A zypper release is handled in the same way.
#[test]
#[cfg_attr(lacks = "dnf-images", ignore = "needs root, x86_64, dnf, rpm, createrepo-c and gnupg")]
fn a_full_disk_is_reported() {
    let repository = Repository::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = repository.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let small = Tmpfs::new(&half_of(&image));
    let error = repository.prepared(small.path(), "right", |_| {}).unwrap_err();
    assert!(matches!(*error.cause, ImageErrorKind::DiskFull), "{error}");
    assert_eq!(left_overs(small.path()), 0);
    assert!(images::cache::list(small.path()).is_empty());
}

/// A mount that is not undone is what a killed test leaves.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_small_disk_vanishes_with_its_test() {
    let killed = || {
        let small = Tmpfs::new("64k");
        let path = small.path().to_owned();
        std::fs::write(path.join("file"), "").unwrap();
        std::mem::forget(small);
        path
    };
    let path = std::thread::scope(|scope| scope.spawn(killed).join().unwrap());
    assert!(!path.join("file").exists(), "{} is still mounted", path.display());
    std::fs::remove_dir(path).unwrap();
}

#[test]
#[cfg_attr(lacks = "dnf-images", ignore = "needs root, x86_64, dnf, rpm, createrepo-c and gnupg")]
fn zypper_repositories_need_signed_indexes() {
    let repository = Repository::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let error = repository.prepared_of(&leap(), cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve, "{error}");
    let repomd = repository.folder().join("repodata/repomd.xml");
    for (signer, is_accepted) in [("wrong", false), ("right", true)] {
        let user = format!("{signer}@b.example");
        run(repository
            .keys
            .command("gpg")
            .args(["--batch", "--yes", "--armor", "--local-user", &user, "--detach-sign"])
            .arg(&repomd));
        let result = repository.prepared_of(&leap(), cache.path(), "right", |_| {});
        match (result, is_accepted) {
            (Ok(image), true) => assert!(image.manifest.package("kq-hello").is_some()),
            (Err(error), false) => assert!(matches!(*error.cause, ImageErrorKind::Untrusted { .. }), "{error}"),
            (result, _) => panic!("signed by {signer}: {result:?}"),
        }
    }
}

#[test]
#[cfg_attr(
    any(lacks = "dnf-images", lacks = "docker", lacks = "docker-registry"),
    ignore = "needs root, x86_64, dnf, rpm, createrepo-c, gnupg, Docker and docker-registry"
)]
fn packages_come_from_the_repositories_of_the_oci_image() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let docker = runtime.block_on(images::docker::connect()).unwrap();
    let repository = Repository::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let plain = repository.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let extra = repository.package("kq-extra", "1.0", "Requires: kq-library\n", "", "");
    repository.sign(&extra);
    repository.index();

    let folder = tempfile::tempdir().unwrap();
    let tar = repository.base(&plain, folder.path());
    let server = registry::Registry::start();
    let reference = format!("{}/fedora:1", server.address);
    runtime.block_on(registry::publish(&docker, &tar, &reference));

    let mut release = release();
    release.oci_image = Some(reference.clone());
    release.vmms[0].packages = vec!["kq-extra".parse().unwrap()];
    let options = Options { source: BaseSource::Oci, ..Options::new(cache.path()) };
    let image = prepare(&release, &options, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(image.manifest.source, BaseSource::Oci);
    assert!(image.manifest.package("kq-extra").is_some());
    assert_eq!(image.manifest.indexes[0].suite, "own");
    let origin = image.manifest.origins.iter().find(|o| o.package == "kq-extra").unwrap();
    assert_eq!(origin.suites, ["own"]);
    assert_eq!(prepare(&release, &options, &|_| {}).unwrap().origin, ImageOrigin::Cached);

    // A repository that the record names and the base does not have.
    release.repositories = vec!["crb".to_owned()];
    let error = prepare(&release, &options, &|_| {}).unwrap_err();
    assert!(matches!(&*error.cause, ImageErrorKind::NoMirror { suite, .. } if suite == "crb"), "{error}");
    runtime.block_on(registry::forget(&docker, &reference));
}

/// A cloud image that is already unpacked, with a counter of reads.
#[derive(Debug)]
struct Made {
    tar: PathBuf,
    read: AtomicUsize,
}

impl BaseProvider for Made {
    fn identity(&self) -> String {
        "sha256:made".to_owned()
    }

    fn source(&self) -> BaseSource {
        BaseSource::Cloud
    }

    fn read(&self, task: &BaseTask<'_>) -> Result<ReadBase, BaseError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        let tar = task.folder.join("base.tar");
        std::fs::copy(&self.tar, &tar).map_err(BaseError::new)?;
        Ok(ReadBase { content: BaseContent::Tree(tar), sha256: "0".repeat(64) })
    }

    fn accept(&self, _: &Path) -> Result<(), BaseError> {
        Ok(())
    }
}

#[test]
#[cfg_attr(lacks = "dnf-images", ignore = "needs root, x86_64, dnf, rpm, createrepo-c and gnupg")]
fn packages_come_from_the_cloud_image_which_is_read_once_per_build() {
    let repository = Repository::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let plain = repository.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let offer = |version: &str| {
        repository.sign(&repository.package("kq-extra", version, "Requires: kq-library\n", "", ""));
        repository.index();
    };
    offer("1.0");
    let folder = tempfile::tempdir().unwrap();
    let base = Arc::new(Made { tar: repository.base(&plain, folder.path()), read: AtomicUsize::new(0) });
    let read = || base.read.load(Ordering::Relaxed);
    let mut release = release();
    release.vmms[0].packages = vec!["kq-extra".parse().unwrap()];
    let options = Options { base: Some(Arc::<Made>::clone(&base)), ..Options::new(cache.path()) };
    let prepare_image = |options: &Options| prepare(&release, options, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    let image = prepare_image(&options);
    assert_eq!((image.manifest.source, image.origin, read()), (BaseSource::Cloud, ImageOrigin::Built, 1));
    assert_eq!(image.manifest.cloud_sha256.as_deref(), Some("0".repeat(64).as_str()));
    assert_eq!(image.manifest.indexes[0].suite, "own");
    let version = |image: &Image| image.manifest.package("kq-extra").unwrap().version.to_string();
    assert_eq!(version(&image), "1:1.0-1");

    let again = prepare_image(&options);
    assert_eq!((again.origin, again.key(), read()), (ImageOrigin::Cached, image.key(), 1));
    let offline = prepare_image(&Options { offline: true, ..options.clone() });
    assert_eq!((offline.origin, offline.key(), read()), (ImageOrigin::Offline, image.key(), 1));

    // The new package is installed on the unchanged base.
    offer("2.0");
    let newer = prepare_image(&options);
    assert_eq!((newer.origin, version(&newer), read()), (ImageOrigin::Built, "1:2.0-1".to_owned(), 2));

    // A repository that the base lacks is an error.
    release.repositories = vec!["crb".to_owned()];
    let error = prepare(&release, &options, &|_| {}).unwrap_err();
    assert!(matches!(&*error.cause, ImageErrorKind::NoMirror { suite, .. } if suite == "crb"), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
}
