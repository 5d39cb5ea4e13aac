//! What the cells of a run have in common.

use crate::environments::container::OwningRun;
use crate::environments::vm::Size;
use crate::environments::vm::outer::{OuterError, OuterQemu};
use crate::environments::vm::pinned::Pinned;
use crate::event_log::EventLog;
use crate::kata::SuppliedKata;
use crate::progress::Progress;
use crate::record_places::RecordPlaces;
use bollard::Docker;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the cells of a run have in common.
pub struct Shared {
    /// The Docker engine, where one answers.
    pub docker: Option<Docker>,
    /// Whom the run's containers and volumes belong to.
    pub owner: OwningRun,
    /// Virtual machines.
    pub machines: Machines,
    /// The agent's folder on this machine.
    pub host_folder: PathBuf,
    /// The Kata and the components that the user supplies.
    pub kata: Arc<SuppliedKata>,
    /// Where the records say what they say.
    pub record_places: RecordPlaces,
    /// How images are made.
    pub images: images::Options,
    /// The output folder.
    pub out: PathBuf,
    /// One permit a guest.
    pub permits: Arc<Semaphore>,
    /// How often a failing test is tried again.
    pub retries: u32,
    /// Keep containers so that people can look into them.
    pub keep: bool,
    /// The display.
    pub progress: Progress,
    /// Where events are written.
    pub events: EventLog,
}

/// What virtual machines are made with.
pub struct Machines {
    /// What each of them is given.
    pub size: Size,
    /// One permit a machine.
    pub permits: Arc<Semaphore>,
    /// The QEMU that boots them, once one was wanted.
    pub pinned: Arc<Pinned>,
}

impl Machines {
    /// The QEMU that boots them; prepared once in a run.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn outer(&self) -> Result<Arc<OuterQemu>, Arc<OuterError>> {
        let pinned = Arc::clone(&self.pinned);
        match tokio::task::spawn_blocking(move || pinned.get()).await {
            Ok(outer) => outer,
            Err(e) => Err(Arc::new(OuterError::Thread(e))),
        }
    }

    /// The same, if it is known by now.
    pub fn outer_if_known(&self) -> Option<&OuterQemu> {
        self.pinned.if_known()
    }
}
