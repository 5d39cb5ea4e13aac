//! `kata-qualify generate`: man pages and shell completions, for packagers.

use crate::cli::Exit;
use crate::cli::arguments::{Arguments, EXIT_CODES};
use anyhow::Context as _;
use clap::CommandFactory as _;
use pages::PageText;
use std::path::Path;

const ENVIRONMENT: [(&str, &str); 8] = [
    (
        "KATA_QUALIFY_CACHE",
        "Where images are cached, instead of $XDG_CACHE_HOME/kata-qualify or ~/.cache/kata-qualify.",
    ),
    ("KATA_QUALIFY_CACHE_SIZE", "Limit for cached images, in GiB, instead of 20."),
    ("DOCKER_HOST", "The Docker engine; guests in containers can use KVM only if it is a local socket."),
    ("DOCKER_TLS_VERIFY", "`1`: use TLS for an engine at tcp://. Not set: do not use TLS. Any other value is refused."),
    ("DOCKER_CERT_PATH", "The folder with ca.pem, cert.pem and key.pem, for an engine that uses TLS."),
    ("TMPDIR", "Where bundles are unpacked and temporary files are created."),
    ("NO_COLOR", "If set: no colours."),
    ("TERM", "`dumb`: no colours, and plain progress lines from time to time instead of a live display."),
];

const FILES: [(&str, &str); 2] = [
    ("kata-qualify-out/TIME", "A run's journal, reports and logs, below the folder that it was started in."),
    ("distros/records/verified/*.yaml", "Verified results, which --write-back and write-back write."),
];

/// Runs the command.
pub(super) fn generate(directory: &Path) -> anyhow::Result<Exit> {
    let section = |entries: &[(&str, &str)]| entries.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let sections = vec![("ENVIRONMENT", section(&ENVIRONMENT)), ("FILES", section(&FILES))];
    let shared = PageText { exit_codes: EXIT_CODES, sections };
    pages::write(directory, &Arguments::command(), env!("CARGO_PKG_VERSION"), &shared)
        .with_context(|| format!("writing below {}", directory.display()))?;
    Ok(Exit::AsRecorded)
}
