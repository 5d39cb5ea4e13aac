//! What is built into the program.

/// The agent: a static binary, built with the harness.
pub const AGENT: &[u8] = include_bytes!(env!("KATA_QUALIFY_AGENT"));
