//! How cells are run: plan, environments, scheduling, and nothing left behind.
//!
//! [`run`] runs [`cell`]s side by side. A cell is [`setup`], brought up in one of the [`environments`], tested over a
//! [`line`] to the agent in it, and torn down; [`schedule`] decides what runs and what runs again.
//! [`part`] says what of that is run: [`shards`] of a plan, what is left of a run that was killed, what another did not
//! show. [`gather`], [`bundle`] and [`watch`] are about runs that are there.
//! [`plan`] says which tests share a guest; [`record_places`] says where a record says what is wrong;
//! [`level`] says whether what is below this machine is hardware.
//! [`blame`] says which component to swap to find out whose fault a failure is; [`donor`] has those of other releases;
//! [`reproduce`] runs the script of a bug report; [`shell`] lets somebody in where a test failed.
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
