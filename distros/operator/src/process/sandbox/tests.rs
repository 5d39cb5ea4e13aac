use super::*;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Programs that need no directory share the crate's own, which they do not write to.
fn machine() -> ProgramSandbox {
    ProgramSandbox::of_machine(Path::new(env!("CARGO_MANIFEST_DIR")), Network::None).unwrap()
}

fn confined(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).process_group(0).stdin(Stdio::null());
    machine().confine(&mut command).unwrap();
    command
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn the_keeper_exits_as_the_program_does() {
    let code = |script: &str| confined(script).status().unwrap().code();
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(code("kill -9 $$"), Some(137));
    // Processes that a program leaves behind end with it, without delay.
    let started = Instant::now();
    let output = confined("setsid sleep 300 & echo $$ $PPID").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 1\n");
    assert!(started.elapsed() < Duration::from_secs(60));
    let mut command = Command::new("/no/such/program");
    machine().confine(&mut command).unwrap();
    assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn the_arguments_of_this_process_cannot_be_read_inside() {
    let output = confined("tr -d '\\0' < /proc/1/cmdline; cat /proc/[0-9]*/comm").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let own = std::env::args().next().unwrap();
    assert!(!text.contains(&own), "{text}");
    assert!(text.ends_with("\nsh\n"), "{text}");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn files_open_in_the_caller_are_not_open_inside() {
    // Inherited across exec, as after a shell's `exec 9</`.
    let root = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&root, rustix::io::FdFlags::empty()).unwrap();
    let script = format!("test -e /proc/self/fd/{} && echo open; echo looked", root.as_raw_fd());
    let stdout_of = |mut command: Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut free = Command::new("sh");
    free.args(["-c", &script]);
    assert_eq!(stdout_of(free), "open\nlooked\n");
    assert_eq!(stdout_of(confined(&script)), "looked\n");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn a_signal_lets_the_program_exit_cleanly() {
    let script = "trap 'echo in order; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let mut command = confined(script);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 3]).unwrap();
    let group = Pid::from_child(&child);
    rustix::process::kill_process_group(group, Signal::TERM).unwrap();
    let mut output = String::new();
    out.read_to_string(&mut output).unwrap();
    assert_eq!((output.as_str(), child.wait().unwrap().code()), ("in order\n", Some(3)));
}

const HOLDER: &str = "KATA_QUALIFY_TEST_HOLDER";

/// The process that the next test kills. It runs a program that changes its user and back.
#[test]
#[ignore = "a part of a_killed_holder_ends_a_program_that_changed_its_user, which runs it"]
fn holder() {
    let Some(folder) = std::env::var_os(HOLDER) else { return };
    let script = "exec 9>/tmp/pipe; echo up >&9; setsid sleep 600 & perl -e '$> = 65534; $> = 0; sleep 600'";
    let mut command = Command::new("sh");
    command.args(["-c", script]).process_group(0);
    ProgramSandbox::of_machine(Path::new(&folder), Network::None).unwrap().confine(&mut command).unwrap();
    let _ = command.status();
}

/// Starts a holder with a running program. Returns it with the pipe's directory and the pipe, which ends when no
/// process inside is left.
fn start_holder() -> (Child, tempfile::TempDir, std::fs::File) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::sandbox::tests::holder", "--ignored"])
        .env(HOLDER, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = std::fs::File::open(&path).unwrap();
    pipe.read_exact(&mut [0; 3]).unwrap();
    (holder, dir, pipe)
}

fn assert_program_ends(mut pipe: std::fs::File, what: &str) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(pipe.read_to_end(&mut Vec::new()).is_ok()));
    let ended = receiver.recv_timeout(Duration::from_secs(20));
    assert_eq!(ended, Ok(true), "the program lives on after the death of {what}");
}

fn end_of(child: &mut Child, time: Duration) -> Option<std::process::ExitStatus> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    None
}

/// Returns the keeper, the holder's only child.
fn keeper(holder: &Child) -> Pid {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let children = format!("/proc/{0}/task", holder.id());
        let tasks = std::fs::read_dir(children).unwrap().flatten();
        let children_of =
            |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let found: String = tasks.map(children_of).collect();
        if let Some(pid) = found.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().unwrap())) {
            return pid;
        }
        assert!(Instant::now() < until, "the holder has no child");
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn a_killed_holder_ends_a_program_that_changed_its_user() {
    let (mut holder, _dir, pipe) = start_holder();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_program_ends(pipe, "the process that holds it");
    let (mut holder, _dir, pipe) = start_holder();
    rustix::process::kill_process(keeper(&holder), Signal::KILL).unwrap();
    assert_program_ends(pipe, "its keeper");
    assert!(holder.wait().unwrap().signal().is_none());
    // The pipe works even if signals fail.
    let mut command = confined("sleep 600");
    let mut child = command.spawn().unwrap();
    drop(command);
    let status = end_of(&mut child, Duration::from_secs(20)).expect("the program outlives the pipe");
    assert_eq!(status.code(), Some(137));
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
fn a_program_for_another_root_writes_only_there_and_cannot_unmount() {
    use crate::process::Invocation;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("dev")).unwrap();
    let script = "cat /root/settings/a/b; umount /dev; umount /run; umount /root/target; umount /root
for file in /root/target/new $TMPDIR/new /root/target/dev/new /dev/new /run/new /var/tmp/new; do
    (true >$file) 2>/dev/null && echo $file
done
echo >/root/target/dev/null && echo null
ls /run; echo $(ls /dev); env | grep -c CARGO";
    let stdout_of = |writable, network| {
        let settings = std::sync::Arc::new(ScratchFiles(vec![("a/b".into(), "set\n".to_owned())]));
        let root = Some(root::Root::new(dir.path()).unwrap());
        let root = SandboxedRoot::Target { root, settings, own_temporary: false };
        let mut invocation = Invocation::new(Path::new("/bin/sh"), &["-c", script]);
        invocation.sandbox = Some(WantedSandbox { root, writable, network });
        invocation.run(Duration::from_secs(60), None).unwrap().stdout
    };
    let devices = "fd full null pts random shm stderr stdin stdout urandom zero";
    let offline = stdout_of(true, Network::None);
    let expected = format!("set\n/root/target/new\n/root/tmp/new\nnull\n{devices}\n0\n");
    assert_eq!(offline, expected);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "the file is in the root");
    std::fs::remove_file(dir.path().join("new")).unwrap();
    let fetching = stdout_of(false, Network::Machine);
    assert!(fetching.starts_with("set\n/root/tmp/new\nnull\n") && fetching.contains(devices), "{fetching}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the root is read-only");
}
