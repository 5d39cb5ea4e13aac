use super::*;
use crate::journal::{Event, Phase};
use crate::matrix::Matrix;
use crate::sample::{
    BOOT, DAEMON, HOSTILE, Maker, QMP, TDX, VSOCK, catalogue, cell, compared_with_record, error, fail, judged,
    recorded, run,
};
use crate::views::{json, junit, markdown};
use model::verified::VerifiedEntry;
use std::path::Path;
use suites::capability::Capability;
use suites::outcome::{Component, Outcome};

fn planned(releases: &[&str]) -> Vec<CellId> {
    releases.iter().map(|release| cell(release)).collect()
}

/// Returns a run of these releases, each with one outcome of a test, and the record of 13.
fn of(cells: &[(&str, &str, Outcome)]) -> (Matrix, Vec<VerifiedEntry>) {
    let mut whole = Maker::default();
    whole.start(&["go-3.29"], &cells.iter().map(|(release, ..)| *release).collect::<Vec<_>>());
    for (release, test, outcome) in cells {
        let one = run(|id| (id == *test).then(|| outcome.clone()));
        let text =
            serde_json::to_string(&one.journal.entries).unwrap().replace("debian:13/", &format!("debian:{release}/"));
        let entries: Vec<crate::journal::JournalEntry> = serde_json::from_str(&text).unwrap();
        let is_of_a_cell = |event: &Event| !matches!(event, Event::RunStarted { .. } | Event::RunFinished { .. });
        whole.journal.entries.extend(entries.into_iter().filter(|entry| is_of_a_cell(&entry.event)));
    }
    whole.push(Event::RunFinished { interrupted: false });
    let mut entries = recorded();
    for (release, ..) in cells.iter().filter(|(release, ..)| *release != "13") {
        entries
            .extend(recorded().into_iter().map(|entry| VerifiedEntry { release: release.parse().unwrap(), ..entry }));
    }
    (judged(&whole), entries)
}

/// GitHub refuses a step's summary of more than 1 MiB as a whole.
#[test]
fn the_summary_and_the_matrix_together_fit_into_a_step() {
    let (matrix, entries) = of(&[("13", QMP, Outcome::Pass)]);
    let standings = compared_with_record(&matrix, &entries);
    let releases: Vec<String> = (100..2100).map(|number| number.to_string()).collect();
    let releases: Vec<&str> = releases.iter().map(String::as_str).collect();
    let unread: Vec<String> = (0..9).map(|number| format!("{number} {}", "no bundle ".repeat(50))).collect();
    let summary = Pipeline::new(&standings, &planned(&releases)).without(unread).summary();
    assert!(summary.len() + markdown::MAX < 1 << 20, "{}", summary.len());
    let listed = summary.lines().filter(|line| line.starts_with("- ✗ ")).count();
    let left_out = format!("- ! {} more are left out here: the reports of the cells have them", 2009 - listed);
    assert!(listed > 100 && summary.contains(&left_out), "{listed}: {summary}");
    assert_eq!(summary.matches(UNREAD).count(), 9, "what turns it red comes first");
    let all = Pipeline::new(&standings, &planned(&["13", "12"])).summary();
    assert!(!all.contains("left out"), "{all}");
}

#[test]
fn a_pipeline_is_red_for_worse_or_missing_cells_or_if_none_was_judged() {
    let (pass, lost, worse) = (Outcome::Pass, error("the line ended"), fail(Component::Qemu, "no reply"));
    for (cells, plan, effect) in [
        (vec![("13", QMP, pass.clone()), ("12", QMP, pass.clone())], vec!["13", "12"], Effect::None),
        // A gap is a warning as long as something was judged.
        (vec![("13", QMP, pass.clone()), ("12", QMP, lost.clone())], vec!["13", "12"], Effect::None),
        (vec![("13", QMP, lost.clone()), ("12", QMP, lost.clone())], vec!["13", "12"], Effect::Unjudged),
        (vec![("13", QMP, lost.clone())], vec!["13"], Effect::Unjudged),
        (vec![("13", QMP, pass.clone())], vec!["13", "12"], Effect::Unjudged),
        (vec![("13", QMP, worse.clone()), ("12", QMP, lost.clone())], vec!["13", "12"], Effect::Worse),
        (vec![("13", QMP, worse.clone())], vec!["13", "12"], Effect::Worse),
        // Cells that were not planned are judged, too.
        (vec![("13", QMP, pass), ("12", QMP, worse)], vec!["13"], Effect::Worse),
        (vec![("13", QMP, lost)], vec![], Effect::Unjudged),
    ] {
        let (matrix, entries) = of(&cells);
        let standings = compared_with_record(&matrix, &entries);
        let pipeline = Pipeline::new(&standings, &planned(&plan));
        assert_eq!(pipeline.effect(), effect, "{cells:?} of {plan:?}: {:?}", pipeline.gaps());
        check_reports_agree(&standings, &pipeline);
    }
}

