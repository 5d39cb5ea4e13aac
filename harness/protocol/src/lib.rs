//! How the harness, an environment's agent and a guest's agent talk: messages, the frames that they travel in, and a
//! client.
//!
//! The harness asks the environment's agent, which asks its guests' agents; both sides of each line speak this one
//! protocol, whatever carries it (an exec's standard streams, a virtio-serial port).
//!
//! # The line
//!
//! There is a line between harness and environment and one between environment and guest.
//! The first is a container's exec's streams, a machine's virtio-serial port, or the streams of a process on the host;
//! the second is a virtio-serial port named `org.kata-qualify.rpc`, or a vsock port where the guest's VMM has no such port.
//!
//! - A frame is the magic `00 'K' 'Q' 1f`, the payload's length and CRC-32 (little-endian), and the payload, JSON of 4
//!   MiB at most.
//!   Bytes travel as base64, files in chunks of 1 MiB.
//! - What stands between frames is foreign and skipped; after a torn or damaged frame the reader finds the next magic
//!   number.
//! - The agent begins with a hello that carries the protocol's version; both sides must have the same.
//! - The agent sends a heartbeat every 500 ms, from a thread of its own.
//!   Each request has an id and runs in a thread of its own; replies come as they are ready.
//! - The end of the line ends an environment's agent, and its guests with it.
//! - Silence ends the waiting: 30 s for an environment, 20 s for a guest, 60 s for a nested guest; every request has a
//!   deadline besides.
//!   Silence of an environment fails the cell in its phase; silence of a guest is an ending.

pub mod client;
pub mod facts;
pub mod fault;
pub mod frame;
pub mod message;
