//! The probe: the only program in the test's containers. It acts according to its arguments and reports its
//! observations.
//!
//! Results go to standard output; a refused system call is reported there by its symbolic name, with exit code 1.

use model::procfs;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use suites::containers::{DiskFacts, FileFacts, PROBE, ProbeFacts, TerminalSize, pattern};

/// First line of a container that has finished its preparations.
pub const READY: &str = "ready";
/// The exit code of `handle` after SIGTERM.
const HANDLED: u8 = 33;

/// Returns whether the program was started as the probe, by its name.
pub fn is_wanted() -> bool {
    std::env::args().next().is_some_and(|name| name == PROBE)
}

/// Environment variable that makes the probe stay for so many milliseconds after its last output.
pub const LINGER: &str = "KATA_QUALIFY_LINGER";

/// Acts according to the arguments.
pub fn run() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let code = match act(&words) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            println!("{}: {e}", name_of(&e));
            ExitCode::FAILURE
        }
    };
    if let Some(milliseconds) = std::env::var(LINGER).ok().and_then(|value| value.parse().ok()) {
        // Without a reader of the output there is no reason to wait.
        let _ = io::stdout().flush();
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    code
}

fn act(words: &[&str]) -> io::Result<u8> {
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    match *words {
        ["exit", code] => return code.parse().map_err(io::Error::other),
        ["cat", length] => cat(number(length)?)?,
        ["flood", length] => flood(number(length)?)?,
        ["facts"] => println!("{}", serde_json::to_string(&facts()?)?),
        ["stat", path] => println!("{}", serde_json::to_string(&file_facts(Path::new(path))?)?),
        ["read", path] => io::stdout().write_all(&fs::read(path)?)?,
        ["rewrite", path, text] => {
            fs::write(path, text)?;
            io::stdout().write_all(&fs::read(path)?)?;
        }
        ["disk", path] => println!("{}", serde_json::to_string(&disk_facts(Path::new(path))?)?),
        ["head", path, length] => {
            let mut start = vec![0; number(length)?];
            fs::File::open(path)?.read_exact(&mut start)?;
            io::stdout().write_all(&start)?;
        }
        ["put", path, text] => {
            let mut disk = fs::File::options().write(true).open(path)?;
            disk.write_all(text.as_bytes())?;
            disk.sync_all()?;
        }
        ["give", path, user] => {
            fs::write(path, "")?;
            std::os::unix::fs::chown(path, Some(user.parse().map_err(io::Error::other)?), None)?;
        }
        ["allocate", path, length] => {
            let file = fs::File::create(path)?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, number(length)? as u64)?;
        }
        ["mkdir", path] => fs::create_dir(path)?,
        ["fill", path, mib] => fill(Path::new(path), number(mib)?)?,
        ["processes"] => {
            for entry in fs::read_dir("/proc")?.flatten() {
                let name = entry.file_name();
                if name.to_string_lossy().parse::<u32>().is_ok() {
                    // The file is gone if the process has ended meanwhile.
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    println!("{}", String::from_utf8_lossy(&line).replace('\0', " ").trim_end());
                }
            }
        }
        ["open", count] => {
            let requested = number(count)?;
            let opened: Vec<fs::File> = (0..requested).map_while(|_| fs::File::open(PROBE).ok()).collect();
            println!("{}", opened.len());
        }
        ["fork", count] => println!("{}", fork(number(count)?)),
        ["eat", mib] => eat(number(mib)?)?,
        ["echo"] => echo()?,
        ["stay"] => {
            ready()?;
            loop {
                std::thread::park();
            }
        }
        ["hold", mib] => {
            let held = vec![1_u8; number(mib)? << 20];
            ready()?;
            loop {
                std::hint::black_box(&held);
                std::thread::park();
            }
        }
        ["spin", milliseconds] => {
            let end = cpu_time() + Duration::from_millis(number(milliseconds)? as u64);
            while cpu_time() < end {
                std::hint::spin_loop();
            }
        }
        ["tick"] => {
            ready()?;
            loop {
                println!("tick");
                io::stdout().flush()?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        ["watch", folder] => watch(Path::new(folder))?,
        ["terminal", last] => terminal(last)?,
        ["handle"] => return handle(true),
        ["defy"] => return handle(false),
        ["serve", port] => serve(port.parse().map_err(io::Error::other)?)?,
        ["fetch", address, port] => {
            let address = format!("{address}:{port}").parse().map_err(io::Error::other)?;
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(20))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            io::copy(&mut stream, &mut io::stdout().lock())?;
        }
        _ => return Err(io::Error::other(format!("the probe cannot {}", words.join(" ")))),
    }
    Ok(0)
}

