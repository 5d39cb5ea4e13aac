//! Costs of the harness relative to the same work done by hand, as ratios with limits.
//!
//! `cargo bench -p harness --bench floor` measures everything; `-- warm`, `-- cold`, `-- memory` or `-- vm` measures
//! one part. `--strict` (or `BENCH_STRICT=1`) exits with 1 if a limit is exceeded. It needs root, Docker and, for a
//! first image, a mirror. `BENCH_ROUNDS` (3) is how often each pair is measured, in turns; `BENCH_RELEASE` (13) and
//! `BENCH_JOBS` (the number of CPUs) choose the release and the jobs; `KATA_QUALIFY_CACHE` names the image cache, as
//! for the command.
//!
//! *warm*: `kata-qualify run debian:13` with a cached image, from its start to its exit, over a [`bare`] script that
//! brings up a container of the same image and runs in it everything that the run's journal lists: the same guests with
//! the same arguments (which is checked) and the same bodies, as often and as many in parallel. The script knows
//! beforehand what to run and has the initramfs ready. It plans nothing, waits for no static check to decide what is
//! blocked, probes nothing, keeps no journal, copies no logs out and writes no report: all of these, the query to the
//! mirror for updates and the build of the initramfs are the harness's cost. The same agent starts guests and runs
//! bodies on both sides, so the agent's own cost does not show here.
//!
//! *cold*: `images::prepare` over one bare `mmdebstrap` of the same packages; the bench of the crate `images` measures
//! it.
//!
//! *vm*: `kata-qualify run debian:13 --in vm` with a cached disk, from its start to the start of its first test inside
//! the machine, over one bare QEMU command that boots the same disk to systemd's `multi-user.target`.
//!
//! *memory*: the peak resident set (`VmHWM`) of the `kata-qualify` process alone, without guests, containers or tools.

mod bare;
mod machine;
mod measured;
mod replay;

use anyhow::Context as _;
use measured::Run;
use model::arch::Arch;
use model::database::Database;
use model::profile::Profile;
use model::release::Release;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Limit for a warm run over the bare script, and for a cold image over a bare mmdebstrap.
const RATIO: f64 = 1.25;
/// Limit for the start of the harness's virtual machine over that of a bare one.
const VM_RATIO: f64 = 1.3;
/// Limit for the harness's own memory, in MiB.
const MEMORY: f64 = 100.0;

/// Releases, profiles and counts of a measurement.
struct BenchSettings {
    release: Release,
    profiles: Vec<Profile>,
    cache: PathBuf,
    jobs: usize,
    rounds: usize,
    /// Directory for all files of a measurement.
    scratch: tempfile::TempDir,
}

/// One line of the table.
struct MeasuredValue {
    what: String,
    value: f64,
    limit: f64,
    unit: &'static str,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this program, too, and without `--bench`.
    if !arguments.iter().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    let strict =
        arguments.iter().any(|a| a == "--strict") || std::env::var("BENCH_STRICT").is_ok_and(|value| value == "1");
    match measure(&arguments) {
        Ok(rows) => {
            print(&rows);
            ExitCode::from(u8::from(strict && rows.iter().any(MeasuredValue::exceeds)))
        }
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(3)
        }
    }
}

fn measure(arguments: &[String]) -> anyhow::Result<Vec<MeasuredValue>> {
    const PARTS: [&str; 4] = ["warm", "memory", "cold", "vm"];
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with("--")).collect();
    if let Some(unknown) = named.iter().find(|name| !PARTS.contains(name)) {
        anyhow::bail!("no part {unknown}: expected one of {}", PARTS.join(", "));
    }
    let is_selected = |part: &str| named.is_empty() || named.contains(&part);
    let settings = settings()?;
    let mut rows = Vec::new();
    if is_selected("warm") {
        warm(&settings, &mut rows)?;
    }
    if is_selected("memory") {
        memory(&settings, &mut rows)?;
    }
    if is_selected("cold") {
        cold(&settings, &mut rows)?;
    }
    if is_selected("vm") {
        vm(&settings, &mut rows)?;
    }
    Ok(rows)
}

