//! Output of a run on a terminal, or in a log: the changes, the answers, the matrix, the causes.

use crate::matrix::Matrix;
use crate::redact::one_line;
use crate::standing::{CellStanding, Change, Effect, Standings};
use crate::verdict::Judgement;
use crate::views::marks::{IN_A_LINE, Marks};
use crate::views::wording::{self, Labels};
use crate::views::{causes, overview};
use model::verified::{Basis, Verdict};
use std::collections::BTreeSet;
use suites::capability::Capability;

/// Maximum size of a cause, in bytes.
const MAX_CAUSE: usize = 400;
/// Maximum of causes of one cell; the others are counted.
const MAX_CAUSES: usize = 12;
/// Maximum of changes; the others are counted.
const MAX_CHANGES: usize = 20;
/// Suffix of a mark that was shown only under emulation.
const EMULATED: &str = "/e";
/// Suffix of a mark with a flaky test.
const FLAKY: &str = "~";
/// The narrowest supported width, in columns.
const MIN_WIDTH: usize = 40;

/// Renders the matrix for a terminal of `width` columns; with `colour`, in ANSI colours.
///
/// The words make sense without the colours.
/// Tables wider than the terminal are continued below.
pub fn terminal(standings: &Standings<'_>, width: usize, colour: bool) -> String {
    let matrix = standings.matrix;
    let mut out = Out { text: String::new(), width: width.max(MIN_WIDTH), colour, used: BTreeSet::new() };
    for caveat in wording::caveats(standings) {
        out.wrapped(Colour::Yellow, "note: ", &caveat);
    }
    out.changes(standings);
    out.answers(standings);
    for profile in &matrix.profiles {
        let title = format!("{} (Kata {}) on {}", profile.name, profile.range, wording::common(matrix));
        out.wrapped(Colour::Bold, "", &title);
        out.table(matrix, &profile.name);
        out.text.push('\n');
    }
    out.legend();
    if let Some(words) = wording::not_chosen(&matrix.cells) {
        out.wrapped(Colour::Dim, "", &words);
    }
    let labels = Labels::new(matrix);
    for cell in &standings.cells {
        out.causes(&labels.of(cell.report), cell);
    }
    out.text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Plain,
    Bold,
    Green,
    Red,
    Yellow,
    Dim,
}

struct Out {
    text: String,
    width: usize,
    colour: bool,
    /// The marks that the legend explains.
    used: BTreeSet<&'static str>,
}

impl Out {
    fn changes(&mut self, standings: &Standings<'_>) {
        let changes = standings.changes();
        let labels = Labels::new(standings.matrix);
        self.line(Colour::Bold, &format!("Changes against {}", wording::compared_with(standings)));
        if changes.is_empty() {
            self.wrapped(Colour::Plain, "  ", &wording::no_changes(standings));
        }
        for row in changes.iter().take(MAX_CHANGES) {
            let (mark, colour) = match (row.effect, row.change) {
                (Effect::Worse, _) => ("  NO ", Colour::Red),
                (Effect::Unjudged, _) => ("  ?  ", Colour::Yellow),
                (Effect::None, Change::Fixed) => ("  ok ", Colour::Green),
                (Effect::None, _) => ("  -  ", Colour::Plain),
            };
            let mut text = format!("{}: {} [{}]", labels.of_id(row.cell), row.words(), row.profiles.join(", "));
            for why in &row.why {
                text.push_str(&format!("; {}", one_line(why, MAX_CAUSE)));
            }
            let packages = row.packages();
            if !packages.is_empty() {
                text.push_str(&format!("; {packages}"));
            }
            self.wrapped(colour, mark, &text);
        }
        if changes.len() > MAX_CHANGES {
            self.line(Colour::Plain, &format!("     and {} more, in the reports", changes.len() - MAX_CHANGES));
        }
        if !changes.is_empty() {
            self.wrapped(Colour::Plain, "  ", &wording::exit_code(standings));
        }
        self.text.push('\n');
    }

    fn answers(&mut self, standings: &Standings<'_>) {
        let labels = Labels::new(standings.matrix);
        self.line(Colour::Bold, "Can Kata run here?");
        for release in standings.releases() {
            for (profiles, words) in wording::answers(standings, release) {
                let text = format!("{}, {}: {words}", labels.of_release(release), profiles.join(", "));
                self.wrapped(Colour::Plain, "  ", &text);
            }
        }
        self.text.push('\n');
    }

    fn table(&mut self, matrix: &Matrix, profile: &str) {
        let (main, more) = overview::columns(matrix, profile);
        if main.is_empty() && more.is_empty() {
            self.line(Colour::Plain, "  nothing was tested");
        }
        self.columns(matrix, profile, &main);
        self.columns(matrix, profile, &more);
    }

    fn columns(&mut self, matrix: &Matrix, profile: &str, columns: &[Capability]) {
        let labels = Labels::new(matrix);
        let rows: Vec<String> = matrix.cells.iter().map(|c| labels.of(c)).collect();
        let first = rows.iter().map(|r| r.chars().count()).max().unwrap_or(0);
        let cells: Vec<Vec<(String, Colour)>> = matrix
            .cells
            .iter()
            .map(|cell| columns.iter().map(|c| self.mark(cell.judgement(profile, *c))).collect())
            .collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(at, c)| {
                let marks = cells.iter().filter_map(|row| row.get(at)).map(|(mark, _)| mark.len());
                marks.chain([c.short().len()]).max().unwrap_or(0)
            })
            .collect();

