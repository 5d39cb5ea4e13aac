//! `kata-qualify clean`: removes what runs left behind and, if requested, the cached images; reports what it leaves,
//! and why.

use crate::cli::arguments::{self, CleanArguments};
use crate::cli::{Exit, redact, runtime};
use crate::environments::container;
use crate::progress::tell;
use crate::sweep::{self, SweepReport};
use anyhow::Context as _;
use model::diagnostic::error_chain;
use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;

/// Runs the command.
pub(super) fn clean(what: &CleanArguments) -> anyhow::Result<Exit> {
    let cache = arguments::cache(what.cache.as_deref())?;
    let id = images::cache::id(&cache)?;
    let locks = sweep::locks_folder(&cache);
    let own = sweep::OwnCache { cache: &id, locks: &locks };
    let runtime = runtime()?;
    let mut printed = Printed::default();
    let docker = runtime.block_on(container::connect());
    match &docker {
        Ok(docker) => match runtime.block_on(sweep::sweep(docker, sweep::SweepScope::OverAndKept(own))) {
            Ok(swept) => printed.swept(&swept),
            Err(e) => printed.failed("containers and volumes", &e),
        },
        Err(e) => tell(format_args!("warning: {e}: containers and volumes were not checked")),
    }
    let swept = sweep::sweep_folders(&locks).with_context(|| format!("looking through {}", locks.display()))?;
    printed.swept(&swept);
    let half = images::sweep(&cache)?;
    if half.removed > 0 {
        printed.removed(format_args!("{} incomplete images", half.removed));
    }
    half.leftovers.iter().for_each(|leftover| printed.leftover(leftover));
    if !what.images {
        return Ok(printed.exit());
    }
    let cleaned = images::clean(&cache, &images::CleanScope::All).context("removing cached images")?;
    printed.removed(format_args!("{} cached images", cleaned.removed.len()));
    for key in &cleaned.in_use {
        tell(format_args!("note: image {} was not removed: a run is using it", key.get(..12).unwrap_or(key)));
    }
    cleaned.leftovers.iter().for_each(|leftover| printed.leftover(leftover));
    cleaned.others.iter().for_each(|other| printed.other(other));
    if let Ok(docker) = &docker {
        // A run may be about to start an image in Docker that it holds in the cache.
        match runtime.block_on(images::docker::remove_orphans(docker, &cache)) {
            Ok(done) => {
                done.removed.iter().for_each(|tag| printed.removed(format_args!("image {tag}")));
                done.in_use.iter().for_each(|leftover| printed.leftover(format_args!("image {leftover}")));
            }
            Err(e) => printed.failed("Docker's images", &e),
        }
        // These containers do not show which run they belong to.
        if !swept.alive {
            match runtime.block_on(images::docker::remove_exports(docker, &id)) {
                Ok(removed) => removed.iter().for_each(|id| printed.removed(format_args!("container {id}"))),
                Err(e) => printed.failed("Docker's containers", &e),
            }
        }
    }
    Ok(printed.exit())
}

/// Summary of the printed lines: whether something is left that should be gone.
#[derive(Default)]
struct Printed {
    incomplete: bool,
}

impl Printed {
    fn removed(&self, what: impl Display) {
        let _ = writeln!(std::io::stdout(), "removed {what}");
    }

    fn leftover(&mut self, what: impl Display) {
        self.incomplete = true;
        tell(format_args!("warning: not removed: {what}"));
    }

    /// Reports a file that belongs to no run and may be somebody else's.
    fn other(&self, path: &Path) {
        tell(format_args!("note: {} was not removed: kata-qualify did not create it", path.display()));
    }

    fn failed(&mut self, what: &str, error: &dyn std::error::Error) {
        self.incomplete = true;
        let why = redact(&error_chain(error));
        tell(format_args!("warning: not all {what} were checked: {why}"));
    }

    fn swept(&mut self, swept: &SweepReport) {
        swept.removed.iter().for_each(|removed| self.removed(removed));
        swept.leftovers.iter().for_each(|leftover| self.leftover(leftover));
        swept.others.iter().for_each(|other| self.other(other));
    }

    fn exit(&self) -> Exit {
        if self.incomplete { Exit::Infrastructure } else { Exit::AsRecorded }
    }
}
