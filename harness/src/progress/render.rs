//! Layout of the progress display: two lines for each active cell, or one line for the whole run if lines cannot be
//! redrawn.
//!
//! The functions are pure: the lines depend only on the state of the run, the terminal's size and the time.
//!
//! ```text
//! debian:13  [##########................]  96/240  2 failed  ~12 min left
//!   filesystem::virtio_fs::rename_is_atomic  go-3.32+rs-4.1  slow 75 s  +2
//! ```

use super::fit::{filled, shortened, width};
use super::state::{Cell, RunProgress, Shown, Stage, seconds};
use jiff::Timestamp;
use model::words::count;

/// Seconds after which a test counts as slow.
const SLOW: u64 = 60;
/// Minimum width of a shortened name.
const NAME: usize = 9;
/// Minimum and maximum width of a bar, with its brackets.
const BAR: (usize, usize) = (6, 28);
/// Width below which everything is set closer together.
const NARROW: usize = 60;
/// Number of terminal rows that are left free for lines printed above.
const LEFT_FREE: usize = 1;

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Returns the live lines: two for each active cell as far as there is room, and one for all the others.
pub(super) fn live(state: &RunProgress, size: Size, now: Timestamp) -> Vec<String> {
    let at_work: Vec<&Cell> = state.cells().filter(|cell| cell.stage == Stage::AtWork).collect();
    let count = |stage: Stage| state.cells().filter(|cell| cell.stage == stage).count();
    let (waiting, over) = (count(Stage::Waiting), count(Stage::Over));
    if state.is_hidden || (at_work.is_empty() && waiting == 0) {
        return Vec::new();
    }
    let room = size.rows.saturating_sub(LEFT_FREE).max(3);
    let has_others = waiting + over > 0 || at_work.len() * 2 > room;
    let fits = (room - usize::from(has_others)) / 2;
    let shown = at_work.get(..fits).unwrap_or(&at_work);
    let longest = shown.iter().map(|cell| width(&cell.name)).max().unwrap_or(0);
    let mut lines: Vec<String> = Vec::new();
    for cell in shown {
        lines.push(match state.is_visit {
            true => shortened(&cell.name, size.columns),
            false => head(cell, longest, size.columns, now),
        });
        lines.push(below(cell, size.columns, now));
    }
    if has_others {
        let more = at_work.len() - shown.len();
        let all = at_work.len() + waiting + over;
        let words = [(more, "more at work"), (waiting, "waiting")].into_iter().filter(|(count, _)| *count > 0);
        let mut words: Vec<String> = words.map(|(count, what)| format!("{count} {what}")).collect();
        words.push(format!("{over} of {all} cells done"));
        lines.push(shortened(&words.join(", "), size.columns));
    }
    lines
}

/// Returns a cell's first line: name, bar and progress. If there is no room, the least informative parts are left out
/// first.
fn head(cell: &Cell, longest: usize, columns: usize, now: Timestamp) -> String {
    let gap = if columns < NARROW { " " } else { "  " };
    let (least, most) = BAR;
    let beside = NAME + least + 2 * gap.len();
    let forms: Vec<String> = facts(cell, now).iter().map(|facts| facts.join(gap)).collect();
    let fits = forms.iter().find(|facts| beside + width(facts) <= columns);
    let Some(facts) = fits.or(forms.last()) else { return String::new() };
    let room = columns.saturating_sub(width(facts) + gap.len());
    let name = longest.min(room.saturating_sub(gap.len() + least).max(NAME.min(room)));
    let bar = most.min(room.saturating_sub(name + gap.len()));
    let line = match bar >= least {
        true => format!("{}{gap}{}{gap}{facts}", filled(&cell.name, name), progress_bar(cell, bar)),
        false => format!("{}{gap}{facts}", filled(&cell.name, longest.min(room))),
    };
    shortened(&line, columns)
}

/// Returns the progress of a cell as text, in several forms, the longest first.
fn facts(cell: &Cell, now: Timestamp) -> Vec<Vec<String>> {
    let tests = format!("{}/{}", cell.done(), cell.planned);
    let failed = format!("{} failed", cell.failed());
    let mut all = vec![tests.clone(), failed.clone()];
    match cell.in_error() {
        0 => {}
        errors => all.push(count(errors, "error")),
    }
    let certain = all.clone();
    if cell.lost > 0 {
        all.push(format!("{} lost", cell.lost));
    }
    let with = |more: String| [all.clone(), vec![more]].concat();
    let minutes = cell.minutes_left(now);
    let forms = minutes.map(|minutes| [with(format!("~{minutes} min left")), with(format!("~{minutes} min"))]);
    forms.into_iter().flatten().chain([all, certain, vec![tests, failed]]).collect()
}

