//! `docs/matrix.md`: the contents of `distros/records/verified`, for people who do not run anything.

use crate::signature::{self, without_citation};
use crate::standing::{is_main, recorded_answer};
use crate::views::markdown::{escape, legend, mark, short, table};
use model::arch::Arch;
use model::capability::{Area, Capability};
use model::distro::ReleaseVersion;
use model::profile::{Profile, Runtime};
use model::record::Record;
use model::test_id::TestId;
use model::verified::{Verdict, VerifiedCapability, VerifiedEntry, joined};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The mark of a verdict by an older set of tests.
const OLDER: &str = "†";

/// The legend of the tables of the record's verdicts.
const LEGEND: &str = "\
**flaky**: a test failed, and passed when it was retried in a fresh guest  
**† older tests**: judged by the tests of its day, which were fewer or did less than today's  
an empty cell: nothing is recorded, because the run is older than the capability, or than what its tests do today";

/// Renders the verified results of the records' distros; for every release it names the environments of runs, or says
/// `untested`.
///
/// Maintained profiles come first, with causes and versions; the others have only tables.
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
    writeln!(out, "{}  \n{LEGEND}\n", legend())?;
    let records: Vec<&Record> = records.collect();
    let releases =
        records.iter().flat_map(|record| record.releases.iter().map(move |release| (record, &release.version)));
    let maintained: Vec<&Profile> = profiles.iter().filter(|profile| profile.maintained).collect();
    let rows = releases.map(|(record, version)| {
        let head = vec![
            format!("**{}:{}**", escape(record.distro.as_str()), escape(version.as_str())),
            run_in(record, version),
        ];
        head.into_iter().chain(maintained.iter().map(|profile| can_run(record, version, profile))).collect()
    });
    let heads = ["release", "last run"].map(str::to_owned).into_iter();
    let kata = maintained.iter().map(|profile| format!("can Kata {} run? ({})", profile.range, profile.name));
    table(out, heads.chain(kata), rows)?;
    let kata = under_kata(records.iter().copied());
    if !kata.is_empty() {
        writeln!(out, "## Under Kata itself\n\n{kata}")?;
    }
    for record in records.into_iter().filter(|record| record.verified.iter().any(|entry| !entry.shaped)) {
        writeln!(out, "## {}\n", escape(record.distro.as_str()))?;
        for maintained in [true, false] {
            for profile in profiles.iter().filter(|profile| profile.maintained == maintained) {
                of_profile(out, record, profile)?;
            }
        }
    }
    Ok(())
}

/// Returns Kata's own results, one row for each release, profile and environment, with the Kata and the brought
/// components; the results under maintained profiles are a table in `README.md`, too. Empty if none is recorded.
pub fn under_kata<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let of_kata = |c: &Capability| c.area() == Area::Kata;
    let mut rows: Vec<(&VerifiedEntry, Vec<String>)> = Vec::new();
    let entries = records.flat_map(|record| record.verified.iter().map(move |entry| (record, entry)));
    let mut columns: Vec<Capability> = Vec::new();
    for (record, entry) in entries.filter(|(_, entry)| !entry.shaped) {
        let Some(kata) = &entry.kata else { continue };
        columns.extend(entry.capabilities.keys().filter(|c| of_kata(c)));
        let runtime = match kata.runtime {
            Runtime::Go => "Go",
            Runtime::Rs => "Rust",
        };
        let components: Vec<String> =
            kata.brought.iter().map(|(component, what)| format!("{component} {what}")).collect();
        let head = vec![
            format!("**{} {}**", escape(record.distro.as_str()), named(entry)),
            format!("{} ({runtime}, {})", kata.version, escape(&entry.profile)),
            short(&components.join(", ")),
            entry.tested.to_string(),
        ];
        rows.push((entry, head));
    }
    if rows.is_empty() {
        return String::new();
    }
    columns.sort();
    columns.dedup();
    let mut out = String::new();
    let heads = ["release", "Kata", "brought along", "tested"].map(str::to_owned).into_iter();
    let rows = rows.into_iter().map(|(entry, mut row)| {
        row.extend(columns.iter().map(|c| entry.capabilities.get(c).map_or_else(String::new, |c| marked(entry, c))));
        row
    });
    // Writing to a string cannot fail.
    let _ = table(&mut out, heads.chain(columns.iter().map(|c| c.name().to_owned())), rows);
    out.trim_end().to_owned() + "\n"
}

