//! `matrix.md`: the supported capabilities of each cell, for a README or a pull request.

use crate::matrix::Matrix;
use crate::redact::one_line;
use crate::standing::{CellStanding, Change, ChangeRow, Effect, Standings};
use crate::verdict::Judgement;
use crate::views::marks::{IN_A_LINE, Marks};
use crate::views::rates::rates;
use crate::views::wording::{self, Labels};
use crate::views::{causes, overview};
use model::kernel::KernelRelease;
use model::verified::{Basis, Verdict};
use model::words::duration;
use std::fmt::Write;
use suites::capability::Capability;

/// Maximum size of a cause, in bytes; `index.html` has the full text.
const MAX_CAUSE: usize = 500;

/// Explains the marks.
pub(crate) fn legend() -> String {
    let explained = IN_A_LINE.map(|verdict| {
        let Marks { sign, name, .. } = Marks::of(verdict);
        format!("{sign} {name}")
    });
    let emulated = "**ᵉ emulated**: shown without hardware virtualization; a mark without it was shown on hardware";
    format!("{}  \n{emulated}", explained.join(" · "))
}

/// Maximum size of the file, in bytes: GitHub shows no step summary of more than 1 MiB, and a step may write more than
/// this file.
pub(crate) const MAX: usize = 1_000_000;

/// Parts that are left out if the file would be too long, in this order.
const DETAILS: &[&str] = &["notes", "evidence", "causes", "tables of capabilities", "pass rates", LATER_CHANGES];

/// The changes after the first ones.
const LATER_CHANGES: &str = "changes but the first 1000";

/// Renders a run as Markdown; if it would be too long, leaves out details and says so.
pub fn render(standings: &Standings<'_>) -> String {
    Sections::of(standings).within(standings, MAX)
}

