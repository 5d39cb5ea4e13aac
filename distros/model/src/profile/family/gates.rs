//! Gates of a profile: changes from one profile to the next, and checks of their citations.

use super::{Difference, FamilyError};
use crate::capability::Capability;
use crate::kata_version::KataVersion;
use crate::profile::{Gate, GateKind};
use serde_yaml::Mapping;

/// Adds, replaces and drops gates, as stated by a change.
pub(super) fn change(demands: &mut Mapping, difference: &Difference, profile: &str) -> Result<(), FamilyError> {
    let broken = |source| FamilyError::Profile { name: profile.to_owned(), source };
    let mut gates: Vec<Gate> = match demands.get("gates") {
        Some(gates) => serde_yaml::from_value(gates.clone()).map_err(broken)?,
        None => Vec::new(),
    };
    for name in &difference.drop_gates {
        let before = gates.len();
        gates.retain(|gate| gate.name != *name);
        if gates.len() == before {
            return Err(FamilyError::Gate { name: profile.to_owned(), gate: name.clone() });
        }
    }
    for new in &difference.gates {
        match gates.iter_mut().find(|gate| identity(gate) == identity(new)) {
            Some(gate) => *gate = new.clone(),
            None => gates.push(new.clone()),
        }
    }
    demands.insert("gates".into(), serde_yaml::to_value(gates).map_err(broken)?);
    Ok(())
}

/// Returns the identity of a gate: several capabilities may need one name, each with its own source.
fn identity(gate: &Gate) -> (GateKind, &str, Capability) {
    (gate.kind, &gate.name, gate.capability)
}

/// Fills in where a gate of a profile begins and what it cites: a gate that began within an earlier profile applies
/// from the first release of this one, and a source without a tag gets that of the release where the gate begins.
pub(super) fn place(gate: &mut Gate, profile_from: &str) {
    let profile_begin = profile_from.parse::<KataVersion>().ok();
    gate.from = gate.from.filter(|from| profile_begin.is_some_and(|profile_begin| profile_begin < *from));
    if !gate.source.contains('@') {
        let tag = gate.from.map_or_else(|| profile_from.to_owned(), |from| from.to_string());
        gate.source = format!("{}@{tag}", gate.source);
    }
}

/// Checks that a gate does not apply to releases before the one whose source it cites; `known` are the releases up to
/// the last of the profile's range.
pub(super) fn cites_what_it_is_for(
    gate: &Gate,
    profile: &str,
    profile_from: &str,
    known: &[KataVersion],
) -> Result<(), FamilyError> {
    let first = gate.from.or_else(|| profile_from.parse().ok());
    let cited = gate.source.rsplit_once('@').and_then(|(_, tag)| tag.parse::<KataVersion>().ok());
    let later = first.is_some_and(|first| cited.is_none_or(|cited| cited > first));
    let expected = match gate.from {
        Some(from) if !known.contains(&from) => "expected it to begin at a release of the profile",
        _ if later => "expected that release or one before it",
        _ => return Ok(()),
    };
    Err(FamilyError::Citation {
        name: profile.to_owned(),
        gate: gate.name.clone(),
        from: first.map_or_else(|| profile_from.to_owned(), |first| first.to_string()),
        cited: gate.source.clone(),
        expected,
    })
}
