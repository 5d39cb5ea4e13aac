//! Tests that a real QEMU accepts each profile's arguments and answers QMP.
//!
//! The arguments have their deviations for TCG, so that no `/dev/kvm` and vhost are needed; the guest's processor stays
//! stopped (`-S`), because nothing boots here.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use model::arch::Arch;
use model::profile::{BlkSource, DaemonStyle, Profile};
use model::share::Share;
use qemu::apply::apply;
use qemu::deviation::Deviation;
use qemu::launch::{FdPurpose, Launch};
use qemu::qmp::{Qmp, QmpError};
use qemu::sandbox::{BlockDevice, Net, SHARE_TAG, Sandbox, SharedFilesystem, Vsock};
use qemu::{argv, virtiofsd};
use serde_json::{Value, json};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";
const DEADLINE: Duration = Duration::from_secs(60);

/// A started QEMU, killed at the end.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts QEMU with the QMP listener as its descriptor 3. A shell moves it there, because the standard library passes
/// only standard input, output and error.
fn start(launch: &Launch, dir: &Path, listener: UnixListener) -> Started {
    assert_eq!(launch.fd(FdPurpose::Qmp), Some(3));
    let opened = |read_only, how| {
        let fd = launch.fd(FdPurpose::Disk { index: 0, read_only })?;
        Some(format!("exec {fd}{how}\"$DISK\"; "))
    };
    let disk = opened(false, "<>").or_else(|| opened(true, "<")).unwrap_or_default();
    let child = Command::new("sh")
        .args(["-c", &format!("exec 3<&0 </dev/null; {disk}exec \"$@\" -S"), "sh"])
        .env("DISK", dir.join("disk"))
        .args(launch.argv())
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Started(child)
}

fn sandbox(profile: &Profile, dir: &Path) -> Sandbox {
    let path = |name: &str| dir.join(name).display().to_string();
    // Never runs: QEMU accepts a file without a header as an ancient kernel.
    std::fs::write(dir.join("kernel"), vec![0; 8192]).unwrap();
    std::fs::write(dir.join("disk"), vec![0; 1 << 20]).unwrap();
    Sandbox {
        memory_mib: 256,
        host_memory_mib: 2048,
        max_vcpus: 2,
        disks: vec![BlockDevice { id: "0".to_owned(), file: path("disk"), read_only: false }],
        vsock: Some(Vsock { guest_cid: 77 }),
        net: Some(Net { tap: "tap0_kata".to_owned(), mac: "02:00:00:00:00:01".to_owned(), queues: 1, vhost: true }),
        console: path("console.sock"),
        pid_file: path("pid"),
        ..Sandbox::new(profile, QEMU, "s1", path("kernel"))
    }
}

fn without_hardware(profile: &Profile, dir: &Path) -> Vec<Deviation> {
    let mut all = vec![
        Deviation::Accelerator,
        Deviation::CpuModel,
        Deviation::NoVsock,
        Deviation::NoNetwork,
        Deviation::RpcPort { socket: dir.join("rpc.sock").display().to_string() },
        Deviation::SerialLog { socket: dir.join("serial.sock").display().to_string(), terse: false },
    ];
    all.extend((!profile.qemu.foreground).then_some(Deviation::Foreground));
    all
}

