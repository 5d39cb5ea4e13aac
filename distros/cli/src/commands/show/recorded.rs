//! What `show` prints of what was verified: for each run whether Kata can run by it, and the table of capabilities.

use jiff::civil::Date;
use model::capability::Capability;
use model::component::Component;
use model::package::{PackageName, PackageVersion};
use model::profile::Profile;
use model::verified::{Verdict, VerifiedEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What is named in one line; the rest is counted.
const MOST_NAMED: usize = 3;
/// The columns that a table may take; what has more runs is continued below.
const WIDTH: usize = 100;

/// What is installed of each package, if it is.
pub(super) type InstalledVersions = BTreeMap<PackageName, Option<PackageVersion>>;

/// The result of each run, the capabilities by profile and environment, then the causes.
pub(super) fn matrix(entries: &[VerifiedEntry], installed: Option<&InstalledVersions>, today: Date) -> String {
    let mut out = String::from("  verified\n");
    let answers: Vec<Option<Answer>> = entries.iter().map(answer).collect();
    let fullest = fullest(entries, &answers);
    for (place, (entry, answer)) in entries.iter().zip(&answers).enumerate() {
        // The same profile was tried many times: what is not known of it is said once.
        let is_said = |answer: &&Answer| answer.open == 0 || fullest.get(entry.profile.as_str()) == Some(&place);
        let answer = answer.as_ref().filter(is_said);
        let _ = writeln!(out, "    {}: {}", head(entry), summary(entry, answer, today));
        if let Some(here) = installed.and_then(|installed| here(entry, installed)) {
            let _ = writeln!(out, "      {here}");
        }
    }
    table(&mut out, entries, today);
    let mut said = BTreeSet::new();
    for entry in entries {
        for (name, capability) in &entry.capabilities {
            for cause in &capability.causes {
                said.insert(format!("    {} {name}: {cause}", head(entry)));
            }
            if let Some(workaround) = &capability.workaround {
                said.insert(format!("    {} {name}: workaround: {workaround}", head(entry)));
            }
        }
    }
    for line in said {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// `go-3.32/container`.
fn head(entry: &VerifiedEntry) -> String {
    format!("{}/{}", entry.profile, entry.environment)
}

/// Each capability a row, each run a column, so many of them beside each other as there is room for.
fn table(out: &mut String, entries: &[VerifiedEntry], today: Date) {
    let capabilities: BTreeSet<Capability> = entries.iter().flat_map(|e| e.capabilities.keys().copied()).collect();
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
            // The packages may not have been the distro's own.
            row("shaped", &|e| if e.shaped { "yes" } else { "-" }.to_owned());
        }
        row("tested", &|e| e.tested.to_string());
        row("age", &|e| age(e.tested, today));
    }
}

/// The note on an entry that another version's set of tests has judged.
pub(in crate::commands) const OLDER_TESTS: &str = ", by an older set of tests";

/// An entry in one line: `yes, all 12 that Kata needs; 40 of 42 supported, on emulated basis, 12 days ago`.
fn summary(entry: &VerifiedEntry, answer: Option<&Answer>, today: Date) -> String {
    let judged = entry.capabilities.values().filter(|said| said.verdict.is_decided());
    let supported = judged.clone().filter(|said| said.verdict == Verdict::Supported).count();
    let (count, basis) = (judged.count(), entry.basis.marked(entry.shaped));
    let (older, ago) = (if entry.is_by_older_tests() { OLDER_TESTS } else { "" }, ago(entry.tested, today));
    let answer = answer.map(|answer| format!("{}; ", answer.words)).unwrap_or_default();
    format!("{answer}{supported} of {count} supported, on {basis} basis{older}, {ago}")
}

/// Whether Kata can run, as far as one run shows it.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// `yes, all 12 that Kata needs`, `no: fs.virtio-fs (virtiofsd)`,
    /// `not known: of 12 that Kata needs, the run did not judge vmm.vsock`.
    words: String,
    /// How many needed capabilities the run would have to judge before it could say yes or no.
    open: usize,
}

/// Of each profile the place of the run that leaves least open.
fn fullest<'a>(entries: &'a [VerifiedEntry], answers: &[Option<Answer>]) -> BTreeMap<&'a str, usize> {
    let mut least: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (place, (entry, answer)) in entries.iter().zip(answers).enumerate() {
        let Some(answer) = answer else { continue };
        let found = (answer.open, place);
        least.entry(entry.profile.as_str()).and_modify(|known| *known = found.min(*known)).or_insert(found);
    }
    least.into_iter().map(|(profile, (_, place))| (profile, place)).collect()
}

