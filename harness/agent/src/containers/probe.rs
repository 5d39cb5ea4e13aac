//! The probe: the only program in the test's containers. It does what its arguments say and tells what it sees.
//!
//! Results go to standard output; a refused system call is told there by its symbolic name, with exit code 1.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use suites::containers::{FileFacts, PROBE, ProbeFacts, pattern};

/// What a container that has reached its business prints first.
pub const READY: &str = "ready";
/// The exit code of `handle` after SIGTERM.
const HANDLED: u8 = 33;

/// Whether the program was started as the probe, by its name.
pub fn is_wanted() -> bool {
    std::env::args().next().is_some_and(|name| name == PROBE)
}

/// The variable that makes the probe stay for so many milliseconds after its last words.
pub const LINGER: &str = "KATA_QUALIFY_LINGER";

/// Does what the arguments say.
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
        // Where the output goes to nobody there is nobody to wait for.
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
        ["mkdir", path] => fs::create_dir(path)?,
        ["fill", path, mib] => fill(Path::new(path), number(mib)?)?,
        ["fork", count] => println!("{}", fork(number(count)?)),
        ["eat", mib] => eat(number(mib)?)?,
        ["stay"] => {
            ready()?;
            loop {
                std::thread::park();
            }
        }
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

/// Gives so many bytes of standard input back; its end need not come.
fn cat(length: usize) -> io::Result<()> {
    io::copy(&mut io::stdin().lock().take(length as u64), &mut io::stdout().lock()).map(drop)
}

/// Half of it forwards to standard output, the other half backwards to standard error, both at once.
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
    let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default().trim().to_owned();
    let mut groups: Vec<u32> = line("Groups:").split_whitespace().filter_map(|g| g.parse().ok()).collect();
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
        seccomp: line("Seccomp:"),
        pids_max: limit("pids", "pids.max", "pids.max"),
        memory_max: limit("memory", "memory.max", "memory.limit_in_bytes"),
        cpu_max: limit("cpu", "cpu.max", "cpu.cfs_quota_us").map(|quota| match quota.contains(' ') {
            true => quota,
            false => format!("{quota} {}", limit("cpu", "cpu.cfs_period_us", "cpu.cfs_period_us").unwrap_or_default()),
        }),
        interfaces: interfaces(&fs::read_to_string("/proc/self/net/dev")?),
    })
}

/// A limit of the probe's own control group, by cgroup v2 or v1.
fn limit(controller: &str, v2: &str, v1: &str) -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of = |wanted: &str| {
        let group = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            names.split(',').any(|name| name == wanted).then_some(path)
        });
        group.unwrap_or("/").trim_start_matches('/').to_owned()
    };
    let root = Path::new("/sys/fs/cgroup");
    // The own group may be mounted at the root (a namespace or a bind mount), or the whole hierarchy.
    let candidates = [
        root.join(of("")).join(v2),
        root.join(v2),
        root.join(controller).join(of(controller)).join(v1),
        root.join(controller).join(v1),
    ];
    candidates.iter().find_map(|path| fs::read_to_string(path).ok()).map(|text| text.trim().to_owned())
}

/// The names in `/proc/net/dev`, sorted.
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

fn fill(path: &Path, mib: usize) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let piece = vec![b'x'; 1 << 20];
    (0..mib).try_for_each(|_| file.write_all(&piece))
}

/// How many processes could be started, `wanted` at most.
fn fork(wanted: usize) -> usize {
    let mut children = Vec::new();
    for _ in 0..wanted {
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
    // Something must be done with it, or it need not be there.
    println!("{} MiB", held.iter().filter(|piece| piece.last() == Some(&1)).count());
    Ok(())
}

/// Prints the signals it gets; SIGTERM ends it if it `obeys`.
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
        // Until the other side has closed: an early reset could overtake the bytes.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.read(&mut [0; 16]);
    }
    Ok(())
}

/// The symbolic name of what a system call answered, for the few that tests expect.
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
    fn it_says_what_it_cannot_do() {
        assert!(act(&["dance"]).unwrap_err().to_string().contains("cannot dance"));
        assert_eq!(act(&["exit", "7"]).unwrap(), 7);
        assert_eq!(name_of(&act(&["read", "/no/such/file"]).unwrap_err()), "ENOENT");
    }
}
