//! A killed run comes to the same verdicts when it is resumed, wherever it was killed: real kills of real runs, in a
//! container.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod command;

use command::{Verdicts, cell, events, finished, ids, kata_qualify, outcomes, results, run_to_end, verdicts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

const RELEASE: &str = "debian:13";
/// Options of the run: several tests, with guests and without.
const OF_RUN: [&str; 6] = ["--in", "container", "--profile", "go-3.32", "--test", "hotplugged"];
/// Time limit for reaching a point under emulation, while other work is running.
const POINT_TIMEOUT: Duration = Duration::from_secs(1800);
/// Interval between two looks at the journal. Some points last only a tenth of a second.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Points at which a run is killed.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// The journal has been created and has no event yet.
    Unbegun,
    /// The environment is being brought up.
    BringUp,
    /// The environment was probed, and no test has started.
    AfterProbe,
    /// A test after the first one with a guest has started and not ended.
    MidTest,
    /// Every test has ended, but the run has not.
    End,
    /// After this time, whatever the run is doing.
    After(Duration),
}

impl Point {
    fn is_reached(self, events: &[Value], began: Instant) -> bool {
        let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        let planned = || {
            let of_cells = events.first().and_then(|event| event["planned"].as_object());
            of_cells.map(|cells| cells.values().filter_map(Value::as_u64).sum::<u64>())
        };
        match self {
            // The journal's existence is enough.
            Point::Unbegun => true,
            Point::BringUp => {
                let is_up = |event: &Value| event["event"] == "phase-started" && event["phase"] == "environment";
                events.iter().any(is_up)
            }
            Point::AfterProbe => count("cell-facts") > 0,
            Point::MidTest => {
                count("guest-started") > 0 && events.last().is_some_and(|event| event["event"] == "test-started")
            }
            Point::End => {
                count("cell-finished") > 0 || planned().is_some_and(|planned| count("test-finished") as u64 >= planned)
            }
            Point::After(time) => !events.is_empty() && began.elapsed() >= time,
        }
    }
}

/// Result of a run: its exit code, verdicts and outcomes.
#[derive(Debug, PartialEq)]
struct RunResult {
    code: Option<i32>,
    verdicts: Verdicts,
    outcomes: BTreeMap<String, String>,
}

impl RunResult {
    fn of(out: &Path, code: Option<i32>) -> RunResult {
        let results = results(out);
        let cell = cell(&results, "debian:13/");
        RunResult { code, verdicts: verdicts(cell), outcomes: outcomes(cell) }
    }
}

/// A run that is killed when dropped, if it is still running.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
#[ignore = "takes an hour: .ci/nightly killed"]
fn a_resumed_run_reaches_the_same_verdicts_wherever_it_was_killed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Also makes the image.
    let first = run_to_end(kata_qualify(dir.path()).args(["run", RELEASE]).args(OF_RUN).args(["--out", "first"]));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let began = Instant::now();
    let whole =
        run_to_end(kata_qualify(dir.path()).args(["run", RELEASE, "--offline"]).args(OF_RUN).args(["--out", "whole"]));
    let duration = began.elapsed();
    let undisturbed = RunResult::of(&dir.path().join("whole"), whole.code);
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let random = Point::After(random_time_within(duration));
    let points = [Point::Unbegun, Point::BringUp, Point::AfterProbe, Point::MidTest, Point::End, random];
    for (number, point) in points.into_iter().enumerate() {
        let out = format!("killed-{number}");
        let run = killed_at(point, dir.path(), &out);
        let journal = dir.path().join(&out).join("journal.jsonl");
        let before = finished(&journal);
        // A fast machine may finish the run before the kill.
        let is_over = events(&journal).iter().any(|event| event["event"] == "run-finished");
        let again = match events(&journal).is_empty() {
            true => [&["run", RELEASE, "--offline"][..], &OF_RUN[..], &["--out", out.as_str()]].concat(),
            false if is_over => vec!["report", out.as_str()],
            false => vec!["run", "--offline", "--resume", out.as_str()],
        };
        let ended = run_to_end(kata_qualify(dir.path()).args(again));
        assert_eq!(RunResult::of(&dir.path().join(&out), ended.code), undisturbed, "{point:?}: {}", ended.stderr);
        let after = finished(&journal);
        for (attempt, times) in &before {
            assert_eq!(after.get(attempt), Some(times), "{point:?}: {attempt:?} had ended, and was run again");
        }
        for what in [&["ps", "--all", "--quiet"][..], &["volume", "ls", "--quiet"]] {
            // A run that had not begun has made nothing.
            let left = run.as_deref().map_or_else(Vec::new, |run| ids(what, run));
            assert_eq!(left, Vec::<String>::new(), "{point:?} left {what:?}");
        }
    }
}

/// Returns a random time within a run of this length; it is printed, so that it can be used again.
fn random_time_within(duration: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let time = duration.mul_f64(0.1 + 0.85 * f64::from(nanos % 1000) / 1000.0);
    eprintln!("the last kill comes {time:?} after the start, of {duration:?}");
    time
}

/// Starts a run and kills it at a point; returns the run's id, if it had begun.
fn killed_at(point: Point, folder: &Path, out: &str) -> Option<String> {
    let mut command = kata_qualify(folder);
    command.args(["run", RELEASE, "--offline"]).args(OF_RUN).args(["--out", out]);
    let began = Instant::now();
    let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let journal = folder.join(out).join("journal.jsonl");
    loop {
        let events = events(&journal);
        if journal.exists() && point.is_reached(&events, began) {
            running.kill();
            let events = command::events(&journal);
            return events.first().map(|event| event["run"].as_str().unwrap().to_owned());
        }
        let ended = running.0.try_wait().unwrap();
        assert!(ended.is_none(), "{point:?}: the run ended before it was reached: {ended:?}");
        assert!(began.elapsed() < POINT_TIMEOUT, "{point:?}: waited {POINT_TIMEOUT:?}, saw last: {:?}", events.last());
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The points are recognised by the events of a journal, one after the other.
#[test]
fn each_kill_point_is_recognised_by_its_events() {
    let event = |name: &str| serde_json::json!({"event": name});
    let mut events = vec![serde_json::json!({"event": "run-started", "run": "r", "planned": {"c": 2}})];
    let began = Instant::now();
    let mut reached = Vec::new();
    for next in [
        serde_json::json!({"event": "phase-started", "phase": "image"}),
        serde_json::json!({"event": "phase-started", "phase": "environment"}),
        event("cell-facts"),
        event("test-started"),
        event("test-finished"),
        event("guest-started"),
        event("test-started"),
        event("test-finished"),
        event("cell-finished"),
    ] {
        events.push(next);
        let points = [Point::BringUp, Point::AfterProbe, Point::MidTest, Point::End];
        reached.push(points.map(|point| u8::from(point.is_reached(&events, began))));
    }
    let expected = [
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 0, 1],
        [1, 1, 0, 1],
    ];
    assert_eq!(reached, expected);
    assert!(!Point::After(Duration::ZERO).is_reached(&[], began), "there is no run yet");
    assert!(Point::After(Duration::ZERO).is_reached(&events, began));
}
