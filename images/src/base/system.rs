//! Checks whether a base that the caller gave is of the requested release: a verdict must not be filed under the wrong
//! name.

use model::arch::Arch;
use model::database::Database;
use model::distro::Target;
use model::redact::{one_line, without_controls};
use model::release::Release;
use model::words::list_or;
use operator::detect::{self, BuiltFor, Detection, detect};
use root::{Root, RootError};
use std::path::Path;

/// Reasons why a base is not of the release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrongSystem {
    /// The base's tree cannot be read.
    #[error(transparent)]
    Tree(#[from] RootError),
    /// The base is of another release than the requested one.
    #[error("{name} is {found}, but {requested} was requested: name the release that the image contains")]
    Release {
        /// Name of the image.
        name: String,
        /// System found in the image.
        found: String,
        /// Requested release: `debian:13`.
        requested: Target,
    },
    /// The base is for another architecture.
    #[error("{name} is for {found}, not for {requested}")]
    Arch {
        /// Name of the image.
        name: String,
        /// Architecture of its programs: `aarch64`, `64-bit RISC-V`.
        found: String,
        /// Architecture of the release.
        requested: Arch,
    },
}

/// Accepts the tree of an image if its os-release names the release itself, not a derivative.
///
/// # Errors
/// Names the system that the tree is of instead.
pub fn accept(tree: &Path, name: &str, release: &Release, database: &Database) -> Result<(), WrongSystem> {
    let root = Root::new(tree)?;
    let found = detect(&root, database)?;
    let requested = release.target();
    let is_it = found.borrowed.is_none() && found.releases.contains(&requested);
    if !is_it {
        return Err(WrongSystem::Release { name: name.to_owned(), found: named(&found), requested });
    }
    let found = match detect::built_for(&root)? {
        BuiltFor::Kata(arch) if arch != release.arch => arch.to_string(),
        BuiltFor::Foreign(foreign) => foreign.to_string(),
        BuiltFor::Kata(_) | BuiltFor::Unknown => return Ok(()),
    };
    Err(WrongSystem::Arch { name: name.to_owned(), found, requested: release.arch })
}

/// Returns a system's name and ids, for messages.
fn named(found: &Detection) -> String {
    let harmless = |text: &str| one_line(&without_controls(text, 1000), 1000);
    let name = harmless(&found.pretty_name());
    match (&found.borrowed, found.releases.as_slice()) {
        (None, releases @ [_, ..]) => format!("{name} ({})", list_or(releases)),
        _ => format!("{name} (ID={})", harmless(&found.id)),
    }
}