/// The sections of a report, each rendered once: with thousands of releases, the answers alone take seconds.
struct Sections {
    all_changes: String,
    first_changes: String,
    summary: String,
    /// The details that may be left out, with their names among [`DETAILS`], in the order of the file.
    details: [(&'static str, String); 5],
}

impl Sections {
    fn of(standings: &Standings<'_>) -> Sections {
        let matrix = standings.matrix;
        // Writing to a string cannot fail.
        let text = |write: &dyn Fn(&mut String) -> std::fmt::Result| {
            let mut out = String::new();
            let _ = write(&mut out);
            out
        };
        let rows = standings.changes();
        Sections {
            all_changes: text(&|out| changes(out, standings, &rows)),
            first_changes: text(&|out| changes(out, standings, rows.get(..1000).unwrap_or(&rows))),
            summary: text(&|out| summary(out, standings)),
            details: [
                ("pass rates", text(&|out| pass_rates(out, standings))),
                ("tables of capabilities", text(&|out| capability_tables(out, matrix))),
                ("causes", text(&|out| all_causes(out, standings))),
                ("evidence", text(&|out| evidence(out, matrix))),
                ("notes", text(&|out| notes(out, matrix))),
            ],
        }
    }

    /// Joins the sections, without as many details as it takes to have at most `max` bytes.
    fn within(&self, standings: &Standings<'_>, max: usize) -> String {
        let mut out = String::new();
        for count in 0..=DETAILS.len() {
            let left_out = DETAILS.get(..count).unwrap_or(DETAILS);
            out = self.joined(standings, left_out);
            if out.len() <= max {
                return out;
            }
        }
        let end = "\nThe rest was left out, because this file would be too long for GitHub; see `index.html` for all \
                   of it.\n";
        let room = out.floor_char_boundary(max.saturating_sub(end.len()));
        let whole_lines = out.get(..room).and_then(|kept| kept.rfind('\n'));
        out.truncate(whole_lines.map_or(0, |at| at + 1));
        out + end
    }

    /// Joins the sections without some details.
    fn joined(&self, standings: &Standings<'_>, left_out: &[&str]) -> String {
        let mut out = String::new();
        let _ = head(&mut out, standings, left_out);
        out += if left_out.contains(&LATER_CHANGES) { &self.first_changes } else { &self.all_changes };
        out += &self.summary;
        out.extend(self.details.iter().filter(|(name, _)| !left_out.contains(name)).map(|(_, text)| text.as_str()));
        out
    }
}

fn head(out: &mut String, standings: &Standings<'_>, left_out: &[&str]) -> std::fmt::Result {
    let matrix = standings.matrix;
    writeln!(out, "# What Kata Containers finds in distros\n")?;
    writeln!(out, "{} · {}\n", escape(&wording::head(matrix)), wording::common(matrix))?;
    for caveat in wording::caveats(standings) {
        writeln!(out, "> **Note:** {}\n", escape(&caveat))?;
    }
    if !left_out.is_empty() {
        let what = left_out.join(", ");
        writeln!(
            out,
            "> **Note:** Left out, because the file would be too long for GitHub: {what}; see `index.html` \
                       for all of it.\n"
        )?;
    }
    writeln!(out, "{}\n", legend())
}

fn pass_rates(out: &mut String, standings: &Standings<'_>) -> std::fmt::Result {
    let Some(text) = rates(standings) else { return Ok(()) };
    let fence = fence(&text);
    writeln!(out, "## Pass rates\n\n{fence}text\n{text}{fence}\n")
}

fn capability_tables(out: &mut String, matrix: &Matrix) -> std::fmt::Result {
    for profile in &matrix.profiles {
        writeln!(out, "## {}\n", escape(&profile.name))?;
        let (main, more) = overview::columns(matrix, &profile.name);
        if main.is_empty() && more.is_empty() {
            writeln!(out, "Nothing was tested.\n")?;
        }
        for columns in [&main, &more] {
            if !columns.is_empty() {
                capability_table(out, matrix, &profile.name, columns)?;
            }
        }
    }
    Ok(())
}

fn all_causes(out: &mut String, standings: &Standings<'_>) -> std::fmt::Result {
    let labels = Labels::new(standings.matrix);
    writeln!(out, "## Causes\n")?;
    if let Some(words) = wording::not_chosen(&standings.matrix.cells) {
        writeln!(out, "{}.\n", escape(&words))?;
    }
    for cell in &standings.cells {
        cell_causes(out, &labels.of(cell.report), cell)?;
    }
    Ok(())
}

fn changes(out: &mut String, standings: &Standings<'_>, rows: &[ChangeRow<'_>]) -> std::fmt::Result {
    writeln!(out, "## Changes\n")?;
    if rows.is_empty() {
        return writeln!(out, "{}\n", escape(&wording::no_changes(standings)));
    }
    let labels = Labels::new(standings.matrix);
    for row in rows {
        let mark = match (row.effect, row.change) {
            (Effect::Worse, _) => "✗",
            (Effect::Unjudged, _) => "?",
            (Effect::None, Change::Fixed) => "✓",
            (Effect::None, _) => "–",
        };
        let names: Vec<String> = row.capabilities.iter().map(|c| code(c.name())).collect();
        let (label, turn) = (escape(&labels.of_id(row.cell)), escape(&row.turn()));
        let profiles = escape(&row.profiles.join(", "));
        writeln!(out, "- {mark} **{}** {label}: {} {turn} ({profiles})", escape(&row.title()), names.join(", "))?;
        for why in &row.why {
            writeln!(out, "  - {}", short(why))?;
        }
        let packages = row.packages();
        if !packages.is_empty() {
            writeln!(out, "  - {}", escape(&packages))?;
        }
    }
    writeln!(out, "\n{}\n", escape(&wording::exit_code(standings)))
}

/// Answers by release and profile whether Kata can run.
fn summary(out: &mut String, standings: &Standings<'_>) -> std::fmt::Result {
    let matrix = standings.matrix;
    let labels = Labels::new(matrix);
    writeln!(out, "## Can Kata run here?\n")?;
    let heads = matrix.profiles.iter().map(|p| {
        let end = if p.maintained { "" } else { ", end of life" };
        format!("{} (Kata {}{end})", p.name, p.range)
    });
    table(
        out,
        std::iter::once("release".to_owned()).chain(heads),
        standings.releases().into_iter().map(|release| {
            let profiles = matrix.profiles.iter().map(|p| {
                let answer = standings.answer(release, &p.name);
                format!("{} {}", mark(answer.verdict(), answer.basis), escape(&answer.words()))
            });
            std::iter::once(format!("**{}**", escape(&labels.of_release(release)))).chain(profiles).collect()
        }),
    )
}

fn capability_table(out: &mut String, matrix: &Matrix, profile: &str, columns: &[Capability]) -> std::fmt::Result {
    let labels = Labels::new(matrix);
    let heads = std::iter::once("release".to_owned()).chain(columns.iter().map(|c| c.name().to_owned()));
    table(
        out,
        heads,
        matrix.cells.iter().map(|cell| {
            let words = columns.iter().map(|c| cell.judgement(profile, *c).map_or_else(String::new, judgement));
            std::iter::once(format!("**{}**", escape(&labels.of(cell)))).chain(words).collect()
        }),
    )
}

fn judgement(judgement: &Judgement) -> String {
    let mut text = mark(judgement.verdict, judgement.basis);
    if !judgement.flaky.is_empty() {
        text.push_str(" flaky");
    }
    text
}

pub(crate) fn mark(verdict: Verdict, basis: Option<Basis>) -> String {
    let emulated = basis == Some(Basis::Emulated) && wording::is_shown_on_a_basis(verdict);
    format!("{}{}", Marks::of(verdict).sign, if emulated { "ᵉ" } else { "" })
}

fn cell_causes(out: &mut String, label: &str, standing: &CellStanding<'_>) -> std::fmt::Result {
    let (cell, explanations) = (standing.report, causes::explanations(standing));
    let flaky = causes::flaky(cell);
    if explanations.is_empty() && flaky.is_empty() && cell.errors.is_empty() {
        return Ok(());
    }
    writeln!(out, "### {}\n", escape(label))?;
    for failure in &cell.errors {
        writeln!(out, "- ? **the cell could not go on** ({}): {}", failure.phase, short(&failure.message))?;
    }
    for why in explanations {
        let place = why.place();
        match why.blame {
            Some(blame) => {
                writeln!(out, "- ✗ **{}**: {} — {}", blame.component, short(&why.text), code(blame.test))?;
            }
            None => writeln!(out, "- – {}", short(&why.text))?,
        }
        writeln!(out, "  ({})", escape(&place))?;
    }
    for test in flaky {
        writeln!(out, "- flaky: {} passed {} of {} times", code(&test.test), test.passed, test.attempts)?;
    }
    writeln!(out)
}

fn evidence(out: &mut String, matrix: &Matrix) -> std::fmt::Result {
    writeln!(out, "## Evidence\n")?;
    let labels = Labels::new(matrix);
    let heads = ["release", "basis", "packages", "guest kernel", "took", "to know"];
    table(
        out,
        heads.iter().map(|h| (*h).to_owned()),
        matrix.cells.iter().map(|cell| {
            let facts = cell.facts.as_ref();
            let packages = facts.map_or_else(String::new, |f| {
                f.versions
                    .keys()
                    .map(|p| escape(&format!("{p} {}", wording::version(f, p.as_str()))))
                    .collect::<Vec<_>>()
                    .join("<br>")
            });
            let accelerator = facts.map_or("", |f| f.accelerator.name());
            vec![
                escape(&labels.of(cell)),
                escape(&format!("{} {accelerator}", wording::basis(cell.basis()))),
                packages,
                escape(facts.and_then(|f| f.kernel.as_ref()).map_or("unknown", KernelRelease::as_str)),
                cell.millis.map_or_else(String::new, duration),
                facts.map_or_else(String::new, |f| {
                    f.image_options.iter().chain(&f.notes).map(|n| escape(n)).collect::<Vec<_>>().join("<br>")
                }),
            ]
        }),
    )?;
    let deviations: std::collections::BTreeSet<&String> =
        matrix.cells.iter().flat_map(|c| &c.launches).flat_map(|l| &l.deviations).collect();
    if !deviations.is_empty() {
        writeln!(out, "Deviations from Kata's own arguments:\n")?;
        for deviation in deviations {
            writeln!(out, "- {}", escape(deviation))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn notes(out: &mut String, matrix: &Matrix) -> std::fmt::Result {
    let cells: Vec<_> = matrix.cells.iter().map(|c| (c, causes::notes(c))).filter(|(_, n)| !n.is_empty()).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let labels = Labels::new(matrix);
    writeln!(out, "## Notes\n")?;
    for (cell, notes) in cells {
        for (test, lines) in notes {
            let lines: Vec<String> = lines.iter().map(|l| escape(l)).collect();
            writeln!(
                out,
                "<details><summary>{}: {} ({})</summary>\n",
                in_html(&labels.of(cell)),
                in_html(test),
                lines.len()
            )?;
            for line in lines {
                writeln!(out, "- {line}")?;
            }
            writeln!(out, "\n</details>\n")?;
        }
    }
    Ok(())
}

pub(crate) fn table(
    out: &mut String,
    heads: impl Iterator<Item = String>,
    rows: impl Iterator<Item = Vec<String>>,
) -> std::fmt::Result {
    let heads: Vec<String> = heads.collect();
    writeln!(out, "| {} |", heads.join(" | "))?;
    writeln!(out, "|{}", " --- |".repeat(heads.len()))?;
    for row in rows {
        writeln!(out, "| {} |", row.join(" | "))?;
    }
    writeln!(out)
}

pub(crate) fn short(text: &str) -> String {
    escape(&one_line(text, MAX_CAUSE))
}

/// Returns a code span, or escaped text if the text would end the span.
fn code(text: &str) -> String {
    if text.contains(['`', '|', '\n']) { escape(text) } else { format!("`{text}`") }
}

/// Escapes text in an HTML element, where Markdown's escapes would be visible, and puts it on one line.
fn in_html(text: &str) -> String {
    // Characters that Markdown would interpret even here.
    on_one_line(text, |c| "*_`[]~\\".contains(c).then(|| format!("&#{};", c as u32)))
}

/// Returns a fence that is longer than any in the text.
pub(crate) fn fence(lines: &str) -> String {
    let longest = lines.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

/// Escapes text so that Markdown and embedded HTML show it literally, and puts it on one line.
pub(crate) fn escape(text: &str) -> String {
    on_one_line(text, |c| "\\`*_[]|~#!$@".contains(c).then(|| format!("\\{c}")))
}

/// Escapes text for HTML and puts it on one line; `special` returns the escape of any other character that needs one.
fn on_one_line(text: &str, special: impl Fn(char) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' | '\t' => out.push(' '),
            c => match special(c) {
                Some(escaped) => out.push_str(&escaped),
                None => out.push(c),
            },
        }
    }
    out
}

#[cfg(test)]
mod tests;
