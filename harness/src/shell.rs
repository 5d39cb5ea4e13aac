//! Somebody looks into the environment of a test that failed: a shell, or a command, at the other end of its agent's line.
//!
//! A cell whose run has a [`Visit`] runs no tests: it is brought up as for its tests, the guest that the test shares is
//! booted, who visits is told what there is, and when the visit is over all of it is removed as after any run.
//! A container that was kept is visited the same way, without a run around it.

mod attached;
mod greeting;

pub use greeting::{Greeting, Launch, differing};

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

/// What a visit is for.
pub struct Visit {
    /// The text at the beginning.
    pub greeting: Greeting,
    /// The guest that the test shares with others; none where it boots its own, or needs none.
    pub guest: Option<(Profile, Configuration)>,
    /// What was installed when the test failed, as far as it is known.
    pub before: BTreeMap<String, PackageVersion>,
    /// What is run; a shell, where nothing is named.
    pub command: Vec<String>,
    /// The display that leaves the terminal to the visit.
    pub progress: Progress,
    /// How it ended: with an exit code, or why it did not come to one.
    pub ended: Mutex<Option<Result<i32, LineError>>>,
}

/// Why the guest is not up that a visited test shares with others.
#[derive(Debug, thiserror::Error)]
pub enum NoGuest {
    /// The agent cannot be asked for one.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It does not come up.
    #[error("{}", reason(.0))]
    Stopped(Stop),
}

impl Visit {
    /// Lets somebody in. What goes wrong is no error of the cell's.
    ///
    /// `packages` is what is installed now; a guest may take `patience` seconds to be up.
    pub async fn pay(&self, line: &Line, packages: BTreeMap<String, PackageVersion>, patience: u64) {
        let booted = match &self.guest {
            None => None,
            Some((profile, configuration)) => {
                self.progress.say(&format!("booting the guest {}", configuration.name()));
                Some(boot(line, profile, *configuration, patience).await)
            }
        };
        self.progress.hide(true);
        for text in self.greeting.told(booted.as_ref(), &differing(&self.before, &packages)) {
            tell(text);
        }
        let ended = attached::attach(line, &self.command).await;
        self.progress.hide(false);
        *locked(&self.ended) = Some(ended);
    }
}

/// Boots a guest, which stays up as long as the line; else why not.
async fn boot(line: &Line, profile: &Profile, configuration: Configuration, patience: u64) -> Result<(), NoGuest> {
    let request = EnvironmentRequest::StartGuest { profile: Box::new(profile.clone()), configuration };
    match ask(line, request, patience).await? {
        EnvironmentReply::Started { .. } => Ok(()),
        EnvironmentReply::Failed { stop, .. } => Err(NoGuest::Stopped(stop)),
        other => Err(LineError::Unexpected(format!("{other:?}")).into()),
    }
}

/// What somebody or something said that stopped.
fn reason(stop: &Stop) -> &str {
    match stop {
        Stop::Fail { message, .. } | Stop::Error { message } | Stop::Unanswered { message } => message,
        Stop::Skip { reason } => reason,
    }
}
