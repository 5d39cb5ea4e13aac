//! Ctrl-C and SIGTERM: the first one has a run clean up, the second one ends the process at once, whatever it waits for.

use crate::cli::Exit;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that interrupt this process, from now on.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// Whether the next one ends the process.
    at_once: Arc<AtomicBool>,
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the operating system refused.
    pub(crate) fn listen() -> io::Result<Interrupts> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let at_once = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            // In this order: the first one finds it unset. It ends the process in the signal's handler, for nothing else
            // is sure to run: threads may wait for what never comes.
            flag::register_conditional_shutdown(number, Exit::Interrupted as i32, Arc::clone(&at_once))?;
            flag::register(number, Arc::clone(&at_once))?;
        }
        Ok(Interrupts { interrupt, terminate, at_once })
    }

    /// Waits for the first one.
    pub(crate) async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// From now on one ends the process, even if it is the first.
    pub(crate) fn end_at_next(&self) {
        self.at_once.store(true, Ordering::SeqCst);
    }
}
