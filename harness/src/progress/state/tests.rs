use super::super::sample::{TEST, at, begins, fails, finished, id, in_error, one_cell, profiles, started};
use super::*;
use reports::journal::Phase;

const CELL: &str = "debian:13/x86_64/vm";

#[test]
fn failures_are_reported_at_once_and_totals_at_the_end() {
    let doing = |text: &str| vec![News::Doing(text.to_owned())];
    let line = |text: &str| vec![News::Line(text.to_owned())];
    let table = [
        (begins(&[CELL], 2, None), vec![]),
        (Event::CellStarted { cell: id(CELL) }, vec![]),
        (Event::PhaseStarted { cell: id(CELL), phase: Phase::Tests }, doing("debian:13: tests")),
        (started(CELL, "x", 1), vec![]),
        (finished(CELL, "x", profiles(), fails()), line("debian:13/x86_64/vm: fail: x (go-3.32+rs-4.1): no q35")),
        (started(CELL, "x", 2), vec![]),
        (finished(CELL, "x", profiles(), Outcome::Pass), vec![]),
        (
            Event::CellError { cell: id(CELL), phase: Phase::Tests, message: "lost\nlater".to_owned() },
            line("debian:13/x86_64/vm: error (tests): lost"),
        ),
        (Event::CellFinished { cell: id(CELL) }, vec![News::Done("debian:13: 1 fail, 1 pass".to_owned())]),
        (Event::RunFinished { interrupted: false }, vec![]),
    ];
    let mut state = RunProgress::default();
    for (event, news) in table {
        assert_eq!(state.saw(&event, at(0)), news, "{event:?}");
    }
}

#[test]
fn a_failure_counts_until_the_test_passes() {
    let mut state = one_cell();
    let cell = "debian:13/x86_64/container";
    let counts = |state: &RunProgress| state.cells().map(|cell| (cell.done(), cell.failed(), cell.in_error())).next();
    assert_eq!(counts(&state), Some((2, 1, 0)));
    state.saw(&finished(cell, "c", profiles(), in_error()), at(21));
    assert_eq!(counts(&state), Some((3, 1, 1)));
    state.saw(&finished(cell, "b", profiles(), Outcome::Pass), at(22));
    assert_eq!(counts(&state), Some((3, 0, 1)), "an attempt more is no test more");
}

/// A test that is blocked for one profile and not for another ends twice.
#[test]
fn tests_are_counted_by_the_plan_where_it_is_known() {
    let all = profiles();
    let mut state = RunProgress::default();
    state.saw(&begins(&[CELL], 3, None), at(0));
    let [x, y, z] = ["x", "y", "z"].map(|id| id.parse::<TestId>().unwrap());
    let plan: [(&TestId, &[ProfileName]); 3] = [(&x, &all), (&y, &all), (&z, &all[..1])];
    let before: BTreeSet<(ProfileName, TestId)> = [("go-3.32".parse().unwrap(), z.clone())].into();
    state.plan(&id(CELL), &plan, &before);
    let done = |state: &RunProgress| state.cells().map(Cell::done).next();
    assert_eq!(done(&state), Some(1), "it had ended before the run went on");
    let blocked = || Outcome::Blocked { by: "a".parse().unwrap() };
    state.saw(&finished(CELL, "x", all[..1].to_vec(), blocked()), at(1));
    assert_eq!(done(&state), Some(1));
    state.saw(&finished(CELL, "x", all[1..].to_vec(), Outcome::Pass), at(1));
    assert_eq!(done(&state), Some(2));
    state.saw(&finished(CELL, "x", all[1..].to_vec(), Outcome::Pass), at(1));
    assert_eq!(done(&state), Some(2), "again in a fresh machine");
}

#[test]
fn remaining_minutes_are_known_only_for_runs_of_all_tests() {
    let remaining = |filter: Option<&str>, seconds: i64, ended: usize| {
        let mut state = RunProgress::default();
        state.expect([(id(CELL), 10)].into());
        state.saw(&begins(&[CELL, "debian:12/x86_64/vm"], 4, filter), at(0));
        state.saw(&Event::CellStarted { cell: id(CELL) }, at(0));
        for number in 0..ended {
            state.saw(&finished(CELL, &format!("t{number}"), profiles(), Outcome::Pass), at(1));
        }
        state.cells().map(|cell| cell.minutes_left(at(seconds))).collect::<Vec<_>>()
    };
    assert_eq!(remaining(None, 0, 0), [Some(10), None]);
    assert_eq!(remaining(None, 185, 0), [Some(7), None]);
    assert_eq!(remaining(None, 6000, 0), [Some(1), None], "it takes longer than then");
    // An image in the cache took no time.
    assert_eq!(remaining(None, 60, 2), [Some(5), None]);
    assert_eq!(remaining(None, 60, 4), [Some(1), None]);
    assert_eq!(remaining(Some("host::"), 0, 0), [None, None]);
}

#[test]
fn cells_are_named_by_what_differs_between_them() {
    let names = |cells: &[&str]| {
        let mut state = RunProgress::default();
        state.saw(&begins(cells, 1, None), at(0));
        state.cells().map(|cell| cell.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[CELL]), ["debian:13"]);
    assert_eq!(names(&[CELL, "debian:12/x86_64/vm"]), ["debian:13", "debian:12"]);
    assert_eq!(names(&[CELL, "debian:13/x86_64/container"]), ["debian:13 vm", "debian:13 container"]);
}

#[test]
fn repeated_text_is_not_reported_and_foreign_text_is_one_line() {
    let mut state = RunProgress::default();
    state.saw(&begins(&[CELL], 1, None), at(0));
    let expected = vec![News::Doing("debian:13: installing packages".to_owned())];
    assert_eq!(state.doing(&id(CELL), "installing\u{1b}[2J\npackages", at(0)), expected);
    assert_eq!(state.doing(&id(CELL), "installing packages", at(5)), []);
    state.detail(&id(CELL), "Unpacking\r\u{9b}1mqemu");
    assert_eq!(state.cells().map(|cell| cell.detail.as_str()).next(), Some("Unpacking qemu"));
}

#[test]
fn a_visit_reports_errors_but_not_its_end() {
    let mut state = RunProgress::default();
    state.saw(&begins(&[CELL], 2, None), at(0));
    state.is_visit = true;
    let wrong = Event::CellError { cell: id(CELL), phase: Phase::Image, message: "no mirror".to_owned() };
    let expected = vec![News::Line("debian:13/x86_64/vm: error (image): no mirror".to_owned())];
    assert_eq!(state.saw(&wrong, at(1)), expected);
    assert_eq!(state.saw(&Event::CellFinished { cell: id(CELL) }, at(1)), []);
    assert_eq!(state.cells().map(|cell| cell.stage).next(), Some(Stage::Over));
}

#[test]
fn counts_start_over_for_the_candidates_after_the_base_run() {
    let mut state = one_cell();
    let cell = "debian:13/x86_64/container";
    state.saw(&begins(&[cell], 7, None), at(60));
    let actual = state.cells().map(|cell| (cell.stage, cell.done(), cell.planned, cell.failed())).collect::<Vec<_>>();
    assert_eq!(actual, [(Stage::Waiting, 0, 7, 0)]);
    state.saw(&started(cell, TEST, 1), at(61));
    assert_eq!(state.cells().count(), 1);
}
