//! Runs programs of a system without a shell, with a deadline and bounded output.
//!
//! Every program that is run has five properties: a deadline, a cap on its output, its own process group, death
//! together with this process, and a wait that does not poll. The exception is a package manager that changes the
//! running system, which works to its end ([`Invocation::outlives`]).
//!
//! [`Invocation`] has them all and is for programs that answer a question. Other uses are built from [`tie`], [`wait`],
//! [`wait_or_stop`], [`kill_group`], [`end_group`] and [`CollectedOutput`], and their modules say why: the jobs of
//! `images` (cancelled, reported line by line), its downloads of single files (cancelled, given a secret through a
//! pipe), the programs that the agent keeps attached (fed, and read while they run), and programs under test.

mod child;
mod confine;
mod drain;
mod filter;
mod output;
pub mod sandbox; // programs in namespaces, without power over this machine

pub use child::{end_group, kill_group, tie, wait, wait_or_stop};
pub use confine::close_on_exec;
pub(crate) use confine::{give_to_reader, new_reader};
pub use filter::{Filter, leave_session_keyring};
pub use output::{CollectedOutput, wait_for_ends};

use child::{POLITELY, end_group_by};
use drain::Drain;
use model::shell::quoted;
use root::PATH;
use rustix::process::Signal;
use sandbox::{Network, SandboxedRoot, TEMPORARY, WantedSandbox};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Bytes kept of each of a program's streams; the rest is read and dropped.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// Time limit for the end of a stream that an orphaned child of the program still holds open.
const ORPHANS: Duration = Duration::from_secs(2);

/// The variables with the machine's proxy settings.
pub const PROXY_VARIABLES: [&str; 6] =
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// A program and the way to run it.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The program's absolute path, seen from inside `chroot`, and its arguments.
    pub argv: Vec<String>,
    /// The directory that becomes the program's `/`.
    pub chroot: Option<PathBuf>,
    /// Variables in addition to the fixed ones, which set the C locale and disable questions.
    pub env: Vec<(String, String)>,
    /// Whether the program inherits the caller's variables; a confined program never does.
    pub inherits: bool,
    /// The restrictions on it.
    pub confinement: Confinement,
    /// The user and group that a confined program gets, if the caller is root: nobody, or one of its own.
    pub user: u32,
    /// The sandbox around the program, in place of `chroot` and `confinement`. Of the caller's variables, the program
    /// then gets only those for proxies, and only if it has a network.
    pub sandbox: Option<WantedSandbox>,
    /// Whether the program works on if this process dies, in whatever way; only without `confinement` and `sandbox`.
    pub outlives: bool,
    /// The file of this machine that becomes standard input; `None` for no input.
    pub input: Option<PathBuf>,
}

/// The restrictions on a program. In full: it runs as [`Invocation::user`], gains no privileges, has its own
/// namespaces, no network, none of the caller's keys and a filter of system calls ([`Filter`]), and all processes that
/// it started end with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// No restrictions.
    Free,
    /// The program is this machine's, but its input is foreign: all restrictions that the caller is able to set.
    ///
    /// Without root, it runs as the caller; in a container with few capabilities, it has no namespaces.
    Reader,
    /// The program itself is foreign: all restrictions, or it is not run.
    Stranger,
}

/// The user and group without rights, `nobody`: 65534, the kernel's overflow id, on every distro.
const NOBODY: u32 = 65534;

