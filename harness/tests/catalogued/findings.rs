//! Parsing of `docs/findings.md`: each failure in the records must be in one of its findings.

use model::database::Database;
use model::profile::Profile;
use model::verified::Verdict;
use std::fmt;

/// Keys that each finding must have, one line each.
pub(crate) const KEYS: [&str; 9] =
    ["Whose", "Releases", "Profiles", "Capabilities", "Recorded as", "Versions", "Since", "Evidence", "To do"];

/// A capability that a release does not support, with one of its causes.
pub(crate) struct Failure {
    /// `debian:13`.
    pub(crate) release: String,
    /// `rs-4.1`.
    pub(crate) profile: String,
    /// `vmm.vfio`.
    pub(crate) capability: String,
    /// The cause as recorded.
    pub(crate) cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}: {}", self.release, self.profile, self.capability, self.cause)
    }
}

/// Returns the capabilities that are unsupported under the maintained profiles with the distros' own packages.
pub(crate) fn failures(database: &Database) -> Vec<Failure> {
    let mut all = Vec::new();
    for record in database.records() {
        let is_maintained = |profile: &str| Profile::maintained().any(|maintained| maintained.name == profile);
        for entry in record.verified.iter().filter(|entry| !entry.shaped && is_maintained(&entry.profile)) {
            let failed = entry.capabilities.iter().filter(|(_, verified)| verified.verdict == Verdict::Unsupported);
            for (capability, verified) in failed {
                let failure = |cause: String| Failure {
                    release: format!("{}:{}", record.distro, entry.release),
                    profile: entry.profile.to_string(),
                    capability: capability.name().to_owned(),
                    cause,
                };
                if verified.causes.is_empty() {
                    all.push(failure(String::new()));
                }
                all.extend(verified.causes.iter().map(ToString::to_string).map(failure));
            }
        }
    }
    all
}

/// One finding: a third-level heading and the text below it.
pub(crate) struct Finding<'t> {
    /// The heading.
    pub(crate) title: &'t str,
    /// The lines `- KEY: TEXT`.
    lines: Vec<(&'t str, &'t str)>,
}

/// Returns all findings of the document.
pub(crate) fn findings(text: &str) -> Vec<Finding<'_>> {
    let finding = |section| {
        let (title, rest) = str::split_once(section, '\n').unwrap_or((section, ""));
        let lines = rest.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(": ")).collect();
        Finding { title, lines }
    };
    text.split("\n### ").skip(1).map(finding).collect()
}

impl<'t> Finding<'t> {
    /// Returns whether the finding has all keys.
    pub(crate) fn is_whole(&self) -> bool {
        KEYS.iter().all(|key| !self.line(key).is_empty())
    }

    /// Returns whether the finding describes this failure.
    pub(crate) fn is_about(&self, failure: &Failure) -> bool {
        self.line("Releases").split(", ").any(|release| release == failure.release)
            && spans(self.line("Profiles")).any(|profile| profile == failure.profile)
            && spans(self.line("Capabilities")).any(|capability| capability == failure.capability)
            && spans(self.line("Recorded as")).any(|words| failure.cause.contains(words))
    }

    fn line(&self, key: &str) -> &'t str {
        self.lines.iter().find(|(name, _)| *name == key).map_or("", |(_, text)| *text)
    }
}

/// Returns the code spans of a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}
