//! A package's script that tries all known ways out of the sandbox, and reports the result of each.
//!
//! The script runs this test program itself, packed into the package, because a minimal tree has few tools.
#![expect(unsafe_code, reason = "what is tried has no safe interface")]

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Paths of the program and its input in the package; name of the report that it writes.
pub(crate) const PROGRAM: &str = "usr/share/candidate/hostile";
pub(crate) const KNOWLEDGE: &str = "usr/share/candidate/told";
pub(crate) const REPORT: &str = "hostile-report";

/// Knowledge of the machine that an attacker could have.
pub(crate) struct Knowledge {
    /// A file outside the tree, on the same filesystem.
    pub(crate) secret: String,
    /// File handles of the secret, and of the machine's root.
    pub(crate) handles: Vec<Handle>,
    /// Device of the filesystem that has both.
    pub(crate) device: (u32, u32),
    /// A port of the machine's loopback, and an abstract socket, both with a listener.
    pub(crate) port: u16,
    pub(crate) socket: String,
}

/// A file handle in the kernel's format.
#[repr(C)]
#[derive(Clone)]
pub(crate) struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

impl Handle {
    pub(crate) fn of(path: &Path) -> io::Result<Handle> {
        let path = CString::new(path.to_str().unwrap_or_default())?;
        let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
        let mut mount = 0;
        // SAFETY: all three live through the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                path.as_ptr(),
                &raw mut handle,
                &raw mut mount,
                0,
            )
        };
        if done == 0 { Ok(handle) } else { Err(io::Error::last_os_error()) }
    }

    fn open(&self, anchor: i32) -> io::Result<()> {
        // SAFETY: the handle lives through the call.
        match unsafe { libc::syscall(libc::SYS_open_by_handle_at, anchor, self, libc::O_RDONLY | libc::O_NONBLOCK) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl Knowledge {
    pub(crate) fn text(&self) -> String {
        let mut text =
            format!("{}\n{} {}\n{}\n{}\n", self.secret, self.device.0, self.device.1, self.port, self.socket);
        for handle in &self.handles {
            let bytes = &handle.data[..handle.bytes as usize];
            let _ = writeln!(text, "{} {}", handle.kind, model::hex::hex(bytes));
        }
        text
    }

    fn read() -> Knowledge {
        let text = std::fs::read_to_string(Path::new("/").join(KNOWLEDGE)).unwrap();
        let mut lines = text.lines();
        let mut next = || lines.next().unwrap().to_owned();
        let secret = next();
        let device = next();
        let (major, minor) = device.split_once(' ').unwrap();
        let device = (major.parse().unwrap(), minor.parse().unwrap());
        let (port, socket) = (next().parse().unwrap(), next());
        let handle = |line: &str| {
            let (kind, hex) = line.split_once(' ').unwrap();
            let mut data = [0; 128];
            let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap());
            let length = data.iter_mut().zip(bytes).map(|(to, from)| *to = from).count();
            Handle { bytes: u32::try_from(length).unwrap(), kind: kind.parse().unwrap(), data }
        };
        let handles = lines.map(handle).collect();
        Knowledge { secret, handles, device, port, socket }
    }
}

/// Results of the attempts, one per line.
struct Attempts(String);

impl Attempts {
    fn record<T>(&mut self, what: &str, result: io::Result<T>) {
        let _ = match result {
            Ok(_) => writeln!(self.0, "SUCCEEDED {what}"),
            Err(e) => writeln!(self.0, "refused {what}: {e}"),
        };
    }
}

/// Makes all attempts; to be run as root of the tree.
pub(crate) fn attack() {
    let knowledge = Knowledge::read();
    let mut attempts = Attempts(String::new());
    devices(&mut attempts, knowledge.device);
    mounts(&mut attempts);
    handles(&mut attempts, &knowledge.handles);
    processes(&mut attempts, &knowledge.secret);
    network(&mut attempts, &knowledge);
    keys(&mut attempts);
    settings(&mut attempts);
    // The last attempt, because it changes the meaning of `/`.
    attempts.record("chroot and fchdir", climb(&knowledge.secret));
    print!("{}", attempts.0);
}

fn make_node(path: &str, kind: u32, (major, minor): (u32, u32)) -> io::Result<()> {
    let name = CString::new(path)?;
    let _ = std::fs::remove_file(path);
    // SAFETY: the path lives through the call.
    match unsafe { libc::mknod(name.as_ptr(), kind | 0o600, libc::makedev(major, minor)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open(path: &str) -> io::Result<()> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map(drop)
}

fn devices(attempts: &mut Attempts, disk: (u32, u32)) {
    for (path, kind, numbers) in
        [("/disk", libc::S_IFBLK, disk), ("/memory", libc::S_IFCHR, (1, 1)), ("/terminal", libc::S_IFCHR, (5, 0))]
    {
        attempts.record(&format!("making a node {path}"), make_node(path, kind, numbers));
        attempts.record(&format!("opening the node {path}"), open(path));
    }
    attempts.record("opening the terminal", open("/dev/tty"));
}

fn mount(from: &str, to: &str, kind: &str, flags: libc::c_ulong) -> io::Result<()> {
    let [from, to, kind] = [from, to, kind].map(|text| CString::new(text).unwrap());
    // SAFETY: all of them live through the call.
    match unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn mounts(attempts: &mut Attempts) {
    std::fs::create_dir_all("/hostile-mount").unwrap();
    let target = "/hostile-mount";
    for kind in ["ext4", "xfs", "btrfs"] {
        attempts.record(&format!("mounting the disk as {kind}"), mount("/disk", target, kind, libc::MS_RDONLY));
    }
    for kind in ["devtmpfs", "sysfs", "cgroup", "debugfs", "securityfs", "tracefs"] {
        attempts.record(&format!("mounting {kind}"), mount("none", target, kind, libc::MS_RDONLY));
    }
    // The kernel lets everybody read the cgroup filesystem, and its owner change it.
    match mount("none", target, "cgroup2", 0) {
        Ok(()) => {
            let group = format!("{target}/kata-qualify-hostile-{}", std::process::id());
            attempts.record("making a control group", std::fs::create_dir(&group));
            let _ = std::fs::remove_dir(&group);
            let procs = OpenOptions::new().write(true).open(format!("{target}/cgroup.procs"));
            attempts.record("moving to another control group", procs);
        }
        refused => attempts.record("mounting cgroup2", refused),
    }
    let bare = ["/dev/null", "/dev/tty", "/dev/console"];
    let name = CString::new("/dev").unwrap();
    // SAFETY: the name lives through the call.
    if unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) } == 0 {
        for node in bare {
            attempts.record(&format!("opening the tree's own {node}"), open(node));
        }
        attempts.record(
            "mounting the tree again, with devices",
            mount("none", "/", "none", libc::MS_REMOUNT | libc::MS_BIND),
        );
        for node in bare {
            attempts.record(&format!("opening the tree's own {node} after that"), open(node));
        }
    }
}

fn handles(attempts: &mut Attempts, handles: &[Handle]) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    // A directory that is only a chroot is not in the list of mounts.
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(4)).chain(["/"]) {
        let Ok(anchor) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(place) else { continue };
        for (handle, what) in handles.iter().zip(["a file", "the root"]) {
            let opened = handle.open(anchor.as_raw_fd());
            attempts.record(&format!("opening {what} of the machine by its handle, over {place}"), opened);
        }
    }
}

