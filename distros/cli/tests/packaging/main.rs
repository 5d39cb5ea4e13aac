//! Contents of packages: the Debian package on a real system, the files that are generated for it, hooks, the example
//! manifests, the Go package.
//!
//! The tests need Debian's packages debhelper, dpkg-dev, lintian, man-db, groff, bash-completion, zsh, fish, systemd
//! and golang-go; without one of them, or without root, a test is ignored.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

mod build;
mod debian;
mod generated;
mod go;
mod golden;
mod kubernetes;
mod system;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns a path in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Returns the output, on both streams, of a program that must succeed.
fn must(command: &mut Command) -> String {
    let (code, output) = run(command);
    assert_eq!(code, 0, "{command:?}: {output}");
    output
}

/// Returns a program's exit code and its output on both streams.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    // apt gives dpkg a terminal, which changes its line endings.
    let printed = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).replace("\r\n", "\n")).concat();
    (output.status.code().unwrap_or_else(|| panic!("{command:?}: {}: {printed}", output.status)), printed)
}
