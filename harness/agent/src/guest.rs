//! PID 1 of a guest: mounts the kernel's filesystems, loads modules, and serves requests over a virtio-serial port, or
//! over vsock if the kernel's command line says so.

mod device_mapper;
pub mod disk;
mod line;
pub(crate) mod modules;
mod oops;
mod root;

use crate::body::{caught, in_fresh_directory};
use crate::launch::deadlines;
use crate::port::Port;
use crate::{process, server};
use protocol::message::{GuestReply, GuestRequest, SHARE};
use qemu::deviation::RPC_PORT;
use rustix::mount::{MountFlags, mount};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use suites::catalogue::{self, Body};
use suites::check::{Check, Stop};
use suites::environment::{Answer, Effort, Question};
use suites::filesystem::{self, Site};
use suites::vsock;

/// Directory of the guest's own, for files that must not be on the share.
pub const SCRATCH: &str = "/scratch";

/// Brings the guest up and serves until its line closes; then powers off.
///
/// # Errors
/// If something could not be mounted, loaded or opened; the caller prints the error on the console and the guest powers
/// off.
pub fn run() -> io::Result<()> {
    mount_kernel_filesystems()?;
    for name in listed("/modules/boot") {
        modules::load(&name)?;
    }
    match line::by_vsock()? {
        Some(stream) => {
            let output = stream.try_clone()?;
            server::serve(stream, output, "guest", handle)?;
        }
        None => {
            let port = open_port()?;
            let output = port.try_clone()?;
            server::serve(port, output, "guest", handle)?;
        }
    }
    power_off()
}

/// Opens the harness's port; a late port is reported on the console, for the harness if it gives up.
fn open_port() -> io::Result<Port> {
    Port::open(RPC_PORT, deadlines::PORT_IS_LATE).or_else(|late| {
        eprintln!("kata-qualify-agent: {late}; it is still waited for");
        Port::open(RPC_PORT, deadlines::PORT)
    })
}

fn mount_kernel_filesystems() -> io::Result<()> {
    let none = c"";
    for (source, target, fstype, options) in [
        ("proc", "/proc", "proc", none),
        ("sysfs", "/sys", "sysfs", none),
        ("devtmpfs", "/dev", "devtmpfs", none),
        ("tmpfs", "/run", "tmpfs", c"mode=0755"),
        ("tmpfs", SCRATCH, "tmpfs", c"mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", "cgroup2", none),
    ] {
        fs::create_dir_all(target).or_else(|e| if Path::new(target).is_dir() { Ok(()) } else { Err(e) })?;
        match mount(source, target, fstype, MountFlags::empty(), options) {
            Ok(()) => {}
            // A kernel without cgroup v2 boots nevertheless; the test of cgroup v2 reports it.
            Err(_) if fstype == "cgroup2" => {}
            Err(rustix::io::Errno::BUSY) => {}
            Err(e) => return Err(io::Error::other(format!("mounting {fstype} on {target}: {e}"))),
        }
    }
    for dir in [SHARE, "/dev/shm", "/dev/pts", "/tmp"] {
        fs::create_dir_all(dir)?;
    }
    Ok(())
}

