//! `docs/findings.md`, as it is read back: each failure of the records is to be in one of its findings.

use model::database::Database;
use model::profile::Profile;
use model::verified::Verdict;
use std::fmt;

/// What each finding says, a line each.
pub(crate) const KEYS: [&str; 9] =
    ["Whose", "Releases", "Profiles", "Capabilities", "Recorded as", "Versions", "Since", "Evidence", "To do"];

/// A capability that a release does not support, for one of its causes.
pub(crate) struct Failure {
    /// `debian:13`.
    pub(crate) release: String,
    /// `rs-4.1`.
    pub(crate) profile: String,
    /// `vmm.vfio`.
    pub(crate) capability: String,
    /// As the record has it.
    pub(crate) cause: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}: {}", self.release, self.profile, self.capability, self.cause)
    }
}

/// What the records say is unsupported under the maintained profiles, by the distros' own packages.
pub(crate) fn failures(database: &Database) -> Vec<Failure> {
    let mut all = Vec::new();
    for record in database.records() {
        let is_one = |profile: &str| Profile::maintained().any(|maintained| maintained.name == profile);
        for entry in record.verified.iter().filter(|entry| !entry.shaped && is_one(&entry.profile)) {
            let failed = entry.capabilities.iter().filter(|(_, verified)| verified.verdict == Verdict::Unsupported);
            for (capability, verified) in failed {
                let failure = |cause: String| Failure {
                    release: format!("{}:{}", record.distro, entry.release),
                    profile: entry.profile.clone(),
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

/// One of the document: a heading of the third level, and what stands below it.
pub(crate) struct Finding<'t> {
    /// Its heading.
    pub(crate) title: &'t str,
    /// Its lines `- KEY: TEXT`.
    lines: Vec<(&'t str, &'t str)>,
}

/// All of the document.
pub(crate) fn findings(text: &str) -> Vec<Finding<'_>> {
    let finding = |section| {
        let (title, rest) = str::split_once(section, '\n').unwrap_or((section, ""));
        let lines = rest.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(": ")).collect();
        Finding { title, lines }
    };
    text.split("\n### ").skip(1).map(finding).collect()
}

impl<'t> Finding<'t> {
    /// Whether it says all that a finding says.
    pub(crate) fn is_whole(&self) -> bool {
        KEYS.iter().all(|key| !self.line(key).is_empty())
    }

    /// Whether the failure is the one that it describes.
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

/// The code spans of a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}
