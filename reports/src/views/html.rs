//! `index.html`: the matrix with its evidence, in one file that needs nothing else.

mod first;
mod style;

use crate::matrix::{CellReport, Matrix, ProfileHead};
use crate::run::{Attempt, GuestLaunch, TestRun};
use crate::standing::Standings;
use crate::verdict::Judgement;
use crate::views::wording::{self, Labels};
use crate::views::{causes, overview};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use model::shell::quoted;
use model::verified::{Basis, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::catalogue::Test;
use suites::outcome::Outcome;

/// The ids of the tests that the page explains.
type Known<'a> = BTreeSet<&'a str>;

/// A cell with what the page calls it, and where the page has all of it.
struct PageCell<'a> {
    cell: &'a CellReport,
    label: String,
    anchor: String,
}

/// Renders a run as a page of HTML, with the documentation of each test from the catalogue.
pub fn render(standings: &Standings<'_>, catalogue: &[Test]) -> String {
    let matrix = standings.matrix;
    let known: Known<'_> = catalogue.iter().map(|t| t.id.as_str()).collect();
    let labels = Labels::new(matrix);
    let page_cell = |cell| PageCell { cell, label: labels.of(cell), anchor: anchor(cell) };
    let cells: Vec<PageCell<'_>> = matrix.cells.iter().map(page_cell).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "Kata Containers on distros: " (matrix.run) }
                style { (PreEscaped(style::CSS)) }
            }
            body {
                header {
                    h1 { "What Kata Containers finds in distros" }
                    p.muted { (wording::head(matrix)) " · " (wording::common(matrix)) " · test set " code { (matrix.test_set) } }
                    @for caveat in wording::caveats(standings) { p.caveat { (caveat) } }
                    (legend())
                }
                main {
                    (first::changes(standings))
                    (first::summary(standings, &cells))
                    @for profile in &matrix.profiles { (profile_table(matrix, profile, &cells)) }
                    h2 { "Releases" }
                    @for one in &cells { (cell_details(matrix, one, &known)) }
                    (explained(matrix, catalogue))
                }
            }
        }
    };
    page.into_string()
}

fn legend() -> Markup {
    let all = [
        (Verdict::Supported, None),
        (Verdict::Supported, Some(Basis::Emulated)),
        (Verdict::Partial, None),
        (Verdict::Offered, None),
        (Verdict::Unsupported, None),
        (Verdict::Untested, None),
        (Verdict::Inconclusive, None),
        (Verdict::NotApplicable, None),
    ];
    html! {
        p.legend {
            @for (verdict, basis) in all {
                span { (badge(verdict, basis, false)) " " (meaning(verdict, basis)) }
            }
        }
    }
}

fn meaning(verdict: Verdict, basis: Option<Basis>) -> &'static str {
    match (verdict, basis) {
        (_, Some(Basis::Emulated)) => "emulated: shown without hardware virtualization",
        (Verdict::Supported, _) => "supported",
        (Verdict::Partial, _) => "with a workaround",
        (Verdict::Offered, _) => "offered: QEMU lists it, nothing used it",
        (Verdict::Unsupported, _) => "unsupported",
        (Verdict::Untested, _) => "untested",
        (Verdict::Inconclusive, _) => "inconclusive",
        (Verdict::NotApplicable, _) => "not applicable",
    }
}

/// A verdict in words and colour; an emulated one is dashed and says so.
fn badge(verdict: Verdict, basis: Option<Basis>, flaky: bool) -> Markup {
    let emulated = basis == Some(Basis::Emulated) && wording::is_shown_on_a_basis(verdict);
    let word = match verdict {
        Verdict::Supported => "yes",
        Verdict::Partial => "partial",
        Verdict::Offered => "offered",
        Verdict::Unsupported => "no",
        Verdict::NotApplicable => "n/a",
        Verdict::Untested => "–",
        Verdict::Inconclusive => "?",
    };
    let class =
        if emulated { format!("badge {} emulated", verdict.name()) } else { format!("badge {}", verdict.name()) };
    html! {
        span class=(class) {
            (word)
            @if emulated { sup { "emu" } }
            @if flaky { " flaky" }
        }
    }
}

fn anchor(cell: &CellReport) -> String {
    cell.cell.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

fn profile_table(matrix: &Matrix, profile: &ProfileHead, cells: &[PageCell<'_>]) -> Markup {
    let (main, more) = overview::columns(matrix, &profile.name);
    html! {
        h2 { (profile.name) " " span.muted { "Kata " (profile.range) @if !profile.maintained { ", end of life" } } }
        (capability_table(&profile.name, cells, &main))
        @if !more.is_empty() {
            details { summary { "Optional capabilities" } (capability_table(&profile.name, cells, &more)) }
        }
    }
}

fn capability_table(profile: &str, cells: &[PageCell<'_>], columns: &[Capability]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th { "release" }
                @for column in columns { th title=(column.meaning()) { (column.name()) } }
            } }
            tbody { @for one in cells { tr {
                th scope="row" { a href={"#" (one.anchor)} { (one.label) } }
                @for column in columns {
                    @if let Some(judgement) = one.cell.judgement(profile, *column) {
                        td title=(hover(judgement)) { (badge(judgement.verdict, judgement.basis, !judgement.flaky.is_empty())) }
                    } @else { td {} }
                }
            } } }
        } }
    }
}

