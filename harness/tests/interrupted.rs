//! An interrupted run ends, whatever hangs in it: needs neither Docker nor root.
//!
//! It runs on this machine itself, whose package manager is asked for versions first, and is one here that never answers.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod command;

use command::{PROGRAM, results, skip, wait_for};
use harness::run::CLEANING;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Says its process id, and is that process for as long as any test takes.
const NEVER: &str = "#!/bin/sh\necho $$ > \"$HANGS.new\"\nmv \"$HANGS.new\" \"$HANGS\"\nexec sleep 900\n";

/// A run that hangs.
struct Hanging {
    child: Child,
    dir: tempfile::TempDir,
}

impl Hanging {
    /// Nothing where no record is of this machine's release.
    fn start(test: &str) -> Option<Hanging> {
        let dir = tempfile::tempdir().unwrap();
        let programs = dir.path().join("programs");
        fs::create_dir(&programs).unwrap();
        let asked = programs.join("dpkg-query");
        fs::write(&asked, NEVER).unwrap();
        fs::set_permissions(&asked, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(PROGRAM)
            .args(["run", "--in", "host", "--cache", "cache", "--out", "out"])
            .current_dir(dir.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("HANGS", dir.path().join("hangs"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let mut run = Hanging { child, dir };
        let ended = wait_for("the package manager to be asked", Duration::from_secs(120), || {
            match (run.child.try_wait().unwrap(), run.hangs().exists()) {
                (None, false) => Err(run.said()),
                (ended, _) => Ok(ended),
            }
        });
        match ended {
            None => Some(run),
            Some(_) if run.said().contains("this machine") => {
                skip(test, &run.said());
                None
            }
            Some(status) => panic!("{status}: {}", run.said()),
        }
    }

    fn hangs(&self) -> PathBuf {
        self.dir.path().join("hangs")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn signal_and_wait_for(&self, signal: Signal, word: &str) {
        self.signal(signal);
        wait_for(word, Duration::from_secs(30), || {
            let said = self.said();
            if said.contains(word) { Ok(()) } else { Err(said) }
        });
    }

    fn end(&mut self, within: Duration) -> ExitStatus {
        let said = self.dir.path().join("said");
        wait_for("the run to end", within, || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err(fs::read_to_string(&said).unwrap()),
        })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let hanging = fs::read_to_string(self.hangs()).unwrap_or_default();
        if let Some(pid) = hanging.trim().parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    for signals in [[Signal::INT, Signal::INT], [Signal::TERM, Signal::INT], [Signal::INT, Signal::TERM]] {
        let Some(mut run) = Hanging::start("a_second_signal_ends_a_run_at_once") else { return };
        run.signal_and_wait_for(signals[0], "cleaning up");
        assert!(run.child.try_wait().unwrap().is_none(), "it does not clean up: {}", run.said());
        run.signal(signals[1]);
        assert_eq!(run.end(CLEANING / 3).code(), Some(130), "{}", run.said());
        // What is left is swept as after `kill -9`: nobody holds its lock.
        let cache = run.dir.path().join("cache");
        let clean = command::end(Command::new(PROGRAM).arg("clean").arg("--cache").arg(&cache));
        assert_eq!(clean.code, Some(0), "{}", clean.stderr);
        assert_eq!(locks(&cache), 0);
    }
}

#[test]
fn a_cleanup_that_never_ends_is_given_up() {
    let Some(mut run) = Hanging::start("a_cleanup_that_never_ends_is_given_up") else { return };
    run.signal_and_wait_for(Signal::TERM, "cleaning up");
    let status = run.end(CLEANING + Duration::from_secs(60));
    let said = run.said();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("is given up") && said.contains("`kata-qualify clean`"), "{said}");
    let out = run.dir.path().join("out");
    assert_eq!(results(&out)["ending"], "interrupted");
    assert!(out.join("junit.xml").exists());
    assert_eq!(locks(&run.dir.path().join("cache")), 0);
}

fn locks(cache: &Path) -> usize {
    fs::read_dir(cache.join("runs")).map_or(0, Iterator::count)
}
