//! The agent's binary: PID 1 of a guest, the agent of an environment, or the probe inside a container.

use agent::containers::{init, probe};
use agent::home::{AgentHome, IDLE};
use agent::{environment, guest, shell};
use std::process::ExitCode;
use suites::child;

fn main() -> ExitCode {
    if probe::is_wanted() {
        return probe::run();
    }
    let role = std::env::args().nth(1);
    let result = match role.as_deref() {
        Some("environment") => environment::run(AgentHome::container()),
        Some("vm") => environment::run(AgentHome::vm()),
        Some("host") => match std::env::args_os().nth(2) {
            Some(dir) => environment::run(AgentHome::host(dir.as_ref())),
            None => Err(std::io::Error::other("usage: kata-qualify-agent host FOLDER")),
        },
        Some(shell::ROLE) => shell::become_program(&std::env::args_os().skip(2).collect::<Vec<_>>()),
        Some(child::ROLE) => return child::live(&std::env::args().skip(2).collect::<Vec<_>>()),
        // Keeps a container alive; its init reaps and forwards signals.
        Some(IDLE) => loop {
            std::thread::park();
        },
        _ if std::process::id() == 1 && init::is_wanted() => init::run(),
        _ if std::process::id() == 1 => guest::run(),
        _ => Err(std::io::Error::other("usage: kata-qualify-agent environment|vm|host|idle (or as PID 1 of a guest)")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("kata-qualify-agent: {e}");
            ExitCode::FAILURE
        }
    }
}
