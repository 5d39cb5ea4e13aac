//! Compares the duration of `prepare` with that of a bare `mmdebstrap` of the same packages: at most a quarter more.
//!
//! `cargo bench -p images` (needs root and a mirror); `ROUNDS=5 RELEASE=12` selects rounds and release.
//! There are two baselines: `mmdebstrap` with its defaults, which also makes an initrd, and `mmdebstrap` with initrds
//! disabled, as in `prepare`.

use images::{Options, prepare};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

#[path = "../tests/debian/mod.rs"]
mod debian;

const LIMIT: f64 = 1.25;

fn main() -> ExitCode {
    // `cargo test --benches` runs this too.
    if !std::env::args().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let rounds: usize = setting("ROUNDS", "3").parse().unwrap_or(3);
    let version = setting("RELEASE", "13");
    match measure(&version, rounds) {
        Ok((bare, no_initrd, prepared)) => {
            println!("debian:{version}, best of {rounds}");
            println!("mmdebstrap --include              {bare:6.1} s");
            println!("mmdebstrap --include, INITRD=No   {no_initrd:6.1} s");
            println!("prepare, empty cache              {prepared:6.1} s");
            println!("ratio {:.2} (without initrd {:.2}), limit {LIMIT}", prepared / bare, prepared / no_initrd);
            ExitCode::from(u8::from(prepared / no_initrd > LIMIT))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(3)
        }
    }
}

/// Returns the best time of each, in seconds. They take turns, so that other load on the machine disturbs all alike.
fn measure(version: &str, rounds: usize) -> Result<(f64, f64, f64), String> {
    let release = debian::release(version);
    let mut best = [f64::INFINITY; 3];
    for _ in 0..rounds {
        let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
        let options = Options { accept_expired: true, ..Options::new(cache.path()) };
        let started = Instant::now();
        let image = prepare(&release, &options, &|_| {}).map_err(|e| e.to_string())?;
        best[2] = best[2].min(started.elapsed().as_secs_f64());
        let sources = std::fs::read_to_string(image.dir.join("apt/sources.list")).map_err(|e| e.to_string())?;
        let packages = image.manifest.requested.join(",");
        best[0] = best[0].min(bare(&sources, &packages, false)?);
        best[1] = best[1].min(bare(&sources, &packages, true)?);
    }
    Ok((best[0], best[1], best[2]))
}

fn bare(sources: &str, packages: &str, no_initrd: bool) -> Result<f64, String> {
    let target = tempfile::tempdir().map_err(|e| e.to_string())?;
    let tree: &Path = &target.path().join("tree");
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=minbase", "--format=directory", "--quiet"])
        .args(["--aptopt=Acquire::Check-Valid-Until \"false\"", "--aptopt=Acquire::Languages \"none\""])
        .arg(format!("--include={packages}"))
        .arg("")
        .arg(tree)
        .args(sources.lines())
        .stdout(Stdio::null());
    if no_initrd {
        command.env("INITRD", "No");
    }
    let started = Instant::now();
    let status = command.status().map_err(|e| format!("mmdebstrap: {e}"))?;
    let seconds = started.elapsed().as_secs_f64();
    // A baseline that made an initrd in spite of `INITRD=No` would be slower and flatter `prepare`.
    let has_initrd = std::fs::read_dir(tree.join("boot"))
        .is_ok_and(|dir| dir.flatten().any(|e| e.file_name().to_string_lossy().starts_with("initrd.img")));
    if no_initrd && has_initrd {
        return Err("mmdebstrap made an initrd although INITRD=No".to_owned());
    }
    if status.success() { Ok(seconds) } else { Err(format!("mmdebstrap: {status}")) }
}
