//! Images of pacman's packages for real: curl, gpg and this machine's pacman, and signed repositories that the tests make.
//!
//! The tree's programs are copies of this machine's bash and pacman: a release's own would have to come from a mirror.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use images::{Cause, ExtraPackage, Image, ImageError, Options, Origin, Phase, Source, prepare};
use model::arch::Arch;
use model::package_manager::PackageManager;
use model::release::{Release, Vmm};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the tree's own pacman needs: programs with their libraries, and the users.
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
    dir: tempfile::TempDir,
    /// gpg's sockets do not fit into long paths.
    gpg: tempfile::TempDir,
}

impl Mirror {
    /// The base and what `kq-hello` needs in `core`, that itself in `extra`; all packages signed by the key `right`.
    fn new() -> Mirror {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // This machine's programs read it as nobody in particular.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mirror = Mirror { dir, gpg: tempfile::tempdir().unwrap() };
        for key in ["right", "wrong"] {
            let arguments = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
            let user = format!("{key} <{key}@b.example>");
            run(mirror.gpg().args(arguments).args(["--quick-generate-key", &user, "rsa2048", "sign", "never"]));
            run(mirror.gpg().args(["--armor", "--output"]).arg(mirror.key(key)).args(["--export", key]));
        }
        for (repository, name, version, fields) in [
            ("core", "base", "1-1", "provides = e2fsprogs\n"),
            ("core", "kq-library", "1.0-1", ""),
            ("extra", "kq-hello", "1:1.0-1", "depend = kq-library\n"),
        ] {
            let folder = mirror.repository(repository);
            std::fs::create_dir_all(&folder).unwrap();
            let file = mirror.package(&folder, name, version, fields);
            run(mirror.gpg().args(["--batch", "--yes", "--local-user", "right@b.example", "--detach-sign"]).arg(&file));
            run(Command::new("repo-add").arg("--quiet").arg(folder.join(format!("{repository}.db.tar.gz"))).arg(file));
        }
        mirror
    }

    fn address(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.address().join(name).join("os/x86_64")
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.asc"))
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.gpg.path());
        gpg
    }

    /// A package whose script says that it has run.
    fn package(&self, folder: &Path, name: &str, version: &str, fields: &str) -> PathBuf {
        let tree = tempfile::tempdir_in(self.dir.path()).unwrap();
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
        // What is about the package comes first.
        names.sort();
        run(Command::new("bsdtar").arg("--zstd").arg("-cf").arg(&file).arg("-C").arg(tree.path()).args(names));
        file
    }

    /// Makes the image of the release whose packages these are.
    fn prepared(&self, cache: &Path, key: &str, change: impl FnOnce(&mut Options)) -> Result<Image, ImageError> {
        let mut options = Options {
            mirror: Some(format!("file://{}", self.address().display())),
            keys: vec![self.key(key)],
            ..Options::new(cache)
        };
        change(&mut options);
        prepare(&release(), &options, &|_| {})
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.gpg.path()).status();
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn release() -> Release {
    Release {
        distro: "arch".to_owned(),
        version: "rolling".to_owned(),
        codename: None,
        aliases: vec![],
        arch: Arch::X86_64,
        package_manager: PackageManager::Pacman,
        suites: vec![],
        repositories: vec![],
        modules: vec![],
        oci_image: None,
        vmms: vec![Vmm {
            name: "qemu".to_owned(),
            packages: vec!["kq-hello".parse().unwrap()],
            path: "/usr/share/kq-hello/mark".to_owned(),
        }],
        filesystems: vec![],
        kernel: None,
        container_manager: None,
    }
}

fn left_overs(cache: &Path) -> usize {
    std::fs::read_dir(cache.join("images/.tmp")).map_or(0, Iterator::count)
}

