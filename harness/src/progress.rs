//! The progress display: two lines for each cell on a terminal, and elsewhere a line from time to time.
//!
//! The module `state` derives the state of a run from the journal's events; `render`, which is pure, lays it out. This
//! module decides when to show it: on a terminal four times a second, in the terminal's current width; elsewhere every
//! 30 s. A failure is printed at once as a separate line, on a terminal or not.

mod fit;
mod render;
#[cfg(test)]
mod sample;
mod state;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use model::profile::ProfileName;
use model::sync::locked;
use model::test_id::TestId;
use render::Size;
use reports::journal::{CellId, Event};
use state::{News, RunProgress};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::{Duration, Instant};

/// Maximum length of one message in bytes.
const MAX_TOLD: usize = 64 << 10;
/// Interval at which the lines on a terminal are drawn.
const DRAWN: Duration = Duration::from_millis(250);
/// Interval at which a line is written if lines cannot be redrawn.
const BEAT: Duration = Duration::from_secs(30);
/// The size of a terminal that does not know its size.
const UNKNOWN: Size = Size { columns: 80, rows: 24 };

/// The progress display: live lines on a terminal, plain lines elsewhere; always on standard error.
#[derive(Clone)]
pub struct Progress(Arc<Shared>);

struct Shared {
    state: Mutex<RunProgress>,
    /// The live lines, as one text.
    lines: Option<ProgressBar>,
    began: Instant,
    ticks: Once,
}

/// The lines of one cell.
#[derive(Clone)]
pub struct CellLine {
    progress: Progress,
    cell: CellId,
}

impl Progress {
    /// Makes a display, which is live if standard error is a terminal that is not `TERM=dumb`; the lines have no
    /// colour.
    pub fn new() -> Progress {
        let live = std::io::stderr().is_terminal() && !is_dumb();
        let lines = live.then(|| {
            let lines = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            lines.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            // Nothing is drawn until there is something to show.
            lines.finish_and_clear();
            lines
        });
        Progress(Arc::new(Shared { state: Mutex::default(), lines, began: Instant::now(), ticks: Once::new() }))
    }

    /// Makes a display for a run with a visit instead of tests; it does not report tests.
    pub fn of_a_visit() -> Progress {
        let progress = Progress::new();
        locked(&progress.0.state).is_visit = true;
        progress
    }

    /// Returns the lines of a cell, which are shown once a run with it has started.
    pub fn cell(&self, cell: &CellId) -> CellLine {
        CellLine { progress: self.clone(), cell: cell.clone() }
    }

    /// Sets how many minutes cells took in earlier runs, for runs that start from now on.
    pub fn expect(&self, minutes: BTreeMap<CellId, u64>) {
        locked(&self.0.state).expect(minutes);
    }

    /// Shows an event that is in the journal, or about to be written.
    pub fn saw(&self, event: &Event, at: Timestamp) {
        let news = locked(&self.0.state).saw(event, at);
        self.tell(news);
    }

    /// Leaves the terminal to another program, or takes it back.
    pub fn hide(&self, is_hidden: bool) {
        locked(&self.0.state).is_hidden = is_hidden;
        self.0.draw();
    }

    /// Prints a line that stays, above the live lines.
    pub fn say(&self, text: &str) {
        match &self.0.lines {
            Some(lines) => lines.println(without_controls(text)),
            None => tell(format_args!("{text}")),
        }
    }

    fn tell(&self, news: Vec<News>) {
        self.0.ticks.call_once(|| tick(Arc::downgrade(&self.0)));
        for one in news {
            match one {
                News::Line(text) => self.say(&text),
                News::Doing(_) if self.0.lines.is_some() => {}
                News::Done(text) if self.0.lines.is_some() => self.say(&text),
                News::Doing(text) | News::Done(text) => self.0.log(&text),
            }
        }
        self.0.draw();
    }
}

impl Shared {
    /// Draws the current state.
    fn draw(&self) {
        let Some(drawn) = &self.lines else { return };
        let lines = render::live(&locked(&self.state), size(), Timestamp::now());
        match (lines.is_empty(), drawn.is_finished()) {
            (true, true) => {}
            (true, false) => drawn.finish_and_clear(),
            (false, is_finished) => {
                if is_finished {
                    drawn.reset();
                }
                drawn.set_message(lines.join("\n"));
            }
        }
    }

    /// Writes a line with the time since the start.
    fn log(&self, text: &str) {
        tell(format_args!("[{:>5.1}s] {text}", self.began.elapsed().as_secs_f64()));
    }
}

/// Draws the state periodically, for as long as the value is shared.
fn tick(shown: Weak<Shared>) {
    let show = move || {
        let mut last = Instant::now();
        loop {
            std::thread::sleep(DRAWN);
            let Some(shared) = shown.upgrade() else { return };
            if shared.lines.is_some() {
                shared.draw();
            } else if last.elapsed() >= BEAT {
                last = Instant::now();
                let beat = render::beat(&locked(&shared.state), Timestamp::now());
                if let Some(text) = beat {
                    shared.log(&text);
                }
            }
        }
    };
    // Without this thread, starts and ends of cells' work are still reported.
    drop(std::thread::Builder::new().name("progress".to_owned()).spawn(show));
}

/// Returns the size of the terminal on standard error.
fn size() -> Size {
    let Ok(size) = rustix::termios::tcgetwinsize(std::io::stderr()) else { return UNKNOWN };
    let or = |reported: u16, unknown: usize| if reported == 0 { unknown } else { usize::from(reported) };
    Size { columns: or(size.ws_col, UNKNOWN.columns), rows: or(size.ws_row, UNKNOWN.rows) }
}

/// Checks whether the terminal, if there is one, only supports plain lines.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes a line to standard error.
///
/// A closed standard error is not an error, because the run must still come to an orderly end.
pub fn tell(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", without_controls(&text.to_string()));
}

/// Removes everything that acts on a terminal from a text, parts of which may come from programs, guests and files.
pub fn without_controls(text: &str) -> String {
    reports::redact::without_controls(text, MAX_TOLD)
}

/// Standard error without control characters, for code that writes there by itself.
pub struct Printable;

impl std::io::Write for Printable {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().write_all(without_controls(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

impl CellLine {
    /// Sets the cell's current work; its clock restarts.
    pub fn doing(&self, what: &str) {
        let news = locked(&self.progress.0.state).doing(&self.cell, what, Timestamp::now());
        self.progress.tell(news);
    }

    /// Sets a detail of the cell's work; it is printed only on a terminal.
    pub fn detail(&self, what: &str) {
        locked(&self.progress.0.state).detail(&self.cell, what);
    }

    /// Marks the cell as waiting for its turn.
    pub fn waits(&self) {
        locked(&self.progress.0.state).waits(&self.cell);
    }

    /// Reports that the cell has lost its machine, and goes on in a fresh one.
    pub fn lost(&self) {
        locked(&self.progress.0.state).lost(&self.cell);
    }

    /// Sets the cell's tests, each with its profiles, and those that had ended before, by profile.
    pub fn plan(&self, tests: &[(&TestId, &[ProfileName])], before: &BTreeSet<(ProfileName, TestId)>) {
        locked(&self.progress.0.state).plan(&self.cell, tests, before);
    }

    /// Marks the cell as finished before the run was resumed.
    pub fn mark_finished(&self) {
        self.progress.saw(&Event::CellFinished { cell: self.cell.clone() }, Timestamp::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_removed() {
        assert_eq!(without_controls("a\u{1b}]0;title\u{7}b\u{1b}[2Jc\u{8}\u{9b}1m\u{202e}d\te\n"), "abcd\te\n");
    }
}
