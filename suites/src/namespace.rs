//! A network namespace for a test: a thread inside it that executes the test's steps.

use crate::check::{Check, Stop};
use nix::errno::Errno;
use rustix::process::Pid;
use std::sync::mpsc::{Receiver, Sender, channel};

type Work = Box<dyn FnOnce() -> Check + Send>;

/// A network namespace that holds only a loopback interface, which is down; dropping the value removes the namespace.
pub(crate) struct Namespace {
    thread: Pid,
    work: Sender<Work>,
    done: Receiver<Check>,
}

impl Namespace {
    /// Creates a network namespace.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn new() -> Result<Namespace, Stop> {
        let (work, to_do) = channel::<Work>();
        let (tell, done) = channel::<Check>();
        let (name, named) = channel();
        std::thread::spawn(move || {
            let apart = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            let _ = name.send(apart.map(|()| rustix::thread::gettid()));
            while let Ok(work) = to_do.recv() {
                if tell.send(work()).is_err() {
                    return;
                }
            }
        });
        let thread = named.recv().map_err(|_| Stop::error("the thread of a network namespace panicked"))?;
        let thread = thread.map_err(not_made)?;
        Ok(Namespace { thread, work, done })
    }

    /// Runs a step in the namespace and waits for its end.
    pub(crate) fn run(&self, work: impl FnOnce() -> Check + Send + 'static) -> Check {
        let panicked = || Stop::error("what was done in a network namespace panicked");
        self.work.send(Box::new(work)).map_err(|_| panicked())?;
        self.done.recv().map_err(|_| panicked())?
    }

    /// Returns the id of the thread in the namespace, by which the kernel identifies the namespace.
    pub(crate) fn thread(&self) -> Pid {
        self.thread
    }
}

/// Returns the reason why there is no namespace. A process that may not create one is in a container, even as root, and
/// no kernel is at fault.
fn not_made(errno: Errno) -> Stop {
    match errno {
        Errno::EPERM => Stop::skip("the environment forbids root to make network namespaces (CAP_SYS_ADMIN)"),
        _ => Stop::fail(format!("making a network namespace: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_namespaces_skip_and_other_errors_blame_nobody() {
        assert!(matches!(not_made(Errno::EPERM), Stop::Skip { .. }));
        assert!(matches!(not_made(Errno::EINVAL), Stop::Fail { blames: None, .. }));
    }
}
