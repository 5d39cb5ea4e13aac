//! External test suites, built by the build script: static programs, sent into environments and guests.

use crate::seed::{Content, SeedFile};

/// An external test suite.
pub struct ExternalSuite {
    /// The name of the suite, and of its file in the agent's directory and in guests.
    pub name: &'static str,
    /// The program, if it could be built.
    pub binary: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/external.rs"));

/// Returns the programs as files for the agent's directory.
pub fn files() -> Vec<SeedFile> {
    let file =
        |suite: &ExternalSuite| Some(SeedFile { name: suite.name.to_owned(), content: Content::Static(suite.binary?) });
    SUITES.iter().filter_map(file).collect()
}
