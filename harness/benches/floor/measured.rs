//! One run of the real command, timed and observed from outside.

use crate::BenchSettings;
use anyhow::Context as _;
use model::procfs;
use reports::journal::{Event, Journal, Phase};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A test that needs no guest and that almost nothing blocks.
pub(crate) const CHEAP: &str = "smoke::packages_are_installed";

/// A test of a machine that needs neither a guest nor another test before it.
pub(crate) const CHEAP_HOST: &str = "host::cgroups_have_the_controllers_of_sandboxes";

/// Duration, memory and journal of a run.
pub(crate) struct Run {
    /// Seconds from start to exit.
    pub(crate) seconds: f64,
    /// The largest resident set of the process, in MiB.
    pub(crate) peak: f64,
    /// The journal that the run wrote.
    pub(crate) journal: Journal,
    began: jiff::Timestamp,
    ended: jiff::Timestamp,
}

impl Run {
    /// Runs the command for these targets to its end, while it measures its memory.
    pub(crate) fn of(settings: &BenchSettings, cache: &Path, targets: &str, more: &[&str]) -> anyhow::Result<Run> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let out = settings.scratch.path().join(format!("run{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let stderr = out.with_extension("stderr");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
        command
            .args(["run", targets, "--accept-expired", "--jobs", &settings.jobs.to_string()])
            .arg("--cache")
            .arg(cache)
            .arg("--out")
            .arg(&out)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&stderr)?);
        let (clock, began) = (Instant::now(), jiff::Timestamp::now());
        let mut child = command.spawn().context("starting kata-qualify")?;
        let mut peak = 0.0_f64;
        let status = loop {
            // The file is gone between the process's end and its reaping; the mark only ever rises, so little is
            // missed.
            peak = peak.max(peak_of(child.id()).unwrap_or(0.0));
            match child.try_wait()? {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let (seconds, ended) = (clock.elapsed().as_secs_f64(), jiff::Timestamp::now());
        let read_stderr = || std::fs::read_to_string(&stderr).unwrap_or_default();
        // Exit codes 0 and 1 are verdicts about the distro. With 3, something could not be judged, and the timing is
        // worthless.
        anyhow::ensure!(
            matches!(status.code(), Some(0 | 1)),
            "kata-qualify run {targets}: {status}\n{}",
            read_stderr()
        );
        let journal = reports::journal::read(&out)?;
        Ok(Run { seconds, peak, journal, began, ended })
    }

    /// Returns the seconds from the run's start to the start of its first test.
    pub(crate) fn until_first_test(&self) -> Option<f64> {
        let first = self.journal.entries.iter().find(|e| matches!(e.event, Event::TestStarted { .. }))?;
        Some(first.at.duration_since(self.began).as_secs_f64())
    }

    /// Describes the durations of the phases, from the journal.
    pub(crate) fn phases(&self) -> String {
        let time_of =
            |is_it: &dyn Fn(&Event) -> bool| self.journal.entries.iter().find(|e| is_it(&e.event)).map(|e| e.at);
        let start_of =
            |expected: Phase| time_of(&|e| matches!(e, Event::PhaseStarted { phase, .. } if *phase == expected));
        let last_test =
            self.journal.entries.iter().rfind(|e| matches!(e.event, Event::TestFinished { .. })).map(|e| e.at);
        let marks = [
            ("start", Some(self.began)),
            ("image", start_of(Phase::Image)),
            ("environment", start_of(Phase::Environment)),
            ("probe", start_of(Phase::Probe)),
            ("tests", start_of(Phase::Tests)),
            ("logs and removal", last_test),
            ("sweep and reports", time_of(&|e| matches!(e, Event::CellFinished { .. }))),
            ("", Some(self.ended)),
        ];
        let known: Vec<_> = marks.into_iter().filter_map(|(name, time)| Some((name, time?))).collect();
        let spans = known.windows(2).map(|pair| {
            let [(name, from), (_, to)] = pair else { return String::new() };
            format!("{name} {:.1}", to.duration_since(*from).as_secs_f64())
        });
        spans.collect::<Vec<_>>().join(", ")
    }
}

/// Returns `VmHWM` of a process in MiB.
fn peak_of(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: f64 = procfs::status(&status, "VmHWM")?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Returns the number of CPUs that the harness gives a virtual machine.
pub(crate) fn machine_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Returns the machine's 1-minute load.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