fn settings() -> anyhow::Result<BenchSettings> {
    let number = |name: &str, default: usize| match std::env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => match text.parse() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(anyhow::anyhow!("{name}={text}: expected a number, at least 1")),
        },
    };
    let version = std::env::var("BENCH_RELEASE").unwrap_or_else(|_| "13".to_owned());
    let arch = Arch::of_machine().context("this machine's architecture is none of Kata's")?;
    let release = Database::load(&[])?.record("debian")?.release(&version, arch)?;
    let cache = match std::env::var_os("KATA_QUALIFY_CACHE").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(dir)?,
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("image-cache"),
    };
    let cpus = std::thread::available_parallelism().map_or(2, usize::from).min(7);
    Ok(BenchSettings {
        release,
        profiles: Profile::maintained().cloned().collect(),
        cache,
        jobs: number("BENCH_JOBS", cpus)?,
        rounds: number("BENCH_ROUNDS", 3)?,
        scratch: tempfile::tempdir()?,
    })
}

/// Measures the run and the bare script in turns, so that a noisy neighbour disturbs both alike.
fn warm(settings: &BenchSettings, rows: &mut Vec<MeasuredValue>) -> anyhow::Result<()> {
    let name = settings.release.name();
    // Makes and imports the image if necessary, and reads all of it into the page cache.
    Run::of(settings, &settings.cache, &name, &["--test", measured::CHEAP])?;
    let options = images::Options { offline: true, accept_expired: true, ..images::Options::new(&settings.cache) };
    let image = images::prepare(&settings.release, &options, &|_| {})?;
    let files = harness::setup::boot_files_of(&image, &settings.release, &settings.profiles)?;
    let (mut ratios, mut peaks) = (Vec::new(), Vec::new());
    println!("warm, {name}, {} jobs; 1-minute load before each in brackets", settings.jobs);
    for round in 1..=settings.rounds {
        let load = measured::load();
        let run = Run::of(settings, &settings.cache, &name, &[])?;
        println!("round {round}: kata-qualify  {:6.1} s  [{load}]  {}", run.seconds, run.phases());
        let work = replay::of(&run.journal, &settings.profiles)?;
        let load = measured::load();
        let floor = bare::run(&files, &work, settings.jobs, &settings.scratch.path().join("locks"))?;
        println!("round {round}: bare script   {:6.1} s  [{load}]  {}", floor.seconds, floor.phases);
        println!("round {round}: {}", replay::compare(&work, &floor));
        ratios.push(run.seconds / floor.seconds);
        peaks.push(run.peak);
    }
    let (least, median) = least_and_median(&mut ratios);
    rows.push(MeasuredValue { what: "warm run / bare script, least".to_owned(), value: least, limit: RATIO, unit: "" });
    rows.push(MeasuredValue {
        what: "warm run / bare script, median".to_owned(),
        value: median,
        limit: RATIO,
        unit: "",
    });
    let peak = peaks.into_iter().fold(0.0, f64::max);
    rows.push(MeasuredValue { what: "memory, warm run".to_owned(), value: peak, limit: MEMORY, unit: " MiB" });
    Ok(())
}

/// Measures the peaks of work that the warm run does not do: several releases at once, and an image made and imported.
fn memory(settings: &BenchSettings, rows: &mut Vec<MeasuredValue>) -> anyhow::Result<()> {
    let all = Run::of(settings, &settings.cache, "debian", &["--profile", "all", "--test", measured::CHEAP])?;
    rows.push(MeasuredValue {
        what: "memory, five releases at once".to_owned(),
        value: all.peak,
        limit: MEMORY,
        unit: " MiB",
    });
    // An overlay makes the image differ from any that Docker has, so Docker must import it.
    let overlay = settings.scratch.path().join("overlay");
    std::fs::create_dir_all(&overlay)?;
    std::fs::write(overlay.join("bench"), jiff::Timestamp::now().to_string())?;
    let overlay = overlay.to_string_lossy();
    let name = settings.release.name();
    let cache = settings.scratch.path().join("cold");
    let made = Run::of(settings, &cache, &name, &["--overlay", &overlay, "--test", measured::CHEAP])?;
    if let Some(image) = replay::image(&made.journal) {
        let removed = Command::new("docker").args(["image", "rm", image]).stdout(Stdio::null()).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("warning: the image {image} is left; docker image rm removes it");
        }
    }
    rows.push(MeasuredValue {
        what: "memory, image made, imported".to_owned(),
        value: made.peak,
        limit: MEMORY,
        unit: " MiB",
    });
    Ok(())
}

