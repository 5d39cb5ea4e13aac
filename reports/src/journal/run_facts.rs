//! Parameters of a run as data, on which reports base decisions; the same parameters in words are for people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The parameters of a run, other than its cells and profiles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct RunFacts {
    /// The tests, if not all.
    pub filter: Option<RunFilter>,
    /// How often each test was run, if more than once.
    pub repeat: Option<u32>,
    /// The memory of each virtual machine in MiB, if machines were asked for by name.
    pub vm_memory_mib: Option<u32>,
    /// Whether the caller's own keys vouch for packages.
    pub has_callers_keys: bool,
    /// Whether the caller supplied an image; its checksum identifies it, but not its maker.
    pub has_callers_image: bool,
    /// Whether the run was `--strict`: its exit code had to demand that everything required is supported.
    pub strict: bool,
    /// The mirrors that could not be asked which recorded entries are stale (`--stale`), with the reason: the run may
    /// lack cells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<String>,
}

/// The selection of tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunFilter {
    /// Tests that match any of these filters, which are separated by commas: a part of an id, or a capability's name.
    Matching(String),
    /// Tests that did not pass, or have no result, in the run with this id.
    RerunOf(String),
}

impl RunFilter {
    /// Joins the filters of a command line, none of which has a comma; `None` without filters.
    ///
    /// They are one text, as a single filter is, so that older programs can read them.
    pub fn matching(filters: &[String]) -> Option<RunFilter> {
        (!filters.is_empty()).then(|| RunFilter::Matching(filters.join(",")))
    }

    /// Returns the filters of the command line; none for a rerun.
    pub fn filters(&self) -> Vec<&str> {
        match self {
            RunFilter::Matching(text) => text.split(',').collect(),
            RunFilter::RerunOf(_) => Vec::new(),
        }
    }
}

/// For people only: no decision depends on this text.
impl fmt::Display for RunFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunFilter::Matching(text) => f.write_str(text),
            RunFilter::RerunOf(run) => write!(f, "rerun of {run}"),
        }
    }
}

impl RunFacts {
    /// Returns a journal's parameters: its data, or for an older journal those in the words of its filter and options.
    /// Whether such a run was strict is only in its command line ([`RunFacts::was_strict`]).
    pub fn of_run_start(facts: Option<&RunFacts>, filter: Option<&str>, options: &[String]) -> RunFacts {
        facts.cloned().unwrap_or_else(|| RunFacts::of_words(filter, options))
    }

    /// Checks whether a run was strict: by its parameters, or without them by its command line.
    pub fn was_strict(facts: Option<&RunFacts>, argv: &[String]) -> bool {
        facts.map_or_else(|| argv.iter().any(|word| word == "--strict"), |facts| facts.strict)
    }

    /// Checks whether anybody but the distro vouches for packages.
    pub fn is_shaped(&self) -> bool {
        self.has_callers_keys || self.has_callers_image
    }

    /// Returns the option that names the machines' memory, if it is given.
    pub fn vm_memory_option(&self) -> Option<String> {
        self.vm_memory_mib.map(|mib| format!("--vm-memory {mib}"))
    }

    /// Parses the words of journals that have no data; they are not written any more.
    fn of_words(filter: Option<&str>, options: &[String]) -> RunFacts {
        let value = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix(' '));
        let image = |option: &String| ["--cloud-image ", "--oci-image "].iter().any(|name| option.starts_with(name));
        RunFacts {
            filter: filter.map(|text| match text.strip_prefix("rerun of ") {
                Some(run) => RunFilter::RerunOf(run.to_owned()),
                None => RunFilter::Matching(text.to_owned()),
            }),
            repeat: value("--repeat").and_then(|times| times.parse().ok()),
            vm_memory_mib: value("--vm-memory").and_then(|mib| mib.parse().ok()),
            has_callers_keys: options.iter().any(|option| option == "--mirror-key"),
            has_callers_image: options.iter().any(image),
            strict: false,
            unasked: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::strings;

    fn of_words(filter: Option<&str>, options: &[&str]) -> RunFacts {
        RunFacts::of_run_start(None, filter, &strings(options))
    }

    #[test]
    fn facts_of_an_older_journal_are_parsed_from_its_options() {
        assert_eq!(of_words(None, &["--offline", "--mirror", "--seed 7"]), RunFacts::default());
        let filter = |text| of_words(Some(text), &[]).filter;
        assert_eq!(filter("host::"), Some(RunFilter::Matching("host::".to_owned())));
        assert_eq!(filter("rerun of r1"), Some(RunFilter::RerunOf("r1".to_owned())));
        let facts = of_words(None, &["--repeat 5", "--vm-memory 4096", "--mirror-key"]);
        assert_eq!((facts.repeat, facts.vm_memory_mib), (Some(5), Some(4096)));
        assert!(facts.has_callers_keys && facts.is_shaped());
        for image in ["--cloud-image x.qcow2", "--oci-image x.tar"] {
            for named in [image.to_owned(), format!("{image}#sha256:00")] {
                assert!(of_words(None, &[&named]).is_shaped(), "{named}");
            }
        }
    }

    #[test]
    fn filters_are_stored_as_one_text() {
        let several = strings(&["host::", "vmm.vsock"]);
        let filter = RunFilter::matching(&several).unwrap();
        assert_eq!(filter, RunFilter::Matching("host::,vmm.vsock".to_owned()));
        assert_eq!(filter.filters(), several);
        assert_eq!(RunFilter::matching(&[]), None);
        assert_eq!(RunFilter::RerunOf("r1".to_owned()).filters(), [""; 0]);
    }

    #[test]
    fn strictness_of_an_older_journal_is_read_from_its_command_line() {
        let argv = strings(&["kata-qualify", "run", "--strict"]);
        assert!(RunFacts::was_strict(None, &argv) && !RunFacts::was_strict(None, &argv[..2]));
        assert!(!RunFacts::was_strict(Some(&RunFacts::default()), &argv));
        assert!(RunFacts::was_strict(Some(&RunFacts { strict: true, ..RunFacts::default() }), &[]));
    }

    #[test]
    fn facts_given_as_data_are_not_parsed_from_options() {
        let words = strings(&["--repeat 5", "--mirror-key", "--oci-image x.tar", "--vm-memory 4096"]);
        for facts in [RunFacts::default(), RunFacts { repeat: Some(2), ..RunFacts::default() }] {
            assert_eq!(RunFacts::of_run_start(Some(&facts), Some("rerun of r1"), &words), facts);
        }
    }

    #[test]
    fn facts_are_serialised_by_name_and_missing_ones_have_defaults() {
        let facts = RunFacts { filter: Some(RunFilter::RerunOf("r1".to_owned())), ..RunFacts::default() };
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.starts_with(r#"{"filter":{"rerun-of":"r1"},"repeat":null,"vm-memory-mib":null,"#), "{text}");
        assert_eq!(serde_json::from_str::<RunFacts>(&text).unwrap(), facts);
        assert_eq!(serde_json::from_str::<RunFacts>(r#"{"filter":{"rerun-of":"r1"}}"#).unwrap(), facts);
    }
}
