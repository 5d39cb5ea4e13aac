//! Facts about a cell, combined from all events of a journal.

use crate::journal::CellFacts;
use model::verified::Basis;
use suites::outcome::Component;

/// Maximum of notes, options or errors of one cell, and of notes and files of one attempt, that a report shows.
pub(super) const MAX_ITEMS: usize = 1000;

/// Moves out the candidates of a journal of schema 1, which are facts of the environment with these prefixes.
pub(super) fn take_out_candidates(facts: &mut CellFacts) {
    let CellFacts { environment, candidates, .. } = facts;
    environment.retain(|name, what| {
        let prefixes = ["candidate-", "brought-"];
        let Some(name) = prefixes.into_iter().find_map(|prefix| name.strip_prefix(prefix)) else { return true };
        // An unknown name counts as the component that most capabilities rest on.
        let component = Component::of_name(name).unwrap_or(Component::Qemu);
        candidates.entry(component).or_insert_with(|| what.to_string().into());
        false
    });
}

/// Adds later facts to earlier ones; a cell that was once emulated stays emulated.
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

/// Adds items that a list does not have, up to its limit.
pub(super) fn extend<T: PartialEq>(list: &mut Vec<T>, items: impl Iterator<Item = T>) {
    for item in items {
        if list.len() < MAX_ITEMS && !list.contains(&item) {
            list.push(item);
        }
    }
}