/// Runs the bench of the crate `images` and takes its ratio.
fn cold(settings: &BenchSettings, rows: &mut Vec<MeasuredValue>) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--package", "images", "--bench", "bootstrap"])
        .env("ROUNDS", settings.rounds.to_string())
        .env("RELEASE", settings.release.version.as_str())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("running the bench of images")?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    // The line to parse: ratio 0.48 (without initrd 1.07), limit 1.25
    let ratio = text.lines().find(|line| line.starts_with("ratio ")).and_then(|line| {
        let (_, rest) = line.split_once("without initrd ")?;
        rest.split(')').next()?.parse::<f64>().ok()
    });
    let ratio = ratio.with_context(|| format!("the bench of images ({}) printed no ratio", output.status))?;
    rows.push(MeasuredValue { what: "cold image / bare mmdebstrap".to_owned(), value: ratio, limit: RATIO, unit: "" });
    Ok(())
}

/// Measures the harness's machine and the bare machine in turns.
fn vm(settings: &BenchSettings, rows: &mut Vec<MeasuredValue>) -> anyhow::Result<()> {
    let name = settings.release.name();
    let options = images::Options { accept_expired: true, ..images::Options::new(&settings.cache) };
    let disk = images::prepare_disk(
        &settings.release,
        &options,
        &harness::environments::vm::files(settings.release.arch),
        &|_| {},
    )?;
    let outer = harness::environments::vm::pinned::prepare(&options, &|_| {})?;
    let mut ratios = Vec::new();
    println!("vm, {name}, {}; 1-minute load before each in brackets", outer.accelerator.name());
    for round in 1..=settings.rounds {
        let load = measured::load();
        let run = Run::of(settings, &settings.cache, &name, &["--in", "vm", "--test", measured::CHEAP_HOST])?;
        let start = run.until_first_test().context("the run's journal has no test that started")?;
        println!("round {round}: kata-qualify  {start:6.1} s  [{load}]  {}", run.phases());
        let load = measured::load();
        let floor = machine::boot(&outer, &disk, measured::machine_cpus())?;
        println!("round {round}: bare QEMU     {floor:6.1} s  [{load}]");
        ratios.push(start / floor);
    }
    let (least, median) = least_and_median(&mut ratios);
    rows.push(MeasuredValue {
        what: "start of a VM / bare QEMU, least".to_owned(),
        value: least,
        limit: VM_RATIO,
        unit: "",
    });
    rows.push(MeasuredValue {
        what: "start of a VM / bare QEMU, median".to_owned(),
        value: median,
        limit: VM_RATIO,
        unit: "",
    });
    Ok(())
}

/// Returns the least value and the median.
fn least_and_median(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(0), (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0)
}

impl MeasuredValue {
    fn exceeds(&self) -> bool {
        // Also true for NaN.
        !matches!(self.value.partial_cmp(&self.limit), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal))
    }
}

fn print(rows: &[MeasuredValue]) {
    println!("\n{:34} {:>12} {:>12}", "", "measured", "limit");
    for row in rows {
        let MeasuredValue { what, value, limit, unit } = row;
        let word = if row.exceeds() { "EXCEEDED" } else { "ok" };
        println!("{what:34} {:>12} {:>12}  {word}", format!("{value:.2}{unit}"), format!("{limit:.2}{unit}"));
    }
}
