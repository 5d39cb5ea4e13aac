//! What can go wrong while packages are installed, and the kind of failure that it must be told as: one table for every
//! package manager.

use crate::scratch::{Scratch, damage, package_file};
use operator::installer::FailureKind;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Situation {
    /// No repository has the package.
    UnknownPackage,
    /// A package that is needed is not as its index says.
    DamagedPackage,
    /// The repository's index cannot be read.
    BrokenIndex,
    /// The root's disk has no room for the package.
    FullDisk,
    /// Another program holds the lock of the package manager.
    HeldLock,
}

/// Each situation, the package that is asked for in it, and the failure; in the order in which one root comes into them.
const SITUATIONS: [(Situation, &str, FailureKind); 5] = [
    (Situation::UnknownPackage, "kq-none", FailureKind::MissingPackage),
    (Situation::DamagedPackage, "kq-vmm", FailureKind::Verification),
    (Situation::BrokenIndex, "kq-big", FailureKind::Repository),
    (Situation::FullDisk, "kq-big", FailureKind::DiskFull),
    (Situation::HeldLock, "kq-vmm", FailureKind::Locked),
];

/// How one package manager is brought into the situations.
pub(crate) struct PreparedBy {
    /// A root and a repository with the packages, all well.
    pub(crate) scratch: fn() -> Scratch,
    /// Breaks the repository's index.
    pub(crate) break_index: fn(&Scratch),
    /// Rebuilds the index from the packages as they are.
    pub(crate) mend_index: fn(&Scratch),
    /// Holds the lock; what is returned lets it go.
    pub(crate) hold_lock: fn(&Scratch) -> Box<dyn FnOnce() + Send>,
}

/// A package is installed with what it needs, and is found by name, by what it provides and by its file.
pub(crate) fn packages_are_installed_and_found(prepared: &PreparedBy) {
    (prepared.scratch)().installs_and_answers("1:1.0-1");
}

/// In every situation the failure is told by its kind, and nothing is installed.
pub(crate) fn failures_are_told_apart(prepared: &PreparedBy) {
    let mut scratch = (prepared.scratch)();
    for (situation, package, kind) in SITUATIONS {
        match situation {
            Situation::UnknownPackage => {}
            // `kq-vmm` needs it.
            Situation::DamagedPackage => damage(&package_file(&scratch, "kq-lib")),
            Situation::BrokenIndex => (prepared.break_index)(&scratch),
            Situation::FullDisk => {
                (prepared.mend_index)(&scratch);
                scratch.shrink(8);
            }
            // It needs a root where all else is well: see `a_lock_is_waited_for`.
            Situation::HeldLock => continue,
        }
        scratch.fails(situation, package, kind);
    }
}

/// A lock fails the installation once it was waited for, and does not if it is let go in time.
pub(crate) fn a_lock_is_waited_for(prepared: &PreparedBy) {
    for (_, package, kind) in SITUATIONS.into_iter().filter(|(situation, ..)| *situation == Situation::HeldLock) {
        let scratch = (prepared.scratch)();
        let let_go = (prepared.hold_lock)(&scratch);
        scratch.waits_for(package, kind, let_go);
    }
}
