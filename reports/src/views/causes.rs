//! Causes of unsupported capabilities, each once with all capabilities that it takes away.

use crate::matrix::CellReport;
use crate::signature;
use crate::standing::CellStanding;
use crate::verdict::{Flaky, ReasonSource, with_tests};
use jiff::civil::Date;
use model::test_id::TestId;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Component;

/// The reason why some of a cell's capabilities are not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explanation<'a> {
    /// The blamed component; `None` if nothing could be shown.
    pub(crate) blame: Option<Blame<'a>>,
    /// The text of the reason; that of a failing test may have several lines.
    pub(crate) text: String,
    pub(crate) profiles: BTreeSet<&'a str>,
    pub(crate) capabilities: BTreeSet<Capability>,
    /// The latest recorded day, if the record has the same verdict for all capabilities that are taken away.
    pub(crate) since: Option<Date>,
}

impl Explanation<'_> {
    /// Describes where the reason applies: `go-3.32, rs-4.1: vmm.tdx, as recorded on 2026-11-21`.
    pub(crate) fn place(&self) -> String {
        let since = self.since.map(|day| format!(", as recorded on {day}")).unwrap_or_default();
        format!("{}: {}{since}", words(&self.profiles), names(&self.capabilities))
    }
}

/// A failing test, and the component at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blame<'a> {
    pub(crate) component: Component,
    pub(crate) test: &'a str,
}

/// The profiles and capabilities that a reason applies to.
#[derive(Default)]
struct Scope<'a> {
    profiles: BTreeSet<&'a str>,
    capabilities: BTreeSet<Capability>,
    tests: BTreeSet<&'a str>,
    asked_for: BTreeSet<&'a str>,
    by_share: BTreeSet<&'a str>,
    /// The recorded day of each verdict.
    since: Vec<Option<Date>>,
}

impl<'a> Scope<'a> {
    fn add(&mut self, profile: &'a str, capability: Capability, tests: Vec<&'a TestId>, since: Option<Date>) {
        self.since.push(since);
        self.profiles.insert(profile);
        self.capabilities.insert(capability);
        self.tests.extend(tests.into_iter().map(TestId::as_str));
    }

    /// Returns the latest day, if all verdicts have one.
    fn since(&self) -> Option<Date> {
        let days: Option<Vec<Date>> = self.since.iter().copied().collect();
        days?.into_iter().max()
    }
}

