//! What people see while cells run: two lines for each on a terminal, and elsewhere a line from time to time.
//!
//! What is known of a run is in `state`, made of the journal's events; how that looks is in `render`, which is pure. Here is
//! when it is shown: on a terminal four times a second, in the width that it has then; elsewhere every 30 s.
//! A failure is a line of its own, at once, wherever it is told.

mod fit;
mod render;
#[cfg(test)]
mod sample;
mod state;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use model::sync::locked;
use render::Size;
use reports::journal::{CellId, Event};
use state::{News, RunProgress};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::{Duration, Instant};

/// Bytes of one message at most.
const MAX_TOLD: usize = 64 << 10;
/// How often the lines of a terminal are drawn.
const DRAWN: Duration = Duration::from_millis(250);
/// How often a line is written where nothing can be drawn over.
const BEAT: Duration = Duration::from_secs(30);
/// What a terminal that does not know its size is taken to have.
const UNKNOWN: Size = Size { columns: 80, rows: 24 };

/// Where progress goes: live lines on a terminal, plain lines elsewhere; always standard error.
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
    /// Live if standard error is a terminal that is not `TERM=dumb`; the lines have no colour.
    pub fn new() -> Progress {
        let live = std::io::stderr().is_terminal() && !is_dumb();
        let lines = live.then(|| {
            let lines = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            lines.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            // Until there is something to be drawn.
            lines.finish_and_clear();
            lines
        });
        Progress(Arc::new(Shared { state: Mutex::default(), lines, began: Instant::now(), ticks: Once::new() }))
    }

    /// The same for a run that has a visit in the place of its tests: nothing is said of these.
    pub fn of_a_visit() -> Progress {
        let progress = Progress::new();
        locked(&progress.0.state).is_visit = true;
        progress
    }

    /// The lines of a cell, which are shown once a run with it has started.
    pub fn cell(&self, cell: &CellId) -> CellLine {
        CellLine { progress: self.clone(), cell: cell.clone() }
    }

    /// How many minutes cells took in earlier runs, for runs that begin from now on.
    pub fn expect(&self, minutes: BTreeMap<CellId, u64>) {
        locked(&self.0.state).expect(minutes);
    }

    /// Something stands in the journal, or is about to.
    pub fn saw(&self, event: &Event, at: Timestamp) {
        let news = locked(&self.0.state).saw(event, at);
        self.tell(news);
    }

    /// Leaves the terminal to something else, or takes it back.
    pub fn hide(&self, is_hidden: bool) {
        locked(&self.0.state).is_hidden = is_hidden;
        self.0.draw();
    }

    /// A line that stays, above the live ones.
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
    /// Draws what is known now.
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

    /// Writes a line with the time since the beginning.
    fn log(&self, text: &str) {
        tell(format_args!("[{:>5.1}s] {text}", self.began.elapsed().as_secs_f64()));
    }
}

/// Shows what is known, again and again, for as long as anybody has it.
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
    // Without it what cells begin and how they end is told all the same.
    drop(std::thread::Builder::new().name("progress".to_owned()).spawn(show));
}

/// The size of the terminal that standard error is.
fn size() -> Size {
    let Ok(size) = rustix::termios::tcgetwinsize(std::io::stderr()) else { return UNKNOWN };
    let or = |given: u16, unknown: usize| if given == 0 { unknown } else { usize::from(given) };
    Size { columns: or(size.ws_col, UNKNOWN.columns), rows: or(size.ws_row, UNKNOWN.rows) }
}

/// Whether the terminal, if there is one, only takes plain lines.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes a line to standard error.
///
/// That nobody reads it any more is no error, because the run must still come to an orderly end.
pub fn tell(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", without_controls(&text.to_string()));
}

/// Text without anything that acts on a terminal: some of it comes from programs, guests and files.
pub fn without_controls(text: &str) -> String {
    reports::redact::without_controls(text, MAX_TOLD)
}

/// Standard error, for code that writes there by itself.
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
    /// The cell is now doing this; its clock restarts.
    pub fn doing(&self, what: &str) {
        let news = locked(&self.progress.0.state).doing(&self.cell, what, Timestamp::now());
        self.progress.tell(news);
    }

    /// Something small changed; off a terminal nothing is printed.
    pub fn detail(&self, what: &str) {
        locked(&self.progress.0.state).detail(&self.cell, what);
    }

    /// The cell waits for its turn.
    pub fn waits(&self) {
        locked(&self.progress.0.state).waits(&self.cell);
    }

    /// The cell has lost its machine, and goes on in a fresh one.
    pub fn lost(&self) {
        locked(&self.progress.0.state).lost(&self.cell);
    }

    /// The tests of the cell, each with its profiles, and those that had ended before, by profile.
    pub fn plan(&self, tests: &[(&str, &[String])], before: &BTreeSet<(String, String)>) {
        locked(&self.progress.0.state).plan(&self.cell, tests, before);
    }

    /// The cell had come to its end before the run went on.
    pub fn was_over(&self) {
        self.progress.saw(&Event::CellFinished { cell: self.cell.clone() }, Timestamp::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_told() {
        assert_eq!(without_controls("a\u{1b}]0;title\u{7}b\u{1b}[2Jc\u{8}\u{9b}1m\u{202e}d\te\n"), "abcd\te\n");
    }
}
