//! Visits to the environment of a failed test: a shell or a command, at the other end of its agent's line.
//!
//! A cell whose run has a [`Visit`] runs no tests: it is brought up as for its tests, the guest that the test shares is
//! booted, the visitor is greeted with a description, and after the visit everything is removed as after any run. A
//! kept container is visited in the same way, without a run around it.

mod attached;
mod greeting;

pub use greeting::{Greeting, LaunchedGuest, differing};

use crate::line::{Line, LineError, ask};
use crate::progress::{Progress, tell};
use model::package::PackageVersion;
use model::profile::Profile;
use model::sync::locked;
use protocol::message::{EnvironmentReply, EnvironmentRequest};
use std::collections::BTreeMap;
use std::sync::Mutex;
use suites::catalogue::Configuration;
use suites::check::Stop;

/// A visit to an environment.
pub struct Visit {
    /// The text that is shown first.
    pub greeting: Greeting,
    /// The guest that the test shares with others; `None` if the test boots its own guest, or needs none.
    pub guest: Option<(Profile, Configuration)>,
    /// The packages that were installed when the test failed, as far as they are known.
    pub before: BTreeMap<String, PackageVersion>,
    /// The command to run; empty for a shell.
    pub command: Vec<String>,
    /// The display that leaves the terminal to the visit.
    pub progress: Progress,
    /// How the visit ended: the exit code, or the reason why there is none.
    pub ended: Mutex<Option<Result<i32, LineError>>>,
}

/// Reason why the shared guest of a visited test is not up.
#[derive(Debug, thiserror::Error)]
pub enum NoGuest {
    /// The agent cannot be reached.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The guest does not come up.
    #[error("{}", reason(.0))]
    Stopped(Stop),
}

impl Visit {
    /// Boots the guest that the test shares with others, within `patience` seconds; `None` if it shares none.
    pub async fn boot_guest(&self, line: &Line, patience: u64) -> Option<Result<(), NoGuest>> {
        let (profile, configuration) = self.guest.as_ref()?;
        self.progress.say(&format!("booting the guest {}", configuration.name()));
        Some(boot(line, profile, *configuration, patience).await)
    }

    /// Lets the visitor in. Failures of the visit are not errors of the cell.
    ///
    /// `packages` are the packages that are installed now; `booted` is whether the guest is up, if one was booted.
    pub async fn pay(
        &self,
        line: &Line,
        packages: BTreeMap<String, PackageVersion>,
        booted: Option<Result<(), NoGuest>>,
    ) {
        self.progress.hide(true);
        for text in self.greeting.lines(booted.as_ref(), &differing(&self.before, &packages)) {
            tell(text);
        }
        let ended = attached::attach(line, &self.command).await;
        self.progress.hide(false);
        *locked(&self.ended) = Some(ended);
    }
}

/// Boots a guest, which stays up as long as the line; returns the reason if it does not boot.
async fn boot(line: &Line, profile: &Profile, configuration: Configuration, patience: u64) -> Result<(), NoGuest> {
    let request = EnvironmentRequest::StartGuest { profile: Box::new(profile.clone()), configuration };
    match ask(line, request, patience).await? {
        EnvironmentReply::Started { .. } => Ok(()),
        EnvironmentReply::Failed { stop, .. } => Err(NoGuest::Stopped(stop)),
        other => Err(LineError::Unexpected(format!("{other:?}")).into()),
    }
}

/// Returns the message or reason of a stop.
fn reason(stop: &Stop) -> &str {
    match stop {
        Stop::Fail { message, .. } | Stop::Error { message } | Stop::Unanswered { message } => message,
        Stop::Skip { reason } => reason,
    }
}
