//! Three runs of the reproducer, in clean trees of the release.

use crate::cli::arguments::BugArguments;
use crate::cli::{UsageError, request, runtime, shut_down};
use crate::environments::container::{self, OwningRun};
use crate::progress::{Progress, tell};
use crate::reproduce::{Tried, reproduce};
use crate::run::CLEANING;
use crate::sweep::{RunLock, locks_folder};
use anyhow::Context as _;
use images::ExtraPackage;
use model::database::Database;
use model::package_manager::PackageManager;
use reports::bug::FailedTest;
use reports::bug::script::needs;
use reports::journal::Environment;
use reports::redact::Redactor;

/// Makes the image of the release with the script's packages, and runs the script there.
///
/// # Errors
/// [`UsageError`] if this machine cannot do it; otherwise the failure.
pub(super) fn in_clean_trees(
    what: &BugArguments,
    failed: &FailedTest<'_>,
    script: &str,
    database: &Database,
) -> anyhow::Result<Vec<Tried>> {
    let release = failed.release.clone();
    let needed = failed.test.reproducer.map(needs).unwrap_or_default();
    if !needed.is_empty() && release.package_manager != PackageManager::Apt {
        let names = needed.join(", ");
        let why = format!(
            "--reproduce works only on distros that use apt: the packages this script needs are known \
                           only by their Debian names ({names})"
        );
        return Err(UsageError(why).into());
    }
    let environments = [Environment::Container];
    let (mut options, _) =
        request::images(&what.images, what.offline, &environments, std::slice::from_ref(&release), database)?;
    for name in needed {
        options.extra_packages.push(ExtraPackage::Name(name.parse().context("naming what the script needs")?));
    }
    let progress = Progress::new();
    let runtime = runtime()?;
    let tried = runtime.block_on(async {
        let docker = container::connect().await.map_err(|e| UsageError(format!("--reproduce: {e}")))?;
        let process = format!("{:x}-{}", jiff::Timestamp::now().as_millisecond(), std::process::id());
        let lock = RunLock::take(&locks_folder(&options.cache), &process).context("locking the cache")?;
        let cache = images::cache::id(&options.cache)?;
        let owner = OwningRun { run: process, lock: lock.path().to_string_lossy().into_owned(), cache, kept: None };
        progress.say(&format!("preparing {} with what the script needs", release.name()));
        let image = tokio::task::spawn_blocking(move || images::prepare(&release, &options, &|_| {})).await??;
        let _hold = image.hold().context("holding the image")?;
        let name = images::docker::ensure_imported(&docker, &image).await?;
        progress.say(&format!("running the script {} times", crate::reproduce::TIMES));
        anyhow::Ok(reproduce(&docker, &name, script, &owner).await?)
    });
    if !shut_down(runtime, CLEANING) {
        tell("warning: cleanup timed out: `kata-qualify clean` removes what is left");
    }
    tried
}

/// Returns a log with the output of each run.
pub(super) fn log(tried: &[Tried], redactor: &Redactor) -> String {
    let one = |(number, tried): (usize, &Tried)| {
        let code = tried
            .code
            .map_or_else(|| "killed by a signal or at its time limit".to_owned(), |code| format!("exit code {code}"));
        format!("==== time {}: {code}\n{}\n", number + 1, redactor.text(&tried.output))
    };
    tried.iter().enumerate().map(one).collect()
}
