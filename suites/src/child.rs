//! Steps of a guest test that a process cannot undo, run in a process of their own: new namespaces, a seccomp filter,
//! too much memory.
//!
//! That process runs the agent's own binary, because the guest has no other program.
#![expect(unsafe_code, reason = "seccomp and unshare of every kind have no safe interface")]

use crate::check::{Check, Doing as _, Stop};
use model::procfs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The first argument that makes the agent's binary act as a child process.
pub const ROLE: &str = "child";
/// The errno with which the seccomp filter refuses a call: ENODATA, which getppid(2) never returns by itself.
const REFUSED: i32 = libc::ENODATA;

/// A child process of a test; it waits until it may begin.
pub struct OwnProcess(Child);

impl OwnProcess {
    /// Starts the agent's binary in the child role; the child does nothing before [`OwnProcess::finish`].
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(task: &[&str]) -> Result<OwnProcess, Stop> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(ROLE).args(task).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(OwnProcess).map_err(|e| Stop::error(format!("starting a process of the test's: {e}")))
    }

    /// Returns the child's process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Lets the child begin and waits for its end; returns its exit status and its output.
    ///
    /// # Errors
    /// When the child cannot be waited for.
    pub fn finish(mut self) -> Result<(ExitStatus, String), Stop> {
        drop(self.0.stdin.take());
        let output =
            self.0.wait_with_output().map_err(|e| Stop::error(format!("waiting for the test's process: {e}")))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status, String::from_utf8_lossy(&text).trim().to_owned()))
    }
}

/// Runs a task in a child process; `doing` begins the message of a failure.
///
/// # Errors
/// A failure with the child's output.
pub fn run(task: &[&str], doing: &str) -> Check {
    let (status, output) = OwnProcess::start(task)?.finish()?;
    if status.success() { Ok(()) } else { Err(Stop::fail(format!("{doing}: {status}: {output}"))) }
}

