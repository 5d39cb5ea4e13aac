//! `detect`: the record and the release of the system.

use super::support;
use super::system::{self, BorrowedRecord, GlobalArguments, release_json};
use super::{Exit, Format, json, print, problem};
use clap::Args;
use operator::detect::{self, BuiltFor, Fit};
use std::fmt::Write as _;

/// Arguments of `detect`.
#[derive(Debug, Args)]
pub(crate) struct DetectArguments {
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

pub(crate) fn run(common: &GlobalArguments, arguments: &DetectArguments) -> anyhow::Result<Exit> {
    let root = common.root()?;
    let database = common.database_without_shipped_verdicts(&root)?;
    let found = system::detect(&root, &database)?;
    let built_for = detect::built_for(&root)?;
    let arch = built_for.arch();
    let failed = match (found.releases.is_empty(), built_for) {
        (true, _) => Some(system::unknown(&root, &database, &found)),
        (false, BuiltFor::Foreign(foreign)) => Some(system::is_foreign(foreign)),
        (false, BuiltFor::Kata(_) | BuiltFor::Unknown) => None,
    };
    if arguments.format == Format::Json {
        let mut system = serde_json::to_value(&found)?;
        system["arch"] = serde_json::to_value(arch)?;
        let mut releases = Vec::new();
        for release in &found.releases {
            let entry = database.record(&release.distro)?.require_release(&release.version)?;
            releases.push(release_json(&release.distro, entry));
        }
        system["releases"] = releases.into();
        let exit = failed.as_ref().map_or(Exit::Ok, |failed| failed.exit);
        let problems: Vec<serde_json::Value> = failed.iter().map(problem).collect();
        json(&serde_json::json!({
            "version": 1, "root": root.path(), "system": system, "problems": problems,
        }))?;
        return Ok(exit);
    }
    if let Some(failed) = failed {
        return Err(failed.into());
    }
    let mut out = String::new();
    for release in &found.releases {
        let record = database.record(&release.distro)?;
        let entry = record.require_release(&release.version)?;
        let _ = write!(out, "{release}");
        if let Some(codename) = &entry.codename {
            let _ = write!(out, " {codename}");
        }
        let _ = writeln!(out, " on {}", arch.map_or("an unknown architecture", |a| a.name()));
        if let Some(words) = support::today(entry).words() {
            let _ = writeln!(out, "  {words}");
        }
    }
    if found.releases.len() > 1 {
        out += "  cannot tell which of them: os-release is the same, and apt's sources name both or neither\n";
    }
    if let Some(borrowed) = BorrowedRecord::of(&found) {
        let _ = writeln!(out, "  {borrowed}");
    }
    match (found.fit, &found.version_id) {
        (Some(Fit::Prefix), Some(version)) => {
            let _ = writeln!(
                out,
                "  for {version}, which the record does not distinguish from others of its major version"
            );
        }
        (Some(Fit::Rolling), _) => out += "  the distro's only release, which is rolling\n",
        _ => {}
    }
    print(&out)?;
    Ok(Exit::Ok)
}
