//! PID 1 of a Kata guest: inserts the kernel's modules and becomes Kata's agent.
//!
//! Kata's agent must be PID 1 and inserts no modules itself, and a distro's kernel has vsock, and much else before 6.12,
//! as modules (`src/agent/src/main.rs`: what runs as process 1 sets the guest up).

use crate::guest::modules;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The folder that `images::artifacts` lays over Kata's initrd: the modules, and what is to be executed after them.
const FOLDER: &str = "/kata-qualify";

/// Whether this process 1 is that of a Kata guest: our own guests have no such folder.
pub fn is_wanted() -> bool {
    Path::new(FOLDER).join("next").exists()
}

/// Inserts the modules in the order of `modules/order` and executes the program that `next` names.
///
/// A module that cannot be inserted is said on the console and not fatal: what needs it fails by its own name.
///
/// # Errors
/// Only when there is nothing to execute, or it cannot be.
pub fn run() -> io::Result<()> {
    let folder = Path::new(FOLDER).join("modules");
    for name in fs::read_to_string(folder.join("order")).unwrap_or_default().lines() {
        if let Err(e) = modules::insert(&folder.join(name)) {
            eprintln!("kata-qualify-agent: {e}");
        }
    }
    let next = fs::read_to_string(Path::new(FOLDER).join("next"))?;
    Err(io::Error::other(format!("executing {next}: {}", Command::new(&next).arg0("init").exec())))
}
