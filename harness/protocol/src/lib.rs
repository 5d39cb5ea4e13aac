//! Communication between the harness, an environment's agent and a guest's agent: messages, the frames that carry them,
//! and a client.
//!
//! The harness sends requests to the environment's agent, which sends requests to its guests' agents. Both connections
//! use this one protocol, whatever carries it (an exec's standard streams, a virtio-serial port).
//!
//! # The line
//!
//! There is one line between the harness and the environment, and one between the environment and a guest.
//! The first is the streams of an exec in a container, a machine's virtio-serial port, or the streams of a process on
//! the host; the second is a virtio-serial port named `org.kata-qualify.rpc`, or a vsock port if the guest's VMM has no
//! such port.
//!
//! - A frame is the magic `00 'K' 'Q' 1f`, the payload's length and CRC-32 (little-endian), and the payload, JSON of 4
//!   MiB at most.
//!   Bytes travel as base64, files in chunks of 1 MiB.
//! - Bytes between frames are foreign and skipped; after a torn or damaged frame the reader finds the next magic
//!   number.
//! - The agent begins with a hello that carries the protocol's version; both sides must have the same.
//! - The agent sends a heartbeat every 500 ms, from a thread of its own.
//!   Each request has an id and runs in its own thread; replies are sent as soon as they are ready.
//! - When the line ends, the environment's agent ends its guests and itself.
//! - Silence ends the waiting: 30 s for an environment, 20 s for a guest, 60 s for a nested guest; in addition, every
//!   request has a deadline.
//!   A silent environment fails the cell in its current phase; a silent guest counts as an ending of the guest.

pub mod client;
pub mod facts;
pub mod fault;
pub mod frame;
pub mod message;
