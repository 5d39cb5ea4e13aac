//! What the environments of a run are made from and with.

use crate::donor::Donors;
use crate::environments::container::OwningRun;
use crate::environments::container::handed_in::KvmWithheld;
use crate::environments::vm::Size;
use crate::environments::vm::outer::{OuterError, OuterQemu};
use crate::environments::vm::pinned::Pinned;
use crate::kata::SuppliedKata;
use bollard::Docker;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the environments of a run are made from and with.
pub struct Resources {
    /// How images are made.
    pub images: images::Options,
    /// The Kata and the components that the user supplies.
    pub kata: Arc<SuppliedKata>,
    /// The components of other releases.
    pub donors: Arc<Donors>,
    /// The Docker engine, where one answers.
    pub docker: Option<Docker>,
    /// Whether containers may be given this machine's KVM, or why not.
    pub kvm: Result<(), KvmWithheld>,
    /// The run that its containers and volumes are labelled with.
    pub owner: OwningRun,
    /// Virtual machines.
    pub machines: Machines,
    /// The agent's folder on this machine.
    pub host_folder: PathBuf,
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

    /// The same, if it is known already.
    pub fn outer_if_known(&self) -> Option<&OuterQemu> {
        self.pinned.if_known()
    }
}
