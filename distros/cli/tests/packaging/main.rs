//! What packages ship: the Debian package on a real system, what is generated for it, hooks, the example manifest, the Go
//! package.
//!
//! Debian's packages debhelper, dpkg-dev, lintian, man-db, groff, bash-completion, zsh, fish, systemd and golang-go are made
//! use of;
//! where one is missing, or root is, a test is ignored.
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

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What a program that must succeed says, on both streams.
fn must(command: &mut Command) -> String {
    let (code, said) = run(command);
    assert_eq!(code, 0, "{command:?}: {said}");
    said
}

/// A program's exit code and what it says, on both streams.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    // apt gives dpkg a terminal, which ends its lines its own way.
    let said = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).replace("\r\n", "\n")).concat();
    (output.status.code().unwrap_or_else(|| panic!("{command:?}: {}: {said}", output.status)), said)
}
