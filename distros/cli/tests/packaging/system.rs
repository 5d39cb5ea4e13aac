//! A Debian system that may be changed: this machine's own, with a layer over it that takes what is written.

use crate::{must, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What package managers write about themselves, and what comes and goes.
const NOT_OF_PACKAGES: [&str; 6] = ["var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "run", "tmp"];

/// Enters it: nothing is mounted except for the command, and nothing is left mounted however that ends.
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
        let (code, said) = run(&mut system.command(&["true"]));
        assert_eq!(code, 0, "an overlay over this machine's root is needed: {said}");
        system
    }

    /// A command in it.
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

    /// What a command says that must succeed.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        must(&mut self.command(words))
    }

    /// Writes a file, also over one of the machine's.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let file = self.changed().join(path);
        // A folder that is new in the layer is merged with the machine's.
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, bytes).expect("written");
    }

    pub(crate) fn copy(&self, from: &Path, path: &str) {
        self.write(path, &std::fs::read(from).expect("read"));
    }

    /// What is there now and not on the machine, or is another than there; not what package managers keep for themselves.
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
                // A folder in which something was changed is in the layer, too.
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