fn connect(launch: &Launch, dir: &Path) -> (Started, Qmp<UnixStream>) {
    let socket = dir.join("qmp.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Like Kata, connect before QEMU is started: if QEMU ends at once, the connection closes.
    let stream = UnixStream::connect(&socket).unwrap();
    let mut qemu = start(launch, dir, listener);
    match Qmp::connect(stream, DEADLINE) {
        Ok(qmp) => (qemu, qmp),
        Err(error) => {
            let mut errors = String::new();
            if let Some(mut stderr) = qemu.0.stderr.take() {
                let _ = qemu.0.kill();
                let _ = std::io::Read::read_to_string(&mut stderr, &mut errors);
            }
            panic!("{}: {error}: {errors}\n{}", launch.profile, launch.argv().join(" "));
        }
    }
}

#[test]
#[cfg_attr(lacks = "qemu", ignore = "needs qemu-system-x86_64")]
fn every_profile_is_accepted_and_answers_query_status() {
    for profile in Profile::all() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut launch = argv::launch(profile, &sandbox(profile, dir)).unwrap();
        apply(&mut launch, Arch::X86_64, &without_hardware(profile, dir)).unwrap();
        let (_qemu, mut qmp) = connect(&launch, dir);
        let status = qmp.execute("query-status", Value::Null).unwrap();
        assert_eq!(status["status"], "prelaunch", "{}", profile.name);
        let drives = qmp.execute("query-block", json!({})).unwrap().to_string();
        // A disk that is passed by descriptor is named by its descriptor set.
        let named = if profile.qemu.blk_source == BlkSource::Fdset { "/dev/fdset/1" } else { "/disk" };
        assert!(drives.contains(named), "{}: {drives}", profile.name);
        let refused = qmp.execute("no-such-command", Value::Null).unwrap_err();
        assert!(matches!(&refused, QmpError::Command { class, .. } if class == "CommandNotFound"), "{refused}");
        qmp.execute("quit", Value::Null).unwrap();
        assert_eq!(qmp.wait_event("SHUTDOWN", DEADLINE).unwrap()["data"]["reason"], "host-qmp-quit");
        let schema = qmp.execute("query-qmp-schema", Value::Null);
        assert!(matches!(schema, Err(QmpError::Closed { .. })), "{schema:?}");
    }
}

/// The devices that take the place of PCI's on a `microvm` exist by these names, and take the same options.
#[test]
#[cfg_attr(lacks = "qemu", ignore = "needs qemu-system-x86_64")]
fn a_microvm_is_accepted_and_answers_query_status() {
    let profile = Profile::find("go-3.32").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut launch = argv::launch(profile, &Sandbox { microvm: true, ..sandbox(profile, dir) }).unwrap();
    let mut changes = without_hardware(profile, dir);
    changes.push(Deviation::Frequency { khz: 2_000_000 });
    apply(&mut launch, Arch::X86_64, &changes).unwrap();
    let (_qemu, mut qmp) = connect(&launch, dir);
    let status = qmp.execute("query-status", Value::Null).unwrap();
    assert_eq!(status["status"], "prelaunch");
    qmp.execute("quit", Value::Null).unwrap();
}

/// A disk can be plugged as `hotplug_block_device` in src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs (main) does it:
/// the descriptor is sent with the command, QEMU opens the set by its name, and the descriptor can be removed again.
#[test]
#[cfg_attr(lacks = "qemu", ignore = "needs qemu-system-x86_64")]
fn a_disk_is_plugged_by_a_descriptor_sent_with_the_command() {
    let profile = Profile::find("rs-main").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut launch = argv::launch(profile, &Sandbox { disks: Vec::new(), ..sandbox(profile, dir) }).unwrap();
    apply(&mut launch, Arch::X86_64, &without_hardware(profile, dir)).unwrap();
    let (_qemu, mut qmp) = connect(&launch, dir);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(dir.join("disk")).unwrap();
    let opaque = "kata-block:drive-0:block-source";
    let added = qmp.execute_with("add-fd", json!({ "opaque": opaque }), file.as_fd()).unwrap();
    let set = &added["fdset-id"];
    assert!(set.is_i64(), "{added}");
    let sets = qmp.execute("query-fdsets", Value::Null).unwrap();
    assert_eq!(sets[0]["fds"][0]["opaque"], opaque, "{sets}");
    let node = json!({
        "driver": "raw", "node-name": "drive-0",
        "file": { "driver": "file", "filename": format!("/dev/fdset/{set}"), "aio": "threads", "read-only": false },
    });
    qmp.execute("blockdev-add", node).unwrap();
    let nodes = qmp.execute("query-named-block-nodes", Value::Null).unwrap().to_string();
    assert!(nodes.contains("\"drive-0\""), "{nodes}");
    qmp.execute("blockdev-del", json!({ "node-name": "drive-0" })).unwrap();
    // QEMU closes the descriptor only while the guest runs, and this guest does not run.
    qmp.execute("remove-fd", json!({ "fdset-id": set })).unwrap();
}

