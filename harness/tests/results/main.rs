//! Commands on finished runs: merging, packing, verifying.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod bug;
mod bundle;
#[path = "../cached/mod.rs"]
mod cached;
mod difference;
mod generated_run;
mod merge;
mod pipeline;
mod shell;
mod site;
mod steps;
mod trackers;
mod transfer;
mod watch;
