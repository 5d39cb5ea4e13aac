//! Cost of judging and reporting a very large run: a million outcomes of a thousand targets, in a journal.
//!
//! `cargo bench -p reports --bench outcomes`; `TARGETS` and `OUTCOMES` per target (1000 each) make a smaller run, with
//! proportionally smaller limits.
//! The measurement covers reading the journal, folding it to verdicts, and writing JUnit, Markdown and JSON: together
//! at most 10 s and, in addition to the memory before reading, 1 GB at the peak (`VmHWM`).
//! Afterwards everything is written once more, with the pages, for which there is no limit here.
//! The exit code is 1 if a limit is exceeded.

use jiff::Timestamp;
use model::package::{PackageName, PackageVersion};
use model::procfs;
use model::profile::{Profile, ProfileName};
use model::test_id::TestId;
use model::verified::Basis;
use reports::journal::{
    Accelerator, CellFacts, CellId, Environment, Event, FILE, JournalEntry, Phase, ProbeAnswer, SCHEMA,
};
use reports::standing::{Recorded, Standings};
use reports::views::{json, junit, markdown, write};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use suites::catalogue::{self, Test};
use suites::outcome::{Component, Failure, Outcome};

/// Limit for a million outcomes, in seconds.
const SECONDS: f64 = 10.0;
/// Limit for a million outcomes, in MiB.
const MEMORY: f64 = 1e9 / 1024.0 / 1024.0;
/// The number of outcomes that the limits apply to.
const WHOLE: f64 = 1e6;

fn main() -> ExitCode {
    // `cargo test --benches` runs this too.
    if !std::env::args().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(3)
        }
    }
}

/// Makes a journal and all its reports; returns whether the limits are kept.
fn measure() -> Result<bool, Box<dyn Error>> {
    let (targets, outcomes) = (number("TARGETS")?, number("OUTCOMES")?);
    let dir = tempfile::tempdir()?;
    let tests = tests(outcomes);
    make(dir.path(), targets, &tests)?;
    let bytes = std::fs::metadata(dir.path().join(FILE))?.len();
    println!("{targets} targets × {} outcomes, a journal of {} MiB", tests.len(), bytes >> 20);
    let before = peak()?;
    let began = Instant::now();
    let step = |what: &str, since: Instant| -> Result<Instant, Box<dyn Error>> {
        println!("{what:24} {:8.2} s  peak {:7.0} MiB", since.elapsed().as_secs_f64(), peak()?);
        Ok(Instant::now())
    };
    let journal = reports::journal::read(dir.path())?;
    let now = step("reading", began)?;
    let matrix = write::matrix_in(&journal, catalogue::tests(), Profile::all(), &[], dir.path());
    drop(journal);
    let now = step("folding and judging", now)?;
    let standings = Standings::new(&matrix, Recorded::default(), false);
    let now = step("beside the record", now)?;
    let run_files = junit::RunFiles { folder: dir.path(), tail: &|_: &str| None };
    for (name, text) in junit::render(&standings, catalogue::tests(), run_files)? {
        std::fs::write(dir.path().join(name), text)?;
    }
    let now = step("JUnit", now)?;
    std::fs::write(dir.path().join("matrix.md"), markdown::render(&standings))?;
    let now = step("Markdown", now)?;
    std::fs::write(dir.path().join("results.json"), json::render(&standings)?)?;
    step("JSON", now)?;
    let (seconds, memory) = (began.elapsed().as_secs_f64(), peak()? - before);
    let now = Instant::now();
    write::write_all(&standings, &[], catalogue::tests(), dir.path(), dir.path())?;
    step("all, with the pages", now)?;
    let share = (targets * tests.len()) as f64 / WHOLE;
    let rows = [("time", seconds, SECONDS * share, "s"), ("memory", memory, MEMORY * share, "MiB")];
    for (what, measured, limit, unit) in rows {
        let word = if measured > limit { "EXCEEDED" } else { "ok" };
        println!("{what:10} {measured:9.2} {unit:4} limit {limit:9.2} {unit:4} {word}");
    }
    Ok(rows.iter().all(|(_, measured, limit, _)| measured <= limit))
}

fn number(name: &str) -> Result<usize, String> {
    match std::env::var(name) {
        Err(_) => Ok(1000),
        Ok(text) => match text.parse() {
            Ok(number @ 1..=1000) => Ok(number),
            _ => Err(format!("{name}={text}: expected a number from 1 to 1000")),
        },
    }
}

