//! Seeded faults: the faults are data (`corpus/*.yaml`), and a fixed set of means applies them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod corpus;
pub(crate) mod infrastructure;
pub(crate) mod overlay;
pub(crate) mod supplied;
pub(crate) mod table;

use crate::command::run_to_end;
use std::process::Command;

/// Compiles a library of C functions for `LD_PRELOAD`, which needs only symbols of the C library that every release
/// has.
pub(crate) fn library(functions: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("functions.c"), folder.path().join("functions.so"));
    std::fs::write(&source, functions).unwrap();
    let output = run_to_end(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source));
    assert_eq!(output.code, Some(0), "cc: {}", output.stderr);
    std::fs::read(&library).unwrap()
}
