//! The system that a call is about: its root, its record, its release.

use super::{Exit, Failed, Format, arch_parser, this_arch};
use clap::Args;
use model::arch::Arch;
use model::database::{Database, DatabaseError, SYSTEM_FOLDERS, add_shipped_verdicts};
use model::diagnostic::printable;
use model::distro::{DistroId, Target};
use model::package_manager::PackageManager;
use model::record::{Record, ReleaseEntry, known};
use model::target;
use model::words::list_or;
use operator::check::{StatedComponent, stated};
use operator::detect::{self, BuiltFor, Derivative, Detection, ForeignArch};
use root::{Root, RootError};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::PathBuf;

/// A release as every document for programs has it. A day is null where the record does not say it, or says `unknown`.
pub(crate) fn release_json(distro: &DistroId, entry: &ReleaseEntry) -> Value {
    json!({
        "name": format!("{distro}:{}", entry.version),
        "distro": distro,
        "version": entry.version,
        "codename": entry.codename,
        "aliases": entry.aliases,
        "released": known(&entry.released),
        "eol": known(&entry.eol),
        "lts": known(&entry.lts),
    })
}

/// What every call takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArguments {
    /// Act on the system in this directory: its os-release, packages, paths and `/etc/kata-osinfo`.
    #[arg(long, value_name = "DIR", global = true, default_value = "/")]
    pub(crate) root: PathBuf,
    /// Also read records from this directory; they override the others, key by key.
    ///
    /// Records are read from the program itself, `/usr/share/kata-osinfo`, `/etc/kata-osinfo`, the folders of the
    /// variable KATA_OSINFO_PATH (separated by colons) and these directories; later ones override earlier ones.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) records: Vec<PathBuf>,
}

/// Which release a call is about, and how it answers.
#[derive(Debug, Args)]
pub(crate) struct TargetArguments {
    /// The release, `debian:13`, by version, codename or alias; by default the system's.
    #[arg(long, value_name = "RELEASE")]
    pub(crate) target: Option<String>,
    /// The architecture, by Kata's name; by default the system's.
    #[arg(long, value_parser = arch_parser())]
    pub(crate) arch: Option<Arch>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Environment variable with more directories of records.
const PATH_VARIABLE: &str = "KATA_OSINFO_PATH";

impl GlobalArguments {
    pub(crate) fn root(&self) -> Result<Root, Failed> {
        Root::new(&self.root).map_err(|e| match &e {
            RootError::Root { source, .. } if source.kind() == ErrorKind::PermissionDenied => unreadable(&e),
            _ => Failed::new(Exit::BadInput, "bad-root", e.to_string()),
        })
    }

    /// Loads the database of all layers; unusable files are reported and left out.
    pub(crate) fn database(&self, root: &Root) -> Result<Database, Failed> {
        self.load(root, Database::of_system)
    }

    /// Like [`GlobalArguments::database`], without the built-in verdicts.
    pub(crate) fn database_without_shipped_verdicts(&self, root: &Root) -> Result<Database, Failed> {
        self.load(root, Database::of_system_without_shipped_verdicts)
    }

    fn load(
        &self,
        root: &Root,
        of_system: impl FnOnce(&Root, &[PathBuf]) -> Result<Database, DatabaseError>,
    ) -> Result<Database, Failed> {
        let variable = std::env::var_os(PATH_VARIABLE).unwrap_or_default();
        let mut folders: Vec<PathBuf> =
            std::env::split_paths(&variable).filter(|p| !p.as_os_str().is_empty()).collect();
        folders.extend(self.records.iter().cloned());
        let database = of_system(root, &folders).map_err(|e| match e.is_unreadable() {
            true => unreadable(&e),
            false => Failed::new(Exit::BadInput, "bad-records", e.to_string()),
        })?;
        for problem in database.problems() {
            eprintln!("warning: {}", printable(&problem.to_string()));
        }
        Ok(database)
    }
}

/// A system whose release is known.
pub(crate) struct System {
    pub(crate) root: Root,
    pub(crate) record: Record,
    pub(crate) entry: ReleaseEntry,
    pub(crate) target: Target,
    pub(crate) arch: Arch,
    /// The relative's record that is used, if the system has none of its own.
    pub(crate) borrowed: Option<BorrowedRecord>,
    /// The derivative that the system is, if its os-release does not say so; its kernel is not the record's.
    pub(crate) derivative: Option<Derivative>,
}

/// A system without a record of its own, and the one it is treated as.
pub(crate) struct BorrowedRecord {
    /// The system's name.
    name: String,
    /// The relative: `as rhel:10, by ID_LIKE`.
    how: String,
}

impl BorrowedRecord {
    /// Returns the relative, for programs: `as rhel:10, by ID_LIKE`.
    pub(crate) fn how(&self) -> &str {
        &self.how
    }

    /// Returns the record that a detected system borrows.
    pub(crate) fn of(found: &Detection) -> Option<BorrowedRecord> {
        Some(BorrowedRecord { name: found.pretty_name(), how: found.borrowed.clone()? })
    }
}

impl std::fmt::Display for BorrowedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has no record of its own and is treated {}", printable(&self.name), self.how)
    }
}

impl System {
    /// Like [`System::find_quietly`], and notes on standard error that a relative's record is borrowed.
    pub(crate) fn find(common: &GlobalArguments, about: &TargetArguments) -> Result<System, Failed> {
        let system = System::find_quietly(common, about)?;
        if let Some(borrowed) = &system.borrowed {
            eprintln!("note: {borrowed}");
        }
        Ok(system)
    }

