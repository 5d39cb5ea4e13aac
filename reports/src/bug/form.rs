//! Names of the forms of reports.

use std::fmt;

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A mail with pseudo-headers, for Debian's tracker.
    Debian,
    /// The fields of a new bug, for a Bugzilla.
    Bugzilla,
    /// A mail with commands, for Launchpad.
    Launchpad,
    /// An issue in Markdown, for GitLab and GitHub.
    Gitlab,
    /// An issue in Markdown with the headings of Kata's template.
    Kata,
}

impl Form {
    /// Returns the form's name on the command line and elsewhere.
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
