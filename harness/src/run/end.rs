//! End of a run: its leftovers in Docker are removed, and the cache is brought within its budget.
//!
//! An engine that hangs costs neither the reports nor the answer to a signal: the journal has everything, and the next
//! run removes what is left.

use crate::progress::Progress;
use crate::sweep::{SweepScope, sweep};
use bollard::Docker;
use model::diagnostic::error_chain;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

/// The engine, with one time limit for all requests together; after a failure it is not asked again.
pub(super) struct Engine<'a> {
    docker: Option<&'a Docker>,
    within: Duration,
    remaining: Duration,
}

/// Reason why an engine does not answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer<E: Error + 'static> {
    /// The engine returned an error.
    #[error(transparent)]
    Refused(E),
    /// The engine's time was over.
    #[error("the Docker engine did not answer for {seconds} s")]
    Late {
        /// The time that it had, in seconds.
        seconds: u64,
    },
}

impl<'a> Engine<'a> {
    /// Makes a handle for the engine, if there is one, whose answers may take this time together.
    pub(super) fn new(docker: Option<&'a Docker>, within: Duration) -> Engine<'a> {
        Engine { docker, within, remaining: within }
    }

    /// Removes containers and volumes of a run.
    pub(super) async fn sweep(&mut self, run: &str, progress: &Progress) {
        let Some(docker) = self.docker else { return };
        if let Err(why) = self.answer(sweep(docker, SweepScope::Run(run))).await {
            progress.say(&format!(
                "warning: containers of this run may remain until the next run removes them: {}",
                error_chain(&why)
            ));
        }
    }

    /// Removes the images that the cache no longer has.
    async fn remove_orphans(&mut self, cache: &Path, progress: &Progress) {
        let Some(docker) = self.docker else { return };
        match self.answer(images::docker::remove_orphans(docker, cache)).await {
            // Images that are left are in use, which people do not have to know.
            Ok(done) => done.removed.iter().for_each(|tag| progress.say(&format!("removed {tag} from Docker"))),
            Err(why) => {
                progress.say(&format!("warning: Docker's images were not checked: {}", error_chain(&why)));
            }
        }
    }

    /// Waits for the engine's answer, or returns why there is none.
    async fn answer<T, E: Error + 'static>(
        &mut self,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, NoAnswer<E>> {
        let since = Instant::now();
        let answer = match tokio::time::timeout(self.remaining, question).await {
            Ok(answer) => answer.map_err(NoAnswer::Refused),
            Err(_) => Err(NoAnswer::Late { seconds: self.within.as_secs() }),
        };
        self.remaining = self.remaining.saturating_sub(since.elapsed());
        if answer.is_err() {
            self.docker = None;
        }
        answer
    }
}

/// Brings the cache within its budget, and removes those of its images from Docker that it no longer has.
///
/// A failure is printed but does not fail the run, which has its results.
pub(super) async fn trim(engine: &mut Engine<'_>, cache: &Path, budget: u64, progress: &Progress) {
    let folder = cache.to_owned();
    let trimmed = match tokio::task::spawn_blocking(move || images::trim(&folder, budget)).await {
        Ok(Ok(trimmed)) => trimmed,
        Ok(Err(e)) => {
            return progress.say(&format!("warning: the cache was not checked: {}", error_chain(&e)));
        }
        Err(e) => return progress.say(&format!("warning: the cache was not checked: {e}")),
    };
    for removed in &trimmed.removed {
        let used = removed.used.strftime("%F");
        progress.say(&match &removed.release {
            Some(release) => {
                format!("removed an image of {release} from the cache, last used {used}: the cache was full")
            }
            None => "removed an unreadable image from the cache: the cache was full".to_owned(),
        });
    }
    for leftover in &trimmed.leftovers {
        progress.say(&format!("warning: not removed: {leftover}"));
    }
    if trimmed.bytes > budget {
        let gib = |bytes: u64| bytes.div_ceil(1 << 30);
        progress.say(&format!(
            "warning: the cache uses {} of {} GiB, and current runs need all of it",
            gib(trimmed.bytes),
            gib(budget)
        ));
    }
    engine.remove_orphans(cache, progress).await;
}

/// Cleans up to the end or, after a signal, until `grace` is over; returns the end of `grace` if a signal came.
pub(super) async fn watched(
    cleaning: impl Future<Output = ()>,
    signal: impl Future<Output = ()>,
    grace: Duration,
    progress: &Progress,
) -> Option<Instant> {
    let mut cleaning = std::pin::pin!(cleaning);
    tokio::select! {
        () = &mut cleaning => return None,
        () = signal => {}
    }
    let until = Instant::now() + grace;
    progress.say("all tests are finished, cleaning up; Ctrl-C again stops at once");
    let _ = tokio::time::timeout_at(until.into(), cleaning).await;
    Some(until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::os::unix::net::UnixListener;

    #[tokio::test]
    async fn a_hanging_engine_is_queried_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        // The kernel accepts the connection, and nobody answers, as with a stopped engine.
        let listener = UnixListener::bind(&socket).unwrap();
        let docker = Docker::connect_with_unix(socket.to_str().unwrap(), 600, bollard::API_DEFAULT_VERSION).unwrap();
        let (progress, cache) = (Progress::new(), dir.path().join("cache"));
        let since = Instant::now();
        let mut engine = Engine::new(Some(&docker), Duration::from_millis(200));
        engine.sweep("r1", &progress).await;
        assert!(since.elapsed() >= Duration::from_millis(200), "it was not asked");
        assert!(engine.docker.is_none(), "it would be asked again");
        trim(&mut engine, &cache, 0, &progress).await;
        assert!(since.elapsed() < Duration::from_secs(60));
        drop(listener);
    }

    #[tokio::test]
    async fn one_time_limit_covers_all_queries_to_an_engine() {
        let mut engine = Engine::new(None, Duration::from_secs(2));
        let slow = |seconds| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok::<(), std::io::Error>(())
        };
        let since = Instant::now();
        engine.answer(slow(1)).await.unwrap();
        let late = engine.answer(slow(60)).await.unwrap_err();
        assert!(matches!(late, NoAnswer::Late { .. }), "{late}");
        assert_eq!(late.to_string(), "the Docker engine did not answer for 2 s");
        assert!(since.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_signal_limits_the_remaining_time_of_a_clean_up() {
        let progress = Progress::new();
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(60));
        assert_eq!(watched(ready(()), pending(), short, &progress).await, None);
        let since = Instant::now();
        assert!(watched(pending(), ready(()), short, &progress).await.is_some(), "it hangs");
        assert!(since.elapsed() < long);
        // A clean-up that ends within the time is completed.
        let mut ended = false;
        let cleaning = async {
            tokio::time::sleep(short).await;
            ended = true;
        };
        assert!(watched(cleaning, ready(()), long, &progress).await.is_some());
        assert!(ended);
    }
}
