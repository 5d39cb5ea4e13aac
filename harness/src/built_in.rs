//! What is built into the program.

/// The agent: a static binary, built with the harness.
pub const AGENT: &[u8] = include_bytes!(env!("KATA_QUALIFY_AGENT"));

/// The commit that the program was built of, or `unknown`.
pub const COMMIT: &str = env!("KATA_QUALIFY_COMMIT");

/// What `--version` says.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KATA_QUALIFY_COMMIT"), ")");
