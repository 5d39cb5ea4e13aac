//! Signed packages: the keys `right` and `wrong`, and the image of a release that wants the package `kq-hello`.

use images::{BaseSource, Image, ImageError, ImageOrigin, Options, prepare};
use model::arch::Arch;
use model::package_manager::PackageManager;
use model::release::{Release, Vmm};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory for packages, and the keys that sign them.
pub(crate) struct Signed {
    dir: tempfile::TempDir,
    /// A directory with a short path, because gpg's sockets do not fit into long paths.
    gpg: tempfile::TempDir,
}

impl Signed {
    pub(crate) fn new() -> Signed {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // This machine's programs read the directory as an unprivileged user.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let signed = Signed { dir, gpg: tempfile::tempdir().unwrap() };
        for key in ["right", "wrong"] {
            let arguments = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
            let user = format!("{key} <{key}@b.example>");
            let generate = ["--quick-generate-key", &user, "rsa2048", "sign", "never"];
            run(signed.command("gpg").args(arguments).args(generate));
            let mut export = signed.command("gpg");
            run(export.args(["--armor", "--output"]).arg(signed.key(key)).args(["--export", key]));
        }
        signed
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the file of a key that verifies packages.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.asc"))
    }

    /// Returns a command for a program that signs.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("GNUPGHOME", self.gpg.path());
        command
    }

    /// Makes the image of a release with the packages in that directory.
    pub(crate) fn prepared(
        &self,
        release: &Release,
        mirror: &Path,
        cache: &Path,
        key: &str,
        change: impl FnOnce(&mut Options),
    ) -> Result<Image, ImageError> {
        let mirror = Some(format!("file://{}", mirror.display()));
        let mut options = Options { mirror, keys: vec![self.key(key)], ..Options::new(cache) };
        change(&mut options);
        prepare(release, &options, &|_| {})
    }
}

impl Drop for Signed {
    fn drop(&mut self) {
        let _ = self.command("gpgconf").args(["--kill", "all"]).status();
    }
}

pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a release that wants `kq-hello`.
pub(crate) fn release(distro: &str, version: &str, package_manager: PackageManager) -> Release {
    Release {
        distro: distro.parse().unwrap(),
        version: version.parse().unwrap(),
        codename: None,
        aliases: vec![],
        based_on: vec![],
        arch: Arch::X86_64,
        package_manager,
        suites: vec![],
        repositories: vec![],
        modules: vec![],
        module_platform: None,
        oci_image: None,
        image_lacks: None,
        vmms: vec![Vmm {
            name: "qemu".into(),
            packages: vec!["kq-hello".parse().unwrap()],
            path: "/usr/share/kq-hello/mark".parse().unwrap(),
        }],
        filesystems: vec![],
        kernel: None,
        container_manager: None,
        docker: None,
        firmware: Vec::new(),
    }
}

/// Checks that the image was made from nothing, has `kq-hello` (version, architecture, source) of that suite with its
/// dependency, and has neither temporary files nor a mirror's address.
pub(crate) fn is_whole(image: &Image, hello: [&str; 3], suite: &str, leftovers: &[&str]) {
    let manifest = &image.manifest;
    assert_eq!((manifest.source, image.origin), (BaseSource::Bootstrap, ImageOrigin::Built));
    let package = manifest.package("kq-hello").unwrap();
    assert_eq!([package.version.as_str(), package.arch.as_str(), package.source.as_str()], hello);
    assert!(manifest.package("kq-library").is_some(), "what is needed was left out");
    let origin = manifest.origins.iter().find(|o| o.package == "kq-hello").unwrap();
    assert_eq!(origin.suites, [suite]);
    assert_eq!(manifest.owner("/usr/share/kq-hello/mark").unwrap().package, Some("kq-hello".parse().unwrap()));
    let text = std::fs::read_to_string(image.dir.join("manifest.json")).unwrap();
    assert!(!text.contains("://"), "the manifest names a mirror");
    for leftover in leftovers {
        assert!(!image.dir.join(leftover).exists(), "{leftover} was left");
    }
}

/// Returns half the size of its tree, in the format of mount(8): too little for the whole tree.
pub(crate) fn half_of(image: &Image) -> String {
    let output = Command::new("du").args(["--summarize", "--block-size=1K"]).arg(image.rootfs()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let kib: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
    format!("{}k", kib / 2)
}

/// Returns the records of its packages' scripts, in the order in which they ran.
pub(crate) fn scripts(image: &Image) -> String {
    std::fs::read_to_string(image.rootfs().join("scripts")).unwrap()
}

/// Checks that a candidate of `kq-hello` is in the image, and of no suite.
pub(crate) fn has_candidate(image: &Image, version: &str) {
    assert_eq!(image.manifest.package("kq-hello").unwrap().version, version);
    let origin = image.manifest.origins.iter().find(|o| o.package == "kq-hello").unwrap();
    assert!(origin.suites.is_empty());
}

pub(crate) fn left_overs(cache: &Path) -> usize {
    std::fs::read_dir(cache.join("images/.tmp")).map_or(0, Iterator::count)
}