fn hover(judgement: &Judgement) -> String {
    let causes = judgement.causes.iter().map(|c| format!("{}: {}", c.component, c.message));
    // Where a reason holds for all tests, their names add nothing but length, in each row of each profile.
    let reasons = judgement.reasons.iter().map(|reason| match reason.tests.len() == judgement.required {
        true => reason.why.clone(),
        false => reason.to_string(),
    });
    let lines = wording::tally(judgement).into_iter().chain(causes).chain(reasons);
    lines.take(6).map(|l| crate::redact::one_line(&l, 300)).collect::<Vec<_>>().join("\n")
}

fn cell_details(matrix: &Matrix, one: &PageCell<'_>, known: &Known<'_>) -> Markup {
    let PageCell { cell, label, anchor } = one;
    html! {
        section id=(anchor) {
            h3 { (label) " " span.muted { (cell.cell) " · " (wording::basis(cell.basis()))
                @if let Some(millis) = cell.millis { " · " (wording::duration(millis)) } } }
            (cell_causes(cell))
            details { summary { "Evidence: packages, kernel, environment" } (evidence(cell)) }
            details { summary { "Tests (" (cell.instances.len()) ")" } (tests(matrix, cell, known)) }
            @if !cell.launches.is_empty() {
                details { summary { "Guests and their arguments (" (cell.launches.len()) ")" }
                    @for launch in &cell.launches { (launched(launch)) } }
            }
        }
    }
}

fn cell_causes(cell: &CellReport) -> Markup {
    let flaky = causes::flaky(cell);
    html! {
        ul.causes {
            @for failure in &cell.errors {
                li.error { b { "The cell could not go on" } " (" (failure.phase) ")" (message(&failure.message)) }
            }
            @for why in causes::explanations(cell) {
                li class=(if why.blame.is_some() { "fail" } else { "gap" }) {
                    @if let Some(blame) = why.blame { b { (blame.component.name()) } " " code { (blame.test) } " " }
                    span.muted { (causes::words(&why.profiles)) ": " (causes::names(&why.capabilities)) }
                    (message(&why.text))
                }
            }
            @for test in &flaky {
                li.gap { b { "flaky" } " " code { (test.test) } " passed " (test.passed) " of " (test.attempts) " times" }
            }
        }
    }
}

/// Untrusted text: short as a line, long as a box that scrolls.
fn message(text: &str) -> Markup {
    let text = text.trim();
    html! {
        @if text.contains('\n') || text.len() > 300 { pre { (text) } } @else { p { (text) } }
    }
}

fn evidence(cell: &CellReport) -> Markup {
    let Some(facts) = &cell.facts else {
        return html! { p { "Nothing is known: the cell did not get that far." } };
    };
    html! {
        div.scroll { table.facts { tbody {
            (fact("basis", &format!("{} ({})", facts.basis, facts.accelerator)))
            @for (package, _) in &facts.versions { (fact(package.as_str(), &wording::version(facts, package.as_str()))) }
            @if let Some(kernel) = &facts.kernel { (fact("guest kernel", kernel)) }
            (fact("image", &facts.image))
            @if let Some(made) = facts.image_made {
                (fact("image made", &format!("{}{}", made.strftime("%Y-%m-%d %H:%M UTC"), if facts.image_cached { ", from the cache" } else { "" })))
            }
            @for option in &facts.image_options { (fact("image option", option)) }
            @for (component, what) in &facts.candidates { (fact(&format!("candidate {component}"), what)) }
            @for (probe, answer) in &facts.environment { (fact(probe, answer)) }
            @for note in &facts.notes { (fact("note", note)) }
            @for (phase, millis) in &cell.phases { (fact(&format!("phase {phase}"), &wording::duration(*millis))) }
        } } }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (name) } td { (value) } } }
}

