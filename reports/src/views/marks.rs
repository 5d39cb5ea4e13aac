//! What views show of a verdict where there is little room, and what their legends say: one table, so that a mark and its
//! explanation cannot part.

use model::verified::Verdict;

/// What stands for a verdict in a table, and what that means.
pub(crate) struct Marks {
    /// In Markdown.
    pub(crate) sign: &'static str,
    /// On the site.
    pub(crate) word: &'static str,
    /// On a terminal, which may have ASCII only.
    pub(crate) short: &'static str,
    /// What the legend in Markdown says.
    pub(crate) name: &'static str,
    /// What the terminal's says.
    pub(crate) brief: &'static str,
    /// What the site's says.
    pub(crate) full: &'static str,
}

/// The verdicts in the order of legends on one line: yes and no come first.
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
    /// A verdict's.
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
    fn each_view_tells_all_verdicts_apart_and_a_line_has_all() {
        let forms: [fn(&Marks) -> &'static str; 3] = [|of| of.sign, |of| of.word, |of| of.short];
        for form in forms {
            let all: BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| form(&Marks::of(*verdict))).collect();
            assert_eq!(all.len(), Verdict::ALL.len(), "{all:?}");
        }
        assert_eq!(BTreeSet::from(IN_A_LINE), Verdict::ALL.iter().copied().collect::<BTreeSet<_>>());
        assert!(Verdict::ALL.iter().all(|verdict| Marks::of(*verdict).short.is_ascii()));
    }
}
