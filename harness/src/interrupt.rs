//! Ctrl-C and SIGTERM: the first signal makes a run clean up, the second ends the process at once, whatever it waits
//! for.
//!
//! The work in progress of an interrupted run has 60 s to end. A second signal ends the process in the signal handler,
//! because a thread may be blocked forever, and no clean-up is worth waiting for that. Outside a run any signal ends
//! the process, also between a run and the runs that belong to it, such as its base run and the steps of blaming.
//! Containers end even if the process is killed: an agent whose line ends kills the container's main process, and the
//! kernel then ends the rest of the container.

use model::sync::locked;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the next signal ends the process. Signal handlers are never removed, so all runs of the process share this
/// flag.
static AT_ONCE: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);

/// The signals that interrupt this process, until the value is dropped.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// Whether the next signal ends the process.
    at_once: Arc<AtomicBool>,
}

impl Interrupts {
    /// Starts to listen; `code` is the exit code of a process that the second signal ends.
    ///
    /// # Errors
    /// If the operating system refuses a handler.
    pub(crate) fn listen(code: i32) -> io::Result<Interrupts> {
        // Handlers run in the order in which they were registered. If tokio's ran before the harness's, a run could
        // notice a signal and finish while the same signal is still on its way to the harness's handler, which would
        // take it for the second one.
        let at_once = flag(code)?;
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Interrupts { interrupt, terminate, at_once })
    }

    /// Waits for the first signal; returns at once if [`Interrupts::end_at_next`] was called.
    pub(crate) async fn first(&mut self) {
        // The signal may have come before tokio listened.
        if self.at_once.load(Ordering::SeqCst) {
            return;
        }
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Makes the next signal end the process, even if it is the first one.
    pub(crate) fn end_at_next(&self) {
        self.at_once.store(true, Ordering::SeqCst);
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // Nobody listens any more, and the signal's default action has been replaced.
        self.end_at_next();
    }
}

/// Returns a flag that the first signal sets, for work that polls it; the second signal ends the process with `code`.
///
/// # Errors
/// If the operating system refuses a handler.
pub(crate) fn flag(code: i32) -> io::Result<Arc<AtomicBool>> {
    let at_once = at_once(code)?;
    at_once.store(false, Ordering::SeqCst);
    Ok(at_once)
}

/// Returns the flag of the process, and registers the handlers that use it.
fn at_once(code: i32) -> io::Result<Arc<AtomicBool>> {
    let mut known = locked(&AT_ONCE);
    if let Some(at_once) = &*known {
        return Ok(Arc::clone(at_once));
    }
    let at_once = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // The order matters: at the first signal the first handler finds the flag unset. It ends the process inside the
        // handler, because nothing else is sure to run: threads may be blocked forever.
        register_conditional_shutdown(number, code, Arc::clone(&at_once))?;
        register(number, Arc::clone(&at_once))?;
    }
    *known = Some(Arc::clone(&at_once));
    Ok(at_once)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal as UnixSignal, kill_process};
    use std::io::{BufRead as _, BufReader, Lines};
    use std::process::{Child, ChildStderr, Command, Stdio};
    use std::time::{Duration, Instant};

    const CODE: i32 = 130;
    /// The variable that marks a process as one of the two below.
    const PART: &str = "KATA_QUALIFY_TEST_PART";
    const LONG: Duration = Duration::from_secs(600);

    /// Helper process of a test, with a thread that hangs, as if it read from a FIFO, and one that listens.
    #[test]
    #[ignore = "a part of a_second_signal_ends_a_process_that_hangs, which runs it"]
    fn hangs() {
        if std::env::var_os(PART).is_none() {
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut interrupts = Interrupts::listen(CODE).unwrap();
            tokio::task::spawn_blocking(|| std::thread::sleep(LONG));
            eprintln!("listens");
            interrupts.first().await;
            eprintln!("cleans up");
        });
        // Dropping the runtime waits for the thread that hangs.
        drop(runtime);
    }

    /// Helper process of a test, in which one run finishes and another starts on request.
    #[test]
    #[ignore = "a part of each_run_listens_and_a_signal_between_runs_ends_the_process, which runs it"]
    fn runs_twice() {
        if std::env::var_os(PART).is_none() {
            return;
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        drop(runtime.block_on(async { Interrupts::listen(CODE) }).unwrap());
        eprintln!("between");
        io::stdin().read_line(&mut String::new()).unwrap();
        runtime.block_on(async {
            let mut interrupts = Interrupts::listen(CODE).unwrap();
            eprintln!("listens");
            interrupts.first().await;
            eprintln!("cleans up");
        });
        std::thread::sleep(LONG);
    }

    /// A process that runs one of the helpers above, and its output.
    struct TestProcess {
        child: Child,
        stderr: Lines<BufReader<ChildStderr>>,
    }

    impl TestProcess {
        fn start(name: &str) -> TestProcess {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", &format!("interrupt::tests::{name}"), "--ignored", "--nocapture"])
                .env(PART, "1")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
            TestProcess { child, stderr }
        }

        fn prints(&mut self, expected: &str) -> bool {
            self.stderr.by_ref().map_while(Result::ok).any(|line| line == expected)
        }

        fn signal(&self, signal: UnixSignal) {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }

        fn ends_within(&mut self, time: Duration) -> Option<i32> {
            let until = Instant::now() + time;
            while Instant::now() < until {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            None
        }
    }

    impl Drop for TestProcess {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn a_second_signal_ends_a_process_that_hangs() {
        for first in [UnixSignal::INT, UnixSignal::TERM] {
            let mut process = TestProcess::start("hangs");
            assert!(process.prints("listens"));
            process.signal(first);
            assert!(process.prints("cleans up"));
            assert_eq!(process.ends_within(Duration::from_millis(500)), None, "it hangs");
            process.signal(UnixSignal::INT);
            assert_eq!(process.ends_within(Duration::from_secs(30)), Some(CODE));
        }
    }

    #[test]
    fn each_run_listens_and_a_signal_between_runs_ends_the_process() {
        let mut process = TestProcess::start("runs_twice");
        assert!(process.prints("between"));
        process.signal(UnixSignal::INT);
        assert_eq!(process.ends_within(Duration::from_secs(30)), Some(CODE));
        let mut process = TestProcess::start("runs_twice");
        assert!(process.prints("between"));
        // The end of its input starts the second run.
        drop(process.child.stdin.take());
        assert!(process.prints("listens"));
        process.signal(UnixSignal::INT);
        assert!(process.prints("cleans up"), "the second run heard nothing");
        process.signal(UnixSignal::INT);
        assert_eq!(process.ends_within(Duration::from_secs(30)), Some(CODE));
    }
}
