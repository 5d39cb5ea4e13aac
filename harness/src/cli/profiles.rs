//! `kata-qualify profiles`: the profiles and the citations of tests compared with Kata's source.

use super::arguments::ProfilesArguments;
use super::{Exit, UsageError};
use anyhow::Context as _;
use model::words::count;
use std::io::Write as _;
use std::time::Duration;
use suites::catalogue::{self, Test};
use upstream::{Checkout, CheckoutError};

/// Prints the differences, one per line; exit code 1 if there are any.
pub(super) fn profiles(what: &ProfilesArguments) -> anyhow::Result<Exit> {
    let checkout = Checkout::open(&what.against, Duration::from_secs(what.within));
    let checkout = checkout.map_err(|e| match e {
        CheckoutError::NoRepository { .. } => UsageError(format!("--against: {e}")).into(),
        other => anyhow::Error::from(other),
    })?;
    let mut report = upstream::compare(&checkout).context("comparing the profiles with Kata's source")?;
    let cited = catalogue::tests().iter().flat_map(Test::cited).map(|place| (place.tag(), place.file()));
    upstream::look_up_citations(&checkout, cited, &mut report).context("looking up the files that tests cite")?;
    let mut out = std::io::stdout().lock();
    for difference in &report.differences {
        writeln!(out, "{difference}")?;
    }
    writeln!(
        out,
        "{} releases and {} pre-releases read, {} values and {} changed functions and settings compared, {} cited files \
         looked up: {}",
        report.releases,
        report.pre_releases,
        report.values,
        report.changes,
        report.citations,
        match report.differences.len() {
            0 => "the profiles and citations agree with Kata's source".to_owned(),
            n => count(n, "difference"),
        }
    )?;
    Ok(if report.differences.is_empty() { Exit::AsRecorded } else { Exit::Worse })
}
