//! Ctrl-C and SIGTERM: the first one makes a run clean up, the second one ends the process at once, whatever it waits for.
//!
//! An interrupted run has 60 s for what is under way to end.
//! A second signal ends the process in its handler: a thread may be waiting for what never comes, and no clean-up is
//! worth that.
//! What ran ends before that: a container's agent whose line ends kills the main process, and with it the kernel ends
//! all of the container.

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
    /// Begins to listen; `code` is the exit code of a process that the second one ends.
    ///
    /// # Errors
    /// What the operating system refused.
    pub(crate) fn listen(code: i32) -> io::Result<Interrupts> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let at_once = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            // In this order: the first one finds it unset. It ends the process in the signal's handler, because nothing
            // else is sure to run: threads may wait for what never comes.
            flag::register_conditional_shutdown(number, code, Arc::clone(&at_once))?;
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

    /// From now on a signal ends the process, even the first one.
    pub(crate) fn end_at_next(&self) {
        self.at_once.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, kill_process};
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    const CODE: i32 = 130;
    const HANGS: &str = "KATA_QUALIFY_TEST_HANGS";

    /// Not a test of its own: a process with a thread that hangs, like one that reads from a FIFO, and that listens.
    #[test]
    #[ignore = "a part of the_second_signal_ends_what_the_first_one_cannot, which runs it"]
    fn hangs() {
        if std::env::var_os(HANGS).is_none() {
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut interrupts = Interrupts::listen(CODE).unwrap();
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(600)));
            eprintln!("listens");
            interrupts.first().await;
            eprintln!("cleans up");
        });
        // Waits for the thread that hangs.
        drop(runtime);
    }

    fn ends_within(child: &mut Child, time: Duration) -> Option<i32> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    #[test]
    fn the_second_signal_ends_what_the_first_one_cannot() {
        for first in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "interrupt::tests::hangs", "--ignored", "--nocapture"])
                .env(HANGS, "1")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
            assert!(said.any(|line| line == "listens"));
            kill_process(Pid::from_child(&child), first).unwrap();
            assert!(said.any(|line| line == "cleans up"));
            assert_eq!(ends_within(&mut child, Duration::from_millis(500)), None, "it hangs");
            kill_process(Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
            let code = ends_within(&mut child, Duration::from_secs(30));
            if code.is_none() {
                child.kill().unwrap();
            }
            assert_eq!(code, Some(CODE));
        }
    }
}