    /// Returns the named release, or that of the system.
    pub(crate) fn find_quietly(common: &GlobalArguments, about: &TargetArguments) -> Result<System, Failed> {
        let root = common.root()?;
        let database = common.database_without_shipped_verdicts(&root)?;
        let arch = arch(&root, about.arch)?;
        let (target, borrowed, derivative) = match &about.target {
            Some(text) => (named(text, &database)?, None, None),
            None => {
                let found = detect(&root, &database)?;
                (only(&root, &database, &found)?, BorrowedRecord::of(&found), found.derivative)
            }
        };
        let unknown = |e: &dyn std::fmt::Display| Failed::new(Exit::Unknown, "unknown-release", e.to_string());
        let mut record = database.record(&target.distro).map_err(|e| unknown(&e))?.clone();
        add_shipped_verdicts(&mut record);
        let entry = record.require_release(&target.version).map_err(|e| unknown(&e))?.clone();
        // Checks that the release exists for the architecture.
        record.release(&target.version, arch).map_err(|e| unknown(&e))?;
        Ok(System { root, record, entry, target, arch, borrowed, derivative })
    }

    /// Returns the package manager.
    pub(crate) fn manager(&self) -> PackageManager {
        self.record.manager_of(&self.entry)
    }

    /// Returns the components as stated by the record.
    pub(crate) fn stated(&self) -> Vec<StatedComponent> {
        stated(&self.record, &self.entry, self.arch)
    }

    /// Returns the head of an answer for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "release": release_json(&self.target.distro, &self.entry),
            "arch": self.arch,
            "root": self.root.path(),
            "borrowed": self.borrowed.as_ref().map(|borrowed| &borrowed.how),
        })
    }
}

/// Returns the named architecture, else the system's; this machine's if the system does not reveal any.
///
/// A system of an architecture that Kata does not support is an error: facts about a release do not apply to it.
pub(crate) fn arch(root: &Root, named: Option<Arch>) -> Result<Arch, Failed> {
    if let Some(arch) = named {
        return Ok(arch);
    }
    let own = detect::built_for(root).map_err(|e| {
        Failed::new(Exit::Unknown, "unreadable", format!("the system's architecture is not known: {e}"))
            .hint("name it with --arch, or run this as a user who may read the file, such as root")
    })?;
    match own {
        BuiltFor::Kata(arch) => Ok(arch),
        BuiltFor::Foreign(foreign) => Err(is_foreign(foreign)),
        BuiltFor::Unknown => this_arch(),
    }
}

/// Creates the error for a system of an architecture that Kata does not support.
pub(crate) fn is_foreign(foreign: ForeignArch) -> Failed {
    Failed::foreign(&format!("the system is built for {foreign}"))
}

/// Creates the error for an unreadable file that the answer depends on.
fn unreadable(error: &dyn std::fmt::Display) -> Failed {
    Failed::new(Exit::Unknown, "unreadable", error.to_string()).hint("run this as a user who may read it, such as root")
}

pub(crate) fn detect(root: &Root, database: &Database) -> Result<Detection, Failed> {
    let found = detect::detect(root, database).map_err(|e| match (e.is_unreadable(), e.is_missing()) {
        (true, _) => Failed::new(Exit::Unknown, "unreadable", e.to_string())
            .hint("run this as a user who may read it, such as root, or name the release with --target"),
        // The named root contains no system.
        (false, true) => Failed::new(Exit::BadInput, "unreadable-system", e.to_string())
            .hint("name the release with --target, or the system's directory with --root"),
        (false, false) => Failed::new(Exit::Unknown, "unreadable-system", e.to_string())
            .hint("fix the file, or name the release with --target"),
    })?;
    match &found.unusable {
        Some(why) => Err(Failed::new(Exit::Unknown, "unusable-record", why)
            .hint("fix that file, run this as a user who may read it, or name a release with --target")),
        None => Ok(found),
    }
}

/// Returns the release if exactly one was found.
fn only(root: &Root, database: &Database, detection: &Detection) -> Result<Target, Failed> {
    match detection.releases.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(unknown(root, database, detection)),
        several => Err(Failed::new(
            Exit::Unknown,
            "ambiguous-release",
            format!("the system is {}, but it cannot be determined which", list_or(several)),
        )
        .hint(format!("choose one, such as --target {}", several[0]))),
    }
}

/// Creates the error for an unknown system, with a hint that would make it known.
pub(crate) fn unknown(root: &Root, database: &Database, detection: &Detection) -> Failed {
    let name = detection.name.as_deref().unwrap_or(&detection.id);
    if let Some(why) = &detection.refused {
        return Failed::new(
            Exit::Unknown,
            "unlike-its-relative",
            format!("no other distro's record can be used for {name}: {why}"),
        )
        .hint("if you know better, name a release with --target");
    }
    let own = detect::own_record(root, database, detection).map(|own| {
        let lines: Vec<String> = own.lines.iter().map(|line| format!("`{line}`")).collect();
        format!("write into {}/{}: {}; or ", SYSTEM_FOLDERS[1], own.file, lines.join(", "))
    });
    let own = own.unwrap_or_default();
    match &detection.distro {
        Some(distro) => {
            Failed::new(Exit::Unknown, "unknown-release", format!("the record of {distro} has no release for {name}"))
                .hint(format!("{own}name the nearest release with --target"))
        }
        None => {
            Failed::new(Exit::Unknown, "unknown-system", format!("there is no record of {name} (ID={})", detection.id))
                .hint(format!("{own}name a release with --target"))
        }
    }
}

fn named(text: &str, database: &Database) -> Result<Target, Failed> {
    let targets =
        target::parse(text, database).map_err(|e| Failed::new(Exit::BadInput, "unknown-target", e.to_string()))?;
    match targets.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Failed::new(
            Exit::BadInput,
            "unknown-target",
            format!("`{text}` is not one release: expected `debian:13`"),
        )),
    }
}
