//! `kata-qualify profiles`: the profiles compared with Kata's source.

use super::arguments::ProfilesArguments;
use super::{Exit, UsageError};
use anyhow::Context as _;
use model::words::count;
use std::io::Write as _;
use std::time::Duration;
use upstream::{Checkout, CheckoutError};

/// Prints the differences, one per line; exit code 1 if there are any.
pub(super) fn profiles(what: &ProfilesArguments) -> anyhow::Result<Exit> {
    let checkout = Checkout::open(&what.against, Duration::from_secs(what.within));
    let checkout = checkout.map_err(|e| match e {
        CheckoutError::NoRepository { .. } => UsageError(format!("--against: {e}")).into(),
        other => anyhow::Error::from(other),
    })?;
    let report = upstream::compare(&checkout).context("comparing the profiles with Kata's source")?;
    let mut out = std::io::stdout().lock();
    for difference in &report.differences {
        writeln!(out, "{difference}")?;
    }
    writeln!(
        out,
        "{} releases and {} pre-releases read, {} values and {} changed functions and settings compared: {}",
        report.releases,
        report.pre_releases,
        report.values,
        report.changes,
        match report.differences.len() {
            0 => "the profiles agree with Kata's source".to_owned(),
            n => count(n, "difference"),
        }
    )?;
    Ok(if report.differences.is_empty() { Exit::AsRecorded } else { Exit::Worse })
}
