//! The VM environment on this very machine: a release is booted, and what ends it is told by its name.
//!
//! One boot under emulation takes from seconds to minutes, so the faults share what they can.
//! Root, mmdebstrap and a mirror or a warm cache are needed; without them this says SKIPPED.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails by panicking")]

use agent::protocol::{EnvironmentReply, EnvironmentRequest};
use harness::cell::ask;
use harness::setup;
use harness::vm::outer::Outer;
use harness::vm::{self, Size, Vm};
use images::{Disk, Options, prepare_disk};
use kata_osinfo::arch::Arch;
use kata_osinfo::database::Database;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Ready {
    outer: Outer,
    disk: Disk,
    folder: tempfile::TempDir,
}

fn ready(test: &str) -> Option<Ready> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED {test}: making a disk of a release needs root");
        return None;
    }
    let options = Options::new(cache());
    let database = Database::embedded();
    let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    let disk = match prepare_disk(&release, &options, &vm::files(), &|_| {}) {
        Ok(disk) => disk,
        Err(e) => {
            eprintln!("SKIPPED {test}: no disk of debian:13: {e}");
            return None;
        }
    };
    let outer = Outer::prepare(&options, &|_| {}).unwrap();
    Some(Ready { outer, disk, folder: tempfile::tempdir().unwrap() })
}

impl Ready {
    async fn boot(&self, name: &str) -> Vm {
        let size = Size { memory_mib: 1024, cpus: 1 };
        let logs = self.folder.path().join(name);
        vm::start(&self.outer, &self.disk, size, &[("agent", setup::AGENT)], &logs).await.unwrap()
    }
}

/// Writes to a file of the machine; the machine may be gone before it answers.
async fn write(vm: &Vm, path: &str, text: &str) {
    let bytes = agent::protocol::Bytes(text.as_bytes().to_vec());
    let request = EnvironmentRequest::PutFile { path: path.to_owned(), mode: 0o600, offset: 0, bytes };
    let _ = ask(&vm.line, request, 5).await;
}

async fn ends(vm: &Vm, within: Duration) -> String {
    let end = Instant::now() + within;
    loop {
        if let Some(how) = vm.ending().await {
            return how;
        }
        assert!(Instant::now() < end, "nothing was seen for {within:?}; last: {}", vm.last_words());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ends_of_a_machine_are_told_apart() {
    let Some(ready) = ready("the_ends_of_a_machine_are_told_apart") else { return };

    // Its kernel panics.
    let panics = ready.boot("panics").await;
    write(&panics, "/proc/sysrq-trigger", "c").await;
    let how = ends(&panics, Duration::from_secs(60)).await;
    assert!(how.contains("kernel panicked"), "{how}");
    panics.stop().await;

    // Its QEMU is killed from outside while it is asked something.
    let killed = ready.boot("killed").await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(killed.pid()).unwrap()).unwrap();
    let asking = {
        let line = killed.line.clone();
        tokio::spawn(async move { line.ask(EnvironmentRequest::ListArtifacts, Duration::from_secs(60)).await })
    };
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let how = ends(&killed, Duration::from_secs(30)).await;
    assert!(how.contains("signal 9"), "{how}");
    // The question ends with the machine, not with its deadline.
    let _ = tokio::time::timeout(Duration::from_secs(20), asking).await.unwrap();
    killed.stop().await;

    // A flood on the serial line costs a bounded log; then the agent in it is killed, which the unit tells.
    let flooded = ready.boot("flooded").await;
    write(&flooded, "/run/flood", "#!/bin/sh\n(sleep 1; head -c 100000000 /dev/zero | tr '\\0' x | fold -w 1000 > /dev/kmsg; exec kill -9 \"$1\") &\n")
        .await;
    let listed = ask(&flooded.line, EnvironmentRequest::ListArtifacts, 60).await.unwrap();
    assert!(matches!(listed, EnvironmentReply::Artifacts { .. }));
    let log = ready.folder.path().join("flooded/serial.log");
    assert!(std::fs::metadata(log).unwrap().len() <= agent::log::DISK_CAP + 200);
    let before = own_processes(&ready.disk);
    assert_eq!(before, 1, "one machine of this disk runs");
    flooded.stop().await;
    assert_eq!(own_processes(&ready.disk), 0, "nothing of a machine stays");
}

/// How many processes of this machine have the disk in their arguments.
fn own_processes(disk: &Disk) -> usize {
    let wanted = disk.root.to_string_lossy().into_owned();
    let mine = std::process::id();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok_and(|pid| pid != mine))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|cmdline| String::from_utf8_lossy(cmdline).contains(&wanted))
        .count()
}

fn cache() -> PathBuf {
    match std::env::var_os("KATA_QUALIFY_CACHE").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(dir).unwrap(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    }
}