/// Returns the explanations of a cell: first failing tests, then why other capabilities could not be shown.
///
/// Capabilities without any test are left out, because this is so on every distro; so are tests that never ran because
/// the run's filter left them out.
/// Those that the cell's own error explains are left out, too: the reports show the error itself.
pub(crate) fn explanations<'a>(cell: &'a CellStanding<'_>) -> Vec<Explanation<'a>> {
    let mut failures: BTreeMap<(&str, Component, &str), (&str, Scope<'_>)> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, Scope<'_>> = BTreeMap::new();
    for (profile, standing) in &cell.profiles {
        for (capability, one) in standing.capabilities.iter().filter(|(_, one)| one.judgement.required > 0) {
            let judgement = one.judgement;
            let since = one.since.filter(|_| one.recorded == Some(judgement.verdict));
            for cause in &judgement.causes {
                // The words for one cause may differ by profile: the first ones stand for all.
                let key = (cause.test.as_str(), cause.component, cause.signature.as_str());
                let (_, scope) = failures.entry(key).or_insert_with(|| (cause.message.as_str(), Scope::default()));
                scope.add(profile, *capability, Vec::new(), since);
                scope.asked_for.extend(cause.asked_for.iter().map(String::as_str));
                scope.by_share.extend(cause.by_share.iter().map(String::as_str));
            }
            for reason in judgement.reasons.iter().filter(|reason| reason.source != ReasonSource::Cell) {
                let tests = cell.report.asked(reason);
                if !tests.is_empty() {
                    reasons.entry(&reason.why).or_default().add(profile, *capability, tests, since);
                }
            }
        }
    }
    let failures = failures.into_iter().map(|((test, component, _), (message, scope))| Explanation {
        blame: Some(Blame { component, test }),
        text: with_sources(message, &scope.asked_for, &scope.by_share),
        since: scope.since(),
        profiles: scope.profiles,
        capabilities: scope.capabilities,
    });
    let reasons = reasons.into_iter().map(|(why, scope)| Explanation {
        blame: None,
        text: with_tests(why, scope.tests.iter().copied()),
        since: scope.since(),
        profiles: scope.profiles,
        capabilities: scope.capabilities,
    });
    failures.chain(reasons).collect()
}

/// Appends to an observation a line with the places in Kata's source that require the behaviour, and one with those
/// where Kata only gives containers their files by the test's share, under any profile.
pub(crate) fn with_sources(message: &str, asked_for: &BTreeSet<&str>, by_share: &BTreeSet<&str>) -> String {
    let lines = [("Kata requires it", asked_for), ("Kata gives containers their files by this share", by_share)];
    let lines = lines.into_iter().filter(|(_, sources)| !sources.is_empty());
    let lines = lines.map(|(what, sources)| format!("\n{what} in {}", words(sources)));
    format!("{message}{}", lines.collect::<String>())
}

/// Splits a recorded cause into the observation and the places in Kata's source that older records have at its end in
/// parentheses.
pub(crate) fn without_sources(text: &str) -> (&str, Vec<&str>) {
    let ends = text.strip_suffix(')').and_then(|text| text.rsplit_once(" ("));
    let Some((observation, sources)) = ends else { return (text, Vec::new()) };
    let sources: Vec<&str> = sources.split(", ").collect();
    if sources.iter().all(|source| is_source(source)) { (observation, sources) } else { (text, Vec::new()) }
}

/// Checks for a place in Kata's source: `src/runtime/virtcontainers/qemu_amd64.go@3.29.0`.
fn is_source(word: &str) -> bool {
    let has_tag = |(file, tag): (&str, &str)| file.contains('/') && !tag.is_empty();
    !word.contains(' ') && word.split_once('@').is_some_and(has_tag)
}

/// Returns the key of a reason under any profile: the signature of a cause, or else the text.
pub(crate) fn key(component: Option<Component>, text: &str) -> String {
    let (observation, _) = without_sources(text);
    component.map_or_else(|| observation.to_owned(), |component| signature::of(component, observation))
}

/// Returns the tests of a cell that passed only when repeated, each once.
pub(crate) fn flaky(cell: &CellReport) -> BTreeSet<&Flaky> {
    cell.judgements.values().flat_map(|j| j.values()).flat_map(|j| &j.flaky).collect()
}

/// Returns the notes of the cell's tests, each once, such as pjdfstest's differences by name.
pub(crate) fn notes(cell: &CellReport) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for instance in &cell.instances {
        let notes = instance.attempts.iter().flat_map(|a| &a.notes).map(String::as_str);
        all.entry(&instance.test).or_default().extend(notes);
    }
    all.retain(|_, notes| !notes.is_empty());
    all
}

/// Names joined by commas.
pub(crate) fn names(capabilities: &BTreeSet<Capability>) -> String {
    capabilities.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ")
}