/// Checks that the run's reports contain a failure or an error exactly if the pipeline is red.
fn check_reports_agree(standings: &Standings<'_>, pipeline: &Pipeline<'_, '_>) {
    let held = standings.clone().held(pipeline.held());
    let files = junit::RunFiles { folder: Path::new("out"), tail: &|_: &str| None };
    let files = junit::render(&held, &catalogue(), files).unwrap();
    let count = |tag: &str| files.iter().map(|(_, text)| text.matches(tag).count()).sum::<usize>();
    let (failures, errors) = (count("<failure"), count("<error"));
    let (are_right, code) = match pipeline.effect() {
        Effect::None => (failures == 0 && errors == 0, 0),
        Effect::Worse => (failures > 0, 1),
        Effect::Unjudged => (failures == 0 && errors > 0, 3),
    };
    assert!(are_right, "{failures} failures and {errors} errors: {:?}, {files:?}", pipeline.effect());
    let results: serde_json::Value = serde_json::from_str(&json::render(&held).unwrap()).unwrap();
    assert_eq!(results["exit-code"], code);
    let codes: Vec<u64> =
        results["changes"].as_array().unwrap().iter().map(|row| row["exit-code"].as_u64().unwrap()).collect();
    assert!(code != 0 || codes.iter().all(|code| *code == 0), "what is tolerated makes no exit code: {codes:?}");
    let report = markdown::render(&held);
    assert!(report.contains(&format!("Exit code {code}: ")), "{report}");
    assert!(held.not_judged().is_empty() || !report.contains("all is as recorded"), "{report}");
}

#[test]
fn an_unrecorded_failure_of_a_needed_capability_is_red() {
    let (matrix, mut entries) = of(&[("13", QMP, fail(Component::Qemu, "no reply"))]);
    for entry in &mut entries {
        entry.capabilities.remove(&Capability::VmmQmp);
    }
    let standings = compared_with_record(&matrix, &entries);
    assert_eq!(standings.effect(), Effect::None, "of a run it is a first record");
    let pipeline = Pipeline::new(&standings, &planned(&["13"]));
    assert_eq!((pipeline.effect(), pipeline.gaps().len()), (Effect::Worse, 0));
    check_reports_agree(&standings, &pipeline);
    let held = standings.clone().held(pipeline.held());
    let first = &held.changes()[0];
    assert_eq!((first.title().as_str(), first.effect), ("new verdict", Effect::Worse));
    let annotations = pipeline.annotations();
    let expected = "::error title=debian%3A13/x86_64/container%3A new verdict::vmm.qmp had no record, is unsupported \
                    (go-3.29); qemu: no reply (smoke::qmp_replies_parse)\n";
    assert_eq!(annotations, expected);
    let [issue] = &pipeline.issues()[..] else { panic!("one issue") };
    assert!(
        issue.body.starts_with("Something that Kata needs fails, and it was never recorded, in run "),
        "{}",
        issue.body
    );
    // An optional capability is reported, but leaves the pipeline green.
    let (matrix, mut entries) = of(&[("13", QMP, Outcome::Pass)]);
    for entry in &mut entries {
        entry.capabilities.remove(&Capability::VmmTdx);
    }
    let standings = compared_with_record(&matrix, &entries);
    let pipeline = Pipeline::new(&standings, &planned(&["13"]));
    assert_eq!((pipeline.effect(), pipeline.issues().len()), (Effect::None, 0));
    check_reports_agree(&standings, &pipeline);
    let annotations = pipeline.annotations();
    let notice = "::notice title=debian%3A13/x86_64/container%3A new verdict::vmm.tdx had no record, is unsupported";
    assert!(annotations.starts_with(notice) && annotations.lines().count() == 1, "{annotations}");
}

