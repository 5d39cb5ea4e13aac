//! What a reader asks first: can Kata run here?

use super::Standings;
use crate::journal::CellId;
use crate::matrix::CellReport;
use crate::verdict::agreement;
use jiff::civil::Date;
use model::environment::Environment;
use model::profile::Profile;
use model::verified::{Basis, Verdict, VerifiedEntry};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::outcome::Component;

/// Whether the Kata versions of a profile can run on a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All that Kata needs is supported.
    Yes,
    /// So it is, with what took the place of the release's own.
    With(BTreeSet<String>),
    /// Not so, each capability with whom that blames.
    No(BTreeMap<Capability, BTreeSet<Component>>),
    /// Nothing speaks against it, and not all of it is known.
    NotKnown,
}

/// The answer for a release under a profile, from all environments that there is evidence from, the record's too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseAnswer {
    /// The answer itself.
    pub answer: Answer,
    /// What Kata needs and is supported, be it with a component that was brought along.
    pub supported: usize,
    /// How many capabilities Kata needs.
    pub needed: usize,
    /// Those that nobody knows of.
    pub missing: Vec<Capability>,
    /// Whether one of these was tried and could not be judged.
    pub inconclusive: bool,
    /// What it rests on: emulated, if any of it was.
    pub basis: Option<Basis>,
    /// The record's environments that count, each with its day.
    pub from_record: BTreeMap<Environment, Date>,
}

impl ReleaseAnswer {
    /// The mark that stands for it.
    pub fn verdict(&self) -> Verdict {
        match self.answer {
            Answer::Yes => Verdict::Supported,
            Answer::With(_) => Verdict::Partial,
            Answer::No(_) => Verdict::Unsupported,
            Answer::NotKnown if self.inconclusive => Verdict::Inconclusive,
            Answer::NotKnown => Verdict::Untested,
        }
    }

    /// The word that it begins with, for programs.
    pub fn name(&self) -> &'static str {
        match self.answer {
            Answer::Yes => "yes",
            Answer::With(_) => "with",
            Answer::No(_) => "no",
            Answer::NotKnown => "not-known",
        }
    }

    /// In words: `yes, all 8`, `no: virtio-fs (virtiofsd)`, `not known yet: incomplete, 6 of 8 (vsock, net)`.
    pub fn words(&self) -> String {
        let missing: Vec<&str> = self.missing.iter().map(|c| c.short()).collect();
        let missing = missing.join(", ");
        let mut words = match &self.answer {
            Answer::Yes => format!("yes, all {}", self.needed),
            Answer::With(what) => {
                format!("yes with {}", what.iter().map(String::as_str).collect::<Vec<_>>().join("; "))
            }
            Answer::No(why) => {
                let why: Vec<String> = why.iter().map(|(capability, blamed)| blaming(*capability, blamed)).collect();
                let rest = if missing.is_empty() { String::new() } else { format!("; not known: {missing}") };
                format!("no: {}{rest}", why.join(", "))
            }
            Answer::NotKnown if self.needed == 0 => "not known yet: nothing was tested".to_owned(),
            Answer::NotKnown => {
                format!("not known yet: incomplete, {} of {} ({missing})", self.supported, self.needed)
            }
        };
        if !self.from_record.is_empty() {
            let days: Vec<String> = self.from_record.iter().map(|(place, day)| format!("{place} {day}")).collect();
            words.push_str(&format!(" [record: {}]", days.join(", ")));
        }
        words
    }
}

/// `virtio-fs (virtiofsd)`.
fn blaming(capability: Capability, blamed: &BTreeSet<Component>) -> String {
    match blamed.is_empty() {
        true => capability.short().to_owned(),
        false => {
            let names: Vec<&str> = blamed.iter().map(|c| c.name()).collect();
            format!("{} ({})", capability.short(), names.join(", "))
        }
    }
}

/// What one environment says of a capability.
struct Evidence {
    environment: Environment,
    verdict: Verdict,
    basis: Option<Basis>,
    blames: BTreeSet<Component>,
    workaround: Option<String>,
    /// The day, if it is the record's.
    recorded: Option<Date>,
}

