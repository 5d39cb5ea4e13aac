//! Summary of what a submitted run proves and what it does not.

use crate::run::RunEnding;
use crate::standing::{CapabilityStanding, Standings};
use crate::views::record::{SHAPED, verified_entries};
use crate::views::wording;
use model::verified::{Basis, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use suites::capability::Capability;

/// Returns the claims, one per line: the results of each cell, which of them are new, and why they may not count.
pub fn render(standings: &Standings<'_>) -> String {
    let matrix = standings.matrix;
    let mut out = String::new();
    let made = &matrix.provenance;
    let day = matrix.finished.map_or_else(|| "no day".to_owned(), |at| at.strftime("%F").to_string());
    let commit = if made.commit.is_empty() { "unknown" } else { &made.commit };
    let _ = writeln!(out, "run {} of {day}, by kata-qualify {} ({commit})", matrix.run, matrix.harness);
    let _ = match made.catalogue == matrix.test_set {
        true => writeln!(out, "judged again with the same tests ({})", matrix.test_set),
        false => writeln!(
            out,
            "judged again with other tests than those of the run ({} now, {} then): tests that it did not run are \
             untested",
            matrix.test_set,
            if made.catalogue.is_empty() { "unknown" } else { &made.catalogue }
        ),
    };
    for cell in &standings.cells {
        for (profile, standing) in &cell.profiles {
            let basis = wording::basis(cell.report.basis());
            let _ = writeln!(out, "{} {profile}: {}; {basis}", cell.report.cell, counts(&standing.capabilities));
            for (what, capabilities) in news(&standing.capabilities) {
                let _ = writeln!(out, "  {what}: {}", capabilities.join(", "));
            }
        }
    }
    for cell in &standings.cells {
        if let Some(why) = &cell.report.contradicted {
            let _ = writeln!(out, "not trusted: {} counts as emulated: {why}", cell.report.cell);
        }
    }
    for held in doubts(standings) {
        let _ = writeln!(out, "not usable for the records: {held}");
    }
    out.push_str("not proved: who made the journal, because bundles are not signed\n");
    out
}

/// Counts capabilities by verdict: `12 supported, 1 unsupported`.
fn counts(capabilities: &BTreeMap<Capability, CapabilityStanding<'_>>) -> String {
    let count = |verdict: Verdict| capabilities.values().filter(|one| one.verdict() == verdict).count();
    let words: Vec<String> = Verdict::applicable()
        .map(|verdict| (count(verdict), verdict))
        .filter(|(count, _)| *count > 0)
        .map(|(count, verdict)| format!("{count} {}", verdict.name()))
        .collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Returns the results that a record does not have yet.
fn news<'c>(capabilities: &'c BTreeMap<Capability, CapabilityStanding<'_>>) -> Vec<(&'static str, Vec<&'c str>)> {
    let decided = || capabilities.iter().filter(|(_, one)| one.verdict().is_decided());
    let is_upgrade = |one: &CapabilityStanding<'_>| {
        one.basis() == Some(Basis::Hardware)
            && one.entry.is_some_and(|entry| entry.basis == Basis::Emulated)
            && one.recorded == Some(one.verdict())
    };
    let differs = |one: &CapabilityStanding<'_>| {
        one.recorded.is_some_and(|recorded| recorded.is_decided() && recorded != one.verdict())
    };
    let is_new = |one: &CapabilityStanding<'_>| !one.recorded.is_some_and(Verdict::is_decided);
    let names = |chosen: &dyn Fn(&CapabilityStanding<'_>) -> bool| -> Vec<&'c str> {
        decided().filter(|(_, one)| chosen(one)).map(|(capability, _)| capability.name()).collect()
    };
    let all = [
        ("on hardware, while the record is based on emulation", names(&is_upgrade)),
        ("not as recorded", names(&differs)),
        ("not recorded yet", names(&is_new)),
    ];
    all.into_iter().filter(|(_, names)| !names.is_empty()).collect()
}

