//! One call of `prepare` or `prepare_disk`: its parameters, its current phase, and the means common to all phases.

use crate::cache::Store;
use crate::error::{Failure, ImageError, ImageErrorKind};
use crate::family::{self, Archives, PackageFamily};
use crate::manifest::Timing;
use crate::options::Options;
use crate::progress::{ImagePhase, ProgressMessage};
use crate::runner::{Runner, tied};
use model::arch::Arch;
use model::redact::Redactor;
use model::release::Release;
use std::path::Path;
use std::time::Instant;

/// A call of `prepare` or `prepare_disk`.
pub(crate) struct Job<'a> {
    pub(crate) release: &'a Release,
    pub(crate) options: &'a Options,
    pub(crate) family: &'static dyn PackageFamily,
    pub(crate) store: Store,
    pub(crate) runner: Runner<'a>,
    phase: ImagePhase,
    since: Instant,
    pub(crate) timings: Vec<Timing>,
}

impl<'a> Job<'a> {
    /// Starts a call.
    ///
    /// # Errors
    /// If no family has the release's package manager.
    pub(crate) fn new(
        release: &'a Release,
        options: &'a Options,
        progress: &'a (dyn Fn(ProgressMessage) + Sync),
    ) -> Result<Job<'a>, ImageError> {
        let phase = ImagePhase::Resolve;
        let family = family::of(release).map_err(|failure| ImageError::new(release.target(), phase, failure))?;
        let runner = Runner {
            release: release.target(),
            cancel: &options.cancel,
            until: Instant::now() + options.deadline,
            limit: options.deadline,
            redact: Redactor::default(),
            progress,
            read_cause: family.cause_reader(),
        };
        let store = Store::new(&options.cache);
        Ok(Job { release, options, family, store, runner, phase, since: Instant::now(), timings: Vec::new() })
    }

    /// Ends the current phase and starts the next one, to which failures belong from now on.
    pub(crate) fn enter(&mut self, phase: ImagePhase) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if phase != self.phase {
            self.timings.push(Timing { phase: self.phase, ms });
            (self.phase, self.since) = (phase, Instant::now());
        }
        self.runner.report(phase, None);
    }

    /// Makes an error of the current phase, for the caller.
    pub(crate) fn failed(&self, failure: Failure) -> ImageError {
        ImageError::new(self.release.target(), self.phase, failure)
    }

    /// Returns the release's archives, as this machine reaches them.
    pub(crate) fn archives(&mut self) -> Result<Box<dyn Archives + 'a>, Failure> {
        self.family.archives(&mut self.runner, self.release, self.options)
    }

    /// Copies a tree with owners, modes, times and attributes.
    pub(crate) fn copy_tree(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        let mut copy = tied("cp");
        copy.args(["-a", "--reflink=auto", "--"]).arg(from).arg(to).env("LC_ALL", "C");
        self.runner.run(ImagePhase::Copy, &mut copy)
    }
}

/// Checks that this process may make device nodes and run the release's binaries.
pub(crate) fn able_to_build(release: &Release) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(ImageErrorKind::NotRoot.into());
    }
    if !runs_programs_of(release.arch) {
        let machine = std::env::consts::ARCH.to_owned();
        return Err(ImageErrorKind::WrongArchitecture { requested: release.arch, machine }.into());
    }
    Ok(())
}

/// Returns whether this machine runs programs of the architecture: either natively, or by an interpreter of its kernel
/// that works in any tree, which Debian's qemu-user packages register.
pub fn runs_programs_of(arch: Arch) -> bool {
    Arch::of_machine() == Some(arch) || interpreted(&registered(Path::new(INTERPRETERS), arch))
}

/// Directory in which the kernel shows its interpreters (Documentation/admin-guide/binfmt-misc.rst).
const INTERPRETERS: &str = "/proc/sys/fs/binfmt_misc";

/// Returns the registered entry for an architecture, by the name that qemu-user's packages use.
fn registered(folder: &Path, arch: Arch) -> String {
    // Without the mount or the entry there is no interpreter.
    std::fs::read_to_string(folder.join(format!("qemu-{}", arch.name()))).unwrap_or_default()
}

/// Returns whether the entry is enabled, and the interpreter was opened at registration (`F`): otherwise its path would
/// be looked up in the tree.
fn interpreted(entry: &str) -> bool {
    let is_fixed = |line: &str| line.strip_prefix("flags:").is_some_and(|flags| flags.contains('F'));
    entry.lines().next() == Some("enabled") && entry.lines().any(is_fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binfmt_interpreter_must_be_enabled_and_have_flag_f() {
        let entry = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: POCF\noffset 0\nmagic 7f454c46\n";
        assert!(interpreted(entry));
        for not in [entry.replace("enabled", "disabled"), entry.replace("POCF", "OC"), String::new()] {
            assert!(!interpreted(&not), "{not:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("qemu-ppc64le"), entry).unwrap();
        assert!(interpreted(&registered(folder.path(), Arch::Ppc64le)));
        assert!(!interpreted(&registered(folder.path(), Arch::S390x)));
    }
}
