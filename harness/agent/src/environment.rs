//! The environment's agent: runs tests, boots guests for them, and answers the harness over its standard streams.

pub mod control;
mod files;
pub mod kvm;
mod launcher;
pub mod limits;
pub mod probe;
mod test_environment;

use crate::body::{caught, in_fresh_directory};
use crate::containers::engine::NotesAndLogs;
use crate::containers::{ContainerDeadlines, Engine, Settings};
use crate::guest;
use crate::home::AgentHome;
use crate::launch::deadlines;
use crate::launch::provided::RequiredDevice;
use crate::launch::rehearsal;
use crate::launch::running::RunningGuest;
use crate::launch::slots::FOR_GUESTS;
use crate::launch::syslog;
use crate::port::Port;
use crate::process::kill_children;
use crate::server;
use crate::shell::Shells;
use control::{Controls, Volume};
use launcher::Launcher;
use model::profile::Profile;
use model::sync::locked;
use protocol::facts;
use protocol::fault::Fault;
use protocol::message::{Base64Bytes, EnvironmentReply, EnvironmentRequest, GuestReply, GuestRequest, VM_PORT};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use suites::catalogue::{self, Body, Configuration, Test};
use suites::check::{Check, Stop};
use suites::environment::{Claims, Effort, Ending, Environment, EnvironmentSide as _, Setting};
use suites::filesystem::Pair;
use suites::outcome::Grounds;
use suites::share::Share;
use test_environment::TestEnvironment;

/// Serves until the line ends: over standard input and output, or in a virtual machine over its virtio-serial port.
pub fn run(home: AgentHome) -> io::Result<()> {
    home.settle()?;
    if home.kind == Environment::Vm {
        let port = Port::open(VM_PORT, deadlines::PORT)?;
        let output = port.try_clone()?;
        return serve(home, port, output);
    }
    let input = File::from(rustix::io::dup(rustix::stdio::stdin())?);
    let output = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    serve(home, input, output)
}

fn serve(home: AgentHome, input: impl Read, output: impl Write + Send + 'static) -> io::Result<()> {
    syslog::serve(&home.artifacts());
    let agent = Agent::new(home.clone());
    let containers = Arc::clone(&agent.containers);
    let stays = Arc::clone(&agent.stays);
    let result = server::serve(input, output, "environment", move |request| agent.handle(request));
    // The caller of the remaining processes is gone, perhaps by SIGKILL: tests in progress would keep their guests.
    if home.kind == Environment::Container && !stays.load(Ordering::Relaxed) {
        home.end();
    }
    kill_children();
    containers.stop();
    home.leave();
    result
}

type SharedGuest = Arc<Mutex<Option<RunningGuest>>>;

struct Agent {
    home: AgentHome,
    launcher: Launcher,
    guests: Mutex<BTreeMap<u64, SharedGuest>>,
    controls: Controls,
    containers: Arc<Engine>,
    pjdfstest: Mutex<Option<Result<Vec<u8>, Stop>>>,
    shells: Shells,
    /// Whether to leave the environment unchanged when the line ends.
    stays: Arc<AtomicBool>,
}

impl Agent {
    fn new(home: AgentHome) -> Agent {
        Agent {
            launcher: Launcher::new(home.clone()),
            home,
            guests: Mutex::default(),
            controls: Controls::default(),
            containers: Arc::default(),
            pjdfstest: Mutex::default(),
            shells: Shells::default(),
            stays: Arc::default(),
        }
    }