/// The exit code and output of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessOutput {
    /// The exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// The reason why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program could not be started.
    #[error("failed to start {program}: {source}")]
    Start {
        /// The program's path.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// The sandbox that the program needs cannot be made; nothing was started.
    #[error("failed to make a sandbox for {program}: {source}")]
    Sandbox {
        /// The program's path.
        program: String,
        /// The missing prerequisite.
        source: io::Error,
    },
    /// The program was started, but waiting for its end failed; it was killed with its children.
    #[error("failed to wait for {program}, which was killed: {source}")]
    Wait {
        /// The program's path.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// The deadline passed; the program was killed with its children.
    #[error("{program} had not finished after {} s and was killed; it said last: {last}", .after.as_secs())]
    Deadline {
        /// The program's path.
        program: String,
        /// The time limit.
        after: Duration,
        /// The end of its output.
        last: String,
    },
}

impl Invocation {
    /// Describes a program of the machine, or of `chroot`.
    pub fn new(program: &Path, arguments: &[&str]) -> Invocation {
        let mut argv = vec![program.display().to_string()];
        argv.extend(arguments.iter().map(|a| (*a).to_owned()));
        Invocation {
            argv,
            chroot: None,
            env: Vec::new(),
            inherits: true,
            confinement: Confinement::Free,
            user: NOBODY,
            sandbox: None,
            outlives: false,
            input: None,
        }
    }

    /// Formats the invocation as a shell command line, with its variables and `chroot`.
    pub fn shell(&self) -> String {
        let variables = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let environment = (!self.env.is_empty()).then(|| "env".to_owned()).into_iter().chain(variables);
        let chroot = self.chroot.iter().flat_map(|root| ["chroot".to_owned(), quoted(&root.display().to_string())]);
        let input = self.input.iter().map(|file| format!("<{}", quoted(&file.display().to_string())));
        let words = self.argv.iter().map(|word| quoted(word));
        environment.chain(chroot).chain(words).chain(input).collect::<Vec<_>>().join(" ")
    }

    /// Runs the program; `show` gets the bytes of both its streams as they arrive.
    ///
    /// # Errors
    ///
    /// Fails if the program could not be started or waited for, or had not ended by the deadline.
    pub fn run(&self, within: Duration, show: Option<fn(&[u8])>) -> Result<ProcessOutput, ProcessError> {
        if let Some(sandbox) = &self.sandbox {
            let program = self.argv.first().cloned().unwrap_or_default();
            let prepared = sandbox.make().map_err(|source| ProcessError::Sandbox { program, source })?;
            let confined =
                self.plain_command().and_then(|mut command| prepared.confine(&mut command).map(|()| command));
            let (child, command) = match confined {
                Ok(mut command) => (command.spawn(), Some(command)),
                Err(error) => (Err(error), None),
            };
            let finished = self.supervise(child, within, show);
            // The sandbox ends when the command is dropped.
            drop(command);
            return finished;
        }
        if self.confinement == Confinement::Free {
            let child = self.command().and_then(|mut command| command.spawn());
            return self.supervise(child, within, show);
        }
        // A new process namespace applies to the children of the calling thread, which can then start no other thread:
        // so it gets a thread of its own. The child dies with that thread.
        std::thread::scope(|scope| {
            let (give, take) = mpsc::channel();
            let (ended, end) = mpsc::channel::<()>();
            scope.spawn(move || {
                let child = confine::processes(self.confinement)
                    .and_then(|()| self.command())
                    .and_then(|mut command| command.spawn());
                if give.send(child).is_ok() {
                    // Nothing is ever sent: `recv` returns when the other side is dropped.
                    let _ = end.recv();
                }
            });
            let child = take.recv().unwrap_or_else(|error| Err(io::Error::other(error)));
            let finished = self.supervise(child, within, show);
            drop(ended);
            finished
        })
    }

    fn supervise(
        &self,
        child: io::Result<Child>,
        within: Duration,
        show: Option<fn(&[u8])>,
    ) -> Result<ProcessOutput, ProcessError> {
        let started = Instant::now();
        let program = self.argv.first().cloned().unwrap_or_default();
        let mut child = match child {
            Ok(child) => child,
            Err(source) => return Err(ProcessError::Start { program, source }),
        };
        let drain = match self.outlives.then(|| Drain::of(&child)).transpose() {
            Ok(drain) => drain,
            Err(source) => {
                kill_group(&mut child);
                return Err(ProcessError::Start { program, source });
            }
        };
        let stdout = CollectedOutput::of(child.stdout.take(), MAX_OUTPUT, show);
        let stderr = CollectedOutput::of(child.stderr.take(), MAX_OUTPUT, show);
        let ended = match wait(&mut child, within) {
            Ok(ended) => ended,
            Err(source) => {
                kill_group(&mut child);
                return Err(ProcessError::Wait { program, source });
            }
        };
        let Some(status) = ended else {
            // The first process of a namespace ignores signals without a handler, except SIGKILL.
            let signals = if self.confinement == Confinement::Free { &POLITELY[..] } else { &POLITELY[1..] };
            end_group_by(&mut child, signals);
            let mut last = stderr.text();
            if last.trim().is_empty() {
                last = stdout.text();
            }
            return Err(ProcessError::Deadline { program, after: started.elapsed(), last: tail(&last) });
        };
        wait_for_ends([&stdout, &stderr], ORPHANS);
        drop(drain);
        Ok(ProcessOutput { code: status.code(), stdout: stdout.text(), stderr: stderr.text() })
    }

    /// Prepares the program with its arguments, variables, streams and its own process group.
    fn plain_command(&self) -> io::Result<Command> {
        let (program, arguments) = self.argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match &self.input {
            Some(file) => Stdio::from(File::open(file)?),
            None => Stdio::null(),
        });
        if self.confinement != Confinement::Free || self.sandbox.is_some() || !self.inherits {
            // The caller's variables may hold secrets, or settings of the program.
            command.env_clear();
        }
        for (name, value) in [("LC_ALL", "C"), ("LANGUAGE", "C"), ("DEBIAN_FRONTEND", "noninteractive"), ("PATH", PATH)]
        {
            command.env(name, value);
        }
        if let Some(sandbox) = &self.sandbox {
            let proxies = PROXY_VARIABLES.iter().filter(|_| sandbox.network == Network::Machine);
            command.envs(proxies.filter_map(|name| Some((name, std::env::var_os(name)?))));
            // The sandbox has no service manager to start services.
            command.env("SYSTEMD_OFFLINE", "1");
            match sandbox.root {
                SandboxedRoot::Target { .. } => command.env("TMPDIR", TEMPORARY),
                SandboxedRoot::Itself(_) => command.env("HOME", "/root"),
            };
        }
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        // A group of its own, so that its children can be ended with it.
        command.process_group(0);
        Ok(command)
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = self.plain_command()?;
        // Made here, because no memory may be allocated after the fork.
        let chroot = self.chroot.as_ref().map(|root| CString::new(root.as_os_str().as_bytes())).transpose()?;
        let (confinement, user) = (self.confinement, self.user);
        let filter = Filter::of_strangers()?;
        // The death of this process ends the program.
        let signal = match confinement {
            Confinement::Free if self.outlives => None,
            Confinement::Free => Some(Signal::TERM),
            Confinement::Reader | Confinement::Stranger => Some(Signal::KILL),
        };
        let prepare = move || {
            rustix::process::set_parent_process_death_signal(signal)?;
            if let Some(root) = &chroot {
                rustix::process::chroot(root.as_c_str())?;
                rustix::process::chdir(c"/")?;
            }
            confine::this_process(confinement, user, &filter)?;
            if confinement != Confinement::Free {
                // A change of user clears the signal.
                rustix::process::set_parent_process_death_signal(signal)?;
            }
            Ok(())
        };
        #[expect(unsafe_code, reason = "std has no stable chroot; between fork and exec only system calls are made")]
        // SAFETY: `prepare` allocates no memory, takes no lock and calls only async-signal-safe functions.
        unsafe {
            command.pre_exec(prepare);
        }
        Ok(command)
    }
}