/// Returns the non-empty lines of a list in the initramfs; a missing list is empty.
fn listed(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

fn handle(request: GuestRequest) -> GuestReply {
    let done = match request {
        GuestRequest::LoadModules { names } => names.iter().try_for_each(|name| modules::load(name)),
        GuestRequest::Mount { source, fstype, options, target, within } => {
            mount_share(&source, &fstype, &options, &target, within)
        }
        GuestRequest::PutFile { path, mode, bytes } => put_file(&path, mode, &bytes.0),
        GuestRequest::Archive { disk, to } => {
            return match disk::archive(&disk, Path::new(&to)) {
                Ok(disk::Archived { bytes, from }) => GuestReply::Archived { bytes, from },
                Err(e) => GuestReply::Failed { message: e.to_string() },
            };
        }
        GuestRequest::Run { test, effort } => return GuestReply::Ran { stop: run_body(&test, effort).err() },
        GuestRequest::Act { action } => {
            return match filesystem::perform(Path::new(SHARE), &action) {
                Ok(reply) => GuestReply::Acted { reply },
                Err(e) => GuestReply::Failed { message: e.to_string() },
            };
        }
        GuestRequest::Ask { question } => return GuestReply::Answered { answer: answer(question) },
    };
    match done {
        Ok(()) => GuestReply::Done,
        Err(e) => GuestReply::Failed { message: e.to_string() },
    }
}

fn mount_share(source: &str, fstype: &str, options: &str, target: &str, within: Duration) -> io::Result<()> {
    fs::create_dir_all(target)?;
    wait_for_device(source, within);
    let options = std::ffi::CString::new(options)?;
    mount(source, target, fstype, MountFlags::NODEV, options.as_c_str())
        .map_err(|e| io::Error::other(format!("mounting {source} on {target} as {fstype}: {e}")))
}

/// Waits for a device: a disk appears a moment after its driver, and can be opened a moment later; a source that is no
/// path is a tag and needs no waiting.
fn wait_for_device(source: &str, within: Duration) {
    let end = Instant::now() + within;
    while source.starts_with('/') && File::open(source).is_err() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn put_file(path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = Path::new(path).parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Runs a guest body in a fresh directory of the share.
fn run_body(id: &str, effort: Effort) -> Check {
    let test = catalogue::find(id).ok_or_else(|| Stop::error(format!("the guest's agent knows no test {id}")))?;
    let body = match catalogue::body(test) {
        Some(Body::Guest(body) | Body::BesideNative(body)) => body,
        Some(Body::Inside(body)) => return caught(body),
        _ => return Err(Stop::error(format!("{id} does not run inside a guest"))),
    };
    let root = PathBuf::from(SHARE);
    let small = Some(root.join("small")).filter(|s| s.is_dir());
    // In the initramfs, if the harness has sent them.
    let [pjdfstest, fsx] = ["/pjdfstest", "/fsx"].map(|path| Some(PathBuf::from(path)).filter(|path| path.exists()));
    in_fresh_directory(&root, |dir| {
        let (root, scratch) = (root.clone(), PathBuf::from(SCRATCH));
        body(&Site { dir, small, root, share: test.share, pjdfstest, fsx, run: process::run, scratch, effort })
    })
}

fn answer(question: Question) -> Answer {
    let answered = match question {
        Question::Read { path } => read_capped(&path).map(|text| Answer::Text { text }),
        Question::ReadPart { path, offset, bytes } => read_part(&path, offset, bytes).map(|text| Answer::Text { text }),
        Question::Write { path, text } => {
            let opened = fs::OpenOptions::new().write(true).open(&path);
            opened.and_then(|mut file| file.write_all(text.as_bytes())).map(|()| Answer::Done)
        }
        Question::ReadMapped { path } => {
            let bytes = filesystem::read_mapped(&path, 1 << 20);
            bytes.map(|bytes| Answer::Text { text: String::from_utf8_lossy(&bytes).into_owned() })
        }
        Question::MountRoot { target } => root::mount(Path::new(&target)).map(|()| Answer::Done),
        Question::SwitchRoot { root, program } => Err(root::switch(Path::new(&root), &program)),
        Question::MapDevice { create } => device_mapper::create(&create).map(|()| Answer::Done),
        Question::VsockEcho { port } => vsock::listen_on(port).map(vsock::echo).map(|()| Answer::Done),
        Question::VsockDial { port, bytes } => vsock::connect(vsock::HOST, port)
            .and_then(|stream| vsock::exchange(stream, bytes))
            .map(|count| Answer::Count { count }),
        Question::WriteDisk { device, bytes } => suites::disk::write(&device, bytes).map(|text| Answer::Text { text }),
        Question::Discard { device, offset, bytes } => {
            suites::disk::discard(&device, offset, bytes).map(|()| Answer::Done)
        }
        Question::Packets { interface, traffic, count } => {
            suites::packets::exchange(&interface, traffic, count).map(|count| Answer::Count { count })
        }
        Question::PacketsFrom { cpu, interface, traffic, count } => {
            bound_to(cpu, move || suites::packets::exchange(&interface, traffic, count))
                .map(|count| Answer::Count { count })
        }
        Question::TouchMemory { mib } => {
            touch(mib);
            Ok(Answer::Done)
        }
        Question::Time { device } => time_of(device.as_deref()).map(|text| Answer::Text { text }),
        Question::WorkOnEachCpu => work_on_each_cpu().map(|cpus| Answer::Cpus { cpus }),
        Question::BindToCpu { cpu } => suites::group::bind_to(cpu).map(|()| Answer::Done),
        Question::PowerOff => power_off().map(|()| Answer::Done),
        Question::List { path } => names_in(&path).map(|names| Answer::Names { names }),
        Question::Spin => load_poisoned(oops::SPIN).map(|()| Answer::Done),
        Question::Oops => load_poisoned(oops::OOPS).map(|()| Answer::Done),
    };
    answered.unwrap_or_else(|e| Answer::Failed { message: e.to_string() })
}

/// Allocates memory, writes to each page of it, and frees it.
fn touch(mib: u32) {
    let mut memory = vec![0_u8; (mib as usize) << 20];
    for page in memory.chunks_mut(4096) {
        // Not zero, because the host might detect pages of zeros.
        page[0] = 0xa5;
    }
    std::hint::black_box(&memory);
}

/// Returns the nanoseconds since 1970 according to a clock device, or to the kernel's own clock.
fn time_of(device: Option<&str>) -> io::Result<String> {
    use rustix::time::{ClockId, DynamicClockId, clock_gettime_dynamic};
    let opened = device.map(File::open).transpose()?;
    let clock = match &opened {
        Some(file) => DynamicClockId::Dynamic(file.as_fd()),
        None => DynamicClockId::Known(ClockId::Realtime),
    };
    let time = clock_gettime_dynamic(clock)?;
    Ok((i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)).to_string())
}

/// Binds a thread to each possible CPU, works there, and returns the CPUs on which a thread ran.
fn work_on_each_cpu() -> io::Result<Vec<usize>> {
    let possible = fs::read_dir("/sys/devices/system/cpu")?.flatten();
    let number = |name: &str| name.strip_prefix("cpu")?.parse::<usize>().ok();
    let mut cpus: Vec<usize> = possible.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    cpus.sort_unstable();
    let works = |cpu: usize| {
        std::thread::spawn(move || {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            // Binding to an offline CPU fails.
            rustix::thread::sched_setaffinity(None, &set).ok()?;
            let sum = (0..1_000_000_u64).fold(0, |sum, n| std::hint::black_box(n ^ sum));
            (rustix::thread::sched_getcpu() == cpu && sum != 1).then_some(cpu)
        })
    };
    let threads: Vec<_> = cpus.into_iter().map(works).collect();
    Ok(threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect())
}

/// Runs something in a thread that is bound to a CPU.
fn bound_to<T: Send + 'static>(cpu: u32, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let bound = std::thread::spawn(move || -> io::Result<T> {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu as usize);
        rustix::thread::sched_setaffinity(None, &set)?;
        work()
    });
    bound.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the guest's agent has panicked")))
}

