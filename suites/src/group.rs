//! A control group of a test's, of version 2 or 1, for processes of a test's, and limits that hold in it.

use crate::check::{Check, Doing as _, Stop};
use crate::child::OwnProcess;
use crate::ensure;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// Where a guest has its groups, and a host those of version 2.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// What a group of version 2 is told of the controllers of those below it.
const BELOW: &str = "cgroup.subtree_control";
/// How often, and how long apart, the kernel is asked to remove a group.
const TRIES: u32 = 50;
const A_MOMENT: Duration = Duration::from_millis(20);
/// How long a group may take to freeze, and how long it is looked at then.
const FREEZING: Duration = Duration::from_secs(20);
const STILL: Duration = Duration::from_millis(200);
/// A tenth of a CPU: microseconds of each period.
pub(crate) const TENTH: (&str, &str) = ("10000", "100000");
/// Memory of a group, and what a process takes in it, MiB.
const MEMORY: u64 = 32;
const MORE: &str = "96";

/// A control group of a test's, removed when dropped.
pub(crate) struct Group {
    version: Version,
    /// Of each controller its folder; version 2 has one for all of them.
    folders: Vec<(&'static str, PathBuf)>,
    /// Of the root of version 2, the controllers that were not enabled for groups before.
    enabled: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// The controllers that groups of version 2 can have.
    pub(crate) fn controllers() -> Result<String, Stop> {
        fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).doing("reading cgroup.controllers")
    }

