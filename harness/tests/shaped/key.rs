//! A key that vouches for a repository; nobody has it once that is made.

use crate::shape::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose key it is.
pub(crate) const USER: &str = "shaped@b.example";

/// The key, in a folder of gpg's.
pub(crate) struct Key {
    /// gpg's sockets do not fit into long paths.
    home: tempfile::TempDir,
}

impl Key {
    /// A new one; its public part is written to a file.
    pub(crate) fn new(public: &Path) -> Key {
        let key = Key { home: tempfile::tempdir().unwrap() };
        let user = format!("shaped <{USER}>");
        run(key.gpg().args(["--quick-generate-key", &user, "rsa2048", "sign", "never"]));
        key.export(public);
        key
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes its public part to a file.
    pub(crate) fn export(&self, to: &Path) {
        run(self.gpg_to(to).args(["--export", USER]));
    }

    /// Signs a file by another one beside it, of its name with this end.
    pub(crate) fn sign(&self, file: &Path, end: &str) {
        let to = PathBuf::from(format!("{}.{end}", file.display()));
        run(self.gpg_to(&to).arg("--detach-sign").arg(file));
    }

    /// Writes a text with its signature around it.
    pub(crate) fn sign_text(&self, text: &Path, to: &Path) {
        run(self.gpg_to(to).arg("--clearsign").arg(text));
    }

    /// gpg, which writes to a file whose form its end says: `asc` is text.
    fn gpg_to(&self, file: &Path) -> Command {
        let mut gpg = self.gpg();
        if file.extension().is_some_and(|end| end == "asc") {
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