/// Whether Kata can run, as far as this run shows it; nothing where nobody knows what the profile needs.
fn answer(entry: &VerifiedEntry) -> Option<Answer> {
    let needed: Vec<Capability> = Profile::find(&entry.profile).ok()?.needs().collect();
    let (mut against, mut missing, mut with) = (Vec::new(), Vec::new(), "");
    for capability in &needed {
        let said = entry.capabilities.get(capability);
        match said.map(|said| said.verdict) {
            Some(Verdict::Supported) => {}
            Some(Verdict::Partial) => with = " with a workaround",
            Some(Verdict::Unsupported | Verdict::Offered) => {
                let causes = said.iter().flat_map(|said| &said.causes);
                let blamed: BTreeSet<&str> = causes.filter_map(|cause| cause.component).map(Component::name).collect();
                let blamed: Vec<&str> = blamed.into_iter().collect();
                let blamed = if blamed.is_empty() { String::new() } else { format!(" ({})", blamed.join(", ")) };
                against.push(format!("{capability}{blamed}"));
            }
            Some(Verdict::NotApplicable | Verdict::Untested | Verdict::Inconclusive) | None => {
                missing.push(capability.name());
            }
        }
    }
    let (all, against): (usize, Vec<&str>) = (needed.len(), against.iter().map(String::as_str).collect());
    let open = if against.is_empty() { missing.len() } else { 0 };
    let words = match (against.is_empty(), missing.is_empty()) {
        (false, _) => format!("no: {}", named(&against)),
        (true, true) => format!("yes{with}, all {all} that Kata needs"),
        (true, false) => format!("not known: of {all} that Kata needs, the run did not judge {}", named(&missing)),
    };
    Some(Answer { words, open })
}

/// In what the packages differ from those of a run; nothing where it has none.
fn here(entry: &VerifiedEntry, installed: &InstalledVersions) -> Option<String> {
    let differing = entry.versions.iter().filter_map(|(name, verified)| {
        let now = installed.get(name).and_then(Option::as_ref);
        let words = now.map_or("not installed", PackageVersion::as_str);
        (now != Some(verified)).then(|| format!("{name} {verified} → {words}"))
    });
    let differing: Vec<String> = differing.collect();
    let differing: Vec<&str> = differing.iter().map(String::as_str).collect();
    match (entry.versions.is_empty(), differing.is_empty()) {
        (true, _) => None,
        (false, true) => Some("the same versions here".to_owned()),
        (false, false) => Some(format!("differs here: {}", named(&differing))),
    }
}

/// A few of what there is; the rest is counted.
pub(in crate::commands) fn named(all: &[&str]) -> String {
    match all.len().saturating_sub(MOST_NAMED) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..MOST_NAMED].join(", ")),
    }
}

/// How long ago a day was, for the end of a sentence.
pub(in crate::commands) fn ago(tested: Date, today: Date) -> String {
    let age = age(tested, today);
    if tested < today { format!("{age} ago") } else { age }
}