impl ProcessOutput {
    /// Checks whether the program ended with 0.
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns the last lines of standard error, or of standard output if that is empty; for messages.
    pub fn last_words(&self) -> String {
        let words = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        tail(words)
    }
}

/// Returns the last three non-empty lines, joined into one.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    model::diagnostic::printable(&last.chars().take(600).collect::<String>())
}

/// Copies a program's output to standard error, with control characters other than line feeds made visible.
pub(crate) fn to_stderr(bytes: &[u8]) {
    // Standard error may be closed.
    let _ = io::stderr().write_all(shown(bytes).as_bytes());
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| line.split('\t').map(model::diagnostic::printable).collect::<Vec<_>>().join("\t"))
        .collect();
    lines.join("\n")
}

/// Describes how a program ended, for messages.
pub fn ending(finished: &ProcessOutput) -> String {
    match finished.code {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, within: Duration) -> Result<ProcessOutput, ProcessError> {
        Invocation::new(Path::new("/bin/sh"), &["-c", script]).run(within, None)
    }

    #[test]
    fn output_and_exit_code_are_returned() {
        let finished = sh("echo out; echo err >&2; exit 3", Duration::from_secs(10)).unwrap();
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (Some(3), "out\n", "err\n"));
        assert_eq!(finished.last_words(), "err");
        let mut reads = Invocation::new(Path::new("/bin/cat"), &[]);
        assert_eq!(reads.run(Duration::from_secs(10), None).unwrap().stdout, "");
        let input = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(input.path(), "in").unwrap();
        reads.input = Some(input.path().to_owned());
        assert_eq!(reads.run(Duration::from_secs(10), None).unwrap().stdout, "in");
        assert_eq!(reads.shell(), format!("/bin/cat <{}", input.path().display()));
        let finished = sh("kill -9 $$", Duration::from_secs(10)).unwrap();
        assert_eq!(finished.code, None);
        let flood = sh("head -c 9000000 /dev/zero", Duration::from_secs(20)).unwrap();
        assert_eq!(flood.stdout.len(), MAX_OUTPUT);
    }

    /// This process runs itself again, as the one that is killed.
    #[test]
    fn a_program_that_outlives_this_process_works_and_writes_to_its_end() {
        const NAME: &str = "process::tests::a_program_that_outlives_this_process_works_and_writes_to_its_end";
        const FOLDER: &str = "OUTLIVING_FOLDER";
        let script = "cd \"$OUTLIVING_FOLDER\" && : >started || exit; until [ -e go ]; do sleep 0.05; done; \
            i=0; while [ $i -lt 20000 ]; do echo output; echo error >&2; i=$((i+1)); done; : >done";
        if std::env::var_os(FOLDER).is_some() {
            let mut invocation = Invocation::new(Path::new("/bin/sh"), &["-c", script]);
            invocation.outlives = true;
            invocation.run(Duration::from_secs(300), None).unwrap();
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let until = |what: &str, is_so: &dyn Fn() -> bool| {
            let end = Instant::now() + Duration::from_secs(60);
            while !is_so() {
                assert!(Instant::now() < end, "waited for {what}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let mut caller = Command::new(std::env::current_exe().unwrap());
        caller.args(["--exact", NAME, "--nocapture"]).env(FOLDER, dir.path()).stdout(Stdio::null());
        let mut caller = caller.spawn().unwrap();
        let parent = format!("PPid:\t{}\n", caller.id());
        until("the program", &|| dir.path().join("started").exists());
        until("the reader of its output", &|| {
            std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
                let read = |name: &str| std::fs::read_to_string(process.path().join(name)).unwrap_or_default();
                read("cmdline").contains("read -r x") && read("status").contains(&parent)
            })
        });
        caller.kill().unwrap();
        caller.wait().unwrap();
        std::fs::write(dir.path().join("go"), "").unwrap();
        until("its end", &|| dir.path().join("done").exists());
    }

    #[test]
    fn an_outliving_program_that_ends_first_leaves_nothing() {
        let mut invocation = Invocation::new(Path::new("/bin/sh"), &["-c", "echo out; echo err >&2; exit 3"]);
        invocation.outlives = true;
        let finished = invocation.run(Duration::from_secs(20), None).unwrap();
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (Some(3), "out\n", "err\n"));
    }

    #[test]
    fn a_deadline_ends_the_children_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! >{}; echo waiting >&2; wait", file.display());
        let error = sh(&script, Duration::from_millis(500)).unwrap_err().to_string();
        assert!(error.contains("it said last: waiting"), "{error}");
        has_ended(&std::fs::read_to_string(file).unwrap());
    }

    fn has_ended(pid: &str) {
        // On a busy machine, the kernel takes its time to deliver a signal.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if status.is_empty() || status.contains(" Z ") {
                return;
            }
            assert!(Instant::now() < end, "{status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As if this program's parent ignored `SIGCHLD`: the kernel then reports no child's end.
    #[test]
    fn a_program_that_cannot_be_waited_for_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 >&- 2>&- & echo $! >{}", file.display());
        let invocation = Invocation::new(Path::new("/bin/sh"), &["-c", &script]);
        let child = invocation.command().unwrap().spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
        let error = invocation.supervise(Ok(child), Duration::from_secs(10), None).unwrap_err();
        assert!(matches!(error, ProcessError::Wait { .. }), "{error}");
        assert!(error.to_string().starts_with("failed to wait for /bin/sh, which was killed: "), "{error}");
        has_ended(&std::fs::read_to_string(file).unwrap());
    }

    #[test]
    fn an_orphan_with_our_pipe_is_not_waited_for() {
        let started = Instant::now();
        let finished = sh("echo ready; sleep 20 >&1 2>&1 & exit 0", Duration::from_secs(10)).unwrap();
        assert_eq!(finished.stdout, "ready\n");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }

    #[test]
    fn a_program_that_does_not_inherit_has_only_its_own_variables() {
        let mut invocation = Invocation::new(Path::new("/usr/bin/env"), &[]);
        invocation.env.push(("OWN".to_owned(), "1".to_owned()));
        let stdout_of = |invocation: &Invocation| invocation.run(Duration::from_secs(20), None).unwrap().stdout;
        assert!(stdout_of(&invocation).contains("CARGO_MANIFEST_DIR="));
        invocation.inherits = false;
        let own = stdout_of(&invocation);
        assert!(!own.contains("CARGO") && own.contains("OWN=1\n") && own.contains("PATH="), "{own}");
    }

    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
    fn a_confined_program_gets_no_files_or_variables_of_the_caller() {
        // Inherited across exec, as after a shell's `exec 9</`.
        let root = File::open("/").unwrap();
        rustix::io::fcntl_setfd(&root, rustix::io::FdFlags::empty()).unwrap();
        let script = format!("ls /proc/self/fd/{}/ && echo open; env", std::os::fd::AsRawFd::as_raw_fd(&root));
        let stdout_of = |confinement| {
            let mut invocation = Invocation::new(Path::new("/bin/sh"), &["-c", &script]);
            invocation.confinement = confinement;
            invocation.run(Duration::from_secs(20), None).unwrap().stdout
        };
        let free = stdout_of(Confinement::Free);
        assert!(free.contains("open\n") && free.contains("CARGO_MANIFEST_DIR="), "{free}");
        for confinement in [Confinement::Reader, Confinement::Stranger] {
            let confined = stdout_of(confinement);
            assert!(!confined.contains("open\n") && !confined.contains("CARGO"), "{confined}");
            assert!(confined.contains("LC_ALL=C\n"), "{confined}");
        }
    }

    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
    fn a_confined_program_has_no_rights_no_network_and_leaves_no_process() {
        let confined = |script: &str, within| {
            let mut invocation = Invocation::new(Path::new("/bin/sh"), &["-c", script]);
            invocation.confinement = Confinement::Stranger;
            invocation.run(within, None)
        };
        let script = "echo $(id -u) $(id -g) $(id -G) $$; grep -c : /proc/net/dev; grep -E 'NoNewPrivs|CapEff' /proc/self/status; setsid sleep 1000 & echo $!";
        let finished = confined(script, Duration::from_secs(20)).unwrap();
        let lines: Vec<&str> = finished.stdout.lines().collect();
        assert_eq!(lines[0], "65534 65534 65534 1", "{finished:?}");
        assert_eq!(lines[1], "1", "loopback alone: {finished:?}");
        assert!(finished.stdout.contains("NoNewPrivs:\t1") && finished.stdout.contains("CapEff:\t0000000000000000"));
        // The sleeper's number is from its namespace, so it is identified by a unique sleeping time.
        let marked = "31536001.5";
        let started = Instant::now();
        let error = confined(&format!("trap '' TERM; setsid sleep {marked} & echo on; wait"), Duration::from_secs(1));
        assert!(matches!(error, Err(ProcessError::Deadline { .. })), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "nobody is asked politely: {:?}", started.elapsed());
        let alive = || {
            let all =
                std::fs::read_dir("/proc").unwrap().filter_map(|e| std::fs::read(e.ok()?.path().join("cmdline")).ok());
            all.filter(|line| line.ends_with(format!("{marked}\0").as_bytes())).count()
        };
        let end = Instant::now() + Duration::from_secs(20);
        while alive() > 0 {
            assert!(Instant::now() < end, "it outlives its deadline");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn output_of_a_program_cannot_control_the_terminal() {
        assert_eq!(shown(b"10%\r20%\r\n\x1b]0;x\x07\tb\xff\n"), "10%\n20%\n\\u{1b}]0;x\\u{7}\tb\u{fffd}\n");
    }

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let error = Invocation::new(Path::new("/no/such/program"), &[]).run(Duration::from_secs(1), None).unwrap_err();
        assert!(error.to_string().starts_with("failed to start /no/such/program"), "{error}");
    }

    #[test]
    fn the_shell_line_runs_the_same_command() {
        let dir = tempfile::tempdir().unwrap();
        let mut invocation = Invocation::new(Path::new("/bin/echo"), &["a b", "it's", "$HOME", "-o", "x"]);
        invocation.env.push(("SETTINGS".to_owned(), dir.path().join("a b").display().to_string()));
        let line = invocation.shell();
        assert!(
            line.starts_with("env SETTINGS='/") && line.ends_with(r"/bin/echo 'a b' 'it'\''s' '$HOME' -o x"),
            "{line}"
        );
        let ran = Command::new("sh").arg("-c").arg(&line).output().unwrap();
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), "a b it's $HOME -o x\n");
        let inside = Invocation { chroot: Some("/a root".into()), env: Vec::new(), ..invocation };
        assert!(inside.shell().starts_with("chroot '/a root' /bin/echo "), "{}", inside.shell());
    }
}
