//! All records that are known: those built in, and those of directories.

use crate::diagnostic::{Diagnostic, finish};
use crate::record::{Draft, Record, RecordError, did_you_mean, nearest};
use crate::root::Root;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A shipped record: its name in the repository and its text.
macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("distros/records/", $name, ".yaml"), include_str!(concat!("../records/", $name, ".yaml")))),*]
    };
}

/// The records built into the program: name in the repository, text.
const EMBEDDED: &[(&str, &str)] = shipped![
    "almalinux",
    "alpine",
    "amzn",
    "arch",
    "azurelinux",
    "centos",
    "debian",
    "fedora",
    "gentoo",
    "nixos",
    "openeuler",
    "opensuse",
    "rhel",
    "rocky",
    "sles",
    "ubuntu",
];

/// Records by distro.
#[derive(Debug, Clone, Default)]
pub struct Database {
    records: BTreeMap<String, Record>,
    problems: Vec<RecordError>,
    /// Distros whose own file is broken: the built-in record must not stand in for it silently.
    broken: BTreeMap<String, PathBuf>,
}

/// Why the database has no such record.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A directory cannot be listed.
    #[error("the records directory {path} cannot be read: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No record of that name.
    #[error("unknown distro `{name}`: known are {known}{}", did_you_mean(.nearest))]
    UnknownDistro {
        /// What was asked for.
        name: String,
        /// All that are known.
        known: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// The record exists but cannot be used.
    #[error("the record of {name} is broken: run `kata-osinfo lint {path}`")]
    Broken {
        /// The distro.
        name: String,
        /// Its file.
        path: PathBuf,
    },
}

/// Where the packaged records of a system are, the admin's last.
pub const SYSTEM_FOLDERS: [&str; 2] = ["/usr/share/kata-osinfo", "/etc/kata-osinfo"];

impl Database {
    /// The records that are built in.
    pub fn embedded() -> Database {
        let mut layers = Layers::default();
        layers.embedded();
        layers.finish()
    }

