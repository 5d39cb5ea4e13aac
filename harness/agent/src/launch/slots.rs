//! The shares of an environment.

use crate::home::{AgentHome, SLOTS};
use model::sync::locked;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use suites::check::Stop;

/// Shares that guests may use at the same time: each has a small filesystem mounted below it, which is made with the
/// environment.
pub(crate) struct Slots {
    home: AgentHome,
    taken: Mutex<Vec<usize>>,
}

/// A share in use.
pub(crate) struct SlotGuard {
    slots: Arc<Slots>,
    number: usize,
}

/// Number of shares for guests.
pub(crate) const FOR_GUESTS: usize = SLOTS - 1;

impl Slots {
    /// Returns the shares, all free.
    pub(crate) fn new(home: AgentHome) -> Slots {
        Slots { home, taken: Mutex::default() }
    }

    /// Reserves a share until the guard is dropped.
    ///
    /// # Errors
    /// If all shares are in use.
    pub(crate) fn take(self: &Arc<Slots>) -> Result<SlotGuard, Stop> {
        let mut taken = locked(&self.taken);
        let number = (0..FOR_GUESTS).find(|n| !taken.contains(n));
        let number =
            number.ok_or_else(|| Stop::error(format!("all {FOR_GUESTS} shares of the environment are in use")))?;
        taken.push(number);
        Ok(SlotGuard { slots: Arc::clone(self), number })
    }
}

impl SlotGuard {
    /// Returns the share's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.slots.home.slot(self.number)
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        locked(&self.slots.taken).retain(|n| *n != self.number);
    }
}
