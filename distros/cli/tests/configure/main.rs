//! `configure` and its counterparts, on simulated machines in a directory.

#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

mod comments;
mod containerd;
mod crash;
mod in_effect;
mod initrd;
mod linked;
#[path = "../machine/mod.rs"]
mod machine;
mod needed;
mod ordinary;
mod shared;
mod space;
mod stray;
mod theirs;
