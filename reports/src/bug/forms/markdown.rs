//! An issue in Markdown, under the heads that a template asks for.

use crate::bug::form::Form;
use crate::bug::parts::{Block, Part, Report};
use crate::bug::route::{Owner, Ruling};
use crate::views::markdown::{escape, fence};

/// Parts under a head.
type Head = (&'static str, &'static [Part]);

/// QEMU's template (`.gitlab/issue_templates/bug.md`).
const QEMU: &[Head] = &[
    ("Host environment", &[Part::Versions, Part::System]),
    ("Description of problem", &[Part::Notice, Part::Observed, Part::Expected]),
    ("Steps to reproduce", &[Part::Reproducer, Part::Script]),
    ("Additional information", &[Part::Swap, Part::Worked, Part::Also, Part::Log, Part::Origin]),
];
/// Kata's template (`.github/ISSUE_TEMPLATE/bug_report.md`).
const KATA: &[Head] = &[
    ("Description of problem", &[Part::Notice, Part::Versions, Part::Reproducer]),
    ("Expected result", &[Part::Expected]),
    ("Actual result", &[Part::Observed]),
    (
        "Further information",
        &[Part::Swap, Part::Worked, Part::Also, Part::Log, Part::System, Part::Origin, Part::Script],
    ),
];

/// The issue; its first line is its title.
pub(super) fn issue(report: &Report<'_>, form: Form) -> String {
    let heads = match (form, report.route.ruling) {
        (Form::Kata, _) => Some(KATA),
        (_, Ruling::Bug(Owner::Upstream)) => Some(QEMU),
        _ => None,
    };
    let parts = report.parts();
    let mut out = format!("{}\n", report.subject());
    let mut add = |head: &str, wanted: &[Part]| {
        let under: Vec<&(Part, Vec<Block>)> = parts.iter().filter(|(part, _)| wanted.contains(part)).collect();
        if under.is_empty() {
            return;
        }
        out.push_str(&format!("\n## {head}\n"));
        for part in wanted {
            let Some((_, blocks)) = under.iter().find(|(of, _)| of == part) else { continue };
            if wanted.len() > 1 {
                out.push_str(&format!("\n### {}\n", part.title()));
            }
            blocks.iter().for_each(|block| out.push_str(&format!("\n{}\n", markdown(block))));
        }
    };
    match heads {
        Some(heads) => heads.iter().for_each(|(head, wanted)| add(head, wanted)),
        None => parts.iter().for_each(|(part, _)| add(part.title(), &[*part])),
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

/// Prose in which nothing becomes markup by accident; what stands between backquotes stays code.
fn prose(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        // One of them has no other.
        return escape(text);
    }
    let code = |(at, piece): (usize, &&str)| if at % 2 == 0 { escape(piece) } else { (*piece).to_owned() };
    pieces.iter().enumerate().map(code).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_no_markup() {
        assert_eq!(prose("a_b <script> [x] `a_b` c*"), "a\\_b &lt;script&gt; \\[x\\] `a_b` c\\*");
        assert_eq!(prose("unknown `option"), "unknown \\`option");
    }
}
