//! The journal of a run, to which its cells write.

use crate::progress::Progress;
use jiff::Timestamp;
use model::diagnostic::error_chain;
use model::sync::locked;
use reports::journal::{Event, Writer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The journal that events are written to. If it cannot be written, the run ends, because the journal is the only
/// source of truth.
pub struct EventLog {
    journal: Mutex<Writer>,
    progress: Progress,
    has_failed: AtomicBool,
    fails: Notify,
}

impl EventLog {
    /// Makes a log that writes to this journal and shows a write error on this display.
    pub fn new(journal: Writer, progress: Progress) -> EventLog {
        EventLog { journal: Mutex::new(journal), progress, has_failed: AtomicBool::new(false), fails: Notify::new() }
    }

    /// Writes an event. After a write error no more events are written: with later events the journal would only look
    /// complete.
    pub fn write(&self, event: Event) {
        if self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        // Cells report their work in more detail than by phases.
        if !matches!(event, Event::PhaseStarted { .. }) {
            self.progress.saw(&event, Timestamp::now());
        }
        let written = locked(&self.journal).append(event);
        if let Err(e) = written {
            self.progress.say(&format!("error: {}", error_chain(&e)));
            self.has_failed.store(true, Ordering::Relaxed);
            self.fails.notify_one();
        }
    }

    /// Waits until the journal cannot be written any more.
    pub async fn failed(&self) {
        self.fails.notified().await;
    }
}