    fn handle(&self, request: EnvironmentRequest) -> EnvironmentReply {
        let failed = |e: io::Error| failure(Stop::error(e.to_string()));
        match request {
            EnvironmentRequest::Probe { profile } => {
                let mut facts = probe::probe(&self.home);
                // In a virtual machine of the harness, KVM is the release's own, which tests judge; elsewhere it is
                // this machine's.
                if self.home.kind != Environment::Vm {
                    facts.note(facts::KVM, self.launcher.kvm_by_booting(&profile));
                }
                self.launcher.set_provided(probe::provided(self.home.kind, &facts));
                EnvironmentReply::Probed { facts }
            }
            EnvironmentRequest::SetUp { claims } => {
                self.launcher.set_claims(claims);
                EnvironmentReply::Done
            }
            EnvironmentRequest::PutFile { path, mode, offset, bytes } => {
                files::put(Path::new(&path), mode, offset, &bytes.0).map_or_else(failed, |()| EnvironmentReply::Done)
            }
            EnvironmentRequest::GetFile { path, offset } => {
                files::get(Path::new(&path), offset).map_or_else(failed, |bytes| EnvironmentReply::Chunk { bytes })
            }
            EnvironmentRequest::ListArtifacts => {
                let mut files = Vec::new();
                files::list(&self.home.artifacts(), &mut files);
                EnvironmentReply::Artifacts { files }
            }
            EnvironmentRequest::StartGuest { profile, configuration } => self.start_guest(&profile, configuration),
            EnvironmentRequest::Stay => {
                self.stays.store(true, Ordering::Relaxed);
                EnvironmentReply::Done
            }
            EnvironmentRequest::StopGuest { guest } => {
                // Taken out first, because dropping it waits for QEMU and must not hold the lock.
                let stopped = locked(&self.guests).remove(&guest);
                drop(stopped.map(|guest| locked(&guest).take()));
                EnvironmentReply::Done
            }
            EnvironmentRequest::Rehearse { profile, fault } => match self.rehearse(&profile, fault) {
                Ok(ending) => EnvironmentReply::Rehearsed { ending },
                Err(stop) => failure(stop),
            },
            EnvironmentRequest::RunTest { test, profile, guest } => self.run_test(&test, &profile, guest),
            EnvironmentRequest::OpenShell { argv, variables, terminal } => {
                self.shells.open(&argv, &variables, terminal).map_or_else(failed, |()| EnvironmentReply::Done)
            }
            EnvironmentRequest::Type { bytes, is_end, terminal } => {
                self.shells.type_in(&bytes.0, is_end, terminal).map_or_else(failed, |()| EnvironmentReply::Done)
            }
            EnvironmentRequest::Hear => self.shells.hear().map_or_else(failed, |heard| EnvironmentReply::Heard {
                output: Base64Bytes(heard.output),
                errors: Base64Bytes(heard.errors),
                ended: heard.ended,
            }),
        }
    }

    fn start_guest(&self, profile: &Profile, configuration: Configuration) -> EnvironmentReply {
        match self.launcher.start(profile, configuration, RequiredDevice::None, Setting::Shipped) {
            Ok(running) => {
                let launched = running.launched().clone();
                let guest = self.launcher.next_number();
                locked(&self.guests).insert(guest, Arc::new(Mutex::new(Some(running))));
                EnvironmentReply::Started { guest, launched }
            }
            Err(e) => EnvironmentReply::Failed {
                stop: e.stop,
                artifacts: e.logs.iter().map(|log| log.to_string_lossy().into_owned()).collect(),
                launched: e.launched,
            },
        }
    }

    fn rehearse(&self, profile: &Profile, fault: Fault) -> Result<Ending, Stop> {
        let started = self.launcher.start(profile, fault.configuration(), RequiredDevice::None, Setting::Shipped);
        rehearsal::rehearse(&mut started.map_err(|e| e.stop)?, fault)
    }

    fn run_test(&self, id: &str, profile: &Profile, guest: Option<u64>) -> EnvironmentReply {
        let Some(test) = catalogue::find(id) else {
            return failure(Stop::error(format!("the agent knows no test {id}")));
        };
        let Some(body) = catalogue::body(test) else { return failure(Stop::error(format!("{id} has no body"))) };
        let claims = match self.launcher.claims() {
            Ok(claims) => claims,
            Err(stop) => return failure(stop),
        };
        let environment = TestEnvironment::new(&self.launcher, Arc::clone(&claims), profile);
        let shared = guest.and_then(|guest| locked(&self.guests).get(&guest).cloned());
        let (stop, guest_alive) = match (body, shared) {
            (Body::Environment(body), _) => {
                note_seed(test, &environment, claims.effort);
                (caught(|| body(&environment)).err(), true)
            }
            (Body::Containers(body), _) => {
                let mut notes_and_logs = NotesAndLogs::default();
                let settings = container_settings(&self.home, &claims);
                let result = self.containers.run(test, body, &settings, &claims, profile, &mut notes_and_logs);
                environment.add(notes_and_logs.notes, notes_and_logs.logs);
                (result.err(), true)
            }
            (_, None) => (Some(Stop::error(format!("{id} wants a guest that is not there"))), false),
            (body, Some(shared)) => {
                let mut running = locked(&shared);
                match running.as_mut() {
                    None => (Some(Stop::error("the guest has been stopped")), false),
                    Some(running) => {
                        note_seed(test, &environment, claims.effort);
                        let stop = caught(|| self.run_with_guest(test, body, running, claims.effort)).err();
                        let stop = stop.map(|stop| running.with_lowered_limits(stop, test, claims.effort));
                        environment.keep_artifacts(running);
                        let is_alive = running.usable();
                        // Measurements in a guest that did not survive may be an effect of its loss.
                        let lost = |stop: Stop| if is_alive { stop } else { stop.resting_on(Grounds::Waited) };
                        (stop.map(lost), is_alive)
                    }
                }
            }
        };
        let report = environment.take_report();
        EnvironmentReply::Tested {
            stop,
            notes: report.notes,
            artifacts: report.artifacts,
            launched: report.launched,
            guest_alive,
        }
    }