    /// The built-in records and, over them, those of each directory's `*.yaml`; a later directory wins, key by key.
    ///
    /// A broken file does not take the others down: see [`Database::problems`].
    ///
    /// # Errors
    ///
    /// That a directory cannot be listed.
    pub fn load(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// As [`Database::load`], with the root's [`SYSTEM_FOLDERS`] between the built-in records and `directories`.
    ///
    /// # Errors
    ///
    /// That one of `directories` cannot be listed; a system folder that is not there has no records.
    pub fn of_system(root: &Root, directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        layers.embedded();
        for folder in SYSTEM_FOLDERS {
            layers.system_folder(root, Path::new(folder));
        }
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// The records of `directories` alone.
    ///
    /// # Errors
    ///
    /// Those of [`Database::load`].
    pub fn only(directories: &[PathBuf]) -> Result<Database, DatabaseError> {
        let mut layers = Layers::default();
        for directory in directories {
            layers.directory(directory)?;
        }
        Ok(layers.finish())
    }

    /// The record that has `id` among the values of os-release's `ID` that mean it.
    pub fn by_os_release_id(&self, id: &str) -> Option<&Record> {
        let named = self.records.get(id);
        named.or_else(|| self.records.values().find(|r| r.ids.iter().any(|i| i.eq_ignore_ascii_case(id))))
    }

    /// The record of a distro.
    ///
    /// # Errors
    ///
    /// That it is not known, with what is, or that its file is broken.
    pub fn record(&self, name: &str) -> Result<&Record, DatabaseError> {
        if let Some(record) = self.records.get(name) {
            return Ok(record);
        }
        if let Some(path) = self.broken.get(name) {
            return Err(DatabaseError::Broken { name: name.to_owned(), path: path.clone() });
        }
        let known: Vec<&str> = self.records.keys().map(String::as_str).collect();
        Err(DatabaseError::UnknownDistro {
            name: name.to_owned(),
            nearest: nearest(name, known.iter().copied()).map(str::to_owned),
            known: known.join(", "),
        })
    }

    /// All records, by name.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Files that could not be used, each with what is wrong.
    pub fn problems(&self) -> &[RecordError] {
        &self.problems
    }
}

/// Files as they are read, the lowest layer first.
#[derive(Default)]
struct Layers {
    drafts: BTreeMap<String, Draft>,
    problems: Vec<RecordError>,
    broken: BTreeMap<String, PathBuf>,
}

impl Layers {
    fn embedded(&mut self) {
        for (path, text) in EMBEDDED {
            self.add(Path::new(path), Draft::parse(Path::new(path), text));
        }
    }

    fn directory(&mut self, directory: &Path) -> Result<(), DatabaseError> {
        let failed = |source| DatabaseError::Directory { path: directory.to_owned(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|e| e == "yaml") {
                files.push(path);
            }
        }
        // The order of a directory is not one.
        files.sort();
        for file in files {
            self.add_file(&file, Draft::read(&file));
        }
        Ok(())
    }

    /// A file that is not built in; of `verified:` it keeps what a harness can have written.
    fn add_file(&mut self, path: &Path, mut draft: Result<Draft, RecordError>) {
        if let Ok(draft) = &mut draft {
            self.problems.extend(draft.doubtful());
        }
        self.add(path, draft);
    }

    fn system_folder(&mut self, root: &Root, folder: &Path) {
        let names = match root.list(folder) {
            Ok(names) => names,
            Err(error) => {
                self.problems.push(unreadable(&root.shown(folder), &error.to_string()));
                return;
            }
        };
        for name in names.iter().filter(|n| n.ends_with(".yaml")) {
            let inside = folder.join(name);
            self.add_file(&root.shown(&inside), Draft::read_in(root, &inside));
        }
    }

    fn add(&mut self, path: &Path, draft: Result<Draft, RecordError>) {
        match draft {
            Ok(draft) => {
                let draft = match self.drafts.remove(&draft.distro) {
                    Some(below) => below.under(draft),
                    None => draft,
                };
                self.drafts.insert(draft.distro.clone(), draft);
            }
            Err(error) => {
                if let Some(stem) = path.file_stem().and_then(|s| s.to_str()) {
                    self.broken.insert(stem.to_owned(), path.to_owned());
                }
                self.problems.push(error);
            }
        }
    }

    fn finish(mut self) -> Database {
        let mut database = Database::default();
        for (name, draft) in &self.drafts {
            if self.broken.contains_key(name) {
                continue;
            }
            let whole = self.derived(draft, 0).and_then(Draft::complete);
            match whole {
                Ok(record) => {
                    database.records.insert(name.clone(), record);
                }
                Err(error) => {
                    database.broken.insert(name.clone(), error.path.clone());
                    database.problems.push(error);
                }
            }
        }
        database.broken.append(&mut self.broken);
        self.problems.append(&mut database.problems);
        database.problems = self.problems;
        database
    }

    /// The draft over the records of the distros that it derives from.
    fn derived(&self, draft: &Draft, depth: usize) -> Result<Draft, RecordError> {
        let Some(name) = &draft.derives_from else { return Ok(draft.clone()) };
        let failed = |message: String| {
            let source = draft.sources.last();
            let path = source.map(|s| s.path.clone()).unwrap_or_default();
            let text = source.map(|s| s.text.clone()).unwrap_or_default();
            let at = text.find("derives-from").unwrap_or_default();
            let found = Diagnostic::error("derives-from", &text, at..at + "derives-from".len(), message);
            RecordError { diagnostics: finish(vec![found], &text, &path.display().to_string()), path, text }
        };
        if depth > 4 {
            return Err(failed(format!("`{}` derives from itself, or through too many distros", draft.distro)));
        }
        let Some(parent) = self.drafts.get(name).filter(|_| !self.broken.contains_key(name)) else {
            return Err(failed(format!(
                "`{}` derives from `{name}`, of which there is no usable record",
                draft.distro
            )));
        };
        Ok(self.derived(parent, depth + 1)?.parent_of(draft.clone()))
    }
}

fn unreadable(path: &Path, message: &str) -> RecordError {
    let found = Diagnostic::error("unreadable", "", 0..0, message);
    let diagnostics = finish(vec![found], "", &path.display().to_string());
    RecordError { path: path.to_owned(), text: String::new(), diagnostics }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    #[test]
    fn the_embedded_records_are_sound() {
        let database = Database::embedded();
        assert!(database.problems().is_empty(), "{:?}", database.problems());
        assert_eq!(database.records().count(), EMBEDDED.len());
    }

    #[test]
    fn one_bad_file_does_not_take_the_others_down() {
        let dir = tempfile::tempdir().unwrap();
        let fedora = "distro: fedora\nversion: 32\npackage-manager: dnf\narch: x86_64\n";
        std::fs::write(dir.path().join("fedora.yaml"), fedora).unwrap();
        std::fs::write(dir.path().join("debian.yaml"), "distro: [\n").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not a record").unwrap();
        let database = Database::load(&[dir.path().to_owned()]).unwrap();
        assert_eq!(database.problems().len(), 1);
        assert!(database.record("fedora").is_ok());
        let error = database.record("debian").unwrap_err().to_string();
        assert!(error.contains("is broken"), "{error}");
        let error = database.record("fedra").unwrap_err().to_string();
        assert!(error.ends_with("did you mean `fedora`?"), "{error}");
    }

    #[test]
    fn what_no_harness_can_have_written_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let set = include_str!("../test-sets.txt").lines().find(|l| !l.is_empty() && !l.starts_with('#')).unwrap();
        let genuine = FORGED_SET.replace("made-up", set);
        let with = |entry: &str| {
            let record = format!("distro: d\nversion: 1\npackage-manager: apt\narch: x86_64\nverified:\n{entry}");
            std::fs::write(dir.path().join("d.yaml"), record).unwrap();
            let database = Database::load(&[dir.path().to_owned()]).unwrap();
            (database.record("d").unwrap().verified.len(), database.problems().len())
        };
        assert_eq!(with(&genuine), (1, 0));
        assert_eq!(with(FORGED_SET), (0, 1), "no harness has such tests");
        assert_eq!(with(&genuine.replace("{q: \"1\"}", "{}")), (0, 1), "of no version");
    }

    #[test]
    fn an_admins_verdict_that_cannot_be_read_costs_that_files_verdicts_only() {
        let dir = tempfile::tempdir().unwrap();
        let over = |capability: &str, basis: &str, path: &str| {
            let record = format!(
                "distro: debian\nvmm: {{name: qemu, path: {path}}}\nverified:\n{}",
                FORGED_SET.replace("vmm.boot: supported", capability).replace("hardware", basis)
            );
            std::fs::write(dir.path().join("debian.yaml"), record).unwrap();
            Database::load(&[dir.path().to_owned()]).unwrap()
        };
        let shipped = Database::embedded().record("debian").unwrap().verified.len();
        for (capability, basis) in [
            ("vmm.vfio: supported", "hardware"),
            ("vmm.boot: supported", "tea leaves"),
            ("vmm.booot: supported", "emulated"),
        ] {
            let database = over(capability, basis, "/opt/qemu");
            let debian = database.record("debian").unwrap();
            assert_eq!(debian.verified.len(), shipped, "{capability}");
            assert_eq!(
                debian.release("13", Arch::X86_64).unwrap().vmms[0].path,
                "/opt/qemu",
                "what else he says holds"
            );
            assert_eq!(database.problems().len(), 1, "{capability}: and it is told");
        }
        assert!(over("vmm.boot: supported", "hardware", "[").record("debian").is_err(), "what is wrong elsewhere");
        let text = std::fs::read_to_string(dir.path().join("debian.yaml")).unwrap().replace("path: [", "path: /q");
        let alone = text.replace("hardware", "tea leaves");
        assert!(Record::parse(Path::new("debian.yaml"), &alone).is_err(), "nothing is written back into it");
    }

    const FORGED_SET: &str = "  - release: \"1\"
    arch: x86_64
    profile: go-3.29
    environment: host
    basis: hardware
    tested: 2026-11-01
    harness: 0.1.0
    test-set: made-up
    versions: {q: \"1\"}
    capabilities: {vmm.boot: supported}
";

    #[test]
    fn a_distro_stands_on_the_one_it_derives_from() {
        let dir = tempfile::tempdir().unwrap();
        let mint = "distro: mint
derives-from: debian
confidence: documented
vmm: {name: qemu, path: /opt/q}
releases:
  - {version: 6, codename: faye, derives-from: bookworm}
";
        std::fs::write(dir.path().join("mint.yaml"), mint).unwrap();
        std::fs::write(dir.path().join("all.yaml"), "distro: all-of-debian\nderives-from: debian\n").unwrap();
        std::fs::write(dir.path().join("a.yaml"), "distro: a\nderives-from: b\n").unwrap();
        std::fs::write(dir.path().join("b.yaml"), "distro: b\nderives-from: a\n").unwrap();
        std::fs::write(dir.path().join("c.yaml"), "distro: c\nderives-from: nothing\n").unwrap();
        let database = Database::load(&[dir.path().to_owned()]).unwrap();
        let mint = database.record("mint").unwrap();
        let release = mint.release("faye", Arch::X86_64).unwrap();
        assert_eq!(release.name(), "mint:6");
        assert_eq!(release.vmms[0].path, "/opt/q");
        assert_eq!(release.filesystems[0].path.as_deref(), Some("/usr/lib/qemu/virtiofsd"), "that of bookworm");
        assert!(mint.verified.is_empty(), "what was proved of Debian was proved of its packages");
        assert_eq!(mint.releases.len(), 1);
        assert_eq!(database.record("all-of-debian").unwrap().releases.len(), 5);
        let problems: Vec<String> = database.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("derives from itself"), "{problems:?}");
        assert!(problems[2].contains("no usable record"), "{problems:?}");
    }

    #[test]
    fn the_admins_folder_lies_over_the_packaged_one() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, text) in [
            ("usr/share/kata-osinfo", "distro: debian\nvmm: {name: qemu, path: /low}\nkernel: {image: /low/*}\n"),
            ("etc/kata-osinfo", "distro: debian\nvmm: {name: qemu, path: /high}\n"),
        ] {
            let folder = dir.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("debian.yaml"), text).unwrap();
            std::fs::write(folder.join("junk.yaml"), b"\xff\x00").unwrap();
            std::os::unix::fs::symlink("loop.yaml", folder.join("loop.yaml")).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let database = Database::of_system(&root, &[]).unwrap();
        let release = database.record("debian").unwrap().release("12", Arch::X86_64).unwrap();
        assert_eq!(release.vmms[0].path, "/high");
        assert_eq!(release.kernel.unwrap().image, "/low/*");
        assert_eq!(database.problems().len(), 4, "two of junk, two loops: {:?}", database.problems());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Database::load(&[PathBuf::from("/nowhere/at/all")]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
