//! Issues in Markdown, with the headings that a template asks for.

use crate::bug::block::Block;
use crate::bug::form::Form;
use crate::bug::route::{Owner, Ruling};
use crate::bug::sections::{BugReport, Section};
use crate::views::markdown::{escape, fence};

/// A heading with its sections.
type Head = (&'static str, &'static [Section]);

/// QEMU's template (`.gitlab/issue_templates/bug.md`).
const QEMU: &[Head] = &[
    ("Host environment", &[Section::Versions, Section::System]),
    ("Description of problem", &[Section::Notice, Section::Observed, Section::Expected]),
    ("Steps to reproduce", &[Section::Reproducer, Section::Script]),
    ("Additional information", &[Section::Swap, Section::Worked, Section::Also, Section::Log, Section::Origin]),
];
/// Kata's template (`.github/ISSUE_TEMPLATE/bug_report.md`).
const KATA: &[Head] = &[
    ("Description of problem", &[Section::Notice, Section::Versions, Section::Reproducer]),
    ("Expected result", &[Section::Expected]),
    ("Actual result", &[Section::Observed]),
    (
        "Further information",
        &[
            Section::Swap,
            Section::Worked,
            Section::Also,
            Section::Log,
            Section::System,
            Section::Origin,
            Section::Script,
        ],
    ),
];

/// Returns the issue; its first line is its title.
pub(super) fn issue(report: &BugReport<'_>, form: Form) -> String {
    let heads = match (form, report.route.ruling) {
        (Form::Kata, _) => Some(KATA),
        (_, Ruling::Bug(Owner::Upstream)) => Some(QEMU),
        _ => None,
    };
    let sections = report.sections();
    let mut out = format!("{}\n", report.subject());
    let mut add = |head: &str, requested: &[Section]| {
        let under: Vec<&(Section, Vec<Block>)> =
            sections.iter().filter(|(section, _)| requested.contains(section)).collect();
        if under.is_empty() {
            return;
        }
        out.push_str(&format!("\n## {head}\n"));
        for section in requested {
            let Some((_, blocks)) = under.iter().find(|(of, _)| of == section) else { continue };
            if requested.len() > 1 {
                out.push_str(&format!("\n### {}\n", section.title()));
            }
            blocks.iter().for_each(|block| out.push_str(&format!("\n{}\n", markdown(block))));
        }
    };
    match heads {
        Some(heads) => heads.iter().for_each(|(head, requested)| add(head, requested)),
        None => sections.iter().for_each(|(section, _)| add(section.title(), &[*section])),
    }
    out
}

fn markdown(block: &Block) -> String {
    match block {
        Block::Text(text) => prose(text),
        Block::Lines(lines) => {
            let fence = fence(lines);
            format!("{fence}\n{lines}\n{fence}")
        }
    }
}

/// Escapes prose, so that nothing becomes markup by accident; text between backquotes stays code.
fn prose(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        // One backquote has no counterpart.
        return escape(text);
    }
    let code = |(at, piece): (usize, &&str)| if at % 2 == 0 { escape(piece) } else { (*piece).to_owned() };
    pieces.iter().enumerate().map(code).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_output_is_escaped_in_markdown() {
        assert_eq!(prose("a_b <script> [x] `a_b` c*"), "a\\_b &lt;script&gt; \\[x\\] `a_b` c\\*");
        assert_eq!(prose("unknown `option"), "unknown \\`option");
    }
}