fn read_capped(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    suites::disk::opened(path, File::options().read(true))?.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a part of a file or disk, at most 1 MiB of it.
fn read_part(path: &str, offset: u64, bytes: u32) -> io::Result<String> {
    use std::os::unix::fs::FileExt as _;
    let mut part = vec![0; (bytes as usize).min(1 << 20)];
    suites::disk::opened(path, File::options().read(true))?.read_exact_at(&mut part, offset)?;
    Ok(String::from_utf8_lossy(&part).into_owned())
}

/// Returns the names in a directory, sorted; invalid UTF-8 is replaced.
fn names_in(path: &str) -> io::Result<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(path)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn power_off() -> io::Result<()> {
    rustix::fs::sync();
    Ok(rustix::system::reboot(rustix::system::RebootCommand::PowerOff)?)
}

/// Loads a module whose initialisation begins with these instructions, made from a module of the initramfs that is not
/// loaded yet.
fn load_poisoned(instructions: &[u8]) -> io::Result<()> {
    let file = modules::file_of("virtio_blk")?;
    let poisoned = oops::poisoned(&fs::read(file)?, instructions).map_err(io::Error::other)?;
    let path = Path::new(SCRATCH).join("poisoned.ko");
    fs::write(&path, poisoned)?;
    modules::insert(&path)
}