fn ready() -> io::Result<()> {
    println!("{READY}");
    io::stdout().flush()
}

/// Copies so many bytes of standard input to the output; the input need not end.
fn cat(length: usize) -> io::Result<()> {
    io::copy(&mut io::stdin().lock().take(length as u64), &mut io::stdout().lock()).map(drop)
}

/// Copies standard input to the output as it arrives.
fn echo() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut piece = [0; 4096];
    loop {
        match input.read(&mut piece)? {
            0 => return Ok(()),
            count => output.write_all(&piece[..count]).and_then(|()| output.flush())?,
        }
    }
}

/// Returns the CPU time of this process, which on a busy machine is less than the elapsed time.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Writes the pattern forwards to standard output and backwards to standard error, both at once.
fn flood(length: usize) -> io::Result<()> {
    let forwards = pattern(length);
    let mut backwards = forwards.clone();
    backwards.reverse();
    let error = std::thread::spawn(move || io::stderr().lock().write_all(&backwards));
    io::stdout().lock().write_all(&forwards)?;
    error.join().unwrap_or_else(|_| Err(io::Error::other("writing to standard error")))
}

fn facts() -> io::Result<ProbeFacts> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = |key: &str| procfs::status(&status, key).unwrap_or_default();
    let mut groups: Vec<u32> = line("Groups").split_whitespace().filter_map(|g| g.parse().ok()).collect();
    groups.sort_unstable();
    let text = |path: &str| fs::read_to_string(path).map(|t| t.trim().to_owned());
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    Ok(ProbeFacts {
        environment,
        folder: std::env::current_dir()?.to_string_lossy().into_owned(),
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
        groups,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        kernel: text("/proc/sys/kernel/osrelease")?,
        boot_id: text("/proc/sys/kernel/random/boot_id")?,
        pid: std::process::id(),
        seccomp: line("Seccomp").to_owned(),
        pids_max: limit("pids", "pids.max", "pids.max"),
        memory_max: limit("memory", "memory.max", "memory.limit_in_bytes"),
        cpu_max: limit("cpu", "cpu.max", "cpu.cfs_quota_us").map(|quota| match quota.contains(' ') {
            true => quota,
            false => format!("{quota} {}", limit("cpu", "cpu.cfs_period_us", "cpu.cfs_period_us").unwrap_or_default()),
        }),
        interfaces: interfaces(&fs::read_to_string("/proc/self/net/dev")?),
    })
}

/// Returns a limit of the probe's own control group, by cgroup v2 or v1.
fn limit(controller: &str, v2: &str, v1: &str) -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of = |controller_name: &str| {
        let group = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            names.split(',').any(|name| name == controller_name).then_some(path)
        });
        group.unwrap_or("/").trim_start_matches('/').to_owned()
    };
    let root = Path::new("/sys/fs/cgroup");
    // Its own group may be mounted at the root (a namespace or a bind mount), or the whole hierarchy.
    let candidates = [
        root.join(of("")).join(v2),
        root.join(v2),
        root.join(controller).join(of(controller)).join(v1),
        root.join(controller).join(v1),
    ];
    candidates.iter().find_map(|path| fs::read_to_string(path).ok()).map(|text| text.trim().to_owned())
}

/// Returns the names in `/proc/net/dev`, sorted.
fn interfaces(table: &str) -> Vec<String> {
    let mut names: Vec<String> =
        table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect();
    names.sort();
    names
}

fn file_facts(path: &Path) -> io::Result<FileFacts> {
    let meta = fs::symlink_metadata(path)?;
    let space = rustix::fs::statvfs(path)?;
    Ok(FileFacts {
        user: meta.uid(),
        group: meta.gid(),
        mode: meta.mode() & 0o7777,
        size: meta.size(),
        filesystem: crate::system::filesystem_of(path),
        filesystem_kib: space.f_blocks * space.f_frsize / 1024,
    })
}

