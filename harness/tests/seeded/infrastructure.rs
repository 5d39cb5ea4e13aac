//! Faults of the harness's infrastructure: mirrors, disks, the container engine, memory, the clock.

use super::corpus::{Event, MirrorFault};
use crate::command::{kata_qualify, run_id_once_a_guest_started, run_to_end, wait_for};
use harness::environments::container::RUN_LABEL;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An address at which nothing listens.
pub(crate) const NO_MIRROR: &str = "http://127.0.0.1:1/debian";

/// Time limit for the start of a guest, long enough to bootstrap an image first.
const UNTIL_A_GUEST_RUNS: Duration = Duration::from_secs(1500);

/// Returns options that use this machine's own mirrors through a server that answers wrongly.
pub(crate) fn mirrors(fault: MirrorFault) -> Vec<String> {
    let target = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let output = run_to_end(Command::new("apt-get").args(target)).stdout;
    let all: Vec<&str> =
        output.lines().map(|uri| uri.trim_end_matches('/')).filter(|uri| uri.contains("debian")).collect();
    let (security, main): (Vec<&str>, Vec<&str>) = all.into_iter().partition(|uri| uri.ends_with("-security"));
    let main = main.first().unwrap_or_else(|| panic!("this machine's apt names no mirror of Debian"));
    let security = security.first().map(|uri| format!("--security-mirror={}", serve(uri, fault)));
    std::iter::once(format!("--mirror={}", serve(main, fault))).chain(security).collect()
}

/// Forwards requests to another address until this process ends, with the fault; returns the server's address.
fn serve(upstream: &str, fault: MirrorFault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = upstream.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let upstream = upstream.clone();
            std::thread::spawn(move || answer(&stream, &upstream, fault));
        }
    });
    format!("http://{address}")
}

/// Answers all requests of a connection.
fn answer(mut stream: &TcpStream, upstream: &str, fault: MirrorFault) {
    let mut requests = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if requests.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body = faulty_answer(path, fault, || fetch(&format!("{upstream}{path}")));
        let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
        let body = body.unwrap_or_default();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

/// Fetches an address, with this machine's proxy settings.
fn fetch(address: &str) -> Option<Vec<u8>> {
    let output = Command::new("curl").args(["-fsSL", "--max-time", "120", address]).output().unwrap();
    output.status.success().then_some(output.stdout)
}

/// Returns the answer for a path; `None` is "not found".
pub(crate) fn faulty_answer(
    path: &str,
    fault: MirrorFault,
    fetch_unchanged: impl FnOnce() -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let is_package = path.ends_with(".deb");
    let is_index = path.ends_with("/InRelease") || path.ends_with("/Release");
    let is_list = path.contains("/by-hash/") || path.contains("/Packages");
    match fault {
        MirrorFault::NoPackages if is_package => None,
        MirrorFault::OtherPackages if is_package => fetch_unchanged().map(change_byte),
        MirrorFault::OtherIndex if is_index => fetch_unchanged().map(change_byte),
        MirrorFault::OtherLists if is_list => fetch_unchanged().map(change_byte),
        _ => fetch_unchanged(),
    }
}

/// Changes one of the bytes.
fn change_byte(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes
}

/// A proxy of Docker's socket that can hang up for good.
pub(crate) struct DockerProxy {
    /// The socket.
    socket: PathBuf,
    is_closed: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl DockerProxy {
    /// Creates a proxy whose socket is in this directory.
    pub(crate) fn new(folder: &Path) -> DockerProxy {
        let real = std::env::var("DOCKER_HOST").ok().and_then(|host| Some(host.strip_prefix("unix://")?.to_owned()));
        let real = real.unwrap_or_else(|| "/var/run/docker.sock".to_owned());
        let proxy = DockerProxy { socket: folder.join("docker.sock"), is_closed: Arc::default(), open: Arc::default() };
        let listener = UnixListener::bind(&proxy.socket).unwrap();
        let (is_closed, open) = (Arc::clone(&proxy.is_closed), Arc::clone(&proxy.open));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&real) else { continue };
                model::sync::locked(&open).extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        proxy
    }

    /// Returns the value for `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Closes all connections and answers no more.
    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        for stream in model::sync::locked(&self.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Runs a command whose output is in `out` of the directory, and triggers the event when its first guest has started.
pub(crate) fn run_during(folder: &Path, arguments: &[String], event: Event) {
    let proxy = DockerProxy::new(folder);
    let mut command = kata_qualify(folder);
    command.args(arguments).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    if event == Event::EngineGone {
        command.env("DOCKER_HOST", proxy.host());
    }
    let mut child = command.spawn().unwrap();
    let run = wait_for("a guest that was started", UNTIL_A_GUEST_RUNS, || {
        // A run that ended early is recognised by the missing results.
        match child.try_wait().unwrap() {
            Some(_) => Ok(None),
            None => run_id_once_a_guest_started(&folder.join("out/journal.jsonl")).map(Some),
        }
    });
    if let Some(run) = run {
        trigger(event, &run, &proxy);
    }
    child.wait().unwrap();
    if event == Event::EngineGone {
        // Remove everything that the run could not.
        let _ = run_to_end(kata_qualify(folder).arg("clean"));
    }
}

fn trigger(event: Event, run: &str, proxy: &DockerProxy) {
    let filter = format!("label={RUN_LABEL}={run}");
    let listed = run_to_end(Command::new("docker").args(["ps", "--quiet", "--filter", &filter]));
    let containers: Vec<&str> = listed.stdout.lines().collect();
    assert!(!containers.is_empty(), "the run has no container: {}", listed.stderr);
    let docker = |words: &[&str]| {
        let output = run_to_end(Command::new("docker").args(words).args(&containers));
        assert_eq!(output.code, Some(0), "docker {words:?}: {}", output.stderr);
    };
    match event {
        Event::EngineGone => proxy.close(),
        Event::ContainerKilled => docker(&["kill"]),
        Event::OutOfMemory => docker(&["update", "--memory", "64m", "--memory-swap", "64m"]),
    }
}

/// Compiles a library for `LD_PRELOAD` that makes a program's clock jump.
pub(crate) fn clock_library(folder: &Path, seconds: i64) -> PathBuf {
    let text = format!(
        "#define _GNU_SOURCE\n\
         #include <sys/syscall.h>\n\
         #include <time.h>\n\
         #include <unistd.h>\n\
         static time_t first;\n\
         int clock_gettime(clockid_t clock, struct timespec *now) {{\n\
             int failed = syscall(SYS_clock_gettime, clock, now);\n\
             if (failed || clock != CLOCK_REALTIME) return failed;\n\
             if (!first) first = now->tv_sec;\n\
             if (now->tv_sec >= first + 3) now->tv_sec += {seconds};\n\
             return 0;\n\
         }}\n"
    );
    let library = folder.join("clock.so");
    std::fs::write(&library, super::library(&text)).unwrap();
    library
}