fn tests(matrix: &Matrix, cell: &CellReport, known: &Known<'_>) -> Markup {
    // A test once, with a column for each profile; a result that profiles beside each other share is one cell over them.
    let mut ids: Vec<&str> = Vec::new();
    let mut of: BTreeMap<&str, Vec<&TestRun>> = BTreeMap::new();
    for instance in &cell.instances {
        let all = of.entry(&instance.test).or_default();
        if all.is_empty() {
            ids.push(&instance.test);
        }
        all.push(instance);
    }
    html! {
        div.scroll { table.tests {
            thead { tr { th { "test" } @for profile in &matrix.profiles { th { (profile.name) } } } }
            tbody { @for (id, instances) in ids.iter().filter_map(|id| Some((*id, of.get(id)?))) { tr {
                th scope="row" {
                    @if known.contains(id) { a href={"#test-" (id)} { code { (id) } } } @else { code { (id) } }
                    (what_happened(instances))
                }
                @for (width, shown) in columns(matrix, instances) {
                    td colspan=[(width > 1).then_some(width)] { @for instance in shown { (result(instance)) } }
                }
            } } }
        } }
    }
}

/// The results of a test by profile, the same ones beside each other together: how many columns, and what is in them.
fn columns<'i>(matrix: &Matrix, instances: &[&'i TestRun]) -> Vec<(usize, Vec<&'i TestRun>)> {
    let mut columns: Vec<(usize, Vec<&TestRun>)> = Vec::new();
    for profile in &matrix.profiles {
        let shown: Vec<&TestRun> = instances.iter().copied().filter(|i| i.counts_for(&profile.name)).collect();
        let same = |last: &[&TestRun]| {
            last.len() == shown.len() && last.iter().zip(&shown).all(|(one, other)| std::ptr::eq(*one, *other))
        };
        match columns.last_mut() {
            Some((width, last)) if same(last.as_slice()) => *width += 1,
            _ => columns.push((1, shown)),
        }
    }
    columns
}

/// The messages of all configurations of a test, each once.
fn what_happened(instances: &[&TestRun]) -> Markup {
    let mut lines: Vec<String> = Vec::new();
    let (mut notes, mut artifacts): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut seen: [BTreeSet<String>; 3] = Default::default();
    for Attempt { outcome, notes: n, artifacts: a, .. } in instances.iter().flat_map(|i| &i.attempts) {
        let detail = wording::detail(outcome);
        if !detail.is_empty() && seen[0].insert(detail.clone()) {
            lines.push(detail);
        }
        notes.extend(n.iter().filter(|item| seen[1].insert((*item).clone())).map(String::as_str));
        artifacts.extend(a.iter().filter(|item| seen[2].insert((*item).clone())).map(String::as_str));
    }
    html! {
        @for line in &lines { div.detail { (message(line)) } }
        @if !notes.is_empty() {
            details { summary { "notes (" (notes.len()) ")" } pre { (notes.join("\n")) } }
        }
        @if !artifacts.is_empty() {
            div.muted.files { "files: " @for file in &artifacts { a href=(file) { code { (file) } } " " } }
        }
    }
}

/// What the tests of the page prove, each once: the cells' tables lead here.
fn explained(matrix: &Matrix, catalogue: &[Test]) -> Markup {
    let ran: BTreeSet<&str> = matrix.cells.iter().flat_map(|c| &c.instances).map(|i| i.test.as_str()).collect();
    html! {
        @if !ran.is_empty() {
            h2 { "Tests" }
            dl { @for test in catalogue.iter().filter(|test| ran.contains(test.id.as_str())) {
                dt id={"test-" (test.id)} { code { (test.id) } }
                dd { @for paragraph in test.doc.split("\n\n") { p { (paragraph) } } }
            } }
        }
    }
}

fn result(instance: &TestRun) -> Markup {
    let Some(standing) = instance.final_outcome() else { return html! {} };
    let class = match standing.outcome {
        Outcome::Pass => "supported",
        Outcome::Fail { .. } => "unsupported",
        Outcome::Error { .. } => "inconclusive",
        Outcome::Skip { .. } | Outcome::Blocked { .. } => "untested",
    };
    let millis = instance.attempts.iter().fold(0u64, |sum, a| sum.saturating_add(a.millis));
    html! {
        span class={"badge " (class)} title=(wording::duration(millis)) {
            (standing.outcome.name())
            @if standing.is_flaky() { " " (standing.passed) "/" (standing.decided) }
        }
    }
}

fn launched(launch: &GuestLaunch) -> Markup {
    html! {
        div.launch {
            p { b { (launch.configuration) } " " span.muted { (launch.profiles.join(", "))
                @if launch.times > 1 { ", " (launch.times) " times" } } }
            pre { (command(&launch.argv)) }
            @if !launch.daemon.is_empty() { pre { (command(&launch.daemon)) } }
            @for deviation in &launch.deviations { p.deviation { "deviation: " (deviation) } }
        }
    }
}

/// Arguments, each option with its value on a line.
fn command(argv: &[String]) -> String {
    let mut out = String::new();
    for (at, arg) in argv.iter().enumerate() {
        if at > 0 {
            out.push_str(if arg.starts_with('-') { " \\\n    " } else { " " });
        }
        out.push_str(&quoted(arg));
    }
    out
}

#[cfg(test)]
mod tests;