#[test]
fn an_unjudged_optional_capability_is_only_a_notice() {
    let lost = || error("the line ended");
    let cells = [("13", TDX, lost()), ("12", TDX, lost())];
    let (matrix, entries) = of(&cells);
    let standings = compared_with_record(&matrix, &entries);
    assert_eq!(standings.effect(), Effect::Unjudged, "of a run it is what could not be judged");
    let pipeline = Pipeline::new(&standings, &planned(&["13", "12"]));
    assert_eq!(pipeline.effect(), Effect::None);
    check_reports_agree(&standings, &pipeline);
    assert!(pipeline.gaps().values().all(Gap::is_optional) && pipeline.gaps().len() == 2, "{:?}", pipeline.gaps());
    let (summary, annotations) = (pipeline.summary(), pipeline.annotations());
    assert!(summary.starts_with("**2 of 2 planned cells were judged.**\n"), "{summary}");
    assert!(
        summary.contains("- – debian:13/x86\\_64/container: not judged, and optional: vmm.tdx was unsupported"),
        "{summary}"
    );
    assert_eq!(
        annotations.lines().filter(|line| line.starts_with("::notice title=debian%3A1")).count(),
        2,
        "{annotations}"
    );
    assert!(
        annotations.contains("not judged%2C and optional::vmm.tdx was") && annotations.lines().count() == 2,
        "{annotations}"
    );
    // A gap in something needed is no note: neither in what the environment may lack, nor in a test that supports no
    // known capability.
    for (test, outcome) in [(QMP, lost()), (VSOCK, lost()), (DAEMON, lost())] {
        let (matrix, entries) = of(&[("13", test, outcome)]);
        let standings = compared_with_record(&matrix, &entries);
        let pipeline = Pipeline::new(&standings, &planned(&["13"]));
        assert_eq!(pipeline.effect(), Effect::Unjudged, "{test}: {:?}", pipeline.gaps());
    }
}

/// If two capabilities are lost, the one that is needed counts.
#[test]
fn a_gap_names_the_needed_capability_first() {
    let lost = run(|id| [TDX, QMP].contains(&id).then(|| error("the line ended")));
    let (matrix, entries) = (judged(&lost), recorded());
    let standings = compared_with_record(&matrix, &entries);
    let pipeline = Pipeline::new(&standings, &planned(&["13"]));
    let [(_, Gap::Unjudged(why))] = &pipeline.gaps().iter().collect::<Vec<_>>()[..] else { panic!("a gap") };
    assert!(why.starts_with("vmm.qmp was supported"), "{why}");
}

#[test]
fn an_unfinished_cell_is_missing_and_a_failed_one_names_its_phase() {
    let (mut matrix, entries) = of(&[("13", QMP, Outcome::Pass), ("12", QMP, Outcome::Pass)]);
    matrix.cells[0].complete = false;
    let message = "no mirror answers".to_owned();
    matrix.cells[1].errors.push(crate::run::CellFailure { phase: Phase::Image, message });
    let standings = compared_with_record(&matrix, &entries);
    let pipeline = Pipeline::new(&standings, &planned(&["13", "12"]));
    let gaps: Vec<_> = pipeline.gaps().iter().map(|(cell, gap)| (cell.release.as_str(), gap.clone())).collect();
    let unjudged = Gap::Unjudged("image: no mirror answers".to_owned());
    assert_eq!(gaps, [("12", unjudged), ("13", Gap::Missing)]);
    check_reports_agree(&standings, &pipeline);
    let summary = pipeline.summary();
    assert!(summary.starts_with("**0 of 2 planned cells were judged.**\n"), "{summary}");
    assert!(
        summary.contains("debian:12/x86\\_64/container: image: no mirror answers; its entry in the record stays"),
        "{summary}"
    );
}

#[test]
fn an_unreadable_bundle_is_red_though_all_planned_cells_are_judged() {
    for (outcome, effect) in [(Outcome::Pass, Effect::Unjudged), (fail(Component::Qemu, "no reply"), Effect::Worse)] {
        let (matrix, entries) = of(&[("13", QMP, outcome)]);
        let standings = compared_with_record(&matrix, &entries);
        let unread = vec!["b.tar.zst: no bundle\n::error::it lies".to_owned()];
        let pipeline = Pipeline::new(&standings, &planned(&["13"])).without(unread);
        assert!(pipeline.gaps().is_empty());
        assert_eq!(pipeline.effect(), effect);
        check_reports_agree(&standings, &pipeline);
        let (summary, annotations) = (pipeline.summary(), pipeline.annotations());
        assert!(summary.contains("- ✗ a bundle was left out in whole or in part: b.tar.zst: no bundle"), "{summary}");
        assert!(
            annotations.contains("::error title=a bundle was left out in whole or in part::b.tar.zst: no bundle"),
            "{annotations}"
        );
        assert!(!annotations.lines().any(|line| line.starts_with("::error::")), "{annotations}");
    }
}

#[test]
fn annotations_are_about_changes_and_gaps_alone() {
    let (matrix, entries) = of(&[("13", QMP, Outcome::Pass)]);
    let standings = compared_with_record(&matrix, &entries);
    assert_eq!(Pipeline::new(&standings, &planned(&["13"])).annotations(), "");
    let cells = [("13", BOOT, fail(Component::Qemu, "no q35")), ("12", QMP, error("the line ended"))];
    let (matrix, entries) = of(&cells);
    let standings = compared_with_record(&matrix, &entries);
    insta::assert_snapshot!(Pipeline::new(&standings, &planned(&["13", "12", "testing"])).annotations());
}