/// Draws a bar in `columns` columns.
fn progress_bar(cell: &Cell, columns: usize) -> String {
    let inner = columns.saturating_sub(2) as u64;
    let full = (cell.done() * inner).checked_div(cell.planned).unwrap_or(0).min(inner);
    let of = |mark: &str, count: u64| mark.repeat(usize::try_from(count).unwrap_or(0));
    format!("[{}{}]", of("#", full), of(".", inner - full))
}

/// Returns a cell's second line: the test that has run longest, or else its current work.
fn below(cell: &Cell, columns: usize, now: Timestamp) -> String {
    let (what, profiles, tail) = match (cell.test(now), &cell.doing) {
        (Some(shown), _) => (shown.test.to_owned(), shown.profiles.clone(), tail(&shown)),
        (None, Some((doing, since))) => (in_words(cell, doing), String::new(), format!("{} s", seconds(*since, now))),
        (None, None) => return shortened("  starting", columns),
    };
    let room = columns.saturating_sub(width(&tail) + 4);
    let whole = format!("{what}  {profiles}");
    let what = if !profiles.is_empty() && width(&whole) <= room { whole } else { shortened(&what, room) };
    shortened(&format!("  {what}  {tail}"), columns)
}

/// Describes how long a test has run, with its attempt and the number of other tests.
fn tail(shown: &Shown<'_>) -> String {
    let Shown { attempt, seconds, others, .. } = shown;
    let mut words = if *seconds >= SLOW { format!("slow {seconds} s") } else { format!("{seconds} s") };
    if *attempt > 1 {
        words.push_str(&format!("  attempt {attempt}"));
    }
    if *others > 0 {
        words.push_str(&format!("  +{others}"));
    }
    words
}

fn in_words(cell: &Cell, doing: &str) -> String {
    if cell.detail.is_empty() { doing.to_owned() } else { format!("{doing}: {}", cell.detail) }
}

/// Returns one line for the whole run, if lines cannot be redrawn; `None` if no cell is active or waiting.
pub(super) fn beat(state: &RunProgress, now: Timestamp) -> Option<String> {
    let at_work: Vec<&Cell> = state.cells().filter(|cell| cell.stage == Stage::AtWork).collect();
    let in_stage = |stage: Stage| state.cells().filter(|cell| cell.stage == stage).count();
    let (waiting, over) = (in_stage(Stage::Waiting), in_stage(Stage::Over));
    if state.is_hidden || (at_work.is_empty() && waiting == 0) {
        return None;
    }
    let all = state.cells().count();
    let longest = at_work.iter().max_by_key(|cell| (cell.test(now).map(|shown| shown.seconds), since(cell, now)));
    let Some(longest) = longest else { return Some(format!("{waiting} waiting, {over} of {all} cells done")) };
    if state.is_visit {
        return Some(format!("{}: {}", longest.name, activity(longest, now)));
    }
    let sum = |of: &dyn Fn(&Cell) -> u64| state.cells().map(of).sum::<u64>();
    let (done, planned) = (sum(&Cell::done), sum(&|cell: &Cell| cell.planned));
    let failed = sum(&|cell: &Cell| cell.failed() as u64);
    let mut facts = vec![format!("{done}/{planned} tests"), format!("{failed} failed")];
    match sum(&|cell: &Cell| cell.in_error() as u64) {
        0 => {}
        count => facts.push(format!("{count} in error")),
    }
    match sum(&|cell: &Cell| u64::from(cell.lost)) {
        0 => {}
        lost => facts.push(format!("{} lost", count(lost, "machine"))),
    }
    // Cells run in parallel, so the longest one counts.
    if let Some(minutes) = at_work.iter().filter_map(|cell| cell.minutes_left(now)).max() {
        facts.push(format!("about {minutes} min left"));
    }
    let facts = facts.join(", ");
    let doing = activity(longest, now);
    Some(match (at_work.len(), all) {
        (_, 1) => format!("{}: {facts}; {doing}", longest.name),
        (busy, _) => {
            let cells = format!("{} at work, {waiting} waiting, {over} of {all} done", count(busy, "cell"));
            format!("{cells}: {facts}; longest: {}: {doing}", longest.name)
        }
    })
}

/// Returns for how many seconds a cell has been doing its current work.
fn since(cell: &Cell, now: Timestamp) -> u64 {
    cell.doing.as_ref().map_or(0, |(_, since)| seconds(*since, now))
}

/// Describes a cell's current work, for a log.
fn activity(cell: &Cell, now: Timestamp) -> String {
    match (cell.test(now), &cell.doing) {
        (Some(shown), _) => format!("{} ({}), {}", shown.test, shown.profiles, tail(&shown)),
        (None, Some((doing, since))) => format!("{}, {} s", in_words(cell, doing), seconds(*since, now)),
        (None, None) => "starting".to_owned(),
    }
}

#[cfg(test)]
mod tests;