        let mut from = 0;
        while from < columns.len() {
            let mut to = from;
            let mut used = 2 + first;
            while let Some(w) = widths.get(to)
                && (to == from || used + 2 + w <= self.width)
            {
                used += 2 + w;
                to += 1;
            }
            let heads = columns[from..to].iter().zip(&widths[from..to]);
            let head: String = heads.map(|(c, w)| format!("  {:w$}", c.short(), w = *w)).collect();
            self.line(Colour::Dim, format!("  {:first$}{head}", "").trim_end());
            for (row, marks) in rows.iter().zip(&cells) {
                self.text.push_str(&format!("  {row:first$}"));
                for ((mark, colour), w) in marks[from..to].iter().zip(&widths[from..to]) {
                    let padding = " ".repeat(w.saturating_sub(mark.len()));
                    let mark = self.paint(*colour, mark);
                    self.text.push_str(&format!("  {mark}{padding}"));
                }
                let end = self.text.trim_end_matches(' ').len();
                self.text.truncate(end);
                self.text.push('\n');
            }
            from = to;
        }
    }

    fn mark(&mut self, judgement: Option<&Judgement>) -> (String, Colour) {
        let Some(judgement) = judgement else { return (String::new(), Colour::Plain) };
        let colour = match judgement.verdict {
            Verdict::Supported => Colour::Green,
            Verdict::Partial | Verdict::Inconclusive => Colour::Yellow,
            Verdict::Offered => Colour::Plain,
            Verdict::Unsupported => Colour::Red,
            Verdict::NotApplicable | Verdict::Untested => Colour::Dim,
        };
        let short = Marks::of(judgement.verdict).short;
        self.used.insert(short);
        let mut mark = short.to_owned();
        if judgement.basis == Some(Basis::Emulated) && wording::is_shown_on_a_basis(judgement.verdict) {
            self.used.insert(EMULATED);
            mark.push_str(EMULATED);
        }
        if !judgement.flaky.is_empty() {
            self.used.insert(FLAKY);
            mark.push_str(FLAKY);
        }
        (mark, colour)
    }

    fn legend(&mut self) {
        let verdicts = IN_A_LINE.map(|verdict| {
            let Marks { short, brief, .. } = Marks::of(verdict);
            (short, brief)
        });
        let more = [(EMULATED, "emulated, not shown on hardware virtualization"), (FLAKY, "flaky")];
        let known: Vec<String> = verdicts
            .iter()
            .chain(&more)
            .filter(|(mark, _)| self.used.contains(mark))
            .map(|(mark, words)| format!("{mark} {words}"))
            .collect();
        if !known.is_empty() {
            self.wrapped(Colour::Dim, "", &known.join(", "));
        }
    }

    fn causes(&mut self, label: &str, standing: &CellStanding<'_>) {
        let (cell, explanations) = (standing.report, causes::explanations(standing));
        let flaky = causes::flaky(cell);
        if explanations.is_empty() && flaky.is_empty() && cell.errors.is_empty() {
            return;
        }
        self.text.push('\n');
        self.line(Colour::Bold, label);
        for failure in &cell.errors {
            let text = format!("the cell could not go on ({}): {}", failure.phase, failure.message);
            self.wrapped(Colour::Yellow, "  ?  ", &text);
        }
        for why in explanations.iter().take(MAX_CAUSES) {
            let place = format!("[{}]", why.place());
            let text = one_line(&why.text, MAX_CAUSE);
            match why.blame {
                Some(blame) => {
                    let text = format!("{}: {text} ({}) {place}", blame.component, blame.test);
                    self.wrapped(Colour::Red, "  NO ", &text);
                }
                None => self.wrapped(Colour::Plain, "  -  ", &format!("{text} {place}")),
            }
        }
        if explanations.len() > MAX_CAUSES {
            self.line(Colour::Plain, &format!("     and {} more, in the reports", explanations.len() - MAX_CAUSES));
        }
        for test in flaky {
            let text = format!("{} passed {} of {} times", test.test, test.passed, test.attempts);
            self.wrapped(Colour::Yellow, "  ~  ", &text);
        }
    }

    /// Writes `mark`, then `text` wrapped at words and indented by the width of the mark.
    fn wrapped(&mut self, colour: Colour, mark: &str, text: &str) {
        let indent = mark.chars().count();
        let room = self.width.saturating_sub(indent).max(20);
        let mut lines: Vec<String> = Vec::new();
        for word in one_line(text, 4 * MAX_CAUSE).split(' ') {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        for (at, line) in lines.iter().enumerate() {
            match (at, colour) {
                (0, Colour::Dim | Colour::Bold) => self.line(colour, line),
                (0, _) => {
                    let mark = self.paint(colour, mark);
                    self.text.push_str(&format!("{mark}{line}\n"));
                }
                (_, Colour::Dim | Colour::Bold) => self.line(colour, &format!("{:indent$}{line}", "")),
                _ => self.text.push_str(&format!("{:indent$}{line}\n", "")),
            }
        }
    }

    fn line(&mut self, colour: Colour, text: &str) {
        let text = self.paint(colour, text);
        self.text.push_str(&text);
        self.text.push('\n');
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Plain => return text.to_owned(),
            Colour::Bold => "1",
            Colour::Green => "32",
            Colour::Red => "1;31",
            Colour::Yellow => "33",
            Colour::Dim => "2",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests;
