use super::super::sample::{TEST, at, begins, finished, id, in_error, one_cell, profiles, started};
use super::*;
use reports::journal::{CellId, Event};
use suites::outcome::Outcome;

const CELL: &str = "debian:13/x86_64/container";
const WIDE: Size = Size { columns: 80, rows: 24 };

fn at_columns(state: &RunProgress, columns: usize, seconds: i64) -> Vec<String> {
    live(state, Size { columns, rows: 24 }, at(seconds))
}

#[test]
fn a_cell_has_two_lines_at_any_width() {
    let mut state = one_cell();
    state.saw(&started(CELL, TEST, 1), at(20));
    let narrow = ["debian:13 [###.....] 2/5 1 failed ~6 min", "  filesystem::vir…rename_is_atomic  12 s"];
    assert_eq!(at_columns(&state, 40, 32), narrow);
    let wide = [
        "debian:13  [##########................]  2/5  1 failed  ~6 min left",
        "  filesystem::virtio_fs::rename_is_atomic  go-3.32+rs-4.1  12 s",
    ];
    // The window was made larger, and again.
    assert_eq!(at_columns(&state, 80, 32), wide);
    assert_eq!(at_columns(&state, 200, 32), wide);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut state = RunProgress::default();
    let cells = ["opensuse:tumbleweed/x86_64/container", "opensuse:tumbleweed/x86_64/vm", "debian:13/x86_64/vm"];
    state.expect(cells.iter().map(|name| (id(name), 12_345)).collect());
    state.saw(&begins(&cells, 1240, None), at(0));
    for cell in cells {
        state.saw(&Event::CellStarted { cell: id(cell) }, at(0));
        for number in 0..300 {
            let outcome = if number % 2 == 0 { in_error() } else { Outcome::Pass };
            state.saw(&finished(cell, &format!("t{number}"), profiles(), outcome), at(1));
        }
        state.lost(&id(cell));
    }
    for (cell, test) in
        [(cells[0], TEST), (cells[1], "smoke::a_test_with_a_name_that_is_longer_than_a_narrow_terminal")]
    {
        state.saw(&started(cell, test, 3), at(1));
        state.saw(&started(cell, "another", 1), at(2));
    }
    state.doing(&id(cells[2]), "booting the virtual machine", at(3));
    state.detail(&id(cells[2]), &"測試 ".repeat(100));
    for columns in 40..=200 {
        let lines = at_columns(&state, columns, 100_000);
        assert_eq!(lines.len(), 6);
        for line in lines {
            assert!(width(&line) <= columns, "{columns}: {line:?}");
        }
    }
}

#[test]
fn a_slow_test_is_marked_with_its_seconds() {
    let mut state = one_cell();
    state.saw(&started(CELL, TEST, 2), at(20));
    state.saw(&started(CELL, "another", 1), at(30));
    let second = |seconds: i64| at_columns(&state, 80, seconds).remove(1);
    assert_eq!(second(79), "  filesystem::virtio_fs::rename_is_atomic  go-3.32+rs-4.1  59 s  attempt 2  +1");
    assert_eq!(second(80), "  filesystem::virtio_fs::rename_is_atomic  slow 60 s  attempt 2  +1");
    assert_eq!(second(95), "  filesystem::virtio_fs::rename_is_atomic  slow 75 s  attempt 2  +1");
}

#[test]
fn a_name_that_is_longer_than_the_line_keeps_both_ends() {
    let mut state = one_cell();
    let test = format!("filesystem::virtio_fs::{}_ends", "x".repeat(100));
    state.saw(&started(CELL, &test, 1), at(20));
    let second = |columns: usize| at_columns(&state, columns, 20).remove(1);
    assert_eq!(second(40), "  filesystem::virt…xxxxxxxxxxx_ends  0 s");
    assert_eq!(second(80), format!("  filesystem::virtio_fs::{}…{}_ends  0 s", "x".repeat(13), "x".repeat(31)));
}

