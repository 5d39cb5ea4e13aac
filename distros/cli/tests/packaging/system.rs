//! A Debian system that may be changed: this machine's own, below an overlay that takes all writes.

use crate::{must, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Package managers' own data, and volatile directories.
const NOT_OF_PACKAGES: [&str; 6] = ["var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "run", "tmp"];

/// Enters the system in a mount namespace: the mounts exist only for the command and vanish with it, however it ends.
const ENTER: &str = r#"
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changed,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
root=$1/root; shift
exec chroot "$root" "$@"
"#;

pub(crate) struct System {
    folder: tempfile::TempDir,
}

impl System {
    pub(crate) fn new() -> System {
        let system = System { folder: tempfile::tempdir().expect("a folder") };
        for name in ["changed", "work", "root"] {
            std::fs::create_dir(system.folder.path().join(name)).expect("made");
        }
        let (code, output) = run(&mut system.command(&["true"]));
        assert_eq!(code, 0, "an overlay over this machine's root is needed: {output}");
        system
    }

    /// Returns a command that runs inside the system.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", ENTER, "sh"])
            .arg(self.folder.path())
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("KATA_OSINFO_PATH")
            .current_dir("/");
        command
    }

    /// Returns the output of a command that must succeed.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        must(&mut self.command(words))
    }

    /// Writes a file, possibly over one of the machine's.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let file = self.changed().join(path);
        // A directory that is new in the overlay is merged with the machine's.
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, bytes).expect("written");
    }

    pub(crate) fn copy(&self, from: &Path, path: &str) {
        self.write(path, &std::fs::read(from).expect("read"));
    }

    /// Returns the paths that are new or differ from the machine's, except for package managers' own data.
    pub(crate) fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.changed()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("listed") {
                let path = entry.expect("an entry").path();
                let inside = path.strip_prefix(self.changed()).expect("below").to_owned();
                if NOT_OF_PACKAGES.iter().any(|n| inside == Path::new(n)) {
                    continue;
                }
                let is_folder = std::fs::symlink_metadata(&path).expect("there").is_dir();
                // A directory with a changed entry is in the overlay, too.
                if !is_folder || !Path::new("/").join(&inside).is_dir() {
                    found.push(inside.display().to_string());
                }
                if is_folder {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn changed(&self) -> PathBuf {
        self.folder.path().join("changed")
    }
}
