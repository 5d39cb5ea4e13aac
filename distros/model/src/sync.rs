//! Locks that survive a panic of their holder.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks a mutex, even if a thread panicked while holding it: the data behind it is valid at every step.
pub fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification or the timeout, with the lock released meanwhile; see [`locked`].
pub fn waited<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>, within: Duration) -> MutexGuard<'a, T> {
    condition.wait_timeout(guard, within).unwrap_or_else(PoisonError::into_inner).0
}

/// Returns the value of a mutex that is no longer shared; see [`locked`].
pub fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
