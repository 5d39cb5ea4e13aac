//! `detect`: which record and release the system is.

use super::support;
use super::system::{self, BorrowedRecord, GlobalArguments, release_json};
use super::{Exit, Format, json, print, problems};
use clap::Args;
use operator::detect::{self, Fit};
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
    let database = common.database(&root)?;
    let found = system::detect(&root, &database)?;
    let arch = detect::arch(&root)?;
    let exit = if found.releases.is_empty() { Exit::Unknown } else { Exit::Ok };
    if arguments.format == Format::Json {
        let mut system = serde_json::to_value(&found)?;
        system["arch"] = serde_json::to_value(arch)?;
        let mut releases = Vec::new();
        for release in &found.releases {
            let entry = database.record(&release.distro)?.require_release(&release.version)?;
            releases.push(release_json(&release.distro, entry));
        }
        system["releases"] = releases.into();
        let unknown = found.releases.is_empty().then(|| system::unknown(&root, &database, &found).message);
        json(&serde_json::json!({
            "version": 1, "root": root.path(), "system": system, "problems": problems(unknown),
        }))?;
        return Ok(exit);
    }
    if found.releases.is_empty() {
        return Err(system::unknown(&root, &database, &found).into());
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
        out += "  which of them, nothing tells: os-release is the same, and apt's sources name both or neither\n";
    }
    if let Some(borrowed) = BorrowedRecord::of(&found) {
        let _ = writeln!(out, "  {borrowed}");
    }
    match (found.fit, &found.version_id) {
        (Some(Fit::Prefix), Some(version)) => {
            let _ = writeln!(out, "  for {version}, which the record does not tell from others of its major version");
        }
        (Some(Fit::Rolling), _) => out += "  the distro's one release, which rolls\n",
        _ => {}
    }
    print(&out)?;
    Ok(exit)
}
