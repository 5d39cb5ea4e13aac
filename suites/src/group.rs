//! A control group of a test, of version 2 or 1, for the test's processes, and checks that its limits hold.

use crate::check::{Check, Doing as _, Stop};
use crate::child::OwnProcess;
use crate::ensure;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The root of a guest's groups, and of a host's groups of version 2.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// The file of a version 2 group with the controllers of its child groups.
const BELOW: &str = "cgroup.subtree_control";
/// How often the kernel is asked to remove a group, and the pause in between.
const TRIES: u32 = 50;
const A_MOMENT: Duration = Duration::from_millis(20);
/// How long a group may take to freeze, and how long it is then observed.
const FREEZING: Duration = Duration::from_secs(20);
const STILL: Duration = Duration::from_millis(200);
/// A tenth of a CPU: microseconds of each period.
pub(crate) const TENTH: (&str, &str) = ("10000", "100000");
/// The memory limit of a group, and the memory that a process allocates in it, MiB.
const MEMORY: u64 = 32;
const MORE: &str = "96";

/// A control group of a test; dropping it removes the group.
pub(crate) struct Group {
    version: Version,
    /// The directory of each controller; with version 2, all have the same one.
    folders: Vec<(&'static str, PathBuf)>,
    /// The controllers that this test enabled below the root of version 2.
    enabled: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// Returns the controllers that groups of version 2 can have.
    pub(crate) fn controllers() -> Result<String, Stop> {
        fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).doing("reading cgroup.controllers")
    }

