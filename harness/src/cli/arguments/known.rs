//! Arguments of commands that report existing knowledge, without a run.

use super::Format;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArguments {
    /// What to list.
    #[arg(value_enum, default_value = "tests")]
    pub what: ListWhat,
    /// List only names that contain this; for tests also those that prove the capability of this name. Several are
    /// separated by commas.
    #[arg(long = "test", value_delimiter = ',', value_name = "FILTER", value_parser = NonEmptyStringValueParser::new())]
    pub filters: Vec<String>,
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value = "human")]
    pub format: Format,
}

/// What `list` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ListWhat {
    /// Tests, with what they prove.
    Tests,
    /// The matrix's columns.
    Capabilities,
    /// Profiles.
    Profiles,
    /// Releases in the records.
    Releases,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    /// A test's id or its last part, or a capability.
    #[arg(value_name = "TEST|CAPABILITY")]
    pub what: String,
}

/// `kata-qualify matrix`.
#[derive(Debug, Args)]
pub(in crate::cli) struct MatrixArguments {
    /// Records that replace or add to the shipped ones.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
}