    fn run_with_guest(&self, test: &Test, body: Body, running: &mut RunningGuest, effort: Effort) -> Check {
        let root = native_root(&self.home);
        let volume = Volume { root: &root, home: &self.home, effort };
        match body {
            Body::Environment(_) | Body::Containers(_) => Err(Stop::error("an environment's body was given a guest")),
            Body::Machine(body) => body(running),
            Body::Inside(_) => {
                test.loads.map_or(Ok(()), |used_for| running.load_all(used_for))?;
                run_inside(self.home.kind, test, running, effort)
            }
            Body::Guest(_) | Body::BesideNative(_) => {
                self.controls.check(test, &volume)?;
                test.loads.map_or(Ok(()), |used_for| running.load_all(used_for))?;
                if let Body::BesideNative(_) = body {
                    self.send_native_failures(running, &volume)?;
                }
                run_inside(self.home.kind, test, running, effort)
            }
            Body::Pair(body) => {
                let share = test.share.unwrap_or(Share::VirtioFs);
                let top = running.shared_dir().to_owned();
                let deadline = running.deadlines().visible;
                in_fresh_directory(&top, |host| {
                    let relative =
                        host.strip_prefix(&top).map(Path::to_owned).map_err(|e| Stop::error(e.to_string()))?;
                    body(&mut Pair { host, relative, share, deadline, effort, guest: running })
                })
            }
        }
    }

    /// Sends the native failures of pjdfstest to the guest, because it is judged by the difference from the native
    /// filesystem.
    fn send_native_failures(&self, running: &mut RunningGuest, volume: &Volume<'_>) -> Check {
        let failures = locked(&self.pjdfstest).get_or_insert_with(|| control::pjdfstest_failures(volume)).clone()?;
        let path = format!("{}/{}", guest::SCRATCH, suites::filesystem::NATIVE_FAILURES);
        let request = GuestRequest::PutFile { path, mode: 0o644, bytes: Base64Bytes(failures) };
        let deadline = running.deadlines().send;
        running.request(request, deadline, "sending the native result to the guest").map(drop)
    }
}

/// Notes the seed of random work, so that it can be repeated.
fn note_seed(test: &Test, environment: &TestEnvironment<'_>, effort: Effort) {
    if test.random {
        let length = if effort.thorough { " --thorough" } else { "" };
        environment.note(format!("random work is that of --seed {}{length}", effort.seed));
    }
}

/// Runs a body in the guest, up to the test's deadline.
fn run_inside(kind: Environment, test: &Test, running: &mut RunningGuest, effort: Effort) -> Check {
    let deadline = running.deadlines().body(test.seconds_with(effort), kind);
    match running.request(GuestRequest::Run { test: test.id.clone(), effort }, deadline, "running in the guest")? {
        GuestReply::Ran { stop: None } => Ok(()),
        GuestReply::Ran { stop: Some(stop) } => Err(stop),
        other => Err(Stop::error(format!("running in the guest: unexpected reply {other:?}"))),
    }
}

/// Returns settings with the release's containerd, and this program as the probe of its containers.
fn container_settings(home: &AgentHome, claims: &Claims) -> Settings {
    let manager = claims.release.container_manager.as_ref();
    Settings {
        containerd: manager.map_or_else(|| PathBuf::from("/usr/bin/containerd"), |m| m.path.clone().into()),
        docker: claims.release.docker.as_ref().map(|engine| engine.path.clone().into()),
        disk: home.dir.join("containers"),
        artifacts: home.artifacts().join("containerd"),
        probe: PathBuf::from("/proc/self/exe"),
        programs: Vec::new(),
        kata_shims: claims.kata.iter().map(|kata| (kata.shim_name().to_owned(), PathBuf::from(&kata.shim))).collect(),
        patience: ContainerDeadlines::new(claims.kata.iter().any(|kata| kata.emulated)),
    }
}

fn native_root(home: &AgentHome) -> PathBuf {
    let root = home.slot(FOR_GUESTS);
    // Missing if the environment made no small filesystems; searchable by all for the tests as another user.
    let _ = fs::create_dir_all(&root);
    let _ = fs::set_permissions(&root, fs::Permissions::from_mode(0o755));
    root
}

fn failure(stop: Stop) -> EnvironmentReply {
    EnvironmentReply::Failed { stop, artifacts: Vec::new(), launched: None }
}
