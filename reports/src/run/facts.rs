//! What a journal says of a cell, put together from all that it says.

use crate::journal::CellFacts;
use model::verified::Basis;
use suites::outcome::Component;

/// Most notes, options or errors of one cell, and notes and files of one attempt, that a report shows.
pub(super) const MAX_ITEMS: usize = 1000;

/// Candidates of a journal of schema 1, which are facts of the environment whose names begin so.
pub(super) fn take_out_candidates(facts: &mut CellFacts) {
    let CellFacts { environment, candidates, .. } = facts;
    environment.retain(|name, what| {
        let prefixes = ["candidate-", "brought-"];
        let Some(name) = prefixes.into_iter().find_map(|prefix| name.strip_prefix(prefix)) else { return true };
        // A name that nobody knows counts against as much as any.
        let component = Component::of_name(name).unwrap_or(Component::Qemu);
        candidates.entry(component).or_insert_with(|| what.to_string().into());
        false
    });
}

/// Later facts add to earlier ones; a cell that was once emulated is emulated.
pub(super) fn add_facts(known: &mut Option<CellFacts>, new: CellFacts) {
    let Some(known) = known else {
        *known = Some(new);
        return;
    };
    if new.basis == Basis::Emulated {
        known.basis = Basis::Emulated;
    }
    if !new.accelerator.name().is_empty() {
        known.accelerator = new.accelerator;
    }
    if !new.image.is_empty() {
        known.image = new.image;
    }
    known.versions.extend(new.versions);
    known.suites.extend(new.suites);
    known.environment.extend(new.environment);
    known.candidates.extend(new.candidates);
    known.kernel = new.kernel.or(known.kernel.take());
    known.image_made = new.image_made.or(known.image_made);
    known.image_cached = new.image_cached;
    known.image_manifest = new.image_manifest.or(known.image_manifest.take());
    extend(&mut known.image_options, new.image_options.into_iter());
    extend(&mut known.notes, new.notes.into_iter());
}

/// Adds what a list does not have, up to its limit.
pub(super) fn extend(list: &mut Vec<String>, items: impl Iterator<Item = String>) {
    for item in items {
        if list.len() < MAX_ITEMS && !list.contains(&item) {
            list.push(item);
        }
    }
}