impl<'m> Standings<'m> {
    /// The releases of the run, in order: the first cell of each.
    pub fn releases(&self) -> Vec<&'m CellId> {
        let mut seen = BTreeSet::new();
        let ids = self.matrix.cells.iter().map(|cell| &cell.cell);
        ids.filter(|id| seen.insert((id.distro.as_str(), id.release.as_str(), id.arch))).collect()
    }

    /// Whether the Kata versions of a profile can run on a cell's release.
    pub fn answer(&self, release: &CellId, profile: &str) -> ReleaseAnswer {
        let key = (release.distro.as_str(), release.release.as_str(), release.arch);
        let cells = self.by_release.get(&key).map(Vec::as_slice).unwrap_or_default();
        let is_judged = |capability: &Capability| {
            cells.iter().any(|cell| cell.judgement(profile, *capability).is_some_and(|j| j.required > 0))
        };
        let needed = Capability::ALL.iter().copied().filter(|c| c.is_needed() && is_judged(c));
        of(needed.map(|capability| (capability, self.evidence(cells, release, profile, capability))))
    }

    fn evidence(
        &self,
        cells: &[&CellReport],
        release: &CellId,
        profile: &str,
        capability: Capability,
    ) -> Vec<Evidence> {
        let mut all: Vec<Evidence> = Vec::new();
        let tried = cells.iter().filter_map(|cell| {
            let judgement = cell.judgement(profile, capability)?;
            // What was not asked for says nothing; what was tried and could not be judged takes the record's place.
            let asked =
                !(self.matrix.filter.is_some() && judgement.unrun > 0 && judgement.verdict == Verdict::Untested);
            asked.then(|| Evidence {
                environment: cell.cell.environment,
                verdict: judgement.verdict,
                basis: judgement.basis,
                blames: judgement.causes.iter().map(|cause| cause.component).collect(),
                workaround: judgement.workaround.as_deref().map(without_preface),
                recorded: None,
            })
        });
        all.extend(tried);
        if self.counts_record {
            let tried: BTreeSet<Environment> = all.iter().map(|e| e.environment).collect();
            let entries = self.recorded.of_release(release, profile).into_iter();
            let entries = entries.filter(|e| e.shaped == self.matrix.shaped && !tried.contains(&e.environment));
            all.extend(entries.filter_map(|entry| recorded(entry, capability)));
        }
        all
    }
}

/// Whether the Kata versions of a profile can run on a release, by its entries in the record alone.
pub fn recorded_answer(entries: &[&VerifiedEntry], profile: &Profile) -> ReleaseAnswer {
    of(profile.needs().map(|capability| {
        let said = entries.iter().filter_map(|entry| recorded(entry, capability));
        // All of it is the record's, which need not be said.
        (capability, said.map(|evidence| Evidence { recorded: None, ..evidence }).collect())
    }))
}

/// The answer that the evidence on each capability that Kata needs comes to.
fn of(needed: impl Iterator<Item = (Capability, Vec<Evidence>)>) -> ReleaseAnswer {
    let mut all = ReleaseAnswer {
        answer: Answer::NotKnown,
        supported: 0,
        needed: 0,
        missing: Vec::new(),
        inconclusive: false,
        basis: None,
        from_record: BTreeMap::new(),
    };
    let (mut with, mut against) = (BTreeSet::new(), BTreeMap::new());
    for (capability, evidence) in needed {
        all.needed += 1;
        let counts = agreement::decisive(evidence.iter().map(|e| (e.environment, e.verdict)));
        let is_inconclusive = evidence.iter().any(|e| e.verdict == Verdict::Inconclusive);
        let Some(decided) = evidence.into_iter().find(|e| Some((e.environment, e.verdict)) == counts) else {
            all.inconclusive |= is_inconclusive;
            all.missing.push(capability);
            continue;
        };
        // Emulated is the weaker of the two.
        all.basis = all.basis.max(decided.basis);
        if let Some(day) = decided.recorded {
            all.from_record.insert(decided.environment, day);
        }
        match decided.verdict {
            Verdict::Unsupported | Verdict::Offered => {
                against.insert(capability, decided.blames);
            }
            _ => {
                all.supported += 1;
                with.extend(decided.workaround);
            }
        }
    }
    all.answer = match (against.is_empty(), all.missing.is_empty() && all.needed > 0, with.is_empty()) {
        (false, _, _) => Answer::No(against),
        (true, false, _) => Answer::NotKnown,
        (true, true, false) => Answer::With(with),
        (true, true, true) => Answer::Yes,
    };
    all
}

/// What an entry of the record says of a capability.
fn recorded(entry: &VerifiedEntry, capability: Capability) -> Option<Evidence> {
    let known = entry.capabilities.get(&capability)?;
    Some(Evidence {
        environment: entry.environment,
        verdict: known.verdict,
        basis: Some(entry.basis),
        blames: known.causes.iter().filter_map(|cause| cause.blames()).collect(),
        workaround: known.workaround.as_deref().map(without_preface),
        recorded: Some(entry.tested),
    })
}

/// A workaround without the words that it begins with where it stands alone.
fn without_preface(workaround: &str) -> String {
    workaround.strip_prefix(crate::verdict::WITH_CANDIDATES).unwrap_or(workaround).to_owned()
}
