//! Tests with real releases, guests and containers.
//!
//! They are one program, because each of them mostly waits: cargo runs test programs one after the other.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

#[path = "../bench/mod.rs"]
mod bench;
#[path = "../cached/mod.rs"]
mod cached;
mod cleanup;
#[path = "../command/mod.rs"]
mod command;
mod containers;
mod endings;
mod escape;
mod infrastructure;
mod resume;
mod shards;
mod shell;