fn disk_facts(path: &Path) -> io::Result<DiskFacts> {
    let meta = fs::metadata(path)?;
    if !meta.file_type().is_block_device() {
        return Err(io::Error::other(format!("{} is no disk", path.display())));
    }
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))?;
    Ok(DiskFacts { size: fs::File::open(path)?.seek(SeekFrom::End(0))?, device: device.to_string_lossy().into_owned() })
}

fn fill(path: &Path, mib: usize) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let piece = vec![b'x'; 1 << 20];
    (0..mib).try_for_each(|_| file.write_all(&piece))
}

/// Returns how many processes could be started, at most `requested`.
fn fork(requested: usize) -> usize {
    let mut children = Vec::new();
    for _ in 0..requested {
        match Command::new(PROBE).arg("stay").stdout(std::process::Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
    }
    let count = children.len();
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
    count
}

/// Uses memory, page by page, and holds it.
fn eat(mib: usize) -> io::Result<()> {
    ready()?;
    let mut held = Vec::new();
    for _ in 0..mib {
        held.push(vec![1_u8; 1 << 20]);
        std::thread::sleep(Duration::from_millis(5));
    }
    // Using the memory keeps the compiler from removing it.
    println!("{} MiB", held.iter().filter(|piece| piece.last() == Some(&1)).count());
    Ok(())
}

/// Prints inotify's events about a directory: the names of files that were created, renamed, written or removed.
fn watch(folder: &Path) -> io::Result<()> {
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    let mask = WatchFlags::CREATE | WatchFlags::CLOSE_WRITE | WatchFlags::MOVE | WatchFlags::DELETE;
    inotify::add_watch(&watch, folder, mask)?;
    ready()?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    loop {
        let event = events.next()?;
        println!("{}", event.file_name().map(|name| name.to_string_lossy()).unwrap_or_default());
        io::stdout().flush()?;
    }
}

/// Prints which of its streams are a terminal, that terminal's size, and each new size reported by SIGWINCH, up to the
/// last one.
fn terminal(last: &str) -> io::Result<()> {
    use std::io::IsTerminal as _;
    let streams = [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    println!("terminals: {}", streams.map(|is| if is { "yes" } else { "no" }).join(" "));
    // Registered before the first query, so that no change in between is missed.
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGWINCH])?;
    let say_size = || {
        let size = rustix::termios::tcgetwinsize(io::stdout())?;
        let size = TerminalSize { rows: size.ws_row, columns: size.ws_col }.to_string();
        println!("{size}");
        io::stdout().flush()?;
        Ok::<bool, io::Error>(size == last)
    };
    let mut is_last = say_size()?;
    while !is_last {
        signals.wait().for_each(drop);
        is_last = say_size()?;
    }
    Ok(())
}

/// Prints received signals; SIGTERM ends the probe if it `obeys`.
fn handle(obeys: bool) -> io::Result<u8> {
    use signal_hook::consts::{SIGTERM, SIGUSR1};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGUSR1])?;
    ready()?;
    for signal in signals.forever() {
        println!("signal {signal}");
        io::stdout().flush()?;
        if signal == SIGTERM && obeys {
            return Ok(HANDLED);
        }
    }
    Ok(0)
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    ready()?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let _ = stream.write_all(b"served");
        // Waits until the other side has closed: an early reset could overtake the bytes.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.read(&mut [0; 16]);
    }
    Ok(())
}

/// Returns the symbolic name of a system call's error, for the few that tests expect.
fn name_of(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM",
        Some(libc::ENOENT) => "ENOENT",
        Some(libc::EACCES) => "EACCES",
        Some(libc::EAGAIN) => "EAGAIN",
        Some(libc::EEXIST) => "EEXIST",
        Some(libc::ENOSPC) => "ENOSPC",
        Some(libc::EROFS) => "EROFS",
        _ => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_from_the_kernels_table() {
        let table = "Inter-|   Receive\n face |bytes\n    lo:  12 0\n  eth0: 7 0\n";
        assert_eq!(interfaces(table), ["eth0", "lo"]);
    }

    #[test]
    fn unknown_actions_exit_codes_and_errno_names_are_reported() {
        assert!(act(&["dance"]).unwrap_err().to_string().contains("cannot dance"));
        assert_eq!(act(&["exit", "7"]).unwrap(), 7);
        assert_eq!(name_of(&act(&["read", "/no/such/file"]).unwrap_err()), "ENOENT");
    }
}
