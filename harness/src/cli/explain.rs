//! `kata-qualify list` and `explain`: list tests, capabilities, profiles and releases, and explain them. Nothing is
//! run.

use crate::cli::arguments::{ExplainArguments, Format, ListArguments, ListWhat};
use crate::cli::records::database;
use crate::cli::request::{chooses_any_test, no_such_test};
use crate::cli::{Exit, UsageError, print};
use model::profile::Profile;
use serde_json::{Value, json};
use suites::capability::Capability;
use suites::catalogue::{self, Test};
use suites::reproducer::Reproducer;

/// Lists tests, capabilities, profiles or releases.
pub(super) fn list(what: &ListArguments) -> anyhow::Result<Exit> {
    let mut rows: Vec<(String, String, Value)> = Vec::new();
    match what.what {
        ListWhat::Tests => {
            if let Some(unknown) = what.filters.iter().find(|filter| !chooses_any_test(filter)) {
                return Err(no_such_test(unknown).into());
            }
            for test in catalogue::tests().iter().filter(|test| catalogue::chooses_any(&what.filters, test)) {
                let first = test.property();
                let proves: Vec<&str> = test.proves.iter().map(|c| c.name()).collect();
                let value = json!({
                    "id": test.id, "suite": test.suite, "place": test.place, "proves": proves, "blames": test.blames,
                    "blocked-by": test.blocked_by, "profiles": test.profiles, "needs": test.all_needs(), "doc": test.doc,
                    "reproducer": test.reproducer.map(Reproducer::kind),
                });
                rows.push((test.id.to_string(), first, value));
            }
        }
        ListWhat::Capabilities => {
            for capability in Capability::ALL {
                let value = json!({"name": capability.name(), "meaning": capability.meaning()});
                rows.push((capability.name().to_owned(), capability.meaning().to_owned(), value));
            }
        }
        ListWhat::Profiles => {
            for profile in Profile::all() {
                let upkeep = match (profile.maintained, profile.ended()) {
                    (true, _) => "maintained",
                    (false, true) => "end of life",
                    (false, false) => "not released",
                };
                let text = format!("Kata {} ({upkeep}), taken from {}", profile.range, profile.tag);
                rows.push((profile.name.to_string(), text, serde_json::to_value(profile)?));
            }
        }
        ListWhat::Releases => {
            let database = database(what.records.as_deref())?;
            for record in database.records() {
                for release in &record.releases {
                    let names = release.names().join(", ");
                    let name = record.target(release).to_string();
                    rows.push((name.clone(), names.clone(), json!({"name": name, "names": release.names()})));
                }
            }
        }
    }
    if what.what != ListWhat::Tests {
        let is_in = |filter: &String, name: &str| name.contains(filter.as_str());
        if let Some(unknown) = what.filters.iter().find(|filter| !rows.iter().any(|(name, _, _)| is_in(filter, name))) {
            return Err(UsageError(format!("nothing has `{unknown}` in its name")).into());
        }
        rows.retain(|(name, _, _)| what.filters.is_empty() || what.filters.iter().any(|filter| is_in(filter, name)));
    }
    match what.format {
        Format::Json => {
            let values: Vec<Value> = rows.into_iter().map(|(_, _, value)| value).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&values)?))?;
        }
        Format::Human => {
            let width = rows.iter().map(|(name, _, _)| name.len()).max().unwrap_or(0);
            let lines = rows.iter().map(|(name, text, _)| format!("{name:width$}  {text}\n"));
            print(&lines.collect::<String>())?;
        }
    }
    Ok(Exit::AsRecorded)
}

/// Explains a test or a capability.
pub(super) fn explain(what: &ExplainArguments) -> anyhow::Result<Exit> {
    if let Ok(capability) = what.what.parse::<Capability>() {
        print(&reports::views::explain::capability(capability, catalogue::tests(), Profile::all()))?;
        return Ok(Exit::AsRecorded);
    }
    let named: Vec<&Test> = catalogue::tests().iter().filter(|t| t.id == *what.what || t.name == what.what).collect();
    let Some(test) = named.first() else {
        let distance = |name: &str| strsim::damerau_levenshtein(name, &what.what);
        let capability = Capability::ALL.iter().map(|c| c.name()).min_by_key(|name| distance(name));
        let test = catalogue::tests().iter().min_by_key(|t| distance(&t.id).min(distance(t.name)));
        let nearest = match (capability, test) {
            (Some(name), Some(test)) if distance(name) <= distance(&test.id).min(distance(test.name)) => name,
            (_, Some(test)) => &test.id,
            _ => "",
        };
        return Err(UsageError(format!(
            "`{}` is neither a test nor a capability; the nearest is {nearest} (`kata-qualify list` shows all)",
            what.what
        ))
        .into());
    };
    print(&reports::views::explain::test(test))?;
    if named.len() > 1 {
        let others: Vec<&str> = named.iter().skip(1).map(|t| t.id.as_str()).collect();
        print(&format!("\nthe same property elsewhere: {}\n", others.join(", ")))?;
    }
    Ok(Exit::AsRecorded)
}
