//! The agent: the harness's static binary inside an environment and inside its guests.
//!
//! It is one binary, whose role depends on how it is started: PID 1 of a guest ([`guest`]), a child of an environment's
//! container, VM or host ([`environment`]), or the probe inside a test's container ([`containers::probe`]).
//! The environment's agent starts guests ([`launch`]) and containers ([`containers`]) for the tests; in a container a
//! [`broker`] opens the host's drivers for it.
//! A [`shell`] lets a person look into the environment next to the tests' guests.

pub mod body;
pub mod broker;
pub mod containers;
pub mod environment;
pub mod guest;
pub mod home;
pub mod launch;
pub mod log;
mod port;
pub mod process;
pub mod server;
pub mod shell;
pub mod system;
