//! PID 1 of a Kata guest: inserts the kernel's modules and becomes Kata's agent.
//!
//! Kata's agent must be PID 1 and inserts no modules itself, and a distro's kernel has vsock, and much else before 6.12,
//! as modules (`src/agent/src/main.rs`: what runs as process 1 sets the guest up).

use crate::guest::insert_module;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Where the initramfs has Kata's agent.
pub const NEXT: &str = "/sbin/init";

/// Whether this process 1 is that of a Kata guest: our own guests have no other init.
pub fn is_wanted() -> bool {
    Path::new(NEXT).exists()
}

/// Inserts the modules in the order of `/modules/order` and executes [`NEXT`].
///
/// A module that cannot be inserted is said on the console and not fatal: what needs it fails by its own name.
///
/// # Errors
/// Only when [`NEXT`] cannot be executed.
pub fn run() -> io::Result<()> {
    for name in fs::read_to_string("/modules/order").unwrap_or_default().lines() {
        if let Err(e) = insert_module(&Path::new("/modules").join(name)) {
            eprintln!("kata-qualify-agent: {e}");
        }
    }
    Err(io::Error::other(format!("executing {NEXT}: {}", Command::new(NEXT).arg0("init").exec())))
}
