//! How the harness, an environment's agent and a guest's agent talk: messages, the frames that they travel in, and a
//! client.
//!
//! The harness asks the environment's agent, which asks its guests' agents; both sides of each line speak this one
//! protocol, whatever carries it (an exec's standard streams, a virtio-serial port).

pub mod client;
pub mod facts;
pub mod fault;
pub mod frame;
pub mod message;