/// A guest that could write a command could hide others, or set what later steps read.
#[test]
fn guest_output_never_becomes_a_workflow_command() {
    let hostile = "x\n::set-output name=a::b\r::add-mask::c % ::stop-commands::d";
    let (matrix, entries) = of(&[("13", QMP, fail(Component::Qemu, &format!("{hostile}{HOSTILE}")))]);
    let standings = compared_with_record(&matrix, &entries);
    let annotations = Pipeline::new(&standings, &planned(&["13"])).annotations();
    assert!(annotations.contains("set-output"), "{annotations}");
    for line in annotations.lines() {
        assert!(line.starts_with("::error title=debian%3A13/x86_64/container%3A new failure::"), "{line}");
    }
    assert!(!annotations.contains("mirror.example"), "{annotations}");
    assert_eq!((property("a:b,c%\n"), data("a:b,c%\r\n")), ("a%3Ab%2Cc%25%0A".to_owned(), "a:b,c%25%0D%0A".to_owned()));
}

#[test]
fn annotations_are_limited_to_the_number_that_github_shows() {
    let releases: Vec<String> = (20..45).map(|number| number.to_string()).collect();
    let cells: Vec<(&str, &str, Outcome)> =
        releases.iter().map(|release| (release.as_str(), QMP, fail(Component::Qemu, "no reply"))).collect();
    let (matrix, entries) = of(&cells);
    let standings = compared_with_record(&matrix, &entries);
    let annotations = Pipeline::new(&standings, &planned(&[])).annotations();
    assert_eq!(annotations.lines().count(), MOST_ANNOTATIONS);
    assert!(annotations.ends_with("::error::16 more of this kind: see the summary\n"), "{annotations}");
}

#[test]
fn each_signature_gives_one_issue_for_all_releases() {
    let no_reply = |guest: &str| fail(Component::Qemu, &format!("no reply of /run/kq/{guest}/qmp"));
    let (matrix, entries) = of(&[("13", QMP, no_reply("7")), ("12", QMP, no_reply("8"))]);
    let standings = compared_with_record(&matrix, &entries);
    let issues = Pipeline::new(&standings, &[]).issues();
    insta::assert_snapshot!(serde_json::to_string_pretty(&issues).unwrap());
    // A recorded failure gives no issue.
    let (matrix, entries) = of(&[("13", QMP, Outcome::Pass)]);
    assert_eq!(Pipeline::new(&compared_with_record(&matrix, &entries), &[]).issues(), []);
    assert_eq!(Pipeline::new(&compared_with_record(&matrix, &[]), &[]).issues(), []);
}

/// Issues that are left out are counted, so that a part is not taken for the whole.
#[test]
fn no_signature_is_left_out_silently() {
    let names: Vec<String> = (0..MOST_ISSUES + 3).map(|number| format!("no {}", "x".repeat(number + 1))).collect();
    let releases: Vec<String> = (0..names.len()).map(|number| format!("r{number}")).collect();
    let failing = |count: usize| -> Vec<(&str, &str, Outcome)> {
        let all = releases.iter().zip(&names).take(count);
        all.map(|(release, name)| (release.as_str(), QMP, fail(Component::Qemu, name))).collect()
    };
    let issues_and_summary = |count: usize| {
        let (matrix, entries) = of(&failing(count));
        let standings = compared_with_record(&matrix, &entries);
        let pipeline = Pipeline::new(&standings, &planned(&[]));
        (pipeline.issues().len(), pipeline.summary())
    };
    let (issues, summary) = issues_and_summary(25);
    assert!(issues == 25 && !summary.contains("issues.json"), "{issues} {summary}");
    let (issues, summary) = issues_and_summary(MOST_ISSUES + 3);
    assert_eq!(issues, MOST_ISSUES);
    assert!(summary.contains("- ! 403 signatures are new: 400 of them are in `issues.json`\n"), "{summary}");
}

/// A mention would notify people named by a guest.
#[test]
fn observed_text_cannot_close_its_code_block() {
    let hostile = "a\n```\n@everybody ````` #1";
    assert_eq!(fenced("a"), "```text\na```\n");
    assert!(fenced(hostile).starts_with("``````text\n") && fenced(hostile).ends_with("``````\n"));
    let (matrix, entries) = of(&[("13", QMP, fail(Component::Qemu, hostile))]);
    let [issue] = &Pipeline::new(&compared_with_record(&matrix, &entries), &[]).issues()[..] else {
        panic!("one issue")
    };
    assert!(!issue.title.contains('\n'), "{}", issue.title);
    let (before, block) = issue.body.split_once("``````text\n").unwrap();
    assert!(!before.contains('@') && block.trim_end().ends_with("``````"), "{}", issue.body);
}
