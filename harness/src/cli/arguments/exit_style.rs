//! The style of exit codes that was requested.

use super::Command;
use clap::ValueEnum;

/// Whose exit codes a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExitStyle {
    /// This program's.
    Own,
    /// Exit codes of a test with autopkgtest's restriction `skippable`.
    Autopkgtest,
}

impl Command {
    /// Returns the style of exit codes that was requested.
    pub(in crate::cli) fn exit_style(&self) -> ExitStyle {
        match self {
            Command::Run(run) => run.exit_style,
            Command::Rerun(rerun) => rerun.options.exit_style,
            _ => ExitStyle::Own,
        }
    }
}
