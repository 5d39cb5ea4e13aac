//! What the texts of a run may reveal about the machine that ran it and about who works there: names and folders.
//!
//! They are kept beside the journal, because a run may be packed later, elsewhere and by somebody else. They are never
//! packed themselves.

use model::redact::{People, folder_of, paths_of};
use reports::journal::{Event, Journal};
use root::Root;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

/// The file beside the journal.
const FILE: &str = "private.json";
/// Maximum size of the file, in bytes: the folder may be a stranger's.
const MOST: u64 = 256 << 10;
/// Maximum number of folders that are hidden.
const MOST_FOLDERS: usize = 500;

/// Names and folders that are hidden in everything that leaves the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Private {
    /// Names of users.
    users: BTreeSet<String>,
    /// Names of machines.
    machines: BTreeSet<String>,
    /// Folders in which somebody works.
    folders: BTreeSet<String>,
}

impl Private {
    /// Collects what this process knows: its user, machine, working folder and command line, and these folders.
    pub fn here<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Private {
        let users = ["USER", "LOGNAME", "SUDO_USER"].map(|variable| std::env::var(variable).unwrap_or_default());
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut private = Private { users: users.into(), machines: [machine].into(), folders: BTreeSet::new() };
        let here = std::env::current_dir().unwrap_or_default();
        private.add(&here.to_string_lossy());
        for word in std::env::args_os() {
            private.add_word(&word.to_string_lossy(), Some(&here));
        }
        for folder in folders {
            private.add(&absolute(folder, &here));
            if let Ok(real) = folder.canonicalize() {
                private.add(&real.to_string_lossy());
            }
        }
        private
    }

    /// Returns what was kept beside a run's journal and what its command line says, and what this process knows.
    pub fn of_run(run: &Path, journal: &Journal) -> Private {
        let mut private = Private::here([run]);
        private.join(kept(run));
        for entry in &journal.entries {
            if let Event::RunStarted { argv, options, .. } = &entry.event {
                argv.iter().chain(options).for_each(|word| private.add_word(word, None));
            }
        }
        private
    }

    /// Keeps this beside a run's journal, with what an earlier process of the run kept.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep(mut self, run: &Path) -> io::Result<()> {
        self.join(kept(run));
        // Renamed, so that a link in its place is replaced.
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(run)?;
        file.write_all(&serde_json::to_vec_pretty(&self)?)?;
        file.persist(run.join(FILE)).map(drop).map_err(|e| e.error)
    }

    /// Returns everything as names and folders to hide.
    pub fn people(&self) -> People {
        let [users, machines] = [&self.users, &self.machines].map(|names| names.iter().map(String::as_str));
        People::new(users, machines).with_folders(self.folders.iter().take(MOST_FOLDERS).cloned())
    }

    fn join(&mut self, other: Private) {
        let Private { users, machines, folders } = other;
        self.users.extend(users);
        self.machines.extend(machines);
        self.folders.extend(folders);
    }

    fn add(&mut self, folder: &str) {
        self.folders.insert(folder.to_owned());
    }

    /// Adds the folders of the paths in a word of a command line, as they are there and from the working folder.
    fn add_word(&mut self, word: &str, here: Option<&Path>) {
        for path in paths_of(word) {
            if let Some(folder) = folder_of(path) {
                self.add(folder);
            }
            let from_here = here.map(|here| absolute(Path::new(path), here));
            if let Some(folder) = from_here.as_deref().and_then(folder_of) {
                self.add(folder);
            }
        }
    }
}

/// Reads what is kept beside a journal; nothing if there is no such file, or it is invalid.
fn kept(run: &Path) -> Private {
    let bytes = Root::new(run).ok().and_then(|root| root.read(&Path::new("/").join(FILE), MOST).ok());
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Returns a path from a working folder on, without `.` and `..`; links are not followed.
fn absolute(path: &Path, here: &Path) -> String {
    let mut whole = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders_of_the_machine_that_ran_are_known_on_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut private = Private { machines: ["forge.lab.example".to_owned()].into(), ..Private::default() };
        private.add_word("--out=../client-x/out", Some(Path::new("/srv/build")));
        private.keep(dir.path()).unwrap();
        // The run is resumed elsewhere.
        let mut other = Private { users: ["alice".to_owned()].into(), ..Private::default() };
        other.add("/data/of client y");
        other.keep(dir.path()).unwrap();
        let people = Private::of_run(dir.path(), &Journal::default()).people();
        for (text, expected) in [
            ("alice@forge: no /srv/client-x/out/a", "<user>@<host>: no <folder>/out/a"),
            ("../client-x/out", "<folder>/out"),
            ("in /data/of client y/b", "in <folder>/b"),
            ("/usr/bin/qemu-system-x86_64 /run/kata", "/usr/bin/qemu-system-x86_64 /run/kata"),
        ] {
            assert_eq!(people.hidden(text), expected);
        }
    }

    #[test]
    fn a_link_in_its_place_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("theirs");
        std::fs::write(&theirs, "unchanged").unwrap();
        std::os::unix::fs::symlink(&theirs, dir.path().join(FILE)).unwrap();
        Private::default().keep(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "unchanged");
        assert!(dir.path().join(FILE).symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn a_strangers_file_is_ignored_if_it_is_invalid() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(kept(dir.path()), Private::default());
        for text in ["", "[]", "{\"users\": 1}"] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(kept(dir.path()), Private::default(), "{text}");
        }
    }

    #[test]
    fn relative_paths_begin_in_the_working_folder() {
        for (path, expected) in [("a/./b", "/w/x/a/b"), ("../b", "/w/b"), ("/c/../d", "/d"), ("../../../..", "/")] {
            assert_eq!(absolute(Path::new(path), Path::new("/w/x")), expected);
        }
    }
}
