//! Output folders as runs leave them, made.

use model::package::{PackageName, PackageVersion};
use model::verified::Basis;
use reports::journal::{
    Accelerator, CellFacts, CellId, Event, FILE, JournalEntry, Phase, RunFacts, RunFilter, SCHEMA, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use suites::outcome::{Component, Failure, Outcome};

/// The profile of all made runs.
pub(crate) const PROFILE: &str = "go-3.32";
/// A test that passes in a made run, and one that fails.
pub(crate) const PASSES: &str = "smoke::packages_are_installed";
pub(crate) const FAILS: &str = "smoke::qemu_has_the_machine_type";
/// The log of the one that fails, below the cell's folder.
pub(crate) const LOG: &str = "g1/qemu.log";

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the command in a folder; no Docker engine answers.
pub(crate) fn said(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args(arguments).current_dir(folder).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let ended = command.env("KATA_QUALIFY_CACHE", folder.join("cache")).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: ended.status.code(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

/// A run to be made.
pub(crate) struct Made<'a> {
    pub(crate) run: &'a str,
    pub(crate) cell: &'a str,
    pub(crate) shaped: bool,
    /// Whether it asked that all that is required is supported.
    pub(crate) strict: bool,
    /// The test that fails, whom that blames, and what was seen.
    pub(crate) fails: (&'a str, Component, &'a str),
    /// The log that it leaves, below the cell's folder.
    pub(crate) log: &'a str,
    /// The version of virtiofsd.
    pub(crate) virtiofsd: &'a str,
    pub(crate) basis: Basis,
    /// What the journal says of the accelerator, where that does not fit the basis.
    pub(crate) accelerator: Option<Accelerator>,
    /// Seconds since some day.
    pub(crate) at: i64,
    /// What becomes of it.
    pub(crate) end: End,
}

/// What becomes of a made run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// One test passes and one fails.
    Fails,
    /// It was only asked for the test that passes.
    Passes,
    /// Its image cannot be made.
    Lost,
    /// It is killed after the test that passes.
    Killed,
}

impl Default for Made<'_> {
    fn default() -> Self {
        let (run, cell, virtiofsd) = ("r1", "debian:13/x86_64/container", "1.13.2-1");
        let fails = (FAILS, Component::Qemu, "no q35 from mirror.example");
        let (shaped, strict, basis, accelerator) = (false, false, Basis::Emulated, None);
        Made { run, cell, shaped, strict, fails, log: LOG, virtiofsd, basis, accelerator, at: 0, end: End::Fails }
    }
}

/// The folder of a cell's logs.
pub(crate) fn artifacts(cell: &str) -> String {
    format!("artifacts/{}", cell.replace([':', '/'], "-"))
}

/// Writes the output folder of a run: one test passed, one failed and left a log.
pub(crate) fn make(folder: &Path, made: &Made<'_>) {
    let cell: CellId = made.cell.parse().unwrap();
    let (log, manifest) = (format!("{}/{}", artifacts(made.cell), made.log), "images/made.json");
    for (file, text) in [(log.as_str(), format!("the log of {}\n", made.run)), (manifest, "{}\n".to_owned())] {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let version = |text: &str| text.parse::<PackageVersion>().unwrap();
    let (accelerator, kernel) = match made.basis {
        Basis::Hardware => (Accelerator::Kvm, Some("6.12.41+deb13-amd64".to_owned())),
        Basis::Emulated => (Accelerator::Tcg, None),
    };
    let facts = CellFacts {
        basis: made.basis,
        accelerator: made.accelerator.clone().unwrap_or(accelerator),
        versions: [("virtiofsd".parse::<PackageName>().unwrap(), version(made.virtiofsd))].into(),
        suites: BTreeMap::new(),
        kernel,
        image: made.cell.to_owned(),
        image_made: None,
        image_cached: true,
        image_manifest: Some(manifest.to_owned()),
        image_options: vec!["accepted http://someone:hunter22@mirror.example/debian".to_owned()],
        environment: BTreeMap::new(),
        candidates: BTreeMap::new(),
        notes: Vec::new(),
    };
    let mut events = vec![
        Event::RunStarted {
            schema: SCHEMA,
            run: made.run.to_owned(),
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            commit: "unknown".to_owned(),
            argv: vec!["kata-qualify".to_owned(), "run".to_owned()],
            records: "0123456789ab".to_owned(),
            catalogue: "0123456789ab".to_owned(),
            profiles: vec![PROFILE.to_owned()],
            cells: vec![cell.clone()],
            planned: [(cell.clone(), 2)].into(),
            filter: matches!(made.end, End::Passes | End::Lost).then(|| PASSES.to_owned()),
            candidate: false,
            shaped: made.shaped,
            options: if made.shaped { vec!["--mirror-key".to_owned()] } else { Vec::new() },
            facts: Some(RunFacts {
                filter: matches!(made.end, End::Passes | End::Lost).then(|| RunFilter::Matching(PASSES.to_owned())),
                has_callers_keys: made.shaped,
                strict: made.strict,
                ..RunFacts::default()
            }),
        },
        Event::CellStarted { cell: cell.clone() },
    ];
    if made.end == End::Lost {
        let (cell, message) = (cell.clone(), "no mirror answers".to_owned());
        events.push(Event::CellError { cell, phase: Phase::Image, message });
    } else {
        events.push(Event::PhaseStarted { cell: cell.clone(), phase: Phase::Tests });
        events.push(Event::CellFacts { cell: cell.clone(), facts });
        tests(&mut events, &cell, log, made);
    }
    if made.end != End::Killed {
        events.extend([Event::CellFinished { cell }, Event::RunFinished { interrupted: false }]);
    }
    let mut journal = Writer::create(folder).unwrap();
    for (second, event) in (made.at..).zip(events) {
        let at = jiff::Timestamp::from_second(1_790_000_000 + second).unwrap();
        // As it is, so that there is something to redact in what is made of it.
        journal.append_as_it_is(&JournalEntry { at, event }).unwrap();
    }
}

/// One test passes, and one fails that left a log.
fn tests(events: &mut Vec<Event>, cell: &CellId, log: String, made: &Made<'_>) {
    let (fails, component, observed) = made.fails;
    let failed = Outcome::Fail(Failure::new(component, observed));
    let count = if made.end == End::Fails { 2 } else { 1 };
    for (test, outcome, artifacts) in
        [(PASSES, Outcome::Pass, vec![]), (fails, failed, vec![log])].into_iter().take(count)
    {
        let (cell, profiles, test) = (cell.clone(), vec![PROFILE.to_owned()], test.to_owned());
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

/// The journal of a folder, as text.
pub(crate) fn journal(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(FILE)).unwrap()
}
