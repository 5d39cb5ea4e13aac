//! Whether releases can be brought up here, before anything starts: `run` refuses what `plan` says cannot be.

use crate::cli::UsageError;
use crate::environments::container;
use crate::progress::tell;
use anyhow::anyhow;
use bollard::Docker;
use images::{ImageError, ImageRoute, Source};
use model::diagnostic::error_chain;
use model::release::Release;
use reports::journal::Environment;

/// Why a release cannot be brought up.
pub(super) struct Refusal {
    /// `gentoo:rolling`.
    pub(super) release: String,
    pub(super) why: String,
    /// What to do about it, where that is known.
    pub(super) hint: Option<String>,
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Refusal {
        Refusal { why: error.cause.to_string(), hint: error.hint(), release: error.release }
    }
}

/// The Docker engine, or why none answers.
pub(super) type Engine = Result<Docker, String>;

/// Asks whether a Docker engine answers.
pub(super) async fn engine() -> Engine {
    container::connect().await.map_err(|e| error_chain(&e))
}

/// Whether containers can be brought up, if any are to be. If no engine answers and nobody asked for containers, virtual
/// machines are used instead.
///
/// # Errors
/// That containers were asked for, and no engine answers.
pub(super) fn settle(environments: &mut Vec<Environment>, asked: bool, engine: &Engine) -> anyhow::Result<()> {
    match engine {
        Err(why) if environments.contains(&Environment::Container) => match asked {
            true => Err(anyhow!(
                "no Docker engine answers, and --in container needs one: {why} (`--in vm` needs none; `kata-qualify doctor` says more)"
            )),
            false => {
                tell(format_args!("note: no Docker engine answers: releases are booted as virtual machines (--in vm)"));
                *environments = vec![Environment::Vm];
                Ok(())
            }
        },
        _ => Ok(()),
    }
}

/// The way to an image of a release on this machine.
///
/// # Errors
/// Why there is none.
pub(super) fn way(release: &Release, options: &images::Options, engine: &Engine) -> Result<ImageRoute, Refusal> {
    let way = images::attainable(release, options)?;
    match (way, engine) {
        (ImageRoute::Base(Source::Oci), Err(why)) => Err(Refusal {
            release: release.name(),
            why: format!("no Docker engine answers, and the record's OCI image is pulled by one: {why}"),
            hint: Some(
                "start the Docker engine, install what bootstraps the distro (`kata-qualify doctor` says more), or bring an image along with --oci-image"
                    .to_owned(),
            ),
        }),
        _ => Ok(way),
    }
}

/// Refuses releases of which this machine cannot make an image in any way.
///
/// # Errors
/// All of them, with what to do.
pub(super) fn attainable(releases: &[Release], options: &images::Options, engine: &Engine) -> Result<(), UsageError> {
    let refused: Vec<Refusal> = releases.iter().filter_map(|r| way(r, options, engine).err()).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> =
        refused.iter().map(|refusal| format!("{}: {}", refusal.release, refusal.why)).collect();
    let mut hints: Vec<String> = refused.into_iter().filter_map(|refusal| refusal.hint).collect();
    hints.dedup();
    lines.extend(hints.iter().map(|hint| format!("hint: {hint}")));
    Err(UsageError(lines.join("\n")))
}