    /// Creates a version 2 group without processes below the root, with these controllers.
    pub(crate) fn new(controllers: &[&'static str]) -> Result<Group, Stop> {
        Group::named("kata-qualify", controllers)
    }

    /// Creates a version 2 group with this name.
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

    /// Creates a version 1 group without processes below these controllers' own roots.
    pub(crate) fn of_version_1(name: &str, roots: &[(&'static str, PathBuf)]) -> Result<Group, Stop> {
        let mut group = Group { version: Version::One, folders: Vec::new(), enabled: Vec::new() };
        for (controller, root) in roots {
            let folder = root.join(name);
            // Several controllers may be mounted together.
            if group.folders.iter().all(|(_, made)| *made != folder) {
                let _ = fs::remove_dir(&folder);
                fs::create_dir(&folder).doing(format!("making a control group of {controller}"))?;
            }
            group.folders.push((*controller, folder));
            if *controller == "cpuset" {
                // A new cpuset group has no CPUs and no memory nodes.
                for file in ["cpuset.mems", "cpuset.cpus"] {
                    let all = fs::read_to_string(root.join(file)).doing(format!("reading {file}"))?;
                    group.set(file, all.trim())?;
                }
            }
        }
        Ok(group)
    }

    /// Opens the group's directory, to which programs are attached.
    pub(crate) fn open(&self) -> Result<fs::File, Stop> {
        let folder = self.folders.first().map(|(_, folder)| folder.as_path()).unwrap_or(Path::new(ROOT));
        fs::File::open(folder).doing("opening a control group")
    }

    /// Writes to one of the group's files.
    pub(crate) fn set(&self, file: &str, value: &str) -> Check {
        fs::write(self.path(file), value).doing(format!("writing {value:?} to {file} of a control group"))
    }

    /// Reads one of the group's files.
    pub(crate) fn get(&self, file: &str) -> Result<String, Stop> {
        let text = fs::read_to_string(self.path(file)).doing(format!("reading {file} of a control group"))?;
        Ok(text.trim().to_owned())
    }

    /// Returns the number after a key in one of the group's files.
    pub(crate) fn counted(&self, file: &str, key: &str) -> Result<u64, Stop> {
        let text = self.get(file)?;
        let count = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        count.ok_or_else(|| Stop::fail(format!("{file} of a control group has no {key}: {text}")))
    }

    /// Runs a task in the group, in a child process; returns its exit status and output.
    pub(crate) fn run(&self, task: &[&str]) -> Result<(ExitStatus, String), Stop> {
        let process = OwnProcess::start(task)?;
        self.take(process.pid())?;
        process.finish()
    }

    /// Moves a process with all its threads into the group.
    pub(crate) fn take(&self, pid: u32) -> Check {
        self.folders.iter().try_for_each(|(_, folder)| {
            fs::write(folder.join("cgroup.procs"), pid.to_string()).doing("moving a process to a control group")
        })
    }

    /// Runs a task in the group that must succeed.
    pub(crate) fn holds(&self, task: &[&str], what: &str) -> Check {
        let (status, output) = self.run(task)?;
        ensure!(status.success(), "{what}: {status}: {output}");
        Ok(())
    }

    /// Returns the path of a file in the directory of the controller that the file's name begins with.
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
        // A controller that others have started to use stays enabled, because the kernel refuses this.
        for controller in &self.enabled {
            let _ = fs::write(Path::new(ROOT).join(BELOW), format!("-{controller}"));
        }
    }
}

/// Removes a group, with retries: a killed process leaves its group a moment after it was waited for.
fn remove(folder: &Path) {
    for _ in 0..TRIES {
        if fs::remove_dir(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::sleep(A_MOMENT);
    }
}

/// Returns the stop for a controller that cannot be enabled for groups below the root. Only processes in the parent
/// group prevent that, and only if that is no real root, as in a container.
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
    /// Checks that no more processes than allowed can be created.
    pub(crate) fn limits_processes(&self) -> Check {
        self.set("pids.max", "1")?;
        self.holds(&["fork"], "a process in a group with pids.max 1")?;
        self.set("pids.max", "max")
    }

    /// Checks that a process that takes more memory than allowed is killed, and that the kill is counted.
    pub(crate) fn limits_memory(&self) -> Check {
        self.may_take(Some(MEMORY << 20))?;
        let (status, output) = self.run(&["fill", MORE])?;
        ensure!(
            status.signal() == Some(9),
            "a process that took {MORE} MiB in a group of {MEMORY} ended with {status}: {output}"
        );
        ensure!(self.kills()? > 0, "a process was killed in a group of {MEMORY} MiB, and the group counts none");
        self.may_take(None)
    }

    /// Sets the group's memory limit, bytes, or removes it.
    pub(crate) fn may_take(&self, bytes: Option<u64>) -> Check {
        let (limit, none, swap) = match self.version {
            Version::One => ("memory.limit_in_bytes", "-1", ("memory.swappiness", "0")),
            Version::Two => ("memory.max", "max", ("memory.swap.max", "0")),
        };
        // Swapped-out memory does not count, so limit swap, too; a kernel without swap has no such file.
        if self.path(swap.0).exists() {
            self.set(swap.0, swap.1)?;
        }
        self.set(limit, &bytes.map_or_else(|| none.to_owned(), |bytes| bytes.to_string()))
    }

    /// Returns the memory that the group's processes use, bytes.
    pub(crate) fn taken(&self) -> Result<u64, Stop> {
        let file = if self.version == Version::One { "memory.usage_in_bytes" } else { "memory.current" };
        let text = self.get(file)?;
        text.parse().map_err(|_| Stop::fail(format!("{file} of a control group is {text:?}")))
    }

    /// Returns how many of the group's processes were killed because they took more memory than allowed.
    pub(crate) fn kills(&self) -> Result<u64, Stop> {
        self.counted(if self.version == Version::One { "memory.oom_control" } else { "memory.events" }, "oom_kill")
    }

    /// Checks that a process that uses more CPU time than allowed is throttled, and that this is counted.
    pub(crate) fn limits_cpu_time(&self) -> Check {
        self.may_work(Some(TENTH))?;
        self.holds(&["spin", "600"], "a process in a group with a tenth of a CPU")?;
        let throttled = self.throttled()?;
        ensure!(throttled > 0, "a process worked for 600 ms in a group with a tenth of a CPU and was never throttled");
        self.may_work(None)
    }

    /// Sets the group's CPU time, as microseconds and period, or removes the limit.
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

    /// Returns the number of periods in which the group's processes wanted more CPU time than allowed.
    pub(crate) fn throttled(&self) -> Result<u64, Stop> {
        self.counted("cpu.stat", "nr_throttled")
    }

    /// Checks that the processes of a version 2 group stand still from the freeze until the thaw.
    pub(crate) fn freezes(&self) -> Check {
        let process = OwnProcess::start(&["spin", "100"])?;
        self.take(process.pid())?;
        self.set("cgroup.freeze", "1")?;
        let (stood_still, ended) = std::thread::scope(|scope| {
            // The process would start to work as soon as it is waited for.
            let ended = scope.spawn(move || process.finish());
            let stood_still = self.stands_still().and_then(|()| {
                ensure!(!ended.is_finished(), "a process of a group that is frozen has worked to its end");
                Ok(())
            });
            // Thaw in any case: a frozen process never ends.
            let thawed = self.set("cgroup.freeze", "0");
            (stood_still.and(thawed), ended.join())
        });
        stood_still?;
        let (status, output) = ended.map_err(|_| Stop::error("a thread of the test's has panicked"))??;
        ensure!(status.success(), "a process of a group that was thawed: {status}: {output}");
        Ok(())
    }

    /// Checks that a group that was told to freeze reports so, and uses no CPU time.
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

    /// Checks that a process runs on this CPU and cannot leave it.
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

/// Creates a version 2 group that is bound to a CPU, and checks the binding from within.
///
/// # Errors
/// The kernel's error, or a description of the difference.
pub fn bind_to(cpu: usize) -> io::Result<()> {
    let bound = Group::new(&["cpuset"]).and_then(|group| group.binds_to(cpu));
    bound.map_err(|stop| io::Error::other(stop.words()))
}