/// Runs the child's side from start to end; `task` holds the arguments after [`ROLE`].
pub fn live(task: &[String]) -> ExitCode {
    // The test may first move the child, for example into a control group; it then closes the child's standard input.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let words: Vec<&str> = task.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["unshare", name] => unshare(name),
        ["first"] => first(),
        ["refused"] => refused(),
        ["killed"] => killed(),
        ["fork"] => fork(),
        ["fill", mib] => fill(mib),
        ["spin", millis] => spin(millis),
        [way @ ("read" | "write"), disk, mib] => transfer(way, disk, mib),
        ["bound", cpu] => bound(cpu),
        ["device", way, path] => device(way, path),
        _ => Err(Stop::error(format!("no such task: {words:?}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            let _ = writeln!(std::io::stderr(), "{}", stop.words());
            ExitCode::FAILURE
        }
    }
}

/// The name of each namespace below `/proc/self/ns`, and its flag for unshare(2).
pub const NAMESPACES: &[(&str, i32)] = &[
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("ipc", libc::CLONE_NEWIPC),
    ("mnt", libc::CLONE_NEWNS),
    ("net", libc::CLONE_NEWNET),
    ("pid", libc::CLONE_NEWPID),
    ("user", libc::CLONE_NEWUSER),
    ("uts", libc::CLONE_NEWUTS),
];
/// The host name inside the UTS namespace that a test creates.
pub const INNER_NAME: &str = "kata-qualify-inside";
/// The mount point that a test uses inside the mount namespace that it creates.
pub const INNER_MOUNT: &str = "/scratch/inside";

/// Leaves a namespace and checks that the new one is isolated.
fn unshare(name: &str) -> Check {
    let (_, flag) = NAMESPACES
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Stop::error(format!("there is no namespace {name:?}")))?;
    // A new PID namespace applies to the children of the process that created it.
    let link =
        if name == "pid" { "/proc/self/ns/pid_for_children".to_owned() } else { format!("/proc/self/ns/{name}") };
    let before = std::fs::read_link(&link).doing(format!("reading {link}"))?;
    // SAFETY: this process has one thread and has opened nothing that the namespaces could take from it.
    if unsafe { libc::unshare(*flag) } != 0 {
        return Err(Stop::fail(format!("unshare: {}", std::io::Error::last_os_error())));
    }
    // `pid_for_children` cannot be read before the first child exists.
    if name != "pid" {
        let after = std::fs::read_link(&link).doing(format!("reading {link}"))?;
        crate::ensure!(before != after, "{link} is {} before and after", before.display());
    }
    match name {
        "pid" => run(&["first"], "starting the first process of a PID namespace"),
        "uts" => {
            rustix::system::sethostname(INNER_NAME.as_bytes()).doing("setting the host name")?;
            let seen = rustix::system::uname().nodename().to_string_lossy().into_owned();
            crate::ensure!(seen == INNER_NAME, "the host name was set, and is {seen:?}");
            Ok(())
        }
        "mnt" => {
            use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
                .doing("making mounts private")?;
            std::fs::create_dir_all(INNER_MOUNT).doing("making a folder")?;
            mount("tmpfs", INNER_MOUNT, "tmpfs", MountFlags::empty(), c"mode=0755").doing("mounting a tmpfs")?;
            std::fs::write(format!("{INNER_MOUNT}/file"), "inside").doing("writing into it")
        }
        "net" => {
            let devices = std::fs::read_to_string("/proc/self/net/dev").doing("reading /proc/self/net/dev")?;
            let names: Vec<&str> = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
            // Built-in tunnels appear in every new namespace; interfaces with hardware do not.
            let hardware = names.iter().find(|name| Path::new("/sys/class/net").join(name).join("device").exists());
            crate::ensure!(names.contains(&"lo"), "a new network namespace has the interfaces {names:?}, and no lo");
            crate::ensure!(hardware.is_none(), "a new network namespace has the guest's own interface {hardware:?}");
            Ok(())
        }
        "user" => {
            let unmapped = rustix::process::getuid().as_raw();
            crate::ensure!(unmapped != 0, "in a new user namespace without a map the user is still 0");
            std::fs::write("/proc/self/uid_map", "0 0 1").doing("writing the map of users")?;
            let mapped = rustix::process::getuid().as_raw();
            crate::ensure!(mapped == 0, "user 0 was mapped to 0, and is {mapped}");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn first() -> Check {
    let number = std::process::id();
    crate::ensure!(number == 1, "the first process of a PID namespace has number {number} in it");
    Ok(())
}

/// Installs a filter that answers getppid(2) with `action` and lets everything else through.
fn filter(action: u32) -> Check {
    let number = u32::try_from(libc::SYS_getppid).map_err(|e| Stop::error(e.to_string()))?;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The call's number is the first field of `struct seccomp_data`.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, action),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    rustix::thread::set_no_new_privs(true).doing("giving up new privileges")?;
    // SAFETY: the kernel copies the program, which lives until the call returns.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) };
    if done != 0 {
        return Err(Stop::fail(format!("installing a filter: {}", std::io::Error::last_os_error())));
    }
    Ok(())
}

/// Calls getppid(2) without the C library; returns its result, or the errno.
fn parent() -> Result<i64, i32> {
    // SAFETY: the call takes no argument and touches no memory.
    let answer = unsafe { libc::syscall(libc::SYS_getppid) };
    if answer < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(answer) }
}

fn refused() -> Check {
    crate::ensure!(parent().is_ok(), "getppid fails without a filter: {:?}", parent());
    filter(libc::SECCOMP_RET_ERRNO | REFUSED.unsigned_abs())?;
    crate::ensure!(
        parent() == Err(REFUSED),
        "the filter refuses getppid with {REFUSED}, and it answers {:?}",
        parent()
    );
    let status = std::fs::read_to_string("/proc/self/status").doing("reading /proc/self/status under the filter")?;
    let mode = procfs::status(&status, "Seccomp").unwrap_or_default();
    crate::ensure!(mode == "2", "with a filter the kernel says Seccomp: {mode:?}");
    Ok(())
}

fn killed() -> Check {
    filter(libc::SECCOMP_RET_KILL_PROCESS)?;
    Err(Stop::fail(format!("the filter kills who calls getppid, and it answers {:?}", parent())))
}

/// Succeeds if no other process can be created.
fn fork() -> Check {
    match Command::new("/proc/self/exe").args([ROLE, "first"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn() {
        Ok(mut child) => {
            let _ = child.wait();
            Err(Stop::fail("a second process was made"))
        }
        Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
        Err(e) => Err(Stop::fail(format!("making a second process: {e}"))),
    }
}

/// Allocates memory and touches it.
fn fill(mib: &str) -> Check {
    let mib: usize = mib.parse().map_err(|_| Stop::error(format!("{mib:?} is no number of MiB")))?;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for number in 0..mib {
        taken.push(vec![(number % 251) as u8 + 1; 1 << 20]);
    }
    let same = taken.iter().enumerate().filter(|(number, bytes)| bytes[4096] == (number % 251) as u8 + 1).count();
    crate::ensure!(same == mib, "of {mib} MiB, {same} kept what was written");
    Ok(())
}

/// Reads from a disk or writes to it in pieces, bypassing the page cache.
fn transfer(way: &str, disk: &str, mib: &str) -> Check {
    use std::os::unix::fs::OpenOptionsExt as _;
    const PIECE: usize = 64 << 10;
    // Direct I/O needs buffers that are aligned to a block.
    const BLOCK: usize = 4096;
    let mib: usize = mib.parse().map_err(|_| Stop::error(format!("{mib:?} is no number of MiB")))?;
    let (reads, mut options) = (way == "read", std::fs::OpenOptions::new());
    let opened = options.read(reads).write(!reads).custom_flags(libc::O_DIRECT).open(disk);
    let mut disk = opened.doing("opening a disk")?;
    let mut buffer = vec![0x5a_u8; PIECE + BLOCK];
    let begin = buffer.as_ptr().align_offset(BLOCK);
    let piece = buffer.get_mut(begin..begin + PIECE).ok_or_else(|| Stop::error("memory that cannot be aligned"))?;
    let mut one = || if reads { disk.read_exact(piece) } else { disk.write_all(piece) };
    (0..mib * (1 << 20) / PIECE).try_for_each(|_| one()).doing(format!("a {way} of a disk"))
}

/// Opens a device, or creates a node with its numbers, and prints the kernel's answer: 0, or the errno.
fn device(way: &str, path: &str) -> Check {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::fs::MetadataExt as _;
    let done = match way {
        "read" => std::fs::File::open(path).map(drop),
        "write" => std::fs::File::options().write(true).open(path).map(drop),
        "make" => {
            let number = std::fs::metadata(path).doing(format!("looking at {path}"))?.rdev();
            let node = std::env::temp_dir().join(format!("kata-qualify-node-{}", std::process::id()));
            let made = mknodat(CWD, &node, FileType::CharacterDevice, Mode::RUSR, number);
            let _ = std::fs::remove_file(&node);
            made.map_err(std::io::Error::from)
        }
        _ => return Err(Stop::error(format!("nothing is done with a device by {way:?}"))),
    };
    let code = done.err().map_or(0, |e| e.raw_os_error().unwrap_or(-1));
    write!(std::io::stdout(), "{code}").doing("writing what the kernel answers")
}

/// Succeeds if the process runs on this CPU and cannot leave it.
fn bound(cpu: &str) -> Check {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
    let cpu: usize = cpu.parse().map_err(|_| Stop::error(format!("{cpu:?} is no number of a CPU")))?;
    let allowed = || sched_getaffinity(None).doing("asking on which CPUs it may be");
    let numbers = |set: &CpuSet| (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number)).collect::<Vec<_>>();
    let seen = numbers(&allowed()?);
    crate::ensure!(seen == [cpu], "it may be on the CPUs {seen:?}");
    spin("20")?;
    let on = sched_getcpu();
    crate::ensure!(on == cpu, "it is on CPU {on}");
    // Asking for all CPUs does not add another one.
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|number| all.set(number));
    sched_setaffinity(None, &all).doing("asking for all CPUs")?;
    let seen = numbers(&allowed()?);
    crate::ensure!(seen == [cpu], "it has asked for all CPUs, and may be on {seen:?}");
    Ok(())
}

/// Keeps the CPU busy for this long by the clock.
fn spin(millis: &str) -> Check {
    let millis: u64 = millis.parse().map_err(|_| Stop::error(format!("{millis:?} is no number of milliseconds")))?;
    let end = Instant::now() + Duration::from_millis(millis);
    let mut sum = 0_u64;
    while Instant::now() < end {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
    }
    Ok(())
}