fn processes(attempts: &mut Attempts, secret: &str) {
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        for link in ["root", "cwd"] {
            attempts
                .record(&format!("the machine through /proc/{id}/{link}"), open(&format!("/proc/{id}/{link}{secret}")));
        }
    }
    attempts.record("the machine by its own name", open(secret));
    for file in ["mem", "environ", "maps", "fd/3", "map_files"] {
        attempts.record(
            &format!("/proc/1/{file}"),
            std::fs::read_link(format!("/proc/1/{file}")).map(drop).or_else(|_| open(&format!("/proc/1/{file}"))),
        );
    }
    // SAFETY: no memory is involved.
    let traced = match unsafe { libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    attempts.record("tracing process 1", traced);
}

fn network(attempts: &mut Attempts, knowledge: &Knowledge) {
    let wait = Duration::from_secs(2);
    let tcp = |address: String| TcpStream::connect_timeout(&address.parse::<SocketAddr>().unwrap(), wait);
    attempts.record("the machine's loopback", tcp(format!("127.0.0.1:{}", knowledge.port)));
    attempts.record("an address outside", tcp("192.0.2.1:80".to_owned()));
    for path in ["/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"] {
        attempts.record(&format!("the engine's {path}"), UnixStream::connect(path));
    }
    let name = std::os::unix::net::SocketAddr::from_abstract_name(&knowledge.socket).unwrap();
    attempts.record("an abstract socket", UnixStream::connect_addr(&name));
    // SAFETY: no memory is involved.
    attempts.record(
        "a vsock socket, which no network namespace keeps in",
        answer(|| unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0).into() }),
    );
}

/// Keys belong to the caller's session, regardless of namespaces; -3 is the session keyring, and operation 0 returns
/// its number.
fn keys(attempts: &mut Attempts) {
    // SAFETY: no memory is involved.
    attempts.record("the caller's keys", answer(|| unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) }));
}

/// Returns the result of a system call.
fn answer(call: impl FnOnce() -> libc::c_long) -> io::Result<()> {
    if call() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn settings(attempts: &mut Attempts) {
    let write = |path: &str| OpenOptions::new().write(true).open(path).map(drop);
    for name in ["kernel/core_pattern", "kernel/modprobe", "kernel/panic", "vm/drop_caches", "fs/file-max"] {
        attempts.record(&format!("writing to sysctl {name}"), write(&format!("/proc/sys/{name}")));
    }
    attempts.record("writing to /proc/sysrq-trigger", write("/proc/sysrq-trigger"));
    // SAFETY: nothing is to be read, and nobody gets as far.
    let module = unsafe { libc::syscall(libc::SYS_init_module, std::ptr::null::<u8>(), 0_usize, c"".as_ptr()) };
    let error = io::Error::last_os_error();
    // A process that may load modules gets an error about the invalid module.
    let looked_at = [libc::EFAULT, libc::EINVAL, libc::ENOEXEC].map(Some).contains(&error.raw_os_error());
    attempts.record("loading a module", if module != 0 && !looked_at { Err(error) } else { Ok(()) });
}

/// Leaves chroot(2) by a descriptor that was opened before.
fn climb(secret: &str) -> io::Result<()> {
    let top = std::fs::File::open("/")?;
    std::fs::create_dir_all("/hostile-mount")?;
    std::os::unix::fs::chroot("/hostile-mount")?;
    rustix::process::fchdir(&top)?;
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    std::os::unix::fs::chroot(".")?;
    open(secret)
}
