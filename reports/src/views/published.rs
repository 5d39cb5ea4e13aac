//! `docs/matrix.md`: what `distros/records/verified` says, for people who read it and do not run anything.

use crate::views::markdown::{escape, mark, short, table};
use crate::views::overview;
use model::capability::Capability;
use model::profile::Profile;
use model::record::Record;
use model::verified::{Verdict, VerifiedEntry};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Renders what was verified of the records' distros; those of which nothing was are left out.
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
    for record in records.filter(|record| record.verified.iter().any(|entry| !entry.shaped)) {
        writeln!(out, "## {}\n", escape(&record.distro))?;
        for maintained in [true, false] {
            for profile in profiles.iter().filter(|profile| profile.maintained == maintained) {
                of_profile(out, record, profile)?;
            }
        }
    }
    Ok(())
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
        Capability::ALL.iter().copied().filter(said).partition(|capability| overview::is_main(*capability));
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