/// Returns the reasons why the run, or a cell of it, must not be written into a record.
fn doubts(standings: &Standings<'_>) -> Vec<String> {
    let matrix = standings.matrix;
    let mut all = Vec::new();
    if matrix.shaped {
        all.push(SHAPED.to_owned());
    }
    if matrix.ending == RunEnding::Finished && matrix.cells.is_empty() {
        all.push("it contains no cell".to_owned());
    }
    all.extend(verified_entries(standings).1.iter().map(ToString::to_string));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Accelerator, Event, RunFacts};
    use crate::sample::{self, TDX, cell, compared_with_record, judged, recorded, run};

    fn changed(change: impl Fn(&mut Event)) -> crate::matrix::Matrix {
        let mut maker = run(|_| None);
        maker.journal.entries.iter_mut().for_each(|entry| change(&mut entry.event));
        judged(&maker)
    }

    fn on_hardware(event: &mut Event) {
        if let Event::CellFacts { facts, .. } = event {
            (facts.basis, facts.accelerator) = (Basis::Hardware, Accelerator::Kvm);
            facts.environment.extend(sample::answers_of_hardware());
        }
    }

    #[test]
    fn hardware_results_are_news_and_recorded_results_are_not() {
        let entries = recorded();
        let text = render(&compared_with_record(&changed(|_| {}), &entries));
        assert!(text.contains("debian:13/x86_64/container go-3.29: ") && text.contains("; emulated\n"), "{text}");
        assert!(!text.contains("on hardware, while") && !text.contains("not as recorded"), "{text}");
        assert!(!text.contains("not usable for the records"), "{text}");
        assert!(text.ends_with("because bundles are not signed\n"), "{text}");
        let text = render(&compared_with_record(&changed(on_hardware), &entries));
        assert!(text.contains("; hardware\n"), "{text}");
        let line = text.lines().find(|line| line.contains("on hardware, while the record is based on emulation"));
        assert!(line.unwrap().contains("vmm.boot"), "{text}");
    }

    /// Such a claim must not replace the recorded result.
    #[test]
    fn a_hardware_claim_with_an_emulated_accelerator_is_not_believed() {
        let text = render(&compared_with_record(
            &changed(|event| {
                if let Event::CellFacts { facts, .. } = event {
                    facts.basis = Basis::Hardware;
                }
            }),
            &recorded(),
        ));
        assert!(text.contains("; emulated\n") && !text.contains("; hardware"), "{text}");
        assert!(!text.contains("on hardware, while the record is based on emulation"), "{text}");
        let line = "not trusted: debian:13/x86_64/container counts as emulated: it says hardware, and of the \
                    accelerator: tcg\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn differing_and_unrecorded_capabilities_are_listed() {
        let mut entries = recorded();
        let supported = model::verified::VerifiedCapability::plain(Verdict::Supported);
        entries[0].capabilities.insert(Capability::VmmTdx, supported);
        entries[0].capabilities.remove(&Capability::VmmBoot);
        let matrix = changed(|_| {});
        let text = render(&compared_with_record(&matrix, &entries));
        assert!(text.contains("  not as recorded: vmm.tdx\n"), "{TDX} fails: {text}");
        assert!(text.contains("  not recorded yet: vmm.boot"), "{text}");
    }

    #[test]
    fn a_run_dated_in_the_future_is_not_usable_for_the_records() {
        let mut maker = run(|_| None);
        for entry in &mut maker.journal.entries {
            entry.at = jiff::Timestamp::from_second(entry.at.as_second() + 100 * 365 * 86_400).unwrap();
        }
        let text = render(&sample::standings(&judged(&maker)));
        assert!(text.contains("not usable for the records: the whole run: it ended on 2126-07-"), "{text}");
        assert!(text.contains(", which is in the future: its clock or its journal is wrong\n"), "{text}");
    }

    #[test]
    fn a_run_unusable_for_the_records_gives_the_reason() {
        type Change = fn(&mut Event);
        let table: [(Change, &str); 6] = [
            (
                |event| {
                    if let Event::RunStarted { shaped, .. } = event {
                        *shaped = true;
                    }
                },
                "not usable for the records: it is shaped",
            ),
            (
                // Somebody removed the flag.
                |event| {
                    if let Event::RunStarted { options, .. } = event {
                        options.push("--mirror-key".to_owned());
                    }
                },
                "not usable for the records: it is shaped",
            ),
            (
                |event| {
                    if let Event::RunStarted { options, .. } = event {
                        options.push("--oci-image image.tar".to_owned());
                    }
                },
                "not usable for the records: it is shaped",
            ),
            (
                // The checksum identifies the image, but not its maker.
                |event| {
                    if let Event::RunStarted { options, .. } = event {
                        options.push("--oci-image image.tar#sha256:00".to_owned());
                    }
                },
                "not usable for the records: it is shaped",
            ),
            (
                |event| {
                    if let Event::RunStarted { candidate, .. } = event {
                        *candidate = true;
                    }
                },
                "not usable for the records: the whole run: the run tested candidates or used another record",
            ),
            (
                |event| {
                    if let Event::RunFinished { interrupted } = event {
                        *interrupted = true;
                    }
                },
                "not usable for the records: the whole run: the run was interrupted",
            ),
        ];
        for (change, why) in table {
            let text = render(&sample::standings(&changed(change)));
            assert!(text.contains(why), "{why}: {text}");
        }
        // The same statement as data.
        for facts in [
            RunFacts { has_callers_keys: true, ..RunFacts::default() },
            RunFacts { has_callers_image: true, ..RunFacts::default() },
        ] {
            let text = render(&sample::standings(&changed(|event| {
                if let Event::RunStarted { facts: own_facts, .. } = event {
                    *own_facts = Some(facts.clone());
                }
            })));
            assert!(text.contains("not usable for the records: it is shaped"), "{text}");
        }
        let lost = changed(|event| {
            if matches!(event, Event::CellFinished { .. }) {
                let (phase, message) = (crate::journal::Phase::Tests, "lost".to_owned());
                *event = Event::CellError { cell: cell("13"), phase, message };
            }
        });
        let text = render(&sample::standings(&lost));
        assert!(text.contains("not usable for the records: debian:13/x86_64/container: tests: lost"), "{text}");
    }
}
