//! What people see while cells run: one line a cell, with what it is doing and since when.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Bytes of one message at most.
const MAX_TOLD: usize = 64 << 10;

/// Where progress goes: live lines on a terminal, plain lines elsewhere; always standard error.
#[derive(Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
    began: Instant,
}

/// The line of one cell.
#[derive(Clone)]
pub struct CellLine {
    bar: Option<ProgressBar>,
    name: String,
    began: Instant,
}

impl Progress {
    /// Live if standard error is a terminal that is not `TERM=dumb`; the lines have no colour.
    pub fn new() -> Progress {
        let live = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Progress { bars: live.then(MultiProgress::new), began: Instant::now() }
    }

    /// A new line, for the cell of that name.
    pub fn cell(&self, name: &str) -> CellLine {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("{spinner} {prefix:28} {elapsed:>4} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        CellLine { bar, name: name.to_owned(), began: self.began }
    }

    /// A line that stays, above the live ones.
    pub fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(without_controls(text))),
            None => tell(format_args!("{text}")),
        }
    }
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
    /// The cell is now doing this; the clock of the line restarts.
    pub fn doing(&self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(without_controls(what));
            }
            None => tell(format_args!("[{:>5.1}s] {}: {what}", self.began.elapsed().as_secs_f64(), self.name)),
        }
    }

    /// Something small changed; off a terminal nothing is printed.
    pub fn detail(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(without_controls(what));
        }
    }

    /// The cell is done; its line stays.
    pub fn done(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.finish_with_message(without_controls(what)),
            None => tell(format_args!("[{:>5.1}s] {}: {what}", self.began.elapsed().as_secs_f64(), self.name)),
        }
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
