//! Debian packages: kata-osinfo's, built from `debian/`, and small ones for the tests.

use crate::{must, repository};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A built package, with its directory.
pub(crate) struct Built {
    folder: tempfile::TempDir,
}

impl Built {
    /// Returns the package of this program, built once by debhelper.
    pub(crate) fn get() -> &'static Built {
        static BUILT: OnceLock<Built> = OnceLock::new();
        BUILT.get_or_init(Built::new)
    }

    fn new() -> Built {
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source");
        for path in ["debian", "packaging", "distros/records", "distros/README.md", "docs/running.md"] {
            let to = source.join(path);
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
            must(Command::new("cp").arg("--archive").arg(repository(path)).arg(to));
        }
        must(
            Command::new("dpkg-buildpackage")
                .args([
                    "--build=binary",
                    "--no-sign",
                    "--build-profiles=pkg.kata-qualify.rustup,pkg.kata-qualify.no-harness",
                ])
                .env("KATA_OSINFO", env!("CARGO_BIN_EXE_kata-osinfo"))
                .env("DEB_BUILD_OPTIONS", "noautodbgsym")
                // The package is unpacked at once, and nobody downloads it.
                .env("DPKG_DEB_COMPRESSOR_LEVEL", "1")
                .current_dir(source),
        );
        Built { folder }
    }

    fn file(&self, end: &str) -> PathBuf {
        let files = std::fs::read_dir(self.folder.path()).expect("listed").map(|e| e.expect("an entry").path());
        let mut named = files.filter(|p| p.to_string_lossy().ends_with(end));
        named.next().unwrap_or_else(|| panic!("no {end} was built"))
    }

    pub(crate) fn package(&self) -> PathBuf {
        self.file(".deb")
    }

    pub(crate) fn changes(&self) -> PathBuf {
        self.file(".changes")
    }

    /// Builds the same package as a later version, in which `change` may change files.
    pub(crate) fn later(&self, version: &str, change: impl FnOnce(&Path)) -> PathBuf {
        let tree = self.folder.path().join(format!("tree-{version}"));
        must(Command::new("dpkg-deb").arg("--raw-extract").arg(self.package()).arg(&tree));
        let control = tree.join("DEBIAN/control");
        let text = std::fs::read_to_string(&control).expect("read");
        let replaced =
            text.replace(&format!("Version: {}\n", env!("CARGO_PKG_VERSION")), &format!("Version: {version}\n"));
        assert_ne!(text, replaced);
        std::fs::write(control, replaced).expect("written");
        change(&tree);
        let file = self.folder.path().join(format!("later_{version}"));
        pack(&tree, &file);
        file
    }
}

/// Builds a package with one program.
pub(crate) fn program(folder: &Path, package: &str, version: &str, path: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let tree = folder.join(format!("{package}-{version}"));
    let file = tree.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, format!("#!/bin/sh\necho {version}\n")).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("set");
    std::fs::create_dir(tree.join("DEBIAN")).expect("made");
    let control = format!(
        "Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: {package}\n"
    );
    std::fs::write(tree.join("DEBIAN/control"), control).expect("written");
    let file = folder.join(format!("{package}_{version}"));
    pack(&tree, &file);
    file
}

fn pack(tree: &Path, file: &Path) {
    must(Command::new("dpkg-deb").args(["--build", "--root-owner-group", "-Znone"]).arg(tree).arg(file));
}
