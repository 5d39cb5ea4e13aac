//! The forms of reports, by their names.

use std::fmt;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A mail with pseudo-headers, for Debian's tracker.
    Debian,
    /// The fields of a new bug, for a Bugzilla.
    Bugzilla,
    /// A mail with commands, for Launchpad.
    Launchpad,
    /// An issue in Markdown: GitLab's and GitHub's.
    Gitlab,
    /// The same under the heads of Kata's template.
    Kata,
}

impl Form {
    /// The word for it, on the command line and elsewhere.
    pub fn name(self) -> &'static str {
        match self {
            Form::Debian => "debian",
            Form::Bugzilla => "bugzilla",
            Form::Launchpad => "launchpad",
            Form::Gitlab => "gitlab",
            Form::Kata => "kata",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
