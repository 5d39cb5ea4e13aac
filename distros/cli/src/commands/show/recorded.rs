//! The verdicts in the output of `show`: for each profile whether Kata can run, and everything that is not supported.

use super::answer::answer;
use super::named::named;
use jiff::civil::Date;
use model::capability::Capability;
use model::package::{PackageName, PackageVersion};
use model::package_manager::PackageManager;
use model::profile::Profile;
use model::verified::{Verdict, VerifiedCapability, VerifiedEntry, joined};
use model::words::count;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Maximum width of a table, in columns; further runs are continued below.
const WIDTH: usize = 100;

/// Installed version of each package, if it is installed.
pub(super) type InstalledVersions = BTreeMap<PackageName, Option<PackageVersion>>;

/// Formats whether Kata can run, one line per profile; then only what is not supported: the capabilities by profile and
/// environment, and the causes.
pub(super) fn matrix(
    entries: &[VerifiedEntry],
    installed: Option<&InstalledVersions>,
    manager: PackageManager,
    today: Date,
) -> String {
    let mut out = String::from("  verified\n");
    let mut answered = BTreeSet::new();
    for entry in entries {
        let Some(profile) = Profile::find(&entry.profile).ok().filter(|_| !entry.shaped) else {
            // The demands of an unknown profile, or the origin of a shaped entry's packages, are unknown.
            let _ = writeln!(out, "    {}: {}", head(entry), summary(entry, today));
            continue;
        };
        if answered.insert(profile.name.as_str()) {
            let answer = answer(entries, profile, manager);
            let _ = writeln!(out, "    {}: {}", profile.name, answer.words);
            if let Some(here) = installed.and_then(|installed| here(&answer.rests_on, installed)) {
                let _ = writeln!(out, "      {here}");
            }
        }
    }
    // Each run that judged only some capabilities has an entry; entries with the same packages are merged.
    let runs = joined(entries).into_iter();
    let lacking: Vec<VerifiedEntry> = runs.filter(|run| run.capabilities.values().any(is_lacking)).collect();
    table(&mut out, &lacking, today);
    let mut remarks = BTreeSet::new();
    for entry in entries {
        for (name, capability) in &entry.capabilities {
            for cause in &capability.causes {
                remarks.insert(format!("    {} {name}: {cause}", head(entry)));
            }
            if capability.flaky {
                remarks.insert(format!("    {} {name}: flaky", head(entry)));
            }
            if let Some(workaround) = &capability.workaround {
                remarks.insert(format!("    {} {name}: workaround: {workaround}", head(entry)));
            }
        }
    }
    for line in remarks {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// Whether a capability was or could be tried, but is not shown to be supported.
fn is_lacking(capability: &VerifiedCapability) -> bool {
    !matches!(capability.verdict, Verdict::Supported | Verdict::NotApplicable)
}

/// Returns the head of an entry's column: `go-3.32/container`.
fn head(entry: &VerifiedEntry) -> String {
    format!("{}/{}", entry.profile, entry.environment)
}

/// Adds a table with a row for each capability that is not supported somewhere and a column for each run, as many
/// columns side by side as fit.
fn table(out: &mut String, entries: &[VerifiedEntry], today: Date) {
    let results = entries.iter().flat_map(|entry| &entry.capabilities);
    let capabilities: BTreeSet<Capability> =
        results.filter(|(_, result)| is_lacking(result)).map(|(capability, _)| *capability).collect();
    let first = capabilities.iter().map(|c| c.name().len()).max().unwrap_or(0);
    let width = |e: &VerifiedEntry| head(e).len().max("not-applicable".len());
    let is_shaped = entries.iter().any(|e| e.shaped);
    let mut rest = entries;
    while !rest.is_empty() {
        let mut used = "    ".len() + first;
        let fits = |entry: &&VerifiedEntry| {
            used += "  ".len() + width(entry);
            used <= WIDTH
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (some, later) = rest.split_at(count.min(rest.len()));
        rest = later;
        let mut row = |name: &str, cell: &dyn Fn(&VerifiedEntry) -> String| {
            let mut line = format!("    {name:first$}");
            for entry in some {
                let _ = write!(line, "  {:1$}", cell(entry), width(entry));
            }
            let _ = writeln!(out, "{}", line.trim_end());
        };
        row("", &head);
        for shown in &capabilities {
            row(shown.name(), &|e| match e.capabilities.get(shown) {
                Some(capability) => capability.verdict.to_string(),
                None => "-".to_owned(),
            });
        }
        row("basis", &|e| e.basis.to_string());
        if is_shaped {
            // The packages may not be the distro's own.
            row("shaped", &|e| if e.shaped { "yes" } else { "-" }.to_owned());
        }
        row("tested", &|e| e.tested.to_string());
        row("age", &|e| age(e.tested, today));
    }
}

/// Note on an entry that was judged by another version's test set.
pub(in crate::commands) const OLDER_TESTS: &str = ", by an older set of tests";

/// Formats an entry on one line: `40 of 42 supported, on emulated basis, 12 days ago`.
fn summary(entry: &VerifiedEntry, today: Date) -> String {
    let judged = entry.capabilities.values().filter(|result| result.verdict.is_decided());
    let supported = judged.clone().filter(|result| result.verdict == Verdict::Supported).count();
    let (count, basis) = (judged.count(), entry.basis.marked(entry.shaped));
    let (older, ago) = (if entry.is_by_older_tests() { OLDER_TESTS } else { "" }, ago(entry.tested, today));
    format!("{supported} of {count} supported, on {basis} basis{older}, {ago}")
}

/// Returns how the installed packages differ from those of some runs; `None` if the runs have no versions.
fn here(entries: &[&VerifiedEntry], installed: &InstalledVersions) -> Option<String> {
    let mut versions = entries.iter().flat_map(|entry| &entry.versions).peekable();
    versions.peek()?;
    let differing = versions.filter_map(|(name, verified)| {
        let now = installed.get(name).and_then(Option::as_ref);
        let words = now.map_or("not installed", PackageVersion::as_str);
        (now != Some(verified)).then(|| format!("{name} {verified} → {words}"))
    });
    let differing: BTreeSet<String> = differing.collect();
    let differing: Vec<&str> = differing.iter().map(String::as_str).collect();
    match differing.is_empty() {
        true => Some("the same versions here".to_owned()),
        false => Some(format!("differs here: {}", named(&differing))),
    }
}

/// Formats the age of a day for the end of a sentence.
pub(in crate::commands) fn ago(tested: Date, today: Date) -> String {
    let age = age(tested, today);
    if tested < today { format!("{age} ago") } else { age }
}

/// Formats the age of a day in words.
fn age(tested: Date, today: Date) -> String {
    let days = tested.until(today).map_or(0, |span| span.get_days());
    match days {
        ..0 => "in the future".to_owned(),
        0 => "today".to_owned(),
        days => count(days, "day"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use jiff::civil::date;
    use model::arch::Arch;
    use model::component::Component;
    use model::environment::Environment;
    use model::verified::{Basis, VerifiedCause, test_set_of_today};

    #[test]
    fn ages_are_formatted_in_days() {
        let today = date(2026, 11, 21);
        assert_eq!(age(today, today), "today");
        assert_eq!(age(date(2026, 11, 20), today), "1 day");
        assert_eq!(age(date(2025, 11, 21), today), "365 days");
        assert_eq!(age(date(2027, 1, 1), today), "in the future");
        assert_eq!(ago(today, today), "today");
        assert_eq!(ago(date(2026, 11, 19), today), "2 days ago");
    }

    /// Returns a run of Debian 13 under the profile with these verdicts; everything else that Kata needs is supported.
    pub(in super::super) fn entry(change: &[(Capability, Option<Verdict>)]) -> VerifiedEntry {
        let profile = Profile::find("go-3.32").unwrap();
        let all = profile.needs().map(|capability| (capability, VerifiedCapability::plain(Verdict::Supported)));
        let mut capabilities: BTreeMap<Capability, VerifiedCapability> = all.collect();
        for (capability, verdict) in change {
            capabilities.remove(capability);
            let causes = vec![VerifiedCause::new(Component::Qemu, "it is not there")];
            let capability_with = |verdict| VerifiedCapability { causes, ..VerifiedCapability::plain(verdict) };
            capabilities.extend(verdict.map(|verdict| (*capability, capability_with(verdict))));
        }
        VerifiedEntry {
            release: "13".parse().unwrap(),
            arch: Arch::X86_64,
            profile: "go-3.32".parse().unwrap(),
            environment: Environment::Container,
            basis: Basis::Emulated,
            tested: date(2026, 11, 19),
            harness: "0.1.0".to_owned(),
            test_set: test_set_of_today().to_owned(),
            shaped: false,
            kata: None,
            versions: [("qemu".parse().unwrap(), "1-1".parse().unwrap())].into(),
            capabilities,
        }
    }

    /// Four runs of two profiles give two answers, and supported capabilities are not listed.
    #[test]
    fn each_profile_has_one_line_and_only_unsupported_capabilities_follow() {
        let of = |entries: &[VerifiedEntry]| matrix(entries, None, PackageManager::Apt, date(2026, 11, 21));
        let vm = VerifiedEntry { environment: Environment::Vm, ..entry(&[(Capability::VmmBoot, None)]) };
        let other = VerifiedEntry { profile: "rs-4.0".parse().unwrap(), ..entry(&[]) };
        let text = of(&[entry(&[]), vm.clone(), other]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 3 && lines[1].starts_with("    go-3.32: yes, all "), "{text}");
        assert!(lines[1].ends_with(" (emulated, container 2026-11-19, vm 2026-11-19)"), "{text}");
        assert!(lines[2].starts_with("    rs-4.0: "), "{text}");
        let text = of(&[entry(&[(Capability::VmmQmp, Some(Verdict::Unsupported))]), vm]);
        assert!(text.contains("    go-3.32/container vmm.qmp: ") && text.contains("unsupported"), "{text}");
        assert!(!text.contains("vmm.boot") && !text.contains("go-3.32/vm"), "{text}");
        let mut flaky = entry(&[]);
        flaky.capabilities.get_mut(&Capability::VmmNet).unwrap().flaky = true;
        assert!(of(&[flaky]).ends_with("\n    go-3.32/container vmm.net: flaky\n"));
        // Runs without an answer, because shaped or of an unknown profile, are listed one by one.
        let shaped = VerifiedEntry { shaped: true, ..entry(&[]) };
        let unknown = VerifiedEntry { profile: "go-0.1".parse().unwrap(), ..entry(&[]) };
        for (one, begins) in [(shaped, "    go-3.32/container: "), (unknown, "    go-0.1/container: ")] {
            let text = of(&[one]);
            let line = text.lines().nth(1).unwrap();
            assert!(line.starts_with(begins) && line.ends_with(", 2 days ago"), "{text}");
        }
    }

    #[test]
    fn differing_package_versions_are_listed() {
        let of = |version: Option<&str>| {
            let installed = version.map(|version| version.parse().unwrap());
            here(&[&entry(&[])], &[("qemu".parse().unwrap(), installed)].into())
        };
        assert_eq!(of(Some("1-1")).as_deref(), Some("the same versions here"));
        assert_eq!(of(Some("1-2")).as_deref(), Some("differs here: qemu 1-1 → 1-2"));
        assert_eq!(of(None).as_deref(), Some("differs here: qemu 1-1 → not installed"));
        let without = VerifiedEntry { versions: BTreeMap::new(), ..entry(&[]) };
        assert_eq!(here(&[&without], &BTreeMap::new()), None);
    }

    #[test]
    fn a_wide_table_is_continued_below() {
        let entries = vec![entry(&[(Capability::VmmBoot, Some(Verdict::Unsupported))]); 9];
        let mut out = String::new();
        table(&mut out, &entries, date(2026, 11, 21));
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        let words = |row: &str| {
            let rows = out.lines().filter(|line| line.trim_start().starts_with(row));
            (rows.clone().count(), rows.flat_map(str::split_whitespace).filter(|word| *word == "unsupported").count())
        };
        assert_eq!(words("vmm.boot "), (3, 9));
    }
}