/// Answers from the record whether the Kata versions of a profile can run on a release: for each architecture
/// separately, because results on one say nothing about another.
fn can_run(record: &Record, version: &ReleaseVersion, profile: &Profile) -> String {
    let of_release: Vec<&VerifiedEntry> =
        record.verified.iter().filter(|entry| !entry.shaped && entry.release == *version).collect();
    let of_profile = of_release.iter().filter(|entry| entry.profile == profile.name);
    let known: BTreeSet<Arch> = of_profile.map(|entry| entry.arch).collect();
    let answers = known.into_iter().map(|arch| {
        let entries: Vec<&VerifiedEntry> = of_release.iter().copied().filter(|entry| entry.arch == arch).collect();
        let answer = recorded_answer(&entries, profile, Some(record.package_manager));
        let of_arch = if arch == Arch::X86_64 { String::new() } else { format!("{arch}: ") };
        format!("{of_arch}{} {}", mark(answer.verdict(), answer.basis), escape(&answer.words()))
    });
    let answers: Vec<String> = answers.collect();
    if answers.is_empty() { "–".to_owned() } else { answers.join("; ") }
}

/// In which environments a release was run, each with the day of its last run.
fn run_in(record: &Record, version: &ReleaseVersion) -> String {
    let mut last = BTreeMap::new();
    for entry in record.verified.iter().filter(|entry| !entry.shaped && entry.release == *version) {
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
    // Readers want to know about the distro's own packages.
    let of_distro = record.verified.iter().filter(|entry| !entry.shaped && entry.supplied_components().is_empty());
    // Each run that judged a part has an entry; entries with the same packages are one row.
    let joined = joined(of_distro.filter(|entry| entry.profile == profile.name));
    let mut entries: Vec<&VerifiedEntry> = joined.iter().collect();
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
    let is_applicable = |capability: &Capability| {
        entries.iter().any(|e| verdict(e, *capability).is_some_and(|v| v != Verdict::NotApplicable))
    };
    let (main, more): (Vec<Capability>, Vec<Capability>) =
        Capability::ALL.iter().copied().filter(is_applicable).partition(|capability| is_main(*capability));
    for columns in [main, more].iter().filter(|columns| !columns.is_empty()) {
        let heads = ["release", "in", "tested"].map(str::to_owned).into_iter();
        let rows = entries.iter().map(|entry| {
            let older = if entry.is_by_older_tests() { format!(" {OLDER}") } else { String::new() };
            let tested = format!("{}{older}", entry.tested);
            let named = [format!("**{}**", named(entry)), entry.environment.to_string(), tested];
            let marks =
                columns.iter().map(|c| entry.capabilities.get(c).map_or_else(String::new, |c| marked(entry, c)));
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

/// Returns the mark of a recorded verdict: `✓ᵉ`, `✓ᵉ flaky`.
fn marked(entry: &VerifiedEntry, known: &VerifiedCapability) -> String {
    let flaky = if known.flaky { " flaky" } else { "" };
    format!("{}{flaky}", mark(known.verdict, Some(entry.basis)))
}

/// Returns the release, with its architecture if it is not x86_64.
fn named(entry: &VerifiedEntry) -> String {
    match entry.arch {
        Arch::X86_64 => escape(entry.release.as_str()),
        other => format!("{} {other}", escape(entry.release.as_str())),
    }
}

/// Maximum of tests that are named for one cause; the others are counted.
const MOST_TESTS: usize = 3;

/// A cause, identified by its signature.
#[derive(Default)]
struct SeenCause {
    /// The observations, without cuts and citations; there are several if the words differ.
    words: BTreeSet<String>,
    tests: BTreeSet<TestId>,
    /// The places, in the entries' order, with the capabilities that the cause takes away there.
    places: Vec<(String, BTreeSet<Capability>)>,
}

/// Writes each cause once, with the capabilities that it takes away and the places where it was seen.
fn causes(out: &mut String, entries: &[&VerifiedEntry]) -> std::fmt::Result {
    let mut by_signature: BTreeMap<String, SeenCause> = BTreeMap::new();
    for entry in entries {
        let place = format!("{} ({})", named(entry), entry.environment);
        for (capability, found) in entry.capabilities.iter().filter(|(_, c)| c.verdict == Verdict::Unsupported) {
            for cause in &found.causes {
                let words = match cause.component {
                    Some(component) => format!("{component}: {}", without_citation(&cause.message)),
                    None => cause.message.clone(),
                };
                let one =
                    by_signature.entry(signature::of_recorded(cause).unwrap_or_else(|| words.clone())).or_default();
                one.words.insert(words);
                one.tests.extend(cause.test.clone());
                match one.places.iter_mut().find(|(known, _)| *known == place) {
                    Some((_, capabilities)) => {
                        capabilities.insert(*capability);
                    }
                    None => one.places.push((place.clone(), BTreeSet::from([*capability]))),
                }
            }
        }
    }
    let mut all: Vec<(&String, &SeenCause)> = by_signature.iter().collect();
    let first = |cause: &SeenCause| cause.places.iter().filter_map(|(_, c)| c.first().copied()).min();
    all.sort_by_key(|(_, cause)| first(cause));
    for (signature, cause) in &all {
        writeln!(out, "- ✗ {}: {}", cause.places(), short(&cause.words(signature)))?;
    }
    if !all.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

impl SeenCause {
    /// Lists the capabilities that the cause takes away, with the places: `vmm.tdx` on 12 (container), 13 (vm).
    fn places(&self) -> String {
        let mut alike: Vec<(&BTreeSet<Capability>, Vec<&str>)> = Vec::new();
        for (place, capabilities) in &self.places {
            match alike.iter_mut().find(|(known, _)| *known == capabilities) {
                Some((_, places)) => places.push(place.as_str()),
                None => alike.push((capabilities, vec![place.as_str()])),
            }
        }
        let parts = alike.into_iter().map(|(capabilities, places)| {
            let names: Vec<String> = capabilities.iter().map(|c| format!("`{c}`")).collect();
            format!("{} on {}", names.join(", "), places.join(", "))
        });
        parts.collect::<Vec<_>>().join("; ")
    }

    /// Returns the observation, and the tests; if the words differ, their common signature.
    fn words(&self, signature: &str) -> String {
        let text = match self.words.first() {
            Some(only) if self.words.len() == 1 => only.as_str(),
            Some(_) | None => signature,
        };
        if self.tests.is_empty() {
            return text.to_owned();
        }
        let named: Vec<&str> = self.tests.iter().take(MOST_TESTS).map(TestId::as_str).collect();
        let more = match self.tests.len().saturating_sub(MOST_TESTS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{text} ({}{more})", named.join(", "))
    }
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
    use model::component::Component;
    use model::database::Database;
    use model::verified::VerifiedCause;

    #[test]
    fn every_listed_release_is_shown_and_unrun_ones_are_untested() {
        let database = Database::embedded();
        let rendered = render(database.records(), Profile::all());
        for record in database.records() {
            for release in &record.releases {
                let version = &release.version;
                let name = format!("| **{}:{}** | ", escape(record.distro.as_str()), escape(version.as_str()));
                let row = rendered.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
                let was_run = record.verified.iter().any(|entry| !entry.shaped && entry.release == *version);
                assert_eq!(row.starts_with("untested | – |"), !was_run, "{name}{row}");
            }
        }
    }

    /// Returns a file's text and its expected text, after updating the file if that was asked for.
    fn checked_in(name: &str, current: impl Fn(&str) -> String) -> (String, String) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        let current = current(&old);
        if std::env::var_os("UPDATE_MATRIX").is_some() {
            std::fs::write(&file, &current).unwrap();
        }
        (std::fs::read_to_string(&file).unwrap_or_default(), current)
    }

    /// The file matches the records.
    #[test]
    fn the_published_matrix_is_current() {
        let database = Database::embedded();
        let (file, current) = checked_in("docs/matrix.md", |_| render(database.records(), Profile::all()));
        assert!(file == current, "docs/matrix.md is old: kata-qualify matrix > docs/matrix.md");
    }

    const BEGIN: &str = "<!-- Made from distros/records/verified; do not edit. -->\n";
    const END: &str = "<!-- Until here. -->\n";

    /// Returns the text between the two markers in the README: empty until a run under Kata is recorded.
    fn block(table: &str) -> String {
        match table {
            "" => String::new(),
            table => format!("As runs recorded it (`--write-back`):\n\n{table}"),
        }
    }

    /// Returns the record with only the entries of maintained profiles: the README is about versions to install today.
    fn of_maintained(record: &Record) -> Record {
        let mut record = record.clone();
        record.verified.retain(|entry| Profile::find(&entry.profile).is_ok_and(|profile| profile.maintained));
        record
    }

    #[test]
    fn the_table_of_the_readme_is_current() {
        let records: Vec<Record> = Database::embedded().records().map(of_maintained).collect();
        let (file, current) = checked_in("README.md", |old| {
            let (before, rest) = old.split_once(BEGIN).expect("README.md has the line before the table");
            let (_, after) = rest.split_once(END).expect("README.md has the line after the table");
            format!("{before}{BEGIN}{}{END}{after}", block(&under_kata(records.iter())))
        });
        assert!(file == current, "README.md is old: run this test with UPDATE_MATRIX=1");
    }

    #[test]
    fn a_row_judged_by_older_tests_is_marked() {
        let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
        let rendered = |record: &Record| render([record].into_iter(), Profile::all());
        record.verified.truncate(1);
        record.verified[0].test_set = crate::verdict::test_set(suites::catalogue::tests());
        let (row, marked) =
            (format!("| {} |", record.verified[0].tested), format!("| {} † |", record.verified[0].tested));
        let today = rendered(&record);
        assert!(today.contains(&row) && !today.contains(&marked), "{today}");
        assert!(today.contains("**† older tests**") && today.contains("\nan empty cell: "), "{today}");
        record.verified[0].test_set = "d3dcb968b1d5".to_owned();
        let older = rendered(&record);
        assert!(older.contains(&marked) && !older.contains(&row), "{older}");
    }

    /// Verdicts on another architecture do not count for this one.
    #[test]
    fn each_architecture_has_an_answer_of_its_own() {
        let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
        let profile = Profile::find("go-3.32").unwrap();
        let first = record.verified.first().unwrap().clone();
        let entry = |arch, verdict| VerifiedEntry {
            arch,
            test_set: model::verified::test_set_of_today().to_owned(),
            profile: profile.name.clone(),
            capabilities: profile.needs().map(|capability| (capability, VerifiedCapability::plain(verdict))).collect(),
            ..first.clone()
        };
        record.verified = vec![entry(Arch::Aarch64, Verdict::Supported)];
        assert_eq!(can_run(&record, &first.release, profile), "aarch64: ✓ᵉ yes, all 12");
        record.verified.push(entry(Arch::X86_64, Verdict::Untested));
        let answer = can_run(&record, &first.release, profile);
        assert!(answer.contains("– not known yet: incomplete, 0 of 12 "), "{answer}");
        assert!(answer.contains("aarch64: ✓ᵉ yes, all 12"), "{answer}");
    }

    /// The capability, the profile's citation and the kernel may differ.
    #[test]
    fn a_cause_is_listed_once_with_all_affected_capabilities() {
        let record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
        let entry = |release: &str, of: &[(Capability, &[VerifiedCause])]| {
            let mut entry = record.verified[0].clone();
            (entry.release, entry.environment) = (release.parse().unwrap(), model::environment::Environment::Container);
            let of = of.iter().map(|(capability, causes)| {
                let plain = VerifiedCapability::plain(Verdict::Unsupported);
                let causes = causes.to_vec();
                (*capability, VerifiedCapability { causes, ..plain })
            });
            entry.capabilities = of.collect();
            entry
        };
        let seen =
            |component, seen: &str, test: &str| VerifiedCause::new(component, seen).shown_by(test.parse().unwrap());
        let unknown = |test| seen(Component::Virtiofsd, "exit code 1: unknown option", test);
        let (flags, xattrs) = (unknown("smoke::flags"), unknown("x::a"));
        let tdx = |text| seen(Component::Qemu, text, "smoke::tdx");
        let lacks = |text| seen(Component::Kernel, text, "smoke::iommufd");
        let old = entry(
            "12",
            &[
                (Capability::VmmTdx, &[tdx("no tdx-guest (src/runtime/qemu_amd64.go@3.32.0)")]),
                (Capability::VmmVfio, &[lacks("/boot/config-6.1.0-56-amd64 lacks: IOMMUFD")]),
                (Capability::FsVirtioFs, std::slice::from_ref(&flags)),
                (Capability::FsVirtioFsAcl, &[flags.clone(), xattrs]),
            ],
        );
        let new = entry(
            "13",
            &[
                (Capability::VmmTdx, &[tdx("no tdx-guest")]),
                (Capability::VmmVfio, &[lacks("/boot/config-6.12.118-amd64 lacks: IOMMUFD")]),
                (Capability::FsVirtioFs, &[flags]),
            ],
        );
        let mut out = String::new();
        causes(&mut out, &[&old, &new]).unwrap();
        let lines = [
            "- ✗ `vmm.vfio` on 12 (container), 13 (container): kernel: PATH lacks: IOMMUFD (smoke::iommufd)",
            "- ✗ `vmm.tdx` on 12 (container), 13 (container): qemu: no tdx-guest (smoke::tdx)",
            "- ✗ `fs.virtio-fs`, `fs.virtio-fs.acl` on 12 (container); `fs.virtio-fs` on 13 (container): virtiofsd: \
             exit code 1: unknown option (smoke::flags, x::a)",
        ];
        assert_eq!(out.trim_end().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn the_kata_section_is_omitted_without_a_run_under_kata() {
        let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
        record.verified.retain(|entry| entry.kata.is_none());
        assert_eq!(under_kata([&record].into_iter()), "");
        assert_eq!(block(""), "");
        let rendered = render([&record].into_iter(), Profile::all());
        assert!(rendered.contains("\n## debian\n") && !rendered.contains("Under Kata"), "{rendered}");
    }

    #[test]
    fn kata_results_are_shown_with_version_and_brought_along_components() {
        let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
        let entry = record.verified.iter().find(|entry| entry.profile == "go-3.29").unwrap().clone();
        let brought = [(Component::Virtiofsd, "1.13.3".to_owned())].into();
        let kata = model::verified::VerifiedKata { version: "3.30.0".parse().unwrap(), runtime: Runtime::Go, brought };
        let verdict = VerifiedCapability { flaky: true, ..VerifiedCapability::plain(Verdict::Partial) };
        record.verified =
            vec![VerifiedEntry { kata: Some(kata), capabilities: [(Capability::KataSmoke, verdict)].into(), ..entry }];
        let shown = under_kata([&record].into_iter());
        let entry = &record.verified[0];
        let row = format!(
            "| **debian {}** | 3.30.0 (Go, go-3.29) | virtiofsd 1.13.3 | {} | ◐ᵉ flaky |\n",
            entry.release, entry.tested
        );
        assert!(shown.starts_with("| release | Kata | brought along | tested | kata.smoke |\n"), "{shown}");
        assert!(shown.ends_with(&row), "{shown}");
        assert_eq!(under_kata([&of_maintained(&record)].into_iter()), "", "go-3.29 is not maintained");
    }
}
