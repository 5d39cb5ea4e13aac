//! `docs/matrix.md`: what `distros/records/verified` says, for people who read it and do not run anything.

use crate::standing::is_main;
use crate::views::markdown::{escape, mark, short, table};
use model::capability::Capability;
use model::profile::Profile;
use model::record::Record;
use model::verified::{Verdict, VerifiedEntry};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Renders what was verified of the records' distros; of all their releases it says where they were run, or `untested`.
///
/// Maintained profiles come first, with causes and versions; the others have tables only.
pub fn render<'a>(records: impl Iterator<Item = &'a Record>, profiles: &[Profile]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, records, profiles);
    out
}

fn write_all<'a>(
    out: &mut String,
    records: impl Iterator<Item = &'a Record>,
    profiles: &[Profile],
) -> std::fmt::Result {
    writeln!(out, "# What was verified\n")?;
    writeln!(out, "Made by `kata-qualify matrix` from `distros/records/verified`; do not edit it.\n")?;
    writeln!(out, "{}\n", crate::views::markdown::LEGEND)?;
    let records: Vec<&Record> = records.collect();
    let releases =
        records.iter().flat_map(|record| record.releases.iter().map(move |release| (record, &release.version)));
    let rows = releases.map(|(record, version)| {
        vec![format!("**{}:{}**", escape(&record.distro), escape(version)), run_in(record, version)]
    });
    table(out, ["release", "last run"].map(str::to_owned).into_iter(), rows)?;
    for record in records.into_iter().filter(|record| record.verified.iter().any(|entry| !entry.shaped)) {
        writeln!(out, "## {}\n", escape(&record.distro))?;
        for maintained in [true, false] {
            for profile in profiles.iter().filter(|profile| profile.maintained == maintained) {
                of_profile(out, record, profile)?;
            }
        }
    }
    Ok(())
}

/// In which environments a release was run, each with the day of its last run.
fn run_in(record: &Record, version: &str) -> String {
    let mut last = BTreeMap::new();
    for entry in record.verified.iter().filter(|entry| !entry.shaped && entry.release == version) {
        let day = last.entry(entry.environment).or_insert(entry.tested);
        *day = entry.tested.max(*day);
    }
    if last.is_empty() {
        return "untested".to_owned();
    }
    last.iter().map(|(environment, day)| format!("{environment} {day}")).collect::<Vec<_>>().join(", ")
}

fn of_profile(out: &mut String, record: &Record, profile: &Profile) -> std::fmt::Result {
    let place = |entry: &VerifiedEntry| {
        let release = record.releases.iter().position(|release| release.version == entry.release);
        (release, entry.arch, entry.environment)
    };
    // Who reads this wants to know of the distro's own packages.
    let of_distro = record.verified.iter().filter(|entry| !entry.shaped);
    let mut entries: Vec<&VerifiedEntry> = of_distro.filter(|entry| entry.profile == profile.name).collect();
    entries.sort_by_key(|entry| place(entry));
    if entries.is_empty() {
        return Ok(());
    }
    let end = match (profile.maintained, profile.ended()) {
        (true, _) => "",
        (false, true) => ", end of life",
        (false, false) => ", not released",
    };
    writeln!(out, "### {} (Kata {}{end})\n", escape(&profile.name), escape(&profile.range))?;
    let verdict = |entry: &VerifiedEntry, capability| entry.capabilities.get(&capability).map(|c| c.verdict);
    let said = |capability: &Capability| {
        entries.iter().any(|e| verdict(e, *capability).is_some_and(|v| v != Verdict::NotApplicable))
    };
    let (main, more): (Vec<Capability>, Vec<Capability>) =
        Capability::ALL.iter().copied().filter(said).partition(|capability| is_main(*capability));
    for columns in [main, more].iter().filter(|columns| !columns.is_empty()) {
        let heads = ["release", "in", "tested"].map(str::to_owned).into_iter();
        let rows = entries.iter().map(|entry| {
            let named = [format!("**{}**", named(entry)), entry.environment.to_string(), entry.tested.to_string()];
            let marks =
                columns.iter().map(|c| verdict(entry, *c).map_or_else(String::new, |v| mark(v, Some(entry.basis))));
            named.into_iter().chain(marks).collect()
        });
        table(out, heads.chain(columns.iter().map(|c| c.name().to_owned())), rows)?;
    }
    if profile.maintained {
        causes(out, &entries)?;
        versions(out, &entries)?;
    }
    Ok(())
}

/// The release, and its architecture where that is not the usual one.
fn named(entry: &VerifiedEntry) -> String {
    match entry.arch {
        model::arch::Arch::X86_64 => escape(&entry.release),
        other => format!("{} {other}", escape(&entry.release)),
    }
}

/// Each cause once, with the capabilities that it takes away and where it was seen.
fn causes(out: &mut String, entries: &[&VerifiedEntry]) -> std::fmt::Result {
    let mut seen: BTreeMap<(Capability, String), Vec<String>> = BTreeMap::new();
    for entry in entries {
        let place = format!("{} ({})", named(entry), entry.environment);
        for (capability, found) in entry.capabilities.iter().filter(|(_, c)| c.verdict == Verdict::Unsupported) {
            for cause in &found.causes {
                seen.entry((*capability, cause.to_string())).or_default().push(place.clone());
            }
        }
    }
    for ((capability, cause), places) in &seen {
        writeln!(out, "- ✗ `{capability}` on {}: {}", places.join(", "), short(cause))?;
    }
    if !seen.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

fn versions(out: &mut String, entries: &[&VerifiedEntry]) -> std::fmt::Result {
    for entry in entries {
        let versions: Vec<String> = entry
            .versions
            .iter()
            .map(|(package, version)| format!("{} {}", escape(package.as_str()), escape(version.as_str())))
            .collect();
        writeln!(out, "- {} ({}): {}", named(entry), entry.environment, versions.join(", "))?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::database::Database;

    #[test]
    fn every_listed_release_is_shown_and_those_that_nobody_ran_are_untested() {
        let database = Database::embedded();
        let rendered = render(database.records(), Profile::all());
        for record in database.records() {
            for release in &record.releases {
                let version = &release.version;
                let name = format!("| **{}:{}** | ", escape(&record.distro), escape(version));
                let row = rendered.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
                let was_run = record.verified.iter().any(|entry| !entry.shaped && entry.release == *version);
                assert_eq!(row == "untested |", !was_run, "{name}{row}");
            }
        }
    }

    /// The file that readers see is what the records say.
    #[test]
    fn the_published_matrix_is_current() {
        let database = Database::embedded();
        let current = render(database.records(), Profile::all());
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matrix.md");
        if std::env::var_os("UPDATE_MATRIX").is_some() {
            std::fs::write(&file, &current).unwrap();
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(checked_in == current, "docs/matrix.md is old: kata-qualify matrix > docs/matrix.md");
    }
}
