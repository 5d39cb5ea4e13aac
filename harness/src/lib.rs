//! Running of cells: plan, environments, scheduling, and complete clean-up.
//!
//! [`run`] runs [`cell`]s in parallel. A cell is [`setup`], brought up in one of the [`environments`], tested over a
//! [`line`] to the agent in it, and torn down; [`schedule`] decides what runs and what runs again. [`scope`] selects a
//! part of that: [`shards`] of a plan, the rest of a run that was killed, the tests that did not pass in another run or
//! have no result there. [`gather`], [`bundle`] and [`watch`] work on existing runs. [`plan`] decides which tests share
//! a guest; [`record_places`] finds the line of a record that is wrong; [`level`] finds out whether the levels below
//! this machine are hardware. [`blame`] decides which component to swap to find the one at fault; [`donor`] provides
//! those of other releases; [`reproduce`] runs the script of a bug report; [`shell`] opens a shell where a test failed.
//! [`sweep`] removes what earlier runs left behind.

mod artifacts;
pub mod blame;
pub mod built_in;
pub mod bundle;
pub mod cell;
pub mod cli;
pub mod donor;
pub mod environments;
pub mod event_log;
pub mod external;
#[cfg(test)]
mod fixtures;
pub mod gather;
mod interrupt;
pub mod kata;
pub mod level;
pub mod line;
mod logs;
mod memory;
pub mod output;
pub mod plan;
pub mod private;
pub mod progress;
pub mod record_places;
pub mod replacement;
pub mod reproduce;
pub mod resources;
pub mod run;
pub mod schedule;
pub mod scope;
pub mod seed;
pub mod setup;
pub mod shards;
pub mod shell;
pub mod sweep;
pub mod watch;
