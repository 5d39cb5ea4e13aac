//! A file of verdicts, `verified/DISTRO.yaml` in a directory of records: written only by the harness, and always as a
//! whole.

use super::{VerifiedEntry, decode, forged};
use crate::decode::file_about_distro;
use crate::diagnostic::{Diagnostic, Severity, finish};
use crate::distro::{DistroId, ReleaseVersion};
use crate::source::RecordError;
use std::collections::BTreeSet;
use std::path::Path;

/// Directory of the files, inside one of records.
pub const FOLDER: &str = "verified";

const KEYS: &[&str] = &["apiVersion", "distro", "verified"];

/// Results of runs for one distro's releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// `debian`.
    pub distro: DistroId,
    /// The entries, in the order of the file.
    pub entries: Vec<VerifiedEntry>,
}

impl VerifiedFile {
    /// Parses a file's text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// All mistakes of form, with places.
    pub fn parse(path: &Path, text: &str) -> Result<VerifiedFile, RecordError> {
        let (file, mut diagnostics) = decode_file(path, text);
        diagnostics.retain(|d| d.severity == Severity::Error);
        match file {
            Some(file) if diagnostics.is_empty() => Ok(file),
            _ => Err(RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics }),
        }
    }

    /// Removes the entries that no harness can have written, and returns the findings about them.
    pub(crate) fn without_forged(&mut self, path: &Path, text: &str) -> Option<RecordError> {
        let (wrong, diagnostics): (BTreeSet<usize>, Vec<Diagnostic>) =
            forged::among(text, &self.entries, &[]).into_iter().unzip();
        let mut numbers = 0_usize..;
        self.entries.retain(|_| numbers.next().is_some_and(|number| !wrong.contains(&number)));
        let diagnostics = finish(diagnostics, text, &path.display().to_string());
        (!diagnostics.is_empty()).then(|| RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics })
    }
}

/// Everything that is wrong with a file's text; `releases` are the record's, none where they are not known.
pub(crate) fn lint(path: &Path, text: &str, releases: &[ReleaseVersion]) -> Vec<Diagnostic> {
    let (file, mut diagnostics) = decode_file(path, text);
    let entries = file.map(|file| file.entries).unwrap_or_default();
    diagnostics.extend(forged::among(text, &entries, releases).into_iter().map(|(_, finding)| finding));
    finish(diagnostics, text, &path.display().to_string())
}

