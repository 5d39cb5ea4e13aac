//! Changes against the record, for programs.

use crate::journal::CellId;
use crate::standing::{Change, ChangeRow, Standings};
use jiff::civil::Date;
use model::package::PackageVersion;
use model::verified::Verdict;
use schemars::JsonSchema;
use serde::Serialize;
use suites::capability::Capability;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ChangeView<'a> {
    cell: &'a CellId,
    change: Change,
    /// The exit code because of this change alone; 0 if a pipeline tolerates it.
    exit_code: u8,
    capabilities: Vec<Capability>,
    profiles: Vec<&'a str>,
    /// The recorded verdict; null if there is none.
    was: Option<Verdict>,
    /// The day of the record.
    #[schemars(with = "Option<String>")]
    recorded: Option<Date>,
    is: Verdict,
    /// The blamed component and the test, or why it could not be judged.
    why: Vec<String>,
    /// The packages whose versions differ from the record's.
    packages: Vec<PackageView<'a>>,
    /// Other differences from the recorded setup, in words: Kata's version, and components that were brought along.
    besides: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct PackageView<'a> {
    name: &'a str,
    then: Option<&'a str>,
    now: Option<&'a str>,
}

/// Returns a change, for programs.
pub(crate) fn change<'a>(standings: &Standings<'_>, row: ChangeRow<'a>) -> ChangeView<'a> {
    ChangeView {
        cell: row.cell,
        change: row.change,
        exit_code: standings.effect_of(&row).exit_code(),
        was: row.was.map(|(verdict, _)| verdict),
        recorded: row.was.map(|(_, day)| day),
        is: row.is,
        packages: row
            .packages
            .iter()
            .flatten()
            .map(|p| PackageView {
                name: p.name.as_str(),
                then: p.then.map(PackageVersion::as_str),
                now: p.now.map(PackageVersion::as_str),
            })
            .collect(),
        why: row.why,
        besides: row.besides,
        capabilities: row.capabilities,
        profiles: row.profiles,
    }
}
