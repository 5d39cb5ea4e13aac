//! A key that vouches for a repository; nobody has it once that is made.

use crate::shape::run;
use std::path::Path;
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
        run(key.gpg().args(["--armor", "--output"]).arg(public).args(["--export", USER]));
        key
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Signs a file by another one beside it, of its name with this end, whose form the end says: `asc` is text.
    pub(crate) fn sign(&self, file: &Path, end: &str) {
        let mut gpg = self.gpg();
        if end == "asc" {
            gpg.arg("--armor");
        }
        run(gpg.arg("--output").arg(format!("{}.{end}", file.display())).arg("--detach-sign").arg(file));
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
