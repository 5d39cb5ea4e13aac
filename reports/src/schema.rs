//! JSON Schemas of the files that a run writes, generated from their types.

use crate::journal::JournalEntry;
use crate::views::json::Document;
use model::schema;

/// Returns the schema of a line of the journal.
///
/// # Errors
/// None known.
pub fn journal() -> serde_json::Result<String> {
    schema::of::<JournalEntry>()
}

/// Returns the schema of `results.json`.
///
/// # Errors
/// None known.
pub fn results() -> serde_json::Result<String> {
    schema::of::<Document<'static>>()
}

/// Returns the schema of a site's documents: an object with each document under its name.
///
/// # Errors
/// None known.
pub fn site() -> serde_json::Result<String> {
    schema::of::<crate::views::site::Documents<'static>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Event, RunFacts, RunFilter};
    use crate::sample;
    use serde_json::Value;
    use suites::outcome::Component;

    fn validator(schema: &str) -> jsonschema::Validator {
        jsonschema::validator_for(&serde_json::from_str::<Value>(schema).unwrap()).unwrap()
    }

    fn assert_valid(validator: &jsonschema::Validator, value: &Value) {
        let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path)).collect();
        assert!(errors.is_empty(), "{errors:?} in {value}");
    }

    #[test]
    fn written_documents_match_their_schema() {
        let lines = validator(&journal().unwrap());
        for entry in sample::journal().entries.iter().chain(&sample::small_journal().entries) {
            assert_valid(&lines, &serde_json::to_value(entry).unwrap());
        }
        let mut maker = sample::Maker::default();
        maker.start(&["go-3.29"], &["13"]);
        for filter in [RunFilter::Matching("host::".to_owned()), RunFilter::RerunOf("r1".to_owned())] {
            if let Event::RunStarted { facts, .. } = &mut maker.journal.entries[0].event {
                *facts = Some(RunFacts { filter: Some(filter), repeat: Some(5), ..RunFacts::default() });
            }
            assert_valid(&lines, &serde_json::to_value(&maker.journal.entries[0]).unwrap());
        }
        let documents = validator(&results().unwrap());
        // One of these matrices has changes against the record.
        let recorded = sample::recorded();
        let lost = |test: &str| (test == sample::BOOT).then(|| sample::fail(Component::Kernel, "it does not boot"));
        for matrix in [sample::matrix(), sample::small_matrix(), sample::judged(&sample::run(lost))] {
            let standings = sample::compared_with_record(&matrix, &recorded);
            assert_valid(&documents, &serde_json::from_str(&crate::views::json::render(&standings).unwrap()).unwrap());
        }
    }

    #[test]
    fn missing_keys_and_unknown_values_violate_the_schema() {
        let lines = validator(&journal().unwrap());
        let journal = sample::small_journal();
        let failed = journal.entries.iter().map(|entry| serde_json::to_value(entry).unwrap());
        let failed = failed.filter(|line| line["event"]["outcome"]["outcome"] == "fail").collect::<Vec<Value>>();
        assert!(!failed.is_empty());
        for line in failed {
            for key in ["component", "observed", "grounds", "signature"] {
                let mut line = line.clone();
                line["event"]["outcome"].as_object_mut().unwrap().remove(key);
                assert!(!lines.is_valid(&line), "{key} may lack: {line}");
            }
            for (place, value) in [
                ("/event/event", "test-ended"),
                ("/event/outcome/component", "nobody"),
                ("/event/outcome/grounds", "guessed"),
            ] {
                let mut line = line.clone();
                *line.pointer_mut(place).unwrap() = value.into();
                assert!(!lines.is_valid(&line), "{line}");
            }
        }
    }
}
