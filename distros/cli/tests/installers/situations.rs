//! Failures during an installation, and the kind by which each must be reported: one table for all package managers.

use crate::scratch::{Scratch, damage, package_file};
use operator::installer::FailureKind;

/// Situation in which an installation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Situation {
    /// No repository has the package.
    UnknownPackage,
    /// The content of a dependency does not match its index.
    DamagedPackage,
    /// The repository's index cannot be read.
    BrokenIndex,
    /// The root's disk has no room for the package.
    FullDisk,
    /// Another program holds the lock of the package manager.
    HeldLock,
}

/// Each situation, the requested package, and the expected failure; in the order in which one root is brought into
/// them.
const SITUATIONS: [(Situation, &str, FailureKind); 5] = [
    (Situation::UnknownPackage, "kq-none", FailureKind::MissingPackage),
    (Situation::DamagedPackage, "kq-vmm", FailureKind::Verification),
    (Situation::BrokenIndex, "kq-big", FailureKind::Repository),
    (Situation::FullDisk, "kq-big", FailureKind::DiskFull),
    (Situation::HeldLock, "kq-vmm", FailureKind::Locked),
];

/// Functions that bring one package manager into the situations.
pub(crate) struct PreparedBy {
    /// Creates an intact root and repository with the packages.
    pub(crate) scratch: fn() -> Scratch,
    /// Breaks the repository's index.
    pub(crate) break_index: fn(&Scratch),
    /// Rebuilds the index from the current packages.
    pub(crate) mend_index: fn(&Scratch),
    /// Holds the lock; the returned function releases it.
    pub(crate) hold_lock: fn(&Scratch) -> Box<dyn FnOnce() + Send>,
}

/// Checks that a package is installed with its dependencies, and is found by name, by a provided name and by its file.
pub(crate) fn packages_are_installed_and_found(prepared: &PreparedBy) {
    (prepared.scratch)().assert_installs_and_queries("1:1.0-1");
}

/// Checks that every failure is reported by its kind, and nothing is installed.
pub(crate) fn failures_are_reported_by_kind(prepared: &PreparedBy) {
    let mut scratch = (prepared.scratch)();
    for (situation, package, kind) in SITUATIONS {
        match situation {
            Situation::UnknownPackage => {}
            // A dependency of `kq-vmm`.
            Situation::DamagedPackage => damage(&package_file(&scratch, "kq-lib")),
            Situation::BrokenIndex => (prepared.break_index)(&scratch),
            Situation::FullDisk => {
                (prepared.mend_index)(&scratch);
                scratch.shrink(8);
            }
            // This needs an otherwise intact root: see `an_installation_waits_for_a_lock`.
            Situation::HeldLock => continue,
        }
        scratch.assert_fails(situation, package, kind);
    }
}

/// Checks that an installation fails after waiting for a lock, and succeeds if the lock is released in time.
pub(crate) fn an_installation_waits_for_a_lock(prepared: &PreparedBy) {
    for (_, package, kind) in SITUATIONS.into_iter().filter(|(situation, ..)| *situation == Situation::HeldLock) {
        let scratch = (prepared.scratch)();
        let release = (prepared.hold_lock)(&scratch);
        scratch.assert_waits_for_lock(package, kind, release);
    }
}
