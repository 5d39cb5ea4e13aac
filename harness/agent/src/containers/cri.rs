//! Pods by CRI, as kubelet runs them in containerd: the way in which nearly all users run Kata.
//!
//! A separate containerd has the CRI plugin on ([`instance`]), with the handlers that `configure` writes; the client
//! uses gRPC on its socket (`client`), and WebSockets for streams (`streams`). The test's image, which is also the
//! pods' sandbox image, is pulled from the harness's own registry on the loopback; the release's own CNI plugins set up
//! the pods' network.
//!
//! tonic is linked into the agent, not into a separate program: without servers, TLS and generated code it adds about a
//! fifth to a binary that consists mostly of records and tests, and a second program would need a protocol of its own
//! for every call.

pub mod answers;
mod client;
pub mod instance;
pub mod messages;
mod network;
mod refused;
mod registry;
pub mod session;
mod streams;
mod systemd;
