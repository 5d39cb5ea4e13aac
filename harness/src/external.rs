//! Test suites of others, as the build script built them: static programs, sent into environments and guests.

use crate::seed::{Content, SeedFile};

/// A test suite of others.
pub struct ExternalSuite {
    /// Its name, and that of its file in the agent's folder and in guests.
    pub name: &'static str,
    /// The program, if it could be built.
    pub binary: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/external.rs"));

/// The programs as files for the agent's folder.
pub fn files() -> Vec<SeedFile> {
    let file =
        |suite: &ExternalSuite| Some(SeedFile { name: suite.name.to_owned(), content: Content::Static(suite.binary?) });
    SUITES.iter().filter_map(file).collect()
}
