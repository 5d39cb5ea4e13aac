//! What the cells of a run have in common.

use crate::admin::Admins;
use crate::environments::container::Owner;
use crate::environments::vm::Size;
use crate::environments::vm::outer::{Outer, Pinned};
use crate::kata::Given;
use crate::progress::Progress;
use bollard::Docker;
use kata_osinfo::diagnostic::error_chain;
use kata_osinfo::sync::locked;
use reports::journal::{Event, Writer};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};

/// What the cells of a run have in common.
pub struct Shared {
    /// The Docker engine, where one answers.
    pub docker: Option<Docker>,
    /// What a virtual machine is given.
    pub size: Size,
    /// One permit a virtual machine.
    pub machines: Arc<Semaphore>,
    /// The Kata that was brought along.
    pub kata: Arc<Given>,
    /// What the admin's own records say.
    pub admins: Admins,
    /// The agent's folder on this machine.
    pub host_folder: PathBuf,
    /// The QEMU that boots virtual machines, once one was wanted.
    pub(crate) pinned: Arc<Pinned>,
    /// The run's id.
    pub run: String,
    /// The path of the run's lock.
    pub lock: String,
    /// The name of the run's cache.
    pub cache: String,
    /// The output folder.
    pub out: PathBuf,
    /// How images are made.
    pub images: images::Options,
    /// One permit a guest.
    pub permits: Arc<Semaphore>,
    /// How often a failing test is tried again.
    pub retries: u32,
    /// Leave containers for a look.
    pub keep: bool,
    /// The display.
    pub progress: Progress,
    /// The journal.
    pub(crate) journal: Mutex<Writer>,
    /// The journal could not be written.
    pub(crate) broken: AtomicBool,
    /// Tells so.
    pub(crate) breaks: Notify,
}

impl Shared {
    /// Whom what the run makes in Docker belongs to.
    pub fn owner(&self) -> Owner<'_> {
        Owner { run: &self.run, lock: &self.lock, cache: &self.cache }
    }

    /// The QEMU that boots virtual machines; prepared once in a run.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn outer(&self) -> Result<Arc<Outer>, String> {
        let pinned = Arc::clone(&self.pinned);
        tokio::task::spawn_blocking(move || pinned.get()).await.map_err(|e| e.to_string())?
    }

    /// The same, if it is known by now.
    pub fn outer_if_known(&self) -> Option<&Outer> {
        self.pinned.if_known()
    }

    /// Writes an event; a journal that cannot be written ends the run, for it is the only truth.
    pub fn journal(&self, event: Event) {
        // What follows the first loss would only look like a whole journal.
        if self.broken.load(Ordering::Relaxed) {
            return;
        }
        let written = locked(&self.journal).append(event);
        if let Err(e) = written {
            self.progress.say(&format!("error: {}", error_chain(&e)));
            self.broken.store(true, Ordering::Relaxed);
            self.breaks.notify_one();
        }
    }
}
