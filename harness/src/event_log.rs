//! The journal of a run, as its cells write it.

use crate::progress::Progress;
use jiff::Timestamp;
use model::diagnostic::error_chain;
use model::sync::locked;
use reports::journal::{Event, Writer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Where events are written; a journal that cannot be written ends the run, because it is the only truth.
pub struct EventLog {
    journal: Mutex<Writer>,
    progress: Progress,
    has_failed: AtomicBool,
    fails: Notify,
}

impl EventLog {
    /// Writes to this journal; that it cannot be written is shown on this display.
    pub fn new(journal: Writer, progress: Progress) -> EventLog {
        EventLog { journal: Mutex::new(journal), progress, has_failed: AtomicBool::new(false), fails: Notify::new() }
    }

    /// Writes an event. After one that could not be written none is: what follows would only look like a whole journal.
    pub fn write(&self, event: Event) {
        if self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        // Cells say what they are doing in finer words than their phases.
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
