//! Whether a base that the caller gave is of the release that was asked for: a verdict must not stand under another's name.

use model::arch::Arch;
use model::database::Database;
use model::redact::{one_line, without_controls};
use model::release::Release;
use operator::detect::{self, BuiltFor, Detection, detect};
use root::{Root, RootError};
use std::path::Path;

/// Why a base is not of the release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrongSystem {
    /// The tree that was in it cannot be looked into.
    #[error(transparent)]
    Tree(#[from] RootError),
    /// It is of another release than the one that was asked for.
    #[error("{name} is {found}, but {wanted} was requested: name the release that the image contains")]
    Release {
        /// The image.
        name: String,
        /// The system in it.
        found: String,
        /// `debian:13`.
        wanted: String,
    },
    /// It is for another architecture.
    #[error("{name} is for {found}, not for {wanted}")]
    Arch {
        /// The image.
        name: String,
        /// The architecture of its programs: `aarch64`, `64-bit RISC-V`.
        found: String,
        /// The architecture of the release.
        wanted: Arch,
    },
}

/// Accepts the tree of an image of that name, if its os-release says that it is the release itself and no relative of it.
///
/// # Errors
/// What it is instead.
pub fn accept(tree: &Path, name: &str, release: &Release, database: &Database) -> Result<(), WrongSystem> {
    let root = Root::new(tree)?;
    let found = detect(&root, database)?;
    let wanted = release.name();
    let is_it = found.borrowed.is_none() && found.releases.iter().any(|target| target.to_string() == wanted);
    if !is_it {
        return Err(WrongSystem::Release { name: name.to_owned(), found: named(&found), wanted });
    }
    let found = match detect::built_for(&root)? {
        BuiltFor::Kata(arch) if arch != release.arch => arch.to_string(),
        BuiltFor::Foreign(foreign) => foreign.to_string(),
        BuiltFor::Kata(_) | BuiltFor::Unknown => return Ok(()),
    };
    Err(WrongSystem::Arch { name: name.to_owned(), found, wanted: release.arch })
}

/// What a system says it is.
fn named(found: &Detection) -> String {
    let harmless = |text: &str| one_line(&without_controls(text, 1000), 1000);
    let targets: Vec<String> = found.releases.iter().map(ToString::to_string).collect();
    let name = harmless(&found.pretty_name());
    match (&found.borrowed, targets.as_slice()) {
        (None, [_, ..]) => format!("{name} ({})", targets.join(" or ")),
        _ => format!("{name} (ID={})", harmless(&found.id)),
    }
}
