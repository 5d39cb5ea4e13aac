//! Instances common to all tests, used by one test at a time: the containerd with CRI, Docker's engine.

use model::sync::locked;
use std::sync::{Arc, Mutex, MutexGuard};

/// An instance that is started by the first test that needs it.
pub struct Shared<T> {
    instance: Mutex<Option<Arc<T>>>,
    one_at_a_time: Mutex<()>,
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared { instance: Mutex::default(), one_at_a_time: Mutex::default() }
    }
}

impl<T> Shared<T> {
    /// Waits until no other test, of any runtime, uses the instance: it may be restarted, and its remains are counted.
    pub fn alone(&self) -> MutexGuard<'_, ()> {
        locked(&self.one_at_a_time)
    }

    /// Returns the instance, and starts it if it does not run.
    ///
    /// # Errors
    /// If it does not start.
    pub fn get<E>(&self, has_ended: fn(&T) -> bool, start: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut shared = locked(&self.instance);
        if let Some(running) = shared.as_ref().filter(|running| !has_ended(running)) {
            return Ok(Arc::clone(running));
        }
        // An instance that has ended is cleaned up before another one is started.
        drop(shared.take());
        let started = Arc::new(start()?);
        *shared = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Ends the instance and everything that runs in it.
    pub fn end(&self) {
        let shared = locked(&self.instance).take();
        drop(shared);
    }
}
