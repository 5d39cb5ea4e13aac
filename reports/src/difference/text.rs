//! Text output of a comparison, for people.

use super::{Difference, NotCompared, PackageTurn, SignatureState, SignatureTurn, VerdictTurn};
use crate::standing::Change;
use model::package::PackageVersion;
use model::verified::Verdict;
use std::fmt::Write as _;

impl Difference {
    /// Formats the comparison for people.
    pub fn text(&self) -> String {
        let mut out = format!("{} → {}\n", self.before, self.after);
        for (name, only) in [(&self.before, &self.only_before), (&self.after, &self.only_after)] {
            for place in only {
                let _ = writeln!(out, "only in {name}: {place}");
            }
        }
        let none = |is_empty: bool| if is_empty { " none" } else { "" };
        let _ = writeln!(out, "\nVerdicts that differ:{}", none(self.verdicts.is_empty()));
        for turn in &self.verdicts {
            let word = |verdict: Option<Verdict>| verdict.map_or("not judged", Verdict::name);
            let (mark, was, is) = (turn.mark(), word(turn.was), word(turn.is));
            let profiles = turn.profiles.join(", ");
            let _ = writeln!(out, "  {mark}{} {}: {was} → {is} [{profiles}]", turn.cell, turn.capability);
        }
        if !self.not_compared.is_empty() {
            let _ = writeln!(out, "\nNot compared, because {} has no verdict:", self.before);
        }
        for NotCompared { cell, capabilities, profiles, why } in &self.not_compared {
            let names: Vec<&str> = capabilities.iter().map(|capability| capability.name()).collect();
            let why = why.as_deref().unwrap_or("a test of it was not judged");
            let _ = writeln!(out, "  {cell} {} [{}]: {why}", names.join(", "), profiles.join(", "));
        }
        let _ = writeln!(out, "\nCauses:{}", none(self.signatures.is_empty()));
        for SignatureTurn { state, signature, tests, places } in &self.signatures {
            let (tests, places) = (tests.join(", "), places.join(", "));
            let _ = writeln!(out, "  {}: {signature} ({tests}) [{places}]", state.name());
        }
        let _ = writeln!(out, "\nPackages that differ:{}", none(self.packages.is_empty()));
        for PackageTurn { cell, name, was, is } in &self.packages {
            let [was, is] = [was, is].map(|version| version.as_ref().map_or("not there", PackageVersion::as_str));
            let _ = writeln!(out, "  {cell} {name}: {was} → {is}");
        }
        for (title, lines) in [("Not judged", &self.not_judged), ("Known issues", &self.known_issues)] {
            if !lines.is_empty() {
                let _ = writeln!(out, "\n{title}:");
            }
            for line in lines {
                let _ = writeln!(out, "  {line}");
            }
        }
        out
    }
}

impl VerdictTurn {
    /// Returns the word in front of the line.
    fn mark(&self) -> &'static str {
        match (self.worse, self.unjudged, self.change) {
            (true, _, Change::Known | Change::Same | Change::Fixed) => "lacking ",
            (true, _, _) => "worse ",
            (false, true, _) => "unjudged ",
            (false, false, Change::Known) => "known ",
            (false, false, Change::NewVerdict) => "new verdict ",
            (false, false, _) => "",
        }
    }
}

impl SignatureState {
    fn name(self) -> &'static str {
        match self {
            SignatureState::New => "new",
            SignatureState::NewVerdict => "new verdict",
            SignatureState::NotCompared => "not compared",
            SignatureState::Fixed => "fixed",
            SignatureState::Flaky => "flaky",
            SignatureState::Unseen => "not seen again",
            SignatureState::Known => "known",
        }
    }
}
