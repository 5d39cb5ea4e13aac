//! Pods by CRI, as kubelet has containerd run them: what nearly every user of Kata goes through.
//!
//! A containerd of its own has the CRI plugin on ([`instance`]), with the handlers that `configure` writes; its socket
//! is spoken with by gRPC (`client`), its streams by WebSockets (`streams`). The test's image, which is also the pods'
//! sandbox image, is pulled from a registry of ours on the loopback; pods have a network by the release's own CNI
//! plugins.
//!
//! tonic is in the agent, and not in a program beside it: linked without servers, TLS and code that is generated it
//! adds about a fifth to a binary whose bulk is records and the tests, and a second program would need a protocol of
//! its own for every call.

pub mod answers;
mod client;
pub mod instance;
pub mod messages;
mod network;
mod registry;
pub mod session;
mod streams;
mod systemd;