/// Words joined by commas.
pub(crate) fn words(items: &BTreeSet<&str>) -> String {
    items.iter().copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Maker, RENAME, TDX, catalogue, profiles};
    use suites::outcome::{Failure, Outcome};

    #[test]
    fn source_citations_are_not_part_of_a_cause() {
        let observation = "/usr/bin/a does not offer -object tdx-guest";
        let sources = ["src/runtime/a.go@3.29.0", "src/runtime-rs/b.rs@main"];
        assert_eq!(without_sources(observation), (observation, vec![]));
        assert_eq!(without_sources(&format!("{observation} ({})", sources[0])), (observation, sources[..1].to_vec()));
        assert_eq!(
            without_sources(&format!("{observation} ({})", sources.join(", "))),
            (observation, sources.to_vec())
        );
        for other in
            ["it ended (exit code 1)", "it ended (exit code 1, a/b.go@3.0)", "no (user@host)", "(a/b@1)", "x ()"]
        {
            assert_eq!(without_sources(other), (other, vec![]), "{other}");
        }
        let keys = [("/usr/bin/a", sources[0]), ("/usr/libexec/b", sources[1])]
            .map(|(path, source)| key(Some(Component::Qemu), &format!("{path} does not offer x ({source})")));
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], key(Some(Component::Qemu), "/usr/bin/a does not offer y"));
        assert_eq!(key(None, "no /dev/kvm, 3 times"), "no /dev/kvm, 3 times");
    }

    #[test]
    fn one_cause_under_two_profiles_is_listed_once_with_all_citations() {
        let mut maker = Maker::default();
        maker.start(&["go-3.29", "rs-4.0"], &["13"]);
        for (profile, qemu, source) in
            [("go-3.29", "/usr/bin/a", "a.go@3.29.0"), ("rs-4.0", "/usr/bin/b", "b.rs@4.0.0")]
        {
            let failure = Failure::new(Component::Qemu, format!("{qemu} does not offer -object tdx-guest"));
            let failure = Failure { asked_for: vec![source.to_owned()], ..failure };
            maker.done("13", &[profile], TDX, Outcome::Fail(failure));
        }
        let matrix = crate::matrix::matrix(&maker.journal, &catalogue(), &profiles());
        let standings = crate::sample::standings(&matrix);
        let all = explanations(&standings.cells[0]);
        let blaming: Vec<&Explanation<'_>> = all.iter().filter(|one| one.blame.is_some()).collect();
        assert_eq!(blaming.len(), 1, "{blaming:?}");
        let text = "/usr/bin/a does not offer -object tdx-guest\nKata requires it in a.go@3.29.0, b.rs@4.0.0";
        assert_eq!(blaming[0].text, text);
        assert_eq!(blaming[0].profiles, BTreeSet::from(["go-3.29", "rs-4.0"]));
        assert_eq!(blaming[0].since, None, "nothing was recorded");
    }

    /// Kata's source asks for no rename on a share: it only says that containers have their files there.
    #[test]
    fn places_where_kata_uses_a_share_are_not_said_to_require_anything() {
        let places = suites::catalogue::find(RENAME).unwrap().cited().iter().map(ToString::to_string);
        let places: Vec<String> = places.collect();
        let mut maker = Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        let failure = Failure::new(Component::Virtiofsd, "neither name");
        let failure = Failure { asked_for: places.clone(), ..failure };
        maker.done("13", &["go-3.29"], RENAME, Outcome::Fail(failure));
        let matrix = crate::matrix::matrix(&maker.journal, suites::catalogue::tests(), &profiles());
        let standings = crate::sample::standings(&matrix);
        let all = explanations(&standings.cells[0]);
        let text = all.iter().find(|one| one.blame.is_some()).map(|one| one.text.as_str());
        let places: BTreeSet<&str> = places.iter().map(String::as_str).collect();
        assert!(!places.is_empty());
        let expected = format!("neither name\nKata gives containers their files by this share in {}", words(&places));
        assert_eq!(text, Some(expected.as_str()));
        let required = BTreeSet::from(["a.go@3.29.0"]);
        assert_eq!(with_sources("no", &required, &BTreeSet::new()), "no\nKata requires it in a.go@3.29.0");
        assert_eq!(with_sources("no", &BTreeSet::new(), &BTreeSet::new()), "no");
    }

    /// A day is shown only if all capabilities that are taken away are recorded as such.
    #[test]
    fn a_recorded_day_is_shown_only_if_all_capabilities_are_recorded() {
        let boots = |test: &str| (test == crate::sample::BOOT).then(|| crate::sample::fail(Component::Qemu, "no q35"));
        let matrix = crate::sample::judged(&crate::sample::run(boots));
        let explained = |entries: &[model::verified::VerifiedEntry]| {
            let standings = crate::sample::compared_with_record(&matrix, entries);
            let explained = explanations(&standings.cells[0]);
            explained.iter().find(|why| why.text == "no q35").map(|why| (why.since, why.place())).unwrap()
        };
        let written = crate::views::record::verified_entries(&crate::sample::standings(&matrix)).0;
        let mut entries: Vec<_> = written.into_iter().map(|(_, entry)| entry).collect();
        let (since, place) = explained(&entries);
        assert_eq!(since, Some(entries[0].tested));
        assert!(place.ends_with(&format!(", as recorded on {}", entries[0].tested)), "{place}");
        let plain = model::verified::VerifiedCapability::plain(model::verified::Verdict::Supported);
        entries[0].capabilities.insert(Capability::VmmBoot, plain);
        assert_eq!(explained(&entries).0, None);
    }
}
