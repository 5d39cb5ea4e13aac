//! A control group of a guest's, version 2, for processes of a test's.

use crate::check::{Check, Doing as _, Stop};
use crate::child::OwnProcess;
use crate::ensure;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the guest has its groups.
const ROOT: &str = "/sys/fs/cgroup";

/// A control group of a test's, removed when dropped.
pub(super) struct Group(PathBuf);

impl Group {
    /// The controllers that groups can have.
    pub(super) fn controllers() -> Result<String, Stop> {
        fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).doing("reading cgroup.controllers")
    }

    /// One with these controllers, without processes.
    pub(super) fn new(controllers: &[&str]) -> Result<Group, Stop> {
        let root = Path::new(ROOT);
        for controller in controllers {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
                .doing(format!("enabling {controller}"))?;
        }
        let path = root.join("kata-qualify");
        let _ = fs::remove_dir(&path);
        fs::create_dir(&path).doing("making a control group")?;
        Ok(Group(path))
    }

    /// Writes to one of its files.
    pub(super) fn set(&self, file: &str, value: &str) -> Check {
        fs::write(self.0.join(file), value).doing(format!("writing {value:?} to {file} of a control group"))
    }

    /// What one of its files says.
    pub(super) fn get(&self, file: &str) -> Result<String, Stop> {
        let text = fs::read_to_string(self.0.join(file)).doing(format!("reading {file} of a control group"))?;
        Ok(text.trim().to_owned())
    }

    /// The number behind a key in one of its files.
    pub(super) fn counted(&self, file: &str, key: &str) -> Result<u64, Stop> {
        let text = self.get(file)?;
        let count = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        count.ok_or_else(|| Stop::fail(format!("{file} of a control group has no {key}: {text}")))
    }

    /// Runs a task in it, in a process of its own; how it ended, and what it said.
    pub(super) fn run(&self, task: &[&str]) -> Result<(std::process::ExitStatus, String), Stop> {
        let process = OwnProcess::start(task)?;
        self.set("cgroup.procs", &process.pid().to_string())?;
        process.finish()
    }

    /// Runs a task in it that must succeed.
    pub(super) fn holds(&self, task: &[&str], what: &str) -> Check {
        let (status, said) = self.run(task)?;
        ensure!(status.success(), "{what}: {status}: {said}");
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
