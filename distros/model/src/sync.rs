//! Locks that survive a panic of whoever held them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks, also after a thread that held the lock has panicked: the data behind it is valid at every step.
pub fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until it is told so or the time is over, the lock released meanwhile; see [`locked`].
pub fn waited<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>, within: Duration) -> MutexGuard<'a, T> {
    condition.wait_timeout(guard, within).unwrap_or_else(PoisonError::into_inner).0
}

/// What was behind a lock that nobody shares any more; see [`locked`].
pub fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
