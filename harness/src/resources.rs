//! Resources from which the environments of a run are made.

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

/// Resources from which the environments of a run are made.
pub struct Resources {
    /// Options for making images.
    pub images: images::Options,
    /// The Kata and the components that the user supplies.
    pub kata: Arc<SuppliedKata>,
    /// The components of other releases.
    pub donors: Arc<Donors>,
    /// The Docker engine, if one answers.
    pub docker: Option<Docker>,
    /// Whether containers may be given this machine's KVM, or why not.
    pub kvm: Result<(), KvmWithheld>,
    /// The run in the labels of its containers and volumes.
    pub owner: OwningRun,
    /// Virtual machines.
    pub machines: Machines,
    /// The agent's directory on this machine.
    pub host_folder: PathBuf,
}

/// Resources of virtual machines.
pub struct Machines {
    /// Memory and CPUs of each machine.
    pub size: Size,
    /// One permit per machine.
    pub permits: Arc<Semaphore>,
    /// The QEMU that boots them, once it was needed.
    pub pinned: Arc<Pinned>,
}

impl Machines {
    /// Returns the QEMU that boots them; it is prepared once in a run.
    ///
    /// # Errors
    /// If it cannot be prepared.
    pub async fn outer(&self) -> Result<Arc<OuterQemu>, Arc<OuterError>> {
        let pinned = Arc::clone(&self.pinned);
        match tokio::task::spawn_blocking(move || pinned.get()).await {
            Ok(outer) => outer,
            Err(e) => Err(Arc::new(OuterError::Thread(e))),
        }
    }

    /// Returns the QEMU if it has already been prepared.
    pub fn outer_if_known(&self) -> Option<&OuterQemu> {
        self.pinned.if_known()
    }
}
