//! The tests: the vocabulary of the matrix, the catalogue of tests, and the tests' bodies.
//!
//! Bodies are compiled into the agent and run inside an environment or a guest.
//! The harness and the reports know only the catalogue: they name a test by its id.
//! This crate does not know how a cell is scheduled or how a result is printed.

pub mod catalogue;
pub mod check;
pub mod child;
pub mod citation;
pub mod claims;
pub mod containers;
pub mod disk;
mod docs;
mod effort;
pub mod elsewhere;
pub mod ending;
pub mod environment;
pub mod filesystem;
pub mod group;
mod host;
mod links;
pub mod loop_device;
#[cfg(test)]
mod mounts;
mod namespace;
mod netlink;
pub mod outcome;
pub mod packets;
pub mod reproducer;
mod row;
mod scratch;
pub mod share;
mod smoke;
pub mod test;
mod under;
pub mod vsock;

pub use model::capability;
