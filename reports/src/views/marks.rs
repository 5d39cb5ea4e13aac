//! Short marks for verdicts, and their explanations in legends: one table keeps both consistent.

use model::verified::Verdict;

/// The marks of a verdict in tables, and their explanations.
pub(crate) struct Marks {
    /// The mark in Markdown.
    pub(crate) sign: &'static str,
    /// The mark on the site.
    pub(crate) word: &'static str,
    /// The mark on a terminal, which may support only ASCII.
    pub(crate) short: &'static str,
    /// The explanation in Markdown's legend.
    pub(crate) name: &'static str,
    /// The explanation in the terminal's legend.
    pub(crate) brief: &'static str,
    /// The explanation in the site's legend.
    pub(crate) full: &'static str,
}

/// The verdicts in the order of one-line legends: yes and no come first.
pub(crate) const IN_A_LINE: [Verdict; 7] = [
    Verdict::Supported,
    Verdict::Unsupported,
    Verdict::Partial,
    Verdict::Offered,
    Verdict::Untested,
    Verdict::Inconclusive,
    Verdict::NotApplicable,
];

impl Marks {
    /// Returns the marks of a verdict.
    pub(crate) fn of(verdict: Verdict) -> Marks {
        let row = |[sign, word, short]: [&'static str; 3], [name, brief, full]: [&'static str; 3]| Marks {
            sign,
            word,
            short,
            name,
            brief,
            full,
        };
        match verdict {
            Verdict::Supported => row(["✓", "yes", "yes"], ["supported"; 3]),
            Verdict::Partial => row(
                ["◐", "partial", "part"],
                ["partial", "with a workaround", "with a component that is named in place of the release's own"],
            ),
            Verdict::Offered => row(
                ["○", "offered", "list"],
                ["offered", "offered: QEMU lists it, nothing used it", "QEMU lists it, nothing used it"],
            ),
            Verdict::Unsupported => row(["✗", "no", "NO"], ["unsupported"; 3]),
            Verdict::NotApplicable => row(["n/a"; 3], ["not applicable"; 3]),
            Verdict::Untested => row(["–", "–", "-"], ["untested"; 3]),
            Verdict::Inconclusive => {
                row(["?"; 3], ["inconclusive", "inconclusive", "inconclusive: it says nothing about the distro"])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_view_has_a_distinct_mark_for_every_verdict() {
        let forms: [fn(&Marks) -> &'static str; 3] = [|of| of.sign, |of| of.word, |of| of.short];
        for form in forms {
            let all: BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| form(&Marks::of(*verdict))).collect();
            assert_eq!(all.len(), Verdict::ALL.len(), "{all:?}");
        }
        assert_eq!(BTreeSet::from(IN_A_LINE), Verdict::ALL.iter().copied().collect::<BTreeSet<_>>());
        assert!(Verdict::ALL.iter().all(|verdict| Marks::of(*verdict).short.is_ascii()));
    }
}