/// How long ago a day was, in words.
fn age(tested: Date, today: Date) -> String {
    let days = tested.until(today).map_or(0, |span| span.get_days());
    match days {
        ..0 => "in the future".to_owned(),
        0 => "today".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use model::arch::Arch;
    use model::environment::Environment;
    use model::verified::{Basis, VerifiedCapability, VerifiedCause};

    #[test]
    fn ages_are_told_in_days() {
        let today = date(2026, 11, 21);
        assert_eq!(age(today, today), "today");
        assert_eq!(age(date(2026, 11, 20), today), "1 day");
        assert_eq!(age(date(2025, 11, 21), today), "365 days");
        assert_eq!(age(date(2027, 1, 1), today), "in the future");
        assert_eq!(ago(today, today), "today");
        assert_eq!(ago(date(2026, 11, 19), today), "2 days ago");
    }

    /// A run of Debian 13's by the profile, with these verdicts of what Kata needs; all else is supported.
    fn entry(change: &[(Capability, Option<Verdict>)]) -> VerifiedEntry {
        let profile = Profile::find("go-3.32").unwrap();
        let all = profile.needs().map(|capability| (capability, VerifiedCapability::plain(Verdict::Supported)));
        let mut capabilities: BTreeMap<Capability, VerifiedCapability> = all.collect();
        for (capability, verdict) in change {
            capabilities.remove(capability);
            let causes = vec![VerifiedCause::new(Component::Qemu, "it is not there")];
            let said = |verdict| VerifiedCapability { causes, ..VerifiedCapability::plain(verdict) };
            capabilities.extend(verdict.map(|verdict| (*capability, said(verdict))));
        }
        VerifiedEntry {
            release: "13".to_owned(),
            arch: Arch::X86_64,
            profile: "go-3.32".to_owned(),
            environment: Environment::Container,
            basis: Basis::Emulated,
            tested: date(2026, 11, 19),
            harness: "0.1.0".to_owned(),
            test_set: String::new(),
            shaped: false,
            kata: None,
            versions: [("qemu".parse().unwrap(), "1-1".parse().unwrap())].into(),
            capabilities,
        }
    }

    /// What a reader asks first, and not only how many of all capabilities there are.
    #[test]
    fn a_run_says_whether_kata_can_run() {
        let of = |change: &[(Capability, Option<Verdict>)]| answer(&entry(change)).unwrap().words;
        let count = Profile::find("go-3.32").unwrap().needs().count();
        assert_eq!(of(&[]), format!("yes, all {count} that Kata needs"));
        let part = (Capability::VmmNet, Some(Verdict::Partial));
        assert_eq!(of(&[part]), format!("yes with a workaround, all {count} that Kata needs"));
        let (no, unknown) = ((Capability::VmmQmp, Some(Verdict::Unsupported)), (Capability::VmmVsock, None));
        assert_eq!(of(&[no, unknown]), "no: vmm.qmp (qemu)");
        let less = format!("not known: of {count} that Kata needs, the run did not judge vmm.vsock, vmm.net");
        assert_eq!(of(&[unknown, (Capability::VmmNet, Some(Verdict::Untested))]), less);
        assert_eq!(answer(&VerifiedEntry { profile: "go-0.1".to_owned(), ..entry(&[]) }), None);
        let line = summary(&entry(&[no]), answer(&entry(&[no])).as_ref(), date(2026, 11, 21));
        let beginning = format!("no: vmm.qmp (qemu); {} of {count} supported, on emulated basis", count - 1);
        assert!(line.starts_with(&beginning) && line.ends_with(", 2 days ago"), "{line}");
    }

    /// Three runs of one profile that could not judge all are one answer, and none where another run could.
    #[test]
    fn what_is_not_known_is_said_once_for_a_profile() {
        let (vsock, net) = ((Capability::VmmVsock, None), (Capability::VmmNet, None));
        let count = |entries: &[VerifiedEntry]| matrix(entries, None, date(2026, 11, 21)).matches("not known").count();
        let open = [entry(&[vsock, net]), entry(&[vsock]), entry(&[vsock])];
        assert_eq!(count(&open), 1);
        let text = matrix(&open, None, date(2026, 11, 21));
        assert!(text.contains("the run did not judge vmm.vsock;"), "the fullest of them: {text}");
        assert_eq!(count(&[entry(&[vsock]), entry(&[])]), 0);
        let other = VerifiedEntry { profile: "rs-4.0".to_owned(), ..entry(&[vsock]) };
        assert_eq!(count(&[entry(&[vsock]), other]), 2);
    }

    #[test]
    fn what_differs_here_is_told() {
        let of = |version: Option<&str>| {
            let installed = version.map(|version| version.parse().unwrap());
            here(&entry(&[]), &[("qemu".parse().unwrap(), installed)].into())
        };
        assert_eq!(of(Some("1-1")).as_deref(), Some("the same versions here"));
        assert_eq!(of(Some("1-2")).as_deref(), Some("differs here: qemu 1-1 → 1-2"));
        assert_eq!(of(None).as_deref(), Some("differs here: qemu 1-1 → not installed"));
        let without = VerifiedEntry { versions: BTreeMap::new(), ..entry(&[]) };
        assert_eq!(here(&without, &BTreeMap::new()), None);
    }

    #[test]
    fn a_table_of_many_runs_is_continued_below() {
        let entries = vec![entry(&[]); 9];
        let mut out = String::new();
        table(&mut out, &entries, date(2026, 11, 21));
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        let words = |row: &str| {
            let rows = out.lines().filter(|line| line.trim_start().starts_with(row));
            (rows.clone().count(), rows.flat_map(str::split_whitespace).filter(|word| *word == "supported").count())
        };
        assert_eq!(words("vmm.boot "), (3, 9));
    }

    #[test]
    fn of_many_a_few_are_named() {
        assert_eq!(named(&["a", "b", "c"]), "a, b, c");
        assert_eq!(named(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
