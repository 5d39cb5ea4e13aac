//! Containers under this machine's containerd and runc, or under replacements of these.
//!
//! `KATA_QUALIFY_CONTAINERD` names another containerd.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use agent::containers::engine::NotesAndLogs;
use agent::containers::{ContainerDeadlines, Engine, Settings};
use model::arch::Arch;
use model::database::Database;
use model::profile::Profile;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use suites::catalogue::{self, Body, Test};
use suites::check::Check;
use suites::environment::Claims;

fn containerd() -> PathBuf {
    std::env::var_os("KATA_QUALIFY_CONTAINERD").map_or_else(|| "/usr/bin/containerd".into(), PathBuf::from)
}

/// Runs container tests on this machine, without an environment around them.
pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) claims: Claims,
    pub(crate) profile: Profile,
    pub(crate) engine: Engine,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let folder = tempfile::Builder::new().prefix("kq-containers").tempdir().unwrap();
        // A static program, because a container's root filesystem has no libraries.
        let probe = folder.path().join("probe");
        fs::write(&probe, harness::built_in::AGENT).unwrap();
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = Settings {
            containerd: containerd(),
            docker: Some("/usr/sbin/dockerd".into()),
            disk: folder.path().join("disk"),
            artifacts: folder.path().join("artifacts"),
            probe,
            programs: Vec::new(),
            kata_shims: BTreeMap::new(),
            patience: ContainerDeadlines::new(false),
        };
        let release = Database::embedded().record("debian").unwrap().release("12", Arch::X86_64).unwrap();
        let claims = Claims::of(release, "6.1.0-56-amd64".parse().unwrap());
        let profile = Profile::find("go-3.29").unwrap().clone();
        Bench { settings, claims, profile, engine: Engine::default(), folder }
    }

    /// Creates a bench whose runc first runs this shell script when a container is created, with `$BUNDLE` set; see
    /// [`Bench::set_runc_script`].
    pub(crate) fn with_runc_script(script: &str) -> Bench {
        Bench::with_script("--bundle", "BUNDLE", script)
    }

    /// Creates a bench whose runc first runs this shell script when a further process is started in a container, with
    /// its specification in the file `$PROCESS`.
    pub(crate) fn with_runc_exec_script(script: &str) -> Bench {
        Bench::with_script("--process", "PROCESS", script)
    }

    /// Creates a bench whose runc first runs this shell script if it has an option, with the option's value in a
    /// variable.
    fn with_script(option: &str, variable: &str, script: &str) -> Bench {
        let mut bench = Bench::new();
        let programs = bench.folder.path().join("programs");
        fs::create_dir(&programs).unwrap();
        bench.set_runc_script(script);
        let (runc, script_path) = (programs.join("runc"), programs.join("lie"));
        let script_path = script_path.display();
        let text = format!(
            "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n{variable}= p=\n\
             for a; do [ \"$p\" = {option} ] && {variable}=$a; p=$a; done\n\
             if [ -n \"${variable}\" ]; then . {script_path}; fi\nexec runc \"$@\"\n"
        );
        fs::write(&runc, text).unwrap();
        fs::set_permissions(&runc, fs::Permissions::from_mode(0o755)).unwrap();
        bench.settings.programs.push(programs);
        bench
    }

    /// Replaces the script that runc runs first.
    pub(crate) fn set_runc_script(&self, script: &str) {
        fs::write(self.folder.path().join("programs/lie"), script).unwrap();
    }

    pub(crate) fn run(&self, id: &str) -> Check {
        let test = catalogue::find(id).unwrap();
        self.run_test(test)
    }

    pub(crate) fn run_test(&self, test: &Test) -> Check {
        let Some(Body::Containers(body)) = catalogue::body(test) else { panic!("{} runs no containers", test.id) };
        let mut notes_and_logs = NotesAndLogs::default();
        self.engine.run(test, body, &self.settings, &self.claims, &self.profile, &mut notes_and_logs)
    }

    pub(crate) fn containerd_log(&self) -> String {
        let logs = fs::read_dir(&self.settings.artifacts).into_iter().flatten().flatten();
        let mut text: Vec<String> = logs.filter_map(|log| fs::read_to_string(log.path()).ok()).collect();
        text.iter_mut().for_each(|text| *text = text.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
        text.join("\n")
    }
}
