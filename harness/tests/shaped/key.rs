//! A throwaway key that signs a generated repository.

use crate::shape::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// User id of the key.
pub(crate) const USER: &str = "shaped@b.example";

/// The key, in a home directory of gpg.
pub(crate) struct Key {
    /// A temporary directory, because gpg's socket paths must be short.
    home: tempfile::TempDir,
}

impl Key {
    /// Creates a key and writes its public part to a file.
    pub(crate) fn new(public: &Path) -> Key {
        let key = Key { home: tempfile::tempdir().unwrap() };
        let user = format!("shaped <{USER}>");
        run(key.gpg().args(["--quick-generate-key", &user, "rsa2048", "sign", "never"]));
        key.export(public);
        key
    }

    /// Returns gpg's home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes the key's public part to a file.
    pub(crate) fn export(&self, to: &Path) {
        run(self.gpg_to(to).args(["--export", USER]));
    }

    /// Writes a detached signature of a file next to it, with this suffix.
    pub(crate) fn sign(&self, file: &Path, suffix: &str) {
        let to = PathBuf::from(format!("{}.{suffix}", file.display()));
        run(self.gpg_to(&to).arg("--detach-sign").arg(file));
    }

    /// Writes a text with an inline signature.
    pub(crate) fn sign_text(&self, text: &Path, to: &Path) {
        run(self.gpg_to(to).arg("--clearsign").arg(text));
    }

    /// Returns a gpg command that writes to this file; the suffix `asc` selects text output.
    fn gpg_to(&self, file: &Path) -> Command {
        let mut gpg = self.gpg();
        if file.extension().is_some_and(|extension| extension == "asc") {
            gpg.arg("--armor");
        }
        gpg.arg("--output").arg(file);
        gpg
    }

    fn gpg(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.home()).args([
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]);
        gpg
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home()).status();
    }
}
