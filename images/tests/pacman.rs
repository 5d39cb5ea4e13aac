//! Images of pacman's packages for real: curl, gpg and this machine's pacman, and signed repositories that the tests
//! make.
//!
//! The tree's programs are copies of this machine's bash and pacman: a release's own would have to come from a mirror.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use images::{ExtraPackage, Image, ImageError, ImageErrorKind, ImageOrigin, ImagePhase, Options};
use model::package_manager::PackageManager;
use signed::{Signed, half_of, has_candidate, is_whole, left_overs, release, run, scripts};
use small::Tmpfs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod signed;
mod small;

/// Commands that fill the tree for its own pacman: programs with their libraries, and the users.
const FILL_BASE: &str = r#"
mkdir -p usr/bin usr/lib etc tmp
for folder in bin lib lib64; do mkdir -p usr/$folder; ln -s usr/$folder $folder; done
for program in /usr/bin/pacman /usr/bin/bash; do
    for file in $program $(ldd $program | grep -o '/[^ ]*'); do
        case $file in /usr/*) to=$file;; *) to=/usr$file;; esac
        mkdir -p ".$(dirname $to)"
        cp -L $file .$to
    done
done
ln -s bash usr/bin/sh
echo root:x:0:0:root:/root:/bin/sh > etc/passwd
echo root:x:0: > etc/group
echo ID=arch > etc/os-release
"#;

/// A mirror with the repositories `core` and `extra`, and the keys that sign packages.
struct Mirror {
    keys: Signed,
}

impl Mirror {
    /// Makes the base and the dependency of `kq-hello` in `core`, and `kq-hello` in `extra`; the key `right` signs all
    /// packages.
    fn new() -> Mirror {
        let mirror = Mirror { keys: Signed::new() };
        for (repository, name, version, fields) in [
            ("core", "base", "1-1", "provides = e2fsprogs\n"),
            ("core", "kq-library", "1.0-1", ""),
            ("extra", "kq-hello", "1:1.0-1", "depend = kq-library\n"),
        ] {
            let folder = mirror.repository(repository);
            std::fs::create_dir_all(&folder).unwrap();
            let file = mirror.package(&folder, name, version, fields);
            let mut sign = mirror.keys.command("gpg");
            run(sign.args(["--batch", "--yes", "--local-user", "right@b.example", "--detach-sign"]).arg(&file));
            run(Command::new("repo-add").arg("--quiet").arg(folder.join(format!("{repository}.db.tar.gz"))).arg(file));
        }
        mirror
    }

    fn address(&self) -> PathBuf {
        self.keys.path().join("mirror")
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.address().join(name).join("os/x86_64")
    }

    /// Makes a package whose script records that it has run.
    fn package(&self, folder: &Path, name: &str, version: &str, fields: &str) -> PathBuf {
        let tree = tempfile::tempdir_in(self.keys.path()).unwrap();
        let marks = tree.path().join("usr/share").join(name);
        std::fs::create_dir_all(&marks).unwrap();
        std::fs::write(marks.join("mark"), version).unwrap();
        if name == "base" {
            run(Command::new("sh").args(["-e", "-c", FILL_BASE]).current_dir(tree.path()));
        }
        let info = format!(
            "pkgname = {name}\npkgbase = kq\npkgver = {version}\npkgdesc = {name}\narch = any\nsize = 100\n{fields}"
        );
        std::fs::write(tree.path().join(".PKGINFO"), info).unwrap();
        let script = format!("echo {name} {version} >> /scripts\n");
        let script = format!("post_install() {{\n{script}}}\npost_upgrade() {{\n{script}}}\n");
        std::fs::write(tree.path().join(".INSTALL"), script).unwrap();
        let file = folder.join(format!("{name}-{version}-any.pkg.tar.zst"));
        let mut names: Vec<String> =
            std::fs::read_dir(tree.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        // Metadata of the package comes first.
        names.sort();
        run(Command::new("bsdtar").arg("--zstd").arg("-cf").arg(&file).arg("-C").arg(tree.path()).args(names));
        file
    }

    /// Makes the image of a release with these packages.
    fn prepared(&self, cache: &Path, key: &str, change: impl FnOnce(&mut Options)) -> Result<Image, ImageError> {
        self.keys.prepared(&release("arch", "rolling", PackageManager::Pacman), &self.address(), cache, key, change)
    }
}

#[test]
#[cfg_attr(lacks = "pacman-images", ignore = "needs root, x86_64, pacman, bsdtar, zstd, curl and gnupg")]
fn an_image_and_a_derived_candidate_are_made_from_a_signed_mirror() {
    let mirror = Mirror::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = mirror.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let leftovers =
        ["download", "archives", "empty", "rootfs/var/cache/kata-qualify", "rootfs/.PKGINFO", "rootfs/.INSTALL"];
    is_whole(&image, ["1:1.0-1", "any", "kq"], "extra", &leftovers);
    let hash = |name: &str| images::artifacts::sha256(&mirror.repository(name).join(format!("{name}.db"))).unwrap();
    let indexes: Vec<_> = image.manifest.indexes.iter().map(|i| (i.suite.as_str(), i.sha256.clone())).collect();
    assert_eq!(indexes, [("core", hash("core")), ("extra", hash("extra"))]);
    // The tree's own pacman has run each script once.
    assert_eq!(scripts(&image), "base 1-1\nkq-library 1.0-1\nkq-hello 1:1.0-1\n");

    let again = mirror.prepared(cache.path(), "right", |_| {}).unwrap();
    assert_eq!((again.origin, again.key()), (ImageOrigin::Cached, image.key()));

    // A candidate needs no signature, and no network: its dependencies are installed already.
    let aside = mirror.package(mirror.keys.path(), "kq-hello", "0.9-1", "depend = kq-library\n");
    let with = |package: ExtraPackage| {
        mirror.prepared(cache.path(), "right", |options| {
            options.offline = true;
            options.extra_packages = vec![package];
        })
    };
    let derived = with(aside.to_str().unwrap().parse().unwrap()).unwrap_or_else(|e| panic!("{e}"));
    has_candidate(&derived, "0.9-1");
    assert!(scripts(&derived).ends_with("kq-hello 0.9-1\n"));
    assert!(!derived.dir.join("pacman").exists(), "the databases are the plain image's");
    assert_eq!(scripts(&image), "base 1-1\nkq-library 1.0-1\nkq-hello 1:1.0-1\n", "the plain image was changed");

    let error = with("no-such-package".parse().unwrap()).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Install, "{error}");
    assert!(
        matches!(&*error.cause, ImageErrorKind::PackageMissing { package } if package == "no-such-package"),
        "{error}"
    );
    assert_eq!(left_overs(cache.path()), 0);
}

#[test]
#[cfg_attr(lacks = "pacman-images", ignore = "needs root, x86_64, pacman, bsdtar, zstd, curl and gnupg")]
fn wrong_signatures_and_outdated_packages_are_refused() {
    let mirror = Mirror::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let error = mirror.prepared(cache.path(), "wrong", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Bootstrap, "{error}");
    let ImageErrorKind::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.contains("base-1-1-any") && detail.contains("No public key"), "{detail}");

    let none = mirror.prepared(cache.path(), "right", |options| options.keys.clear()).unwrap_err();
    assert!(matches!(&*none.cause, ImageErrorKind::Untrusted { detail } if detail.contains("--mirror-key")), "{none}");

    // The mirror has the new database and the old package.
    let package = mirror.repository("extra").join("kq-hello-1:1.0-1-any.pkg.tar.zst");
    std::fs::write(&package, "of yesterday").unwrap();
    let error = mirror.prepared(cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Install, "{error}");
    let ImageErrorKind::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.contains("kq-hello-1:1.0-1") && detail.contains("the database of extra"), "{detail}");

    std::fs::remove_file(mirror.repository("extra").join("extra.db")).unwrap();
    let error = mirror.prepared(cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Resolve, "{error}");
    assert!(matches!(&*error.cause, ImageErrorKind::NoSuchRelease { what } if what == "repository extra"), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
    assert!(images::cache::list(cache.path()).is_empty());
}

#[test]
#[cfg_attr(lacks = "pacman-images", ignore = "needs root, x86_64, pacman, bsdtar, zstd, curl and gnupg")]
fn a_full_disk_is_reported() {
    let mirror = Mirror::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = mirror.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let small = Tmpfs::new(&half_of(&image));
    let error = mirror.prepared(small.path(), "right", |_| {}).unwrap_err();
    assert!(matches!(*error.cause, ImageErrorKind::DiskFull), "{error}");
    assert_eq!(left_overs(small.path()), 0);
    assert!(images::cache::list(small.path()).is_empty());
}
