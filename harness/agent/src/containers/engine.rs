//! The containers of an environment: one containerd for all tests, a shared pod for each runtime, the controls'
//! results.

use super::containerd::ContainerdInstance;
use super::cri::instance::CriInstance;
use super::docker::instance::DockerInstance;
use super::kata;
use super::pods::Pods;
use super::session::Session;
use super::settings::Settings;
use super::shared::Shared;
use crate::body::caught;
use model::profile::{Profile, ProfileName};
use model::sync::{locked, unlocked};
use model::words::list_and;
use root::Root;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use suites::catalogue::{Place, Test};
use suites::check::{Check, Stop};
use suites::containers::{ContainerRuntime, Containers as _, ContainersBody, Kata, has_control};
use suites::environment::Claims;

/// Runs container tests.
#[derive(Default)]
pub struct Engine {
    instance: Mutex<Option<Arc<ContainerdInstance>>>,
    pods: Pods,
    cri: Shared<CriInstance>,
    docker: Shared<DockerInstance>,
    /// Result of each body under runc, by its name.
    controls: Mutex<BTreeMap<&'static str, Check>>,
    /// The result of configuring each Kata, by profile.
    configured: Mutex<BTreeMap<ProfileName, Check>>,
    /// Only one test of a runtime runs at a time, because each test checks for remains.
    runc: Mutex<()>,
    kata: Mutex<()>,
}

/// Data of a test for the report.
#[derive(Debug, Default)]
pub struct NotesAndLogs {
    /// Notes of its body.
    pub notes: Vec<String>,
    /// Absolute paths of logs.
    pub logs: Vec<String>,
}

impl Engine {
    /// Runs a test's body under its runtime; under Kata after its control, if it has one, has passed.
    ///
    /// # Errors
    /// The body's result; a skip without Kata, an error if the control fails.
    pub fn run(
        &self,
        test: &Test,
        body: ContainersBody,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        notes_and_logs: &mut NotesAndLogs,
    ) -> Check {
        if test.place != Place::Kata {
            return self.control(test.name, body, settings, claims, profile, notes_and_logs);
        }
        let kata = claims.kata_for(&profile.name).ok_or_else(|| none_for(claims))?;
        if has_control(test.name) {
            let known = locked(&self.controls).get(test.name).cloned();
            let control =
                known.unwrap_or_else(|| self.control(test.name, body, settings, claims, profile, notes_and_logs));
            control.map_err(|stop| match stop {
                Stop::Fail { message, .. } => {
                    Stop::error(format!("the same fails under runc, so that Kata cannot be judged by it: {message}"))
                }
                other => other,
            })?;
        }
        let _one_at_a_time = locked(&self.kata);
        self.configured(settings, claims, profile, kata, notes_and_logs)?;
        self.run_under(ContainerRuntime::Kata, body, settings, claims, profile, notes_and_logs)
    }

    /// Configures a Kata before its first test; a failure becomes the result of every test of this Kata.
    fn configured(
        &self,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        kata: &Kata,
        notes_and_logs: &mut NotesAndLogs,
    ) -> Check {
        let mut known = locked(&self.configured);
        if let Some(result) = known.get(&profile.name) {
            return result.clone();
        }
        let root = Root::new(Path::new("/")).map_err(|e| Stop::error(e.to_string()))?;
        let result = kata::configure(&root, claims, profile, kata).map(|configured| {
            let Some(configured) = configured else { return };
            let copy = settings.artifacts.join(format!("kata-{}.toml", profile.name));
            let written = fs::create_dir_all(&settings.artifacts).and_then(|()| fs::write(&copy, &configured.text));
            notes_and_logs.logs.extend(written.is_ok().then(|| copy.to_string_lossy().into_owned()));
            notes_and_logs.notes.extend(configured.notes);
        });
        known.insert(profile.name.clone(), result.clone());
        result
    }

    fn control(
        &self,
        name: &'static str,
        body: ContainersBody,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        notes_and_logs: &mut NotesAndLogs,
    ) -> Check {
        let _one_at_a_time = locked(&self.runc);
        let result = self.run_under(ContainerRuntime::Runc, body, settings, claims, profile, notes_and_logs);
        locked(&self.controls).insert(name, result.clone());
        result
    }

    fn run_under(
        &self,
        runtime: ContainerRuntime,
        body: ContainersBody,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        notes_and_logs: &mut NotesAndLogs,
    ) -> Check {
        let instance = self.instance(settings)?;
        notes_and_logs.logs.push(instance.log_path().to_string_lossy().into_owned());
        let (notes, logs) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let session = Session {
            instance: Arc::clone(&instance),
            runtime,
            claims,
            profile,
            pods: &self.pods,
            cri: &self.cri,
            docker: &self.docker,
            settings,
            logs: &logs,
            notes: &notes,
            folders: Mutex::default(),
        };
        let mut result = caught(|| body(&session));
        // A shutdown and a core file take a while: the body fails before containerd's end can be observed.
        let is_silent = result.is_err() && !instance.serves();
        let ended = if is_silent { instance.wait_for_its_end() } else { instance.ended() };
        if ended.is_some() {
            // containerd's end explains any result of the body.
            result = Err(instance.crash());
        } else if is_silent {
            session.note("containerd no longer answers, and has not ended: the next test has a new one".to_owned());
        }
        if result.is_err() {
            // After any failure the next attempt gets a fresh sandbox.
            session.forget_pod();
        }
        drop(session);
        notes_and_logs.notes.extend(unlocked(notes));
        notes_and_logs.logs.extend(unlocked(logs));
        if is_silent || ended.is_some() {
            self.give_up(&instance);
        }
        result
    }

    /// Makes the next test start a new containerd, unless a test of the other runtime has already done so.
    fn give_up(&self, instance: &Arc<ContainerdInstance>) {
        let is_current = locked(&self.instance).as_ref().is_some_and(|current| Arc::ptr_eq(current, instance));
        if is_current {
            self.stop();
        }
    }

    fn instance(&self, settings: &Settings) -> Result<Arc<ContainerdInstance>, Stop> {
        let mut instance = locked(&self.instance);
        if let Some(running) = instance.as_ref() {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(ContainerdInstance::start(settings)?);
        *instance = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Ends containerd and everything that runs in it.
    pub fn stop(&self) {
        self.pods.end();
        self.cri.end();
        self.docker.end();
        let instance = locked(&self.instance).take();
        drop(instance);
    }

    /// Returns containerd's process id, while it runs.
    pub fn containerd(&self) -> Option<u32> {
        locked(&self.instance).as_ref().map(|instance| instance.pid())
    }
}

/// Returns the reason why a profile cannot be tested.
fn none_for(claims: &Claims) -> Stop {
    if claims.kata.is_empty() {
        return Stop::skip(
            "no Kata was given to run containers with: name a release of it by --kata PATH|URL[#sha256]",
        );
    }
    let supplied = claims.kata.iter().map(|k| format!("{} of the profile {}", k.version, k.profile));
    Stop::skip(format!(
        "no --kata matches this profile; given: {}; repeat --kata for another runtime",
        list_and(supplied)
    ))
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
