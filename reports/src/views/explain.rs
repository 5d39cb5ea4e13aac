//! Output of `explain TEST` and `explain CAPABILITY`.

use crate::standing::is_optional;
use crate::verdict::{Evidence, Requirements, judge};
use model::profile::Profile;
use model::verified::Verdict;
use suites::capability::Capability;
use suites::catalogue::{Place, Test};
use suites::citation::AskedFor;
use suites::reproducer::Reproducer;

/// Describes a test: its documentation, the capabilities that it proves, the component that it blames and the tests
/// that block it.
pub fn test(test: &Test) -> String {
    let mut out = format!("{}\n\n", test.id);
    for line in test.doc.trim().lines() {
        out.push_str(&format!("    {}\n", line.trim_end()).replace("    \n", "\n"));
    }
    let proves: Vec<&str> = test.proves.iter().map(|c| c.name()).collect();
    let mut rows = vec![("proves", or_nothing(proves.join(", "))), ("blames", test.blames.name().to_owned())];
    rows.extend(asked_for(test).map(|text| ("asked for", text)));
    rows.extend(facts(test));
    rows.insert(rows.len() - 3, ("blocked by", or_nothing(test.blocked_by.join(", "))));
    out.push('\n');
    for (name, value) in rows {
        out.push_str(&format!("{name:<11} {value}\n"));
    }
    out
}

/// Returns a test's profiles, place and needs, each with a label.
pub(crate) fn facts(test: &Test) -> Vec<(&'static str, String)> {
    let profiles = if test.profiles.is_empty() { "all".to_owned() } else { test.profiles.join(", ") };
    let mut all = vec![("profiles", profiles), ("runs", place(test.place).to_owned())];
    all.extend(test.share.map(|share| ("share", share.name().to_owned())));
    let needs: Vec<String> = test.all_needs().iter().filter_map(word).collect();
    all.extend([("needs", or_nothing(needs.join(", "))), ("deadline", format!("{} s", test.seconds))]);
    all.push(("reproducer", test.reproducer.map_or("none", Reproducer::kind).to_owned()));
    all
}

/// Describes a capability: its meaning, and the tests that it requires under each profile.
pub fn capability(capability: Capability, catalogue: &[Test], profiles: &[Profile]) -> String {
    let mut out = format!("{}\n\n    {}\n\n", capability.name(), capability.meaning());
    // Without any evidence, the judgement contains only statements of the catalogue and the profiles.
    let nothing = Evidence::default();
    let mut groups: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for profile in profiles {
        let requirements = Requirements::new(catalogue, profile);
        let lines = match judge(&requirements, &nothing).remove(&capability) {
            Some(j) if j.verdict == Verdict::NotApplicable => vec!["not applicable".to_owned()],
            Some(j) if j.required == 0 => vec!["no test exists for it yet".to_owned()],
            Some(j) => {
                let strict = if is_optional(capability, &j) { ", optional under --strict" } else { "" };
                let word = if capability.is_only_listed() { "offered, and no more," } else { "supported" };
                let head = format!("{word} when all of these have passed ({}{strict}):", j.required);
                let tests = requirements.of(capability);
                std::iter::once(head).chain(tests.iter().map(|t| format!("  {}", t.id))).collect()
            }
            None => continue,
        };
        match groups.iter_mut().find(|(_, known)| *known == lines) {
            Some((names, _)) => names.push(&profile.name),
            None => groups.push((vec![&profile.name], lines)),
        }
    }
    for (names, lines) in groups {
        out.push_str(&format!("{}\n", names.join(", ")));
        for line in lines {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

/// Returns where Kata asks for what a test proves, if the documentation does not say it.
fn asked_for(test: &Test) -> Option<String> {
    match &test.asked_for {
        AskedFor::Body(_) => None,
        AskedFor::Share(places) => {
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            Some(format!(
                "as of any filesystem; Kata gives containers their files by this share in {}",
                places.join(", ")
            ))
        }
        AskedFor::Nowhere => Some("nowhere: it guards what other tests rest on".to_owned()),
    }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "nothing".to_owned() } else { text }
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Environment => "in the environment, without a guest",
        Place::Vcpu => "in the environment, with a vCPU of its own under KVM",
        Place::OwnGuest => "in the environment, with guests of its own",
        Place::Guest => "inside a guest",
        Place::Pair => "in the environment and inside a guest",
        Place::Machine => "with a guest that has no share",
        Place::Runc => "in the environment, in containers under runc",
        Place::Kata => "in the environment, in containers under Kata",
    }
}

/// Returns the word that a value serialises to.
fn word(value: &impl serde::Serialize) -> Option<String> {
    Some(serde_json::to_value(value).ok()?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