#[test]
fn a_lost_machine_is_counted_and_the_next_boot_is_shown() {
    let mut state = one_cell();
    state.saw(&started(CELL, TEST, 1), at(20));
    state.saw(&finished(CELL, TEST, profiles(), in_error()), at(25));
    state.lost(&id(CELL));
    state.doing(&id(CELL), "booting the virtual machine", at(30));
    let lines = [
        "debian:13  [###############...........]  3/5  1 failed  1 error  1 lost  ~4 min left",
        "  booting the virtual machine  3 s",
    ];
    assert_eq!(at_columns(&state, 100, 33), lines);
    // Without room, first the estimate is left out, then the lost machines.
    assert_eq!(at_columns(&state, 40, 33)[0], "debian:13 [####...] 3/5 1 failed 1 error");
    // The cell is given up, and has no lines any more.
    let lost = Event::CellError { cell: id(CELL), phase: reports::journal::Phase::Tests, message: "lost".to_owned() };
    state.saw(&lost, at(40));
    state.saw(&Event::CellFinished { cell: id(CELL) }, at(40));
    assert_eq!(at_columns(&state, 80, 41), Vec::<String>::new());
}

/// Builds cells by number, of which the first `at_work` are active and the last `over` have ended.
fn many(count: usize, at_work: usize, over: usize) -> RunProgress {
    let names: Vec<String> = (0..count).map(|number| format!("a:{number:02}/x86_64/vm")).collect();
    let mut state = RunProgress::default();
    state.saw(&begins(&names.iter().map(String::as_str).collect::<Vec<_>>(), 5, None), at(0));
    let ids: Vec<CellId> = names.iter().map(|name| id(name)).collect();
    for cell in &ids[..at_work] {
        state.saw(&Event::CellStarted { cell: cell.clone() }, at(0));
        state.doing(cell, "installing packages", at(1));
    }
    for cell in &ids[count - over..] {
        state.saw(&Event::CellFinished { cell: cell.clone() }, at(1));
    }
    state
}

#[test]
fn more_cells_than_a_terminal_has_rows_are_counted() {
    let state = many(30, 12, 7);
    let lines = live(&state, Size { columns: 40, rows: 6 }, at(5));
    let expected = [
        "a:00 [....................] 0/5 0 failed",
        "  installing packages  4 s",
        "a:01 [....................] 0/5 0 failed",
        "  installing packages  4 s",
        "10 more at work, 11…, 7 of 30 cells done",
    ];
    assert_eq!(lines, expected);
    for rows in 0..100 {
        let lines = live(&state, Size { columns: 80, rows }, at(5));
        assert!(lines.len() < rows.max(4), "{rows}: {lines:?}");
    }
    assert_eq!(live(&state, Size { columns: 80, rows: 60 }, at(5)).len(), 25);
    assert_eq!(live(&many(3, 2, 0), WIDE, at(5)).last().unwrap(), "1 waiting, 0 of 3 cells done");
}

#[test]
fn finished_and_hidden_runs_have_no_lines() {
    assert_eq!(live(&RunProgress::default(), WIDE, at(0)), Vec::<String>::new());
    let mut state = one_cell();
    state.is_hidden = true;
    assert_eq!((live(&state, WIDE, at(0)), beat(&state, at(0))), (Vec::new(), None));
    state.is_hidden = false;
    state.saw(&Event::RunFinished { interrupted: true }, at(30));
    assert_eq!((live(&state, WIDE, at(30)), beat(&state, at(30))), (Vec::new(), None));
}

#[test]
fn a_visit_shows_no_test_counts() {
    let mut state = RunProgress::default();
    state.saw(&begins(&[CELL], 2, None), at(0));
    state.is_visit = true;
    state.saw(&Event::CellStarted { cell: id(CELL) }, at(0));
    state.doing(&id(CELL), "installing packages", at(1));
    assert_eq!(live(&state, WIDE, at(5)), ["debian:13", "  installing packages  4 s"]);
    assert_eq!(beat(&state, at(31)).as_deref(), Some("debian:13: installing packages, 30 s"));
}

#[test]
fn a_log_gets_the_same_facts_in_one_line() {
    let mut state = one_cell();
    state.saw(&started(CELL, TEST, 1), at(20));
    let expected = "debian:13: 2/5 tests, 1 failed, about 6 min left; filesystem::virtio_fs::rename_is_atomic (go-3.32+rs-4.1), slow 75 s";
    assert_eq!(beat(&state, at(95)).as_deref(), Some(expected));
    let state = many(30, 12, 7);
    let expected =
        "12 cells at work, 11 waiting, 7 of 30 done: 0/150 tests, 0 failed; longest: a:11: installing packages, 29 s";
    assert_eq!(beat(&state, at(30)).as_deref(), Some(expected));
    assert_eq!(beat(&many(3, 0, 1), at(30)).as_deref(), Some("2 waiting, 1 of 3 cells done"));
}