#[test]
#[cfg_attr(lacks = "pacman-images", ignore = "needs root, x86_64, pacman, bsdtar, zstd, curl and gnupg")]
fn a_signed_mirror_becomes_an_image_and_a_candidate_is_laid_over_it() {
    let mirror = Mirror::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = mirror.prepared(cache.path(), "right", |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let manifest = &image.manifest;
    assert_eq!((manifest.source, image.origin), (Source::Bootstrap, Origin::Built));
    let hello = manifest.package("kq-hello").unwrap();
    assert_eq!([hello.version.as_str(), &hello.arch, &hello.source], ["1:1.0-1", "any", "kq"]);
    assert!(manifest.package("kq-library").is_some(), "what is needed was left out");
    let origin = manifest.origins.iter().find(|o| o.package == "kq-hello").unwrap();
    assert_eq!(origin.suites, ["extra"]);
    assert_eq!(manifest.owner("/usr/share/kq-hello/mark").unwrap().package.as_deref(), Some("kq-hello"));
    let hash = |name: &str| images::artifacts::sha256(&mirror.repository(name).join(format!("{name}.db"))).unwrap();
    let indexes: Vec<_> = manifest.indexes.iter().map(|i| (i.suite.as_str(), i.sha256.clone())).collect();
    assert_eq!(indexes, [("core", hash("core")), ("extra", hash("extra"))]);
    // Each script has run once, by the tree's own pacman.
    let scripts = |image: &Image| std::fs::read_to_string(image.rootfs().join("scripts")).unwrap();
    assert_eq!(scripts(&image), "base 1-1\nkq-library 1.0-1\nkq-hello 1:1.0-1\n");
    let text = std::fs::read_to_string(image.dir.join("manifest.json")).unwrap();
    assert!(!text.contains("://"), "the manifest names a mirror");
    for left in ["download", "archives", "empty", "rootfs/var/cache/kata-qualify", "rootfs/.PKGINFO", "rootfs/.INSTALL"]
    {
        assert!(!image.dir.join(left).exists(), "{left} was left");
    }

    let again = mirror.prepared(cache.path(), "right", |_| {}).unwrap();
    assert_eq!((again.origin, again.key()), (Origin::Cached, image.key()));

    // A candidate needs no signature, and no network: what it needs is there.
    let aside = mirror.package(mirror.dir.path(), "kq-hello", "0.9-1", "depend = kq-library\n");
    let with = |package: ExtraPackage| {
        mirror.prepared(cache.path(), "right", |options| {
            options.offline = true;
            options.extra_packages = vec![package];
        })
    };
    let derived = with(aside.to_str().unwrap().parse().unwrap()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(derived.manifest.package("kq-hello").unwrap().version, "0.9-1");
    let origin = derived.manifest.origins.iter().find(|o| o.package == "kq-hello").unwrap();
    assert!(origin.suites.is_empty());
    assert!(scripts(&derived).ends_with("kq-hello 0.9-1\n"));
    assert!(!derived.dir.join("pacman").exists(), "the databases are the plain image's");
    assert_eq!(scripts(&image), "base 1-1\nkq-library 1.0-1\nkq-hello 1:1.0-1\n", "the plain image was changed");

    let error = with("no-such-package".parse().unwrap()).unwrap_err();
    assert_eq!(error.phase, Phase::Install, "{error}");
    assert!(matches!(&*error.cause, Cause::PackageMissing { package } if package == "no-such-package"), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
}

#[test]
#[cfg_attr(lacks = "pacman-images", ignore = "needs root, x86_64, pacman, bsdtar, zstd, curl and gnupg")]
fn what_the_wrong_key_signed_and_a_package_of_another_day_are_refused() {
    let mirror = Mirror::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let error = mirror.prepared(cache.path(), "wrong", |_| {}).unwrap_err();
    assert_eq!(error.phase, Phase::Bootstrap, "{error}");
    let Cause::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.contains("base-1-1-any") && detail.contains("No public key"), "{detail}");

    let none = mirror.prepared(cache.path(), "right", |options| options.keys.clear()).unwrap_err();
    assert!(matches!(&*none.cause, Cause::Untrusted { detail } if detail.contains("--mirror-key")), "{none}");

    // The mirror has the new database and the old package.
    let package = mirror.repository("extra").join("kq-hello-1:1.0-1-any.pkg.tar.zst");
    std::fs::write(&package, "of yesterday").unwrap();
    let error = mirror.prepared(cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, Phase::Install, "{error}");
    let Cause::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.contains("kq-hello-1:1.0-1") && detail.contains("the database of extra"), "{detail}");

    std::fs::remove_file(mirror.repository("extra").join("extra.db")).unwrap();
    let error = mirror.prepared(cache.path(), "right", |_| {}).unwrap_err();
    assert_eq!(error.phase, Phase::Resolve, "{error}");
    assert!(matches!(&*error.cause, Cause::NoSuchRelease { what } if what == "repository extra"), "{error}");
    assert_eq!(left_overs(cache.path()), 0);
    assert!(images::cache::list(cache.path()).is_empty());
}
