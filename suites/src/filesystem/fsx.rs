//! fsx: random reads, writes, truncations and mappings of one file, each compared with the expected contents.

use super::proves::INTEGRITY;
use crate::check::{Check, Stop};
use crate::environment::{CommandOutput, Site};
use crate::row::{Row, row};
use crate::share::Share;
use std::fs;
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = include_str!("fsx.rs");

pub(super) static ROWS: &[Row] = &[row!(Guest(fsx_finds_no_wrong_byte), INTEGRITY).seconds(180).random()];

/// The number of operations, in an ordinary and in a thorough run.
const OPERATIONS: (u32, u32) = (600, 20_000);
/// How long the operations may take; a thorough run may take ten times as long.
const DEADLINE: Duration = Duration::from_secs(150);

/// fsx's operations and their weights in its configuration.
const EVERYWHERE: &str = "close_open = 1\nread = 10\nwrite = 10\nmapread = 10\nmapwrite = 10\ninvalidate = 1\ntruncate = 5\nfsync = 1\nfdatasync = 1\nsendfile = 1\nposix_fadvise = 1\n";
/// Operations that Linux's 9p client does not have, see `fallocate_reserves_and_punches` in `data.rs`.
const NOT_ON_9P: &str = "posix_fallocate = 1\npunch_hole = 1\ncopy_file_range = 1\n";

/// Hundreds of random reads, writes, truncations, mappings and copies of one file, in every order, never show a wrong
/// byte.
///
/// fsx has found bugs that tests of single calls miss: pages that go stale between a mapping and a write, tails that
/// come back after a truncation. A database in a pod is such a program. The same seed does the same work; the run's
/// evidence names the seed.
fn fsx_finds_no_wrong_byte(site: &Site) -> Check {
    let Some(program) = &site.fsx else {
        return Err(Stop::skip("there is no static fsx binary"));
    };
    let configuration = site.scratch.join("fsx.toml");
    fs::write(&configuration, toml(site.share))
        .map_err(|e| Stop::error(format!("writing fsx's configuration: {e}")))?;
    let (seed, count) = (site.effort.seed.to_string(), site.effort.of(OPERATIONS.0, OPERATIONS.1).to_string());
    let [program, configuration, artifacts, file] =
        [program, &configuration, &site.scratch, &site.path("file")].map(|path: &std::path::PathBuf| text(path));
    let argv = [&program, "-f", &configuration, "-P", &artifacts, "-S", &seed, "-N", &count, &file];
    let deadline = site.effort.of(DEADLINE, DEADLINE * 10);
    judge(&(site.run)(&argv, &[("NO_COLOR", "1"), ("RUST_BACKTRACE", "0")], deadline)?)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn toml(share: Option<Share>) -> String {
    let more = if share == Some(Share::Virtio9p) { "" } else { NOT_ON_9P };
    format!("flen = 262144\n\n[opsize]\nmax = 65536\n\n[weights]\n{EVERYWHERE}{more}")
}

/// Judges fsx's run: it prints a success message, or ends with 1 on a wrong byte, or panics if a call fails.
fn judge(output: &CommandOutput) -> Check {
    match output.code {
        Some(0) if output.stdout.contains("All operations completed") => Ok(()),
        Some(1 | 101) => Err(Stop::fail(format!("fsx: {}", found(&output.stderr)))),
        code => {
            let how = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            Err(Stop::error(format!("fsx ended with {how}: {}", output.tail())))
        }
    }
}

/// Returns fsx's finding: the text before the list of operations that led to it, or the reason why a call failed.
fn found(stderr: &str) -> String {
    let failed = stderr.lines().find(|line| line.starts_with("called `Result::unwrap()`"));
    let errors = stderr.lines().filter_map(|line| line.strip_prefix("[ERROR fsx] "));
    let before: Vec<&str> = errors.take_while(|line| !line.starts_with("LOG DUMP")).collect();
    match (failed, before.is_empty()) {
        (Some(failed), _) => failed.to_owned(),
        (None, false) => before.join(" | "),
        (None, true) => stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: Option<i32>, stdout: &str, stderr: &str) -> Check {
        judge(&CommandOutput { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() })
    }

    #[test]
    fn a_failure_of_fsx_is_reported_without_its_operation_log() {
        assert_eq!(ended(Some(0), "All operations completed A-OK!\n", ""), Ok(()));
        let log = "[ERROR fsx] short write: 0x5 bytes instead of 0x9d36\n[ERROR fsx] Using seed 7\n[ERROR fsx] LOG DUMP\n\
                   [ERROR fsx]    1 MAPWRITE 0x2bce9 => 0x2f6e0\n";
        let expected = "fsx: short write: 0x5 bytes instead of 0x9d36 | Using seed 7";
        assert_eq!(ended(Some(1), "", log), Err(Stop::fail(expected)));
        let panicked = "\nthread 'main' (26767) panicked at src/main.rs:972:51:\n\
                        called `Result::unwrap()` on an `Err` value: Os { code: 5, message: \"Input/output error\" }\n";
        let Err(Stop::Fail { message, .. }) = ended(Some(101), "", panicked) else { panic!() };
        assert!(message.contains("Input/output error"), "{message}");
    }

    #[test]
    fn an_unexpected_end_of_fsx_is_an_error() {
        for (code, stdout) in [(Some(2), ""), (None, ""), (Some(0), "")] {
            assert!(matches!(ended(code, stdout, "error: unexpected argument"), Err(Stop::Error { .. })), "{code:?}");
        }
    }
}