/// Returns the tests of each target: this many that run in containers, profile by profile.
fn tests(count: usize) -> Vec<(&'static Profile, &'static Test)> {
    let applies =
        |profile: &Profile, test: &Test| test.applies_to(&profile.name) && test.applies_in(Environment::Container);
    let of = |profile: &'static Profile| {
        catalogue::tests().iter().filter(move |test| applies(profile, test)).map(move |test| (profile, test))
    };
    Profile::all().iter().rev().flat_map(of).take(count).collect()
}

/// Writes the journal of a run, line by line, so that it does not stay in memory.
fn make(dir: &Path, targets: usize, tests: &[(&Profile, &Test)]) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(dir.join(FILE))?);
    let mut seconds = 1_790_000_000;
    let mut put = |event: Event| -> Result<(), Box<dyn Error>> {
        seconds += 1;
        let entry = JournalEntry { at: Timestamp::from_second(seconds)?, event };
        serde_json::to_writer(&mut file, &entry)?;
        Ok(file.write_all(b"\n")?)
    };
    let cells = (0..targets).map(|number| format!("debian:release-{number}/x86_64/container").parse::<CellId>());
    let cells: Vec<CellId> = cells.collect::<Result<_, _>>()?;
    let mut profiles: Vec<ProfileName> = tests.iter().map(|(profile, _)| profile.name.clone()).collect();
    profiles.dedup();
    let boots: TestId = "smoke::kernel_boots_to_userspace".parse()?;
    put(Event::RunStarted {
        schema: SCHEMA,
        run: "bench".to_owned(),
        harness: "0".to_owned(),
        commit: String::new(),
        argv: Vec::new(),
        records: String::new(),
        catalogue: String::new(),
        profiles,
        cells: cells.clone(),
        planned: BTreeMap::new(),
        filter: None,
        candidate: false,
        shaped: false,
        options: Vec::new(),
        facts: None,
    })?;
    for (target, cell) in cells.into_iter().enumerate() {
        put(Event::CellStarted { cell: cell.clone() })?;
        put(Event::PhaseStarted { cell: cell.clone(), phase: Phase::Tests })?;
        put(Event::CellFacts { cell: cell.clone(), facts: facts()? })?;
        for (number, (profile, test)) in tests.iter().enumerate() {
            let (profiles, id) = (vec![profile.name.clone()], test.id.clone());
            put(Event::TestStarted { cell: cell.clone(), profiles: profiles.clone(), test: id.clone(), attempt: 1 })?;
            put(Event::TestFinished {
                cell: cell.clone(),
                profiles,
                test: id,
                attempt: 1,
                machine: 0,
                guests: vec![1],
                outcome: outcome(target, number, test, &boots),
                millis: 120,
                notes: Vec::new(),
                artifacts: vec![format!("artifacts/{}/guest-1/serial.log", cell.release)],
            })?;
        }
        put(Event::CellFinished { cell })?;
    }
    put(Event::RunFinished { interrupted: false })?;
    Ok(file.flush()?)
}

fn facts() -> Result<CellFacts, Box<dyn Error>> {
    let (qemu, version): (PackageName, PackageVersion) = ("qemu-system-x86".parse()?, "1:10.0.2+ds-2".parse()?);
    Ok(CellFacts {
        basis: Basis::Emulated,
        accelerator: Accelerator::Tcg,
        versions: BTreeMap::from([(qemu.clone(), version)]),
        suites: BTreeMap::from([(qemu, "trixie".to_owned())]),
        kernel: "6.12.41+deb13-amd64".parse().ok(),
        image: "kata-qualify/debian:13".to_owned(),
        image_made: None,
        image_cached: true,
        image_manifest: None,
        image_options: Vec::new(),
        environment: BTreeMap::from([("cpus".to_owned(), ProbeAnswer::Words("2".to_owned()))]),
        candidates: BTreeMap::new(),
        notes: Vec::new(),
    })
}

/// Returns an outcome: of a hundred, three fail, two are skipped, one is blocked, one is in error, and the others pass,
/// at different places on each target.
fn outcome(target: usize, number: usize, test: &Test, boots: &TestId) -> Outcome {
    match (target + number) % 100 {
        0..3 => Outcome::Fail(Failure::new(test.blames, format!("expected 4096 bytes of {}, saw {number}", test.name))),
        3..5 => Outcome::Skip { reason: "the environment has no /dev/vhost-vsock".to_owned() },
        5 => Outcome::Blocked { by: boots.clone() },
        6 => Outcome::Error { message: format!("the line to {} ended", Component::Qemu) },
        _ => Outcome::Pass,
    }
}

/// Returns the peak resident set of this process so far, in MiB.
fn peak() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = procfs::status(&status, "VmHWM").ok_or("the kernel says no VmHWM")?;
    let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
