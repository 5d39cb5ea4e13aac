//! Start of a requested run, after the check that it can be brought up here.

use crate::cli::Exit;
use crate::cli::prospect::{self, Here, NO_ENGINE};
use crate::progress::{Progress, tell};
use crate::run::{self, RunEnd, RunRequest};
use reports::journal::Environment;
use std::time::Duration;

/// Runs the request; `requested` is true if the user named its environments. Returns how the run ended, and how long
/// the processes that it started may still take to end.
///
/// # Errors
/// As for [`run::run`], and if a release cannot be brought up.
pub(super) async fn bring_up(
    mut request: RunRequest,
    requested: bool,
    progress: &Progress,
) -> anyhow::Result<(RunEnd, Duration)> {
    let mut docker = None;
    if !request.environments.contains(&Environment::Host) {
        let engine = prospect::engine().await;
        let settled = prospect::settle(&mut request.environments, requested, &engine);
        let here = Here::new(&request.environments, &request.images, &request.pinned, &engine);
        prospect::attainable(&request.releases, &here)?;
        drop(here);
        if settled? {
            tell(NO_ENGINE);
        }
        docker = engine.ok().filter(|_| request.environments.contains(&Environment::Container));
    }
    run::run(docker, request, progress.clone(), Exit::Interrupted as i32).await
}
