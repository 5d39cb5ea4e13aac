//! Growth of a booting guest's output, which distinguishes a slow guest from a hung one.
//!
//! A guest without a sign of life hangs. An emulated one that still makes progress at the longer deadline is slow,
//! which is an error that blames no component. On hardware, anything later than Kata waits has failed.

use std::time::{Duration, Instant};

/// A growing size, and the time of its last growth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    size: u64,
    at: Instant,
}

impl Growth {
    /// Starts with this size at this time.
    pub(super) fn of(size: u64, at: Instant) -> Growth {
        Growth { size, at }
    }

    /// Records the current size.
    pub(super) fn look(&mut self, size: u64, now: Instant) {
        if size != self.size {
            *self = Growth { size, at: now };
        }
    }

    /// Returns for how long it has not grown.
    pub(super) fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}

/// Returns the message about a guest that did not boot in time but still produced output.
pub(super) fn slow(deadline: Duration, since_output: Duration, last: &str) -> String {
    format!(
        "booting the guest to userspace: not within {} s, and it said something {} s before that: it is emulated and \
         slow, and does not hang; last on the serial console: {last}",
        deadline.as_secs(),
        since_output.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_the_last_growth_is_measured() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut growth = Growth::of(0, began);
        growth.look(0, at(5));
        assert_eq!(growth.since(at(5)).as_secs(), 5);
        growth.look(10, at(7));
        growth.look(10, at(9));
        assert_eq!(growth.since(at(10)).as_secs(), 3);
        assert_eq!(growth.since(began).as_secs(), 0, "clocks may differ");
        let message = slow(Duration::from_secs(100), Duration::from_secs(3), "Run /init");
        assert!(message.contains("not within 100 s") && message.ends_with("console: Run /init"), "{message}");
    }
}