    /// One of version 2 below the root, with these controllers, without processes.
    pub(crate) fn new(controllers: &[&'static str]) -> Result<Group, Stop> {
        Group::named("kata-qualify", controllers)
    }

    /// The same, by another name.
    pub(crate) fn named(name: &str, controllers: &[&'static str]) -> Result<Group, Stop> {
        let root = Path::new(ROOT);
        let there = fs::read_to_string(root.join(BELOW)).doing(format!("reading {BELOW}"))?;
        let mut group = Group { version: Version::Two, folders: Vec::new(), enabled: Vec::new() };
        for controller in controllers {
            fs::write(root.join(BELOW), format!("+{controller}")).map_err(|e| not_enabled(controller, &e))?;
            if !there.split_whitespace().any(|known| known == *controller) {
                group.enabled.push(*controller);
            }
        }
        let path = root.join(name);
        let _ = fs::remove_dir(&path);
        fs::create_dir(&path).doing("making a control group")?;
        group.folders.push(("cgroup", path));
        Ok(group)
    }

    /// One of version 1 below these controllers' own roots, without processes.
    pub(crate) fn of_version_1(name: &str, roots: &[(&'static str, PathBuf)]) -> Result<Group, Stop> {
        let mut group = Group { version: Version::One, folders: Vec::new(), enabled: Vec::new() };
        for (controller, root) in roots {
            let folder = root.join(name);
            // Controllers may be mounted together.
            if group.folders.iter().all(|(_, made)| *made != folder) {
                let _ = fs::remove_dir(&folder);
                fs::create_dir(&folder).doing(format!("making a control group of {controller}"))?;
            }
            group.folders.push((*controller, folder));
            if *controller == "cpuset" {
                // A new one may use nothing.
                for file in ["cpuset.mems", "cpuset.cpus"] {
                    let all = fs::read_to_string(root.join(file)).doing(format!("reading {file}"))?;
                    group.set(file, all.trim())?;
                }
            }
        }
        Ok(group)
    }

    /// Its folder, opened: what programs are attached to.
    pub(crate) fn open(&self) -> Result<fs::File, Stop> {
        let folder = self.folders.first().map(|(_, folder)| folder.as_path()).unwrap_or(Path::new(ROOT));
        fs::File::open(folder).doing("opening a control group")
    }

    /// Writes to one of its files.
    pub(crate) fn set(&self, file: &str, value: &str) -> Check {
        fs::write(self.path(file), value).doing(format!("writing {value:?} to {file} of a control group"))
    }

    /// What one of its files says.
    pub(crate) fn get(&self, file: &str) -> Result<String, Stop> {
        let text = fs::read_to_string(self.path(file)).doing(format!("reading {file} of a control group"))?;
        Ok(text.trim().to_owned())
    }

    /// The number behind a key in one of its files.
    pub(crate) fn counted(&self, file: &str, key: &str) -> Result<u64, Stop> {
        let text = self.get(file)?;
        let count = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        count.ok_or_else(|| Stop::fail(format!("{file} of a control group has no {key}: {text}")))
    }

    /// Runs a task in it, in a process of its own; how it ended, and what it said.
    pub(crate) fn run(&self, task: &[&str]) -> Result<(ExitStatus, String), Stop> {
        let process = OwnProcess::start(task)?;
        self.take(process.pid())?;
        process.finish()
    }

    /// Moves a process with all its threads to it.
    pub(crate) fn take(&self, pid: u32) -> Check {
        self.folders.iter().try_for_each(|(_, folder)| {
            fs::write(folder.join("cgroup.procs"), pid.to_string()).doing("moving a process to a control group")
        })
    }

    /// Runs a task in it that must succeed.
    pub(crate) fn holds(&self, task: &[&str], what: &str) -> Check {
        let (status, said) = self.run(task)?;
        ensure!(status.success(), "{what}: {status}: {said}");
        Ok(())
    }

    /// A file of the controller that its name begins with.
    fn path(&self, file: &str) -> PathBuf {
        let controller = file.split('.').next().unwrap_or_default();
        let of_it = self.folders.iter().find(|(known, _)| *known == controller).or(self.folders.first());
        of_it.map(|(_, folder)| folder.join(file)).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (_, folder) in &self.folders {
            remove(folder);
        }
        // What others have begun to use stays: the kernel refuses.
        for controller in &self.enabled {
            let _ = fs::write(Path::new(ROOT).join(BELOW), format!("-{controller}"));
        }
    }
}

/// Removes a group: a process that has been killed leaves it a moment later than it is waited for.
fn remove(folder: &Path) {
    for _ in 0..TRIES {
        if fs::remove_dir(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::sleep(A_MOMENT);
    }
}

/// A controller that cannot be enabled for groups below the root. Processes beside them are in the way in a group only, which
/// what is seen as the root is in a container.
fn not_enabled(controller: &str, e: &io::Error) -> Stop {
    match e.raw_os_error() {
        Some(libc::EBUSY) => Stop::skip(format!(
            "the environment's control groups begin in a group with processes, which keeps {controller} from others"
        )),
        _ => Stop::fail(format!("enabling {controller}: {e}")),
    }
}

/// Limits of containers that can be seen to hold.
impl Group {
    /// No more processes than allowed can be made.
    pub(crate) fn limits_processes(&self) -> Check {
        self.set("pids.max", "1")?;
        self.holds(&["fork"], "a process in a group with pids.max 1")?;
        self.set("pids.max", "max")
    }

    /// Who takes more memory than allowed is killed, and that is counted.
    pub(crate) fn limits_memory(&self) -> Check {
        self.may_take(Some(MEMORY << 20))?;
        let (status, said) = self.run(&["fill", MORE])?;
        ensure!(
            status.signal() == Some(9),
            "a process that took {MORE} MiB in a group of {MEMORY} ended with {status}: {said}"
        );
        ensure!(self.kills()? > 0, "a process was killed in a group of {MEMORY} MiB, and the group counts none");
        self.may_take(None)
    }

    /// Limits its memory, bytes, or lifts the limit.
    pub(crate) fn may_take(&self, bytes: Option<u64>) -> Check {
        let (limit, none, swap) = match self.version {
            Version::One => ("memory.limit_in_bytes", "-1", ("memory.swappiness", "0")),
            Version::Two => ("memory.max", "max", ("memory.swap.max", "0")),
        };
        // What is swapped out is not taken; a kernel without swap has no such file.
        if self.path(swap.0).exists() {
            self.set(swap.0, swap.1)?;
        }
        self.set(limit, &bytes.map_or_else(|| none.to_owned(), |bytes| bytes.to_string()))
    }

    /// How much memory its processes have taken, bytes.
    pub(crate) fn taken(&self) -> Result<u64, Stop> {
        let file = if self.version == Version::One { "memory.usage_in_bytes" } else { "memory.current" };
        let text = self.get(file)?;
        text.parse().map_err(|_| Stop::fail(format!("{file} of a control group is {text:?}")))
    }

    /// How many of its processes were killed because they took more memory than allowed.
    pub(crate) fn kills(&self) -> Result<u64, Stop> {
        self.counted(if self.version == Version::One { "memory.oom_control" } else { "memory.events" }, "oom_kill")
    }

    /// Who works more than allowed is throttled, and that is counted.
    pub(crate) fn limits_cpu_time(&self) -> Check {
        self.may_work(Some(TENTH))?;
        self.holds(&["spin", "600"], "a process in a group with a tenth of a CPU")?;
        let throttled = self.throttled()?;
        ensure!(throttled > 0, "a process worked for 600 ms in a group with a tenth of a CPU and was never throttled");
        self.may_work(None)
    }

    /// Limits its CPU time, microseconds of each period of so many, or lifts the limit.
    pub(crate) fn may_work(&self, limit: Option<(&str, &str)>) -> Check {
        match (self.version, limit) {
            (Version::One, Some((time, period))) => {
                self.set("cpu.cfs_period_us", period)?;
                self.set("cpu.cfs_quota_us", time)
            }
            (Version::One, None) => self.set("cpu.cfs_quota_us", "-1"),
            (Version::Two, Some((time, period))) => self.set("cpu.max", &format!("{time} {period}")),
            (Version::Two, None) => self.set("cpu.max", "max"),
        }
    }

    /// In how many periods its processes wanted more CPU time than allowed.
    pub(crate) fn throttled(&self) -> Result<u64, Stop> {
        self.counted("cpu.stat", "nr_throttled")
    }

    /// Processes of it stand still from when it is frozen until it is thawed; a group of version 2.
    pub(crate) fn freezes(&self) -> Check {
        let process = OwnProcess::start(&["spin", "100"])?;
        self.take(process.pid())?;
        self.set("cgroup.freeze", "1")?;
        let (stood_still, ended) = std::thread::scope(|scope| {
            // It would work as soon as it is waited for.
            let ended = scope.spawn(move || process.finish());
            let stood_still = self.stands_still().and_then(|()| {
                ensure!(!ended.is_finished(), "a process of a group that is frozen has worked to its end");
                Ok(())
            });
            // What stays frozen never ends.
            let thawed = self.set("cgroup.freeze", "0");
            (stood_still.and(thawed), ended.join())
        });
        stood_still?;
        let (status, said) = ended.map_err(|_| Stop::error("a thread of the test's has panicked"))??;
        ensure!(status.success(), "a process of a group that was thawed: {status}: {said}");
        Ok(())
    }

    /// A group that was told to freeze says that it has, and uses no CPU time.
    fn stands_still(&self) -> Check {
        let end = Instant::now() + FREEZING;
        while self.counted("cgroup.events", "frozen")? == 0 {
            ensure!(Instant::now() < end, "a group was frozen, and is not within {} s", FREEZING.as_secs());
            std::thread::sleep(A_MOMENT);
        }
        let before = self.counted("cpu.stat", "usage_usec")?;
        std::thread::sleep(STILL);
        let used = self.counted("cpu.stat", "usage_usec")?.saturating_sub(before);
        ensure!(used == 0, "a group is frozen, and its processes worked for {used} us");
        Ok(())
    }

    /// A process is on this CPU, and may be on no other one.
    pub(crate) fn binds_to(&self, cpu: usize) -> Check {
        let cpu = cpu.to_string();
        self.set("cpuset.cpus", &cpu)?;
        if self.version == Version::Two {
            let bound = self.get("cpuset.cpus.effective")?;
            ensure!(bound == cpu, "a group was bound to CPU {cpu}, cpuset.cpus.effective is {bound:?}");
        }
        self.holds(&["bound", &cpu], &format!("a process in a group that is bound to CPU {cpu}"))
    }
}

/// Makes a group of version 2 that is bound to a CPU, and looks from within it.
///
/// # Errors
/// What the kernel says, or what is not as it was asked for.
pub fn bind_to(cpu: usize) -> io::Result<()> {
    let bound = Group::new(&["cpuset"]).and_then(|group| group.binds_to(cpu));
    bound.map_err(|stop| io::Error::other(stop.words()))
}
