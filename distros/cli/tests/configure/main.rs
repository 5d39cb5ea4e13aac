//! `configure` and its counterparts, on machines made up in a folder.

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