#[test]
#[cfg_attr(lacks = "qemu", ignore = "needs qemu-system-x86_64")]
fn virtio_9p_is_accepted_where_the_profile_has_it() {
    for profile in Profile::all().iter().filter(|p| p.shares(Share::Virtio9p)) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let shared = SharedFilesystem::Virtio9p { dir: dir.display().to_string(), tag: SHARE_TAG.to_owned() };
        let mut launch = argv::launch(profile, &Sandbox { shared, ..sandbox(profile, dir) }).unwrap();
        apply(&mut launch, Arch::X86_64, &without_hardware(profile, dir)).unwrap();
        let (_qemu, mut qmp) = connect(&launch, dir);
        let devices = qmp.execute("query-pci", Value::Null).unwrap();
        assert!(devices.to_string().contains("\"device\":4105"), "{}: no 9p device in {devices}", profile.name);
    }
}

/// QEMU refuses an argument whose deviation was not applied, so the deviations are needed.
#[test]
#[cfg_attr(lacks = "qemu", ignore = "needs qemu-system-x86_64")]
fn without_the_cpu_model_deviation_qemu_refuses_the_arguments() {
    let profile = Profile::find("go-3.29").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut launch = argv::launch(profile, &sandbox(profile, dir)).unwrap();
    let all_but_the_model: Vec<Deviation> =
        without_hardware(profile, dir).into_iter().filter(|d| *d != Deviation::CpuModel).collect();
    apply(&mut launch, Arch::X86_64, &all_but_the_model).unwrap();
    let socket = dir.join("qmp.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let stream = UnixStream::connect(&socket).unwrap();
    let mut qemu = start(&launch, dir, listener);
    assert!(matches!(Qmp::connect(stream, DEADLINE), Err(QmpError::Closed { .. })));
    let mut stderr = String::new();
    std::io::Read::read_to_string(qemu.0.stderr.as_mut().unwrap(), &mut stderr).unwrap();
    assert!(stderr.contains("CPU model 'host' requires KVM"), "{stderr}");
}

/// The C daemon of QEMU 7.2 accepts the arguments of the oldest family and refuses all others.
#[test]
#[cfg_attr(lacks = "c-virtiofsd", ignore = "elsewhere: where QEMU 7.2 or earlier has its daemon in C")]
fn the_c_daemon_accepts_only_the_oldest_familys_arguments() {
    let path = "/usr/lib/qemu/virtiofsd";
    let version = Command::new(path).arg("--version").output().unwrap();
    let stdout = String::from_utf8_lossy(&version.stdout);
    assert!(stdout.contains("virtiofsd version"), "{path} is not the C daemon: {stdout}");
    for profile in Profile::all() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let text = |name: &str| dir.join(name).display().to_string();
        let daemon =
            virtiofsd::VirtiofsdInstance { path: path.to_owned(), shared_dir: text(""), socket: text("vhost-fs.sock") };
        let argv = virtiofsd::argv(profile, &daemon);
        let listener = UnixListener::bind(dir.join("fd.sock")).unwrap();
        // A connection that closes at once ends a daemon that has accepted its arguments.
        drop(UnixStream::connect(dir.join("fd.sock")).unwrap());
        let output = Command::new("timeout")
            .args(["20", "sh", "-c", "exec 3<&0 </dev/null; exec \"$@\"", "sh"])
            // Without `--syslog`, errors go to standard error and can be checked.
            .args(argv.iter().filter(|arg| *arg != "--syslog"))
            .stdin(OwnedFd::from(listener))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            stderr.contains("fuse: unknown option") || stderr.contains("fuse: invalid argument"),
            profile.virtiofsd.style != DaemonStyle::DashO,
            "{}: {stderr}",
            profile.name
        );
    }
}
