//! Generated output directories, in the form that runs leave.

use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::test_id::TestId;
use model::verified::Basis;
use reports::journal::{
    Accelerator, CellFacts, CellId, Event, FILE, JournalEntry, Phase, ProbeAnswer, RunFacts, RunFilter, SCHEMA, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use suites::outcome::{Component, Failure, Outcome};

/// The profile of all generated runs.
pub(crate) const PROFILE: &str = "go-3.32";
/// A test that passes in a generated run, and one that fails.
pub(crate) const PASSES: &str = "smoke::packages_are_installed";
pub(crate) const FAILS: &str = "smoke::qemu_has_the_machine_type";
/// The log of the failing test, relative to the cell's directory.
pub(crate) const LOG: &str = "g1/qemu.log";

/// Result of a command.
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command in a directory; no Docker engine answers.
pub(crate) fn run_command(folder: &Path, arguments: &[&str]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args(arguments).current_dir(folder).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.env("KATA_QUALIFY_CACHE", folder.join("cache")).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CommandOutput { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Description of a run to generate.
pub(crate) struct GeneratedRun<'a> {
    pub(crate) run: &'a str,
    pub(crate) cell: &'a str,
    pub(crate) shaped: bool,
    /// Whether the run was strict: everything that is required must be supported.
    pub(crate) strict: bool,
    /// The failing test, the component that it blames, and the observation.
    pub(crate) fails: (&'a str, Component, &'a str),
    /// The log of the failing test, relative to the cell's directory.
    pub(crate) log: &'a str,
    /// The version of virtiofsd.
    pub(crate) virtiofsd: &'a str,
    pub(crate) basis: Basis,
    /// The accelerator in the journal, if it does not match the basis.
    pub(crate) accelerator: Option<Accelerator>,
    /// Seconds since a fixed day.
    pub(crate) at: i64,
    /// The run's end.
    pub(crate) end: End,
}

/// End of a generated run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// One test passes and one fails.
    Fails,
    /// Only the passing test was selected.
    Passes,
    /// The image could not be made.
    Lost,
    /// The run is killed after the passing test.
    Killed,
}

impl Default for GeneratedRun<'_> {
    fn default() -> Self {
        let (run, cell, virtiofsd) = ("r1", "debian:13/x86_64/container", "1.13.2-1");
        let fails = (FAILS, Component::Qemu, "no q35 from mirror.example");
        let (shaped, strict, basis, accelerator) = (false, false, Basis::Emulated, None);
        GeneratedRun {
            run,
            cell,
            shaped,
            strict,
            fails,
            log: LOG,
            virtiofsd,
            basis,
            accelerator,
            at: 0,
            end: End::Fails,
        }
    }
}

/// Returns the directory of a cell's logs.
pub(crate) fn artifacts(cell: &str) -> String {
    format!("artifacts/{}", cell.replace([':', '/'], "-"))
}

/// Writes the output folder of a run: one test passed, one failed and left a log.
pub(crate) fn write_run(folder: &Path, run: &GeneratedRun<'_>) {
    let cell: CellId = run.cell.parse().unwrap();
    let (log, manifest) = (format!("{}/{}", artifacts(run.cell), run.log), "images/made.json");
    for (file, text) in [(log.as_str(), format!("the log of {}\n", run.run)), (manifest, "{}\n".to_owned())] {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let version = |text: &str| text.parse::<PackageVersion>().unwrap();
    let (accelerator, kernel) = match run.basis {
        Basis::Hardware => (Accelerator::Kvm, Some("6.12.41+deb13-amd64".parse().unwrap())),
        Basis::Emulated => (Accelerator::Tcg, None),
    };
    let facts = CellFacts {
        basis: run.basis,
        accelerator: run.accelerator.clone().unwrap_or(accelerator),
        versions: [("virtiofsd".parse::<PackageName>().unwrap(), version(run.virtiofsd))].into(),
        suites: BTreeMap::new(),
        kernel,
        image: run.cell.to_owned(),
        image_made: None,
        image_cached: true,
        image_manifest: Some(manifest.to_owned()),
        image_options: vec!["accepted http://someone:hunter22@mirror.example/debian".to_owned()],
        environment: match run.basis {
            Basis::Hardware => [("kvm", "yes"), ("processor", "the processor is no virtual one")]
                .map(|(name, words)| (name.to_owned(), ProbeAnswer::from(words.to_owned())))
                .into(),
            Basis::Emulated => BTreeMap::new(),
        },
        candidates: BTreeMap::new(),
        notes: Vec::new(),
    };
    let mut events = vec![
        Event::RunStarted {
            schema: SCHEMA,
            run: run.run.to_owned(),
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            commit: "unknown".to_owned(),
            argv: vec!["kata-qualify".to_owned(), "run".to_owned()],
            records: "0123456789ab".to_owned(),
            catalogue: "0123456789ab".to_owned(),
            profiles: vec![PROFILE.parse().unwrap()],
            cells: vec![cell.clone()],
            planned: [(cell.clone(), 2)].into(),
            filter: matches!(run.end, End::Passes | End::Lost).then(|| PASSES.to_owned()),
            candidate: false,
            shaped: run.shaped,
            options: if run.shaped { vec!["--mirror-key".to_owned()] } else { Vec::new() },
            facts: Some(RunFacts {
                filter: matches!(run.end, End::Passes | End::Lost).then(|| RunFilter::Matching(PASSES.to_owned())),
                has_callers_keys: run.shaped,
                strict: run.strict,
                ..RunFacts::default()
            }),
        },
        Event::CellStarted { cell: cell.clone() },
    ];
    if run.end == End::Lost {
        let (cell, message) = (cell.clone(), "no mirror answers".to_owned());
        events.push(Event::CellError { cell, phase: Phase::Image, message });
    } else {
        events.push(Event::PhaseStarted { cell: cell.clone(), phase: Phase::Tests });
        events.push(Event::CellFacts { cell: cell.clone(), facts });
        tests(&mut events, &cell, log, run);
    }
    if run.end != End::Killed {
        events.extend([Event::CellFinished { cell }, Event::RunFinished { interrupted: false }]);
    }
    let mut journal = Writer::create(folder).unwrap();
    for (second, event) in (run.at..).zip(events) {
        let at = jiff::Timestamp::from_second(1_790_000_000 + second).unwrap();
        // Without redaction, so that derived files have something to redact.
        journal.append_as_it_is(&JournalEntry { at, event }).unwrap();
    }
}

/// Adds events of a passing test, and of a failing one that left a log.
fn tests(events: &mut Vec<Event>, cell: &CellId, log: String, run: &GeneratedRun<'_>) {
    let (fails, component, observed) = run.fails;
    let failed = Outcome::Fail(Failure::new(component, observed));
    let count = if run.end == End::Fails { 2 } else { 1 };
    for (test, outcome, artifacts) in
        [(PASSES, Outcome::Pass, vec![]), (fails, failed, vec![log])].into_iter().take(count)
    {
        let (cell, profiles, test) =
            (cell.clone(), vec![PROFILE.parse::<ProfileName>().unwrap()], test.parse::<TestId>().unwrap());
        events.push(Event::TestStarted {
            cell: cell.clone(),
            profiles: profiles.clone(),
            test: test.clone(),
            attempt: 1,
        });
        events.push(Event::TestFinished {
            cell,
            profiles,
            test,
            attempt: 1,
            machine: 0,
            guests: Vec::new(),
            outcome,
            millis: 7,
            notes: Vec::new(),
            artifacts,
        });
    }
}

/// Returns the journal of a directory, as text.
pub(crate) fn journal(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(FILE)).unwrap()
}
