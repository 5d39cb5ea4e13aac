//! The containers of an environment: one containerd for all tests, a shared pod for each runtime, the controls' results.

use super::instance::Instance;
use super::kata;
use super::session::Session;
use super::signatures;
use super::task::ContainerTask;
use kata_osinfo::profile::Profile;
use kata_osinfo::root::Root;
use kata_osinfo::sync::locked;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use suites::catalogue::{Place, Test};
use suites::check::{Check, Stop};
use suites::containers::{ContainersBody, Kata, Runtime, has_control};
use suites::environment::Claims;

pub use super::instance::{Patience, Settings};

/// The pods that tests share, by the names that containerd knows their runtimes by.
#[derive(Default)]
pub struct Pods(pub(super) Mutex<BTreeMap<&'static str, ContainerTask>>);

/// Runs container tests.
#[derive(Default)]
pub struct Engine {
    instance: Mutex<Option<Arc<Instance>>>,
    pods: Pods,
    /// What each body did under runc, by its name.
    controls: Mutex<BTreeMap<&'static str, Check>>,
    /// What became of each Kata's configuration, by profile.
    configured: Mutex<BTreeMap<String, Check>>,
    /// One test of a runtime at a time: what stays behind is counted.
    runc: Mutex<()>,
    kata: Mutex<()>,
}

/// What a test left for the report.
#[derive(Debug, Default)]
pub struct Left {
    /// What its body noted.
    pub notes: Vec<String>,
    /// Logs.
    pub artifacts: Vec<String>,
}

impl Engine {
    /// Runs a test's body under its runtime; under Kata after its control, if it has one, has passed.
    ///
    /// # Errors
    /// As the body says; without Kata a skip, with a failing control an error.
    pub fn run(
        &self,
        test: &Test,
        body: ContainersBody,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        left: &mut Left,
    ) -> Check {
        if test.place != Place::Kata {
            return self.control(test.name, body, settings, claims, profile, left);
        }
        let kata = claims.kata_for(&profile.name).ok_or_else(|| none_for(claims))?;
        if has_control(test.name) {
            let known = locked(&self.controls).get(test.name).cloned();
            let control = known.unwrap_or_else(|| self.control(test.name, body, settings, claims, profile, left));
            control.map_err(|stop| match stop {
                Stop::Fail { message, .. } => {
                    Stop::error(format!("the same fails under runc, so that Kata cannot be judged by it: {message}"))
                }
                other => other,
            })?;
        }
        let _one_at_a_time = locked(&self.kata);
        self.configured(settings, claims, profile, kata, left)?;
        let result = self.run_under(Runtime::Kata, body, settings, claims, profile, left);
        result.map_err(|stop| signatures::settle(stop, &record_paths(claims)))
    }

    /// Configures a Kata before its first test; what went wrong then is every test's answer.
    fn configured(
        &self,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        kata: &Kata,
        left: &mut Left,
    ) -> Check {
        let mut known = locked(&self.configured);
        if let Some(result) = known.get(&profile.name) {
            return result.clone();
        }
        let root = Root::new(Path::new("/")).map_err(|e| Stop::error(e.to_string()))?;
        let result = kata::configure(&root, claims, profile, kata).map(|configured| {
            let Some(configured) = configured else { return };
            let copy = settings.artifacts.join(format!("kata-{}.toml", profile.name));
            let kept = fs::create_dir_all(&settings.artifacts).and_then(|()| fs::write(&copy, &configured.text));
            left.artifacts.extend(kept.is_ok().then(|| copy.to_string_lossy().into_owned()));
            left.notes.extend(configured.notes);
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
        left: &mut Left,
    ) -> Check {
        let _one_at_a_time = locked(&self.runc);
        let result = self.run_under(Runtime::Runc, body, settings, claims, profile, left);
        locked(&self.controls).insert(name, result.clone());
        result
    }

    fn run_under(
        &self,
        runtime: Runtime,
        body: ContainersBody,
        settings: &Settings,
        claims: &Claims,
        profile: &Profile,
        left: &mut Left,
    ) -> Check {
        let instance = self.instance(settings)?;
        left.artifacts.push(instance.log_path().to_string_lossy().into_owned());
        let notes = Mutex::new(Vec::new());
        let session = Session {
            instance: Arc::clone(&instance),
            runtime,
            claims,
            profile,
            pods: &self.pods,
            notes: &notes,
            folders: Mutex::default(),
        };
        let mut result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&session)))
            .unwrap_or_else(|_| Err(Stop::error("the test's body panicked; see the agent's standard error")));
        if result.is_err() {
            // Whatever it is, the next attempt has a fresh sandbox.
            session.forget_pod();
        }
        drop(session);
        left.notes.extend(notes.into_inner().unwrap_or_default());
        if instance.ended().is_some() {
            // Whatever the body made of it: containerd's end explains the rest.
            result = Err(instance.crash());
            self.stop();
        }
        result
    }

    fn instance(&self, settings: &Settings) -> Result<Arc<Instance>, Stop> {
        let mut instance = locked(&self.instance);
        if let Some(running) = instance.as_ref() {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(Instance::start(settings)?);
        *instance = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Ends containerd and everything that runs in it.
    pub fn stop(&self) {
        let pods = std::mem::take(&mut *locked(&self.pods.0));
        drop(pods);
        let instance = locked(&self.instance).take();
        drop(instance);
    }

    /// containerd's process, while one runs.
    pub fn containerd(&self) -> Option<u32> {
        locked(&self.instance).as_ref().map(|instance| instance.pid())
    }
}

/// Why nothing can be shown for a profile.
fn none_for(claims: &Claims) -> Stop {
    let given: Vec<String> =
        claims.kata.iter().map(|k| format!("{} of the profile {}", k.version, k.profile)).collect();
    if given.is_empty() {
        return Stop::skip(
            "no Kata was given to run containers with: name a release of it by --kata PATH|URL[#sha256]",
        );
    }
    Stop::skip(format!("the Kata given is {}: this profile has none (--kata may be given twice)", given.join(" and ")))
}

/// The paths that the record names, without those in whose place something was brought along.
fn record_paths(claims: &Claims) -> Vec<String> {
    let brought = |name: &str| claims.brought.contains_key(name);
    let qemu = claims.release.qemu().map(|vmm| vmm.path.clone()).filter(|_| !brought("qemu"));
    let virtiofsd = claims.release.filesystem("virtio-fs").and_then(|f| f.path.clone());
    qemu.into_iter().chain(virtiofsd.filter(|_| !brought("virtiofsd"))).collect()
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
