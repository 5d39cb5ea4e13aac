//! The catalogue: every test of every suite, in the order of running.
//!
//! The catalogue imports the suites, and nothing in this crate imports the catalogue.
//! Besides [`tests`], it re-exports the types that describe a test, for the code that plans, runs and reports tests.

use crate::{containers, filesystem, host, smoke};
use std::sync::OnceLock;

pub use crate::test::{Body, Configuration, Need, Place, Suite, Test};

/// Returns every test, in the order of running: a test that blocks others comes before them.
pub fn tests() -> &'static [Test] {
    static TESTS: OnceLock<Vec<Test>> = OnceLock::new();
    TESTS.get_or_init(|| {
        let suites = [smoke::tests(), host::tests(), filesystem::tests(), containers::tests()];
        suites.into_iter().flatten().collect()
    })
}

/// Returns the test with this id.
pub fn find(id: &str) -> Option<&'static Test> {
    tests().iter().find(|t| t.id == id)
}

/// Checks whether a filter chooses a test: it is part of the test's id, or the name of a capability that the test
/// proves.
///
/// A capability's name, such as `vmm.vsock`, has a dot, and no test's id has one.
pub fn chooses(filter: &str, test: &Test) -> bool {
    test.id.contains(filter) || test.proves.iter().any(|capability| capability.name() == filter)
}

/// Checks whether any of the filters chooses a test; without filters every test is chosen.
pub fn chooses_any(filters: &[String], test: &Test) -> bool {
    filters.is_empty() || filters.iter().any(|filter| chooses(filter, test))
}

/// Returns the body of a test.
pub fn body(test: &Test) -> Option<Body> {
    let row = match test.suite {
        Suite::Smoke => smoke::rows().find(|row| row.name == test.name),
        Suite::Host => host::rows().find(|row| row.name == test.name),
        Suite::Filesystem => filesystem::rows().find(|row| row.name == test.name),
        Suite::Containers => containers::rows().find(|row| row.name == test.name),
    };
    row.map(|row| row.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capability;
    use crate::citation::{self, AskedFor, Citation};
    use std::collections::BTreeSet;

    #[test]
    fn every_test_has_a_body_a_doc_and_known_blockers() {
        let ids: BTreeSet<&str> = tests().iter().map(|t| t.id.as_str()).collect();
        assert_eq!(ids.len(), tests().len(), "two tests have the same id");
        for test in tests() {
            assert!(body(test).is_some(), "{} has no body", test.id);
            assert!(test.doc.len() > 60, "{} has no doc comment to speak of: {:?}", test.id, test.doc);
            assert!(!test.proves.is_empty(), "{} proves nothing", test.id);
            for blocker in &test.blocked_by {
                assert!(ids.contains(blocker.as_str()), "{} is blocked by the unknown {blocker}", test.id);
            }
        }
    }

    #[test]
    fn a_filter_is_a_part_of_an_id_or_the_name_of_a_capability() {
        let chosen = |filter: &str| tests().iter().filter(|test| chooses(filter, test)).collect::<Vec<&Test>>();
        let vsock = chosen("vmm.vsock");
        assert!(!vsock.is_empty() && vsock.iter().all(|test| test.proves.contains(&Capability::VmmVsock)));
        assert_eq!(vsock.len(), tests().iter().filter(|test| test.proves.contains(&Capability::VmmVsock)).count());
        let renames = chosen("rename_is_atomic");
        assert!(!renames.is_empty() && renames.iter().all(|test| test.id.contains("rename_is_atomic")));
        assert!(chosen("vmm.vsoc").is_empty(), "part of a capability's name is no filter");
        assert!(tests().iter().all(|test| !test.id.contains('.')), "an id with a dot could be a capability's name");
        let capabilities = Capability::ALL.iter().map(|capability| capability.name());
        let names = tests().iter().map(|test| test.id.as_str()).chain(capabilities).collect::<Vec<&str>>();
        assert!(names.iter().all(|name| !name.contains(',')), "filters are separated by commas");
    }

    #[test]
    fn of_several_filters_each_chooses_tests() {
        let [vsock, rename] = ["vmm.vsock", "rename_is_atomic"];
        let both = [vsock.to_owned(), rename.to_owned()];
        for test in tests() {
            assert_eq!(chooses_any(&both, test), chooses(vsock, test) || chooses(rename, test), "{}", test.id);
            assert!(chooses_any(&[], test), "{}", test.id);
        }
    }

    #[test]
    fn a_test_states_its_property_and_cites_kata() {
        let test = find("smoke::qemu_has_what_katas_build_insists_on").unwrap();
        let property = "QEMU has the devices that Kata's own build of it insists on, beyond those of the default path.";
        assert_eq!(test.property(), property);
        let cited: Vec<String> = test.cited().iter().map(ToString::to_string).collect();
        assert_eq!(cited, ["tools/packaging/static-build/qemu/build-qemu.sh@4.1.0"]);
    }

    /// Each test cites Kata by its body's comment or by its share; the few bodies that Kata asks for nowhere are listed.
    #[test]
    fn every_test_cites_kata_or_is_a_listed_guard() {
        let mut guards = Vec::new();
        for test in tests() {
            let words: Vec<&str> = citation::candidates(&test.doc).collect();
            for word in &words {
                let parsed = word.parse::<Citation>();
                assert!(parsed.is_ok(), "{}: {}", test.id, parsed.unwrap_err());
            }
            match &test.asked_for {
                AskedFor::Body(cited) => {
                    let hint = "name the file of Kata's source that asks for it, with the tag that you have read";
                    assert!(!cited.is_empty(), "{} cites no `FILE@TAG` of Kata's: {hint}", test.id);
                    assert_eq!(cited.len(), words.len(), "{}", test.id);
                }
                AskedFor::Share(cited) => assert!(!cited.is_empty() && test.suite == Suite::Filesystem, "{}", test.id),
                AskedFor::Nowhere => {
                    assert_eq!(words, [""; 0], "{}: Kata asks for what a guard proves", test.id);
                    guards.push(test.id.as_str());
                }
            }
        }
        let listed = [
            "smoke::packages_are_installed",
            "smoke::binaries_belong_to_the_packages_named",
            "smoke::qemu_reports_the_packaged_version",
            "smoke::kernel_image_has_its_modules",
            "host::host_modules_come_from_the_running_kernels_package",
        ];
        assert_eq!(guards, listed, "tests that Kata's source asks for nowhere");
    }

    /// A capability is only listed if all of its tests read a list, and their names begin with `qemu_has_` or
    /// `kernel_has_`.
    #[test]
    fn a_capability_is_only_listed_if_its_tests_only_read_lists() {
        for capability in Capability::ALL {
            let mut proofs = tests().iter().filter(|t| t.proves.contains(capability)).peekable();
            let exists = proofs.peek().is_some();
            let listed = proofs.all(|t| t.name.starts_with("qemu_has_") || t.name.starts_with("kernel_has_"));
            assert_eq!(capability.is_only_listed(), exists && listed, "{capability}");
        }
    }

    #[test]
    fn a_blocker_comes_before_the_tests_it_blocks() {
        let mut seen = BTreeSet::new();
        for test in tests() {
            for blocker in &test.blocked_by {
                assert!(seen.contains(blocker.as_str()), "{} runs before its blocker {blocker}", test.id);
            }
            seen.insert(test.id.as_str());
        }
    }

    #[test]
    fn there_are_at_least_45_distinct_functions() {
        let names: BTreeSet<&str> = tests().iter().map(|t| t.name).collect();
        assert!(names.len() >= 45, "{}", names.len());
    }
}