fn decode_file(path: &Path, text: &str) -> (Option<VerifiedFile>, Vec<Diagnostic>) {
    let (file, diagnostics) = file_about_distro(path, text, "a file of verdicts", KEYS, decode::decode);
    (file.map(|(distro, entries)| VerifiedFile { distro, entries }), diagnostics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verified::{Verdict, VerifiedCause};

    #[test]
    fn a_verdicts_file_with_missing_or_unknown_keys_is_refused() {
        let wrong = |text: &str| VerifiedFile::parse(Path::new("verified/d.yaml"), text).unwrap_err().to_string();
        assert!(VerifiedFile::parse(Path::new("x"), "distro: d\nverified:\n").unwrap().entries.is_empty());
        assert!(wrong("distro: d\n").contains("`verified` is missing"));
        assert!(wrong("verified: []\n").contains("`distro` is missing"));
        let error = wrong("distro: d\nvmm: {name: qemu}\nverified: []\n");
        assert!(error.starts_with("verified/d.yaml:2:") && error.contains("has no key `vmm`"), "{error}");
        assert!(wrong("distro: d\nverified: {}\n").contains("a list that the harness writes"));
    }

    /// Returns a file with one entry that has these `capabilities:`.
    fn with_capabilities(capabilities: &str) -> Result<VerifiedFile, RecordError> {
        let head = "distro: d\nverified:\n  - release: \"1\"\n    arch: x86_64\n    profile: p\n    environment: vm\n";
        let run = "    basis: emulated\n    tested: 2026-01-01\n    harness: \"1\"\n    test-set: x\n";
        let text = format!("{head}{run}    capabilities: {capabilities}\n");
        VerifiedFile::parse(Path::new("verified/d.yaml"), &text)
    }

    #[test]
    fn an_invalid_cause_is_reported_with_its_line_and_advice() {
        let of = |cause: &str| with_capabilities(&format!("{{vmm.boot: {{verdict: unsupported, causes: [{cause}]}}}}"));
        let read = of("{component: qemu, test: smoke::guest_boots, message: \"no q35\"}, {message: x}").unwrap();
        let causes = &read.entries[0].capabilities[&crate::capability::Capability::VmmBoot].causes;
        let qemu = VerifiedCause::new(crate::component::Component::Qemu, "no q35")
            .shown_by("smoke::guest_boots".parse().unwrap());
        assert_eq!(*causes, [qemu, VerifiedCause::of_nobody("x")]);
        for (cause, expected) in [
            ("\"qemu: no q35 (smoke::guest_boots)\"", "expected a map with `component`, `test`, `message`, found text"),
            (
                "\"qemu: no q35 (smoke::guest_boots)\"",
                "qualify the release again; or convert the older form `qemu: no q35",
            ),
            ("{component: qmeu, message: x}", "did you mean `qemu`?"),
            ("{component: qemu}", "the key `message` is missing"),
            ("{tests: a, message: x}", "a cause has no key `tests`"),
        ] {
            let found = of(cause).unwrap_err().to_string();
            assert!(found.starts_with("verified/d.yaml:11:") && found.contains(expected), "{found}");
        }
        let alone = with_capabilities("{vmm.boot: {verdict: unsupported, causes: \"qemu: x\"}}").unwrap_err();
        assert!(alone.to_string().contains("causes: expected a list of maps with `component`"), "{alone}");
    }

    #[test]
    fn a_verdict_is_flaky_only_if_it_says_so() {
        let of = |flaky: &str| {
            let file = with_capabilities(&format!("{{vmm.boot: {{verdict: supported{flaky}}}}}"))?;
            Ok::<bool, RecordError>(file.entries[0].capabilities[&crate::capability::Capability::VmmBoot].flaky)
        };
        assert_eq!(
            (of("").unwrap(), of(", flaky: false").unwrap(), of(", flaky: true").unwrap()),
            (false, false, true)
        );
        let error = of(", flaky: often").unwrap_err().to_string();
        assert!(error.starts_with("verified/d.yaml:11:") && error.contains("`often`"), "{error}");
    }

    /// A failure that never passed is steady.
    #[test]
    fn only_a_pass_is_flaky() {
        for verdict in Verdict::ALL {
            let of = |flaky: bool| {
                // Only a capability that is only listed is offered, and it is never supported.
                let name = if *verdict == Verdict::Offered { "vmm.vfio" } else { "vmm.boot" };
                with_capabilities(&format!("{{{name}: {{verdict: {verdict}, flaky: {flaky}}}}}"))
            };
            assert!(of(false).is_ok(), "{verdict}");
            match of(true) {
                Ok(_) => assert!(verdict.has_passed(), "{verdict}"),
                Err(error) => {
                    let (error, why) = (error.to_string(), format!("`{verdict}` cannot be flaky: that is a test"));
                    assert!(!verdict.has_passed() && error.contains(&why), "{error}");
                    assert!(error.starts_with("verified/d.yaml:11:"), "{error}");
                }
            }
        }
    }

    #[test]
    fn invalid_package_names_and_versions_are_refused() {
        let with = |version: &str| {
            let head =
                "distro: d\nverified:\n  - release: \"1\"\n    arch: x86_64\n    profile: p\n    environment: vm\n";
            let run = "    basis: emulated\n    tested: 2026-01-01\n    harness: \"1\"\n    test-set: x\n";
            let text = format!("{head}{run}    versions:\n      {version}\n    capabilities: {{}}\n");
            VerifiedFile::parse(Path::new("verified/d.yaml"), &text).map(|file| file.entries.len())
        };
        assert_eq!(with("qemu-kvm: \"17:9.0-1\"").map_err(|e| e.to_string()), Ok(1));
        for (version, expected) in
            [("\"-o\": \"1\"", "`-o` is not a package name"), ("qemu: \"1 2\"", "`1 2` is not a package version")]
        {
            let error = with(version).unwrap_err().to_string();
            assert!(error.starts_with("verified/d.yaml:12:") && error.contains(expected), "{error}");
        }
    }
}
