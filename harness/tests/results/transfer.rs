use crate::generated_run::run_command;
use model::procfs;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn invalid_image_exports_and_imports_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.tar.zst"), "x").unwrap();
    let sum = "0".repeat(64);
    for (arguments, code, why) in [
        (&["export", "debian:13"][..], 2, "debian:13: no image in the cache "),
        (&["export", "debain"], 2, "did you mean `debian`?"),
        (&["import", "x.tar.zst"], 2, "x.tar.zst: expected a local file with the checksum"),
        (&["import", "x.tar.zst#12"], 2, "`12` is not a checksum"),
        (&["import", &format!("https://images.example/x#{sum}")], 2, "expected a local file"),
        (&["import", &format!("x.tar.zst#{sum}")], 3, "it is a different file, or was damaged"),
        (&["import"], 2, "<FILE#CHECKSUM>..."),
    ] {
        let output = run_command(dir.path(), &[&["images"], arguments].concat());
        assert!(output.code == Some(code) && output.stderr.contains(why), "{arguments:?}: {}", output.stderr);
    }
    assert!(!dir.path().join("cache").exists(), "nothing was made");
}

/// The imported file takes long to read: it has only zeros and needs no space on the disk.
#[test]
fn an_interrupted_import_ends_soon_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::File::create(dir.path().join("x.tar.zst")).unwrap().set_len(1 << 36).unwrap();
    let cache = dir.path().join("cache");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kata-qualify"))
        .args(["images", "import", &format!("x.tar.zst#{}", "0".repeat(64))])
        .current_dir(dir.path())
        .env("KATA_QUALIFY_CACHE", &cache)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !catches(&std::fs::read_to_string(&status).unwrap(), Signal::INT) {
        assert!(Instant::now() < deadline, "it never listens for signals");
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => break child.kill().map(|()| None).unwrap(),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("x.tar.zst: interrupted, not imported"), "{stderr}");
    assert!(!cache.exists(), "nothing was made");
}

/// Returns whether a process has a handler for a signal, from its `/proc/PID/status` (proc_pid_status(5)).
fn catches(status: &str, signal: Signal) -> bool {
    let caught = procfs::status(status, "SigCgt").unwrap_or_default();
    u64::from_str_radix(caught, 16).unwrap_or(0) >> (signal.as_raw() - 1) & 1 == 1
}
