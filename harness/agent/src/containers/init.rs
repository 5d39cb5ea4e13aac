//! PID 1 of a Kata guest: loads the kernel's modules and becomes Kata's agent.
//!
//! Kata's agent must be PID 1 and loads no modules itself, but a distro's kernel has vsock, and much else before 6.12,
//! as modules (`src/agent/src/main.rs`: only as process 1 does the agent set the guest up).

use crate::guest::modules;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Directory that `images::artifacts` lays over Kata's initrd, with the modules and the name of the program to execute
/// after loading them.
const FOLDER: &str = "/kata-qualify";

/// Returns whether this process 1 is that of a Kata guest: the harness's own guests have no such directory.
pub fn is_wanted() -> bool {
    Path::new(FOLDER).join("next").exists()
}

/// Loads the modules in the order of `modules/order` and executes the program that `next` names.
///
/// A module that cannot be loaded is reported on the console and not fatal: anything that needs it fails with its own
/// message.
///
/// # Errors
/// Only if there is no program to execute, or executing it fails.
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
