//! Forms in which trackers take reports.

mod bugzilla;
mod mail;
mod markdown;
mod plain;

use super::form::Form;
use super::sections::BugReport;

/// A report in the form of its tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenReport {
    /// The file's name.
    pub file: &'static str,
    /// The text.
    pub text: String,
    /// Instructions for a person to send the report.
    pub send: String,
}

impl BugReport<'_> {
    /// Writes the report in the form that its destination takes.
    ///
    /// # Errors
    /// None known: only a Bugzilla's fields are encoded, as JSON.
    pub fn written(&self) -> serde_json::Result<WrittenReport> {
        let address = &self.destination.address;
        Ok(match self.destination.form {
            Form::Debian => WrittenReport {
                file: "report.eml",
                text: mail::debian(self),
                send: format!(
                    "Mail it to {address}: `reportbug --resume-saved report.eml` shows, lets you edit, and sends it; so does \
                     any mail program, as plain text."
                ),
            },
            Form::Launchpad => WrittenReport {
                file: "report.eml",
                text: mail::launchpad(self),
                send: format!(
                    "Mail it to {address}, signed by an OpenPGP key that your account there has: an unsigned one is refused. \
                     Signing is left to you, for example by your mail program."
                ),
            },
            Form::Bugzilla => WrittenReport {
                file: "report.json",
                text: bugzilla::fields(self)?,
                send: format!(
                    "These are the fields of a new bug at {address}, for its form, or as they are for its REST interface \
                     (`bugzilla new` of python-bugzilla takes the same).{}",
                    match self.destination.has_packages {
                        true => "",
                        false => " The names of its components are unknown here: choose one.",
                    }
                ),
            },
            form @ (Form::Gitlab | Form::Kata) => WrittenReport {
                file: "report.md",
                text: markdown::issue(self, form),
                send: format!("Its text is a new issue at {address}; its title is the first line."),
            },
        })
    }

    /// Describes the destination, the reason and the preparations, for the person who files the report.
    pub fn where_to(&self, written: &WrittenReport) -> String {
        let mut out = format!("{}\n\n", self.subject());
        let mut paragraph = |text: &str| out.push_str(&format!("{}\n\n", plain::wrapped(text)));
        if let Some(ended) = self.support_ended() {
            paragraph(&ended);
        }
        paragraph(&self.route.why);
        if let Some(search) = &self.destination.search {
            paragraph(&format!("First check whether it is known: {search}"));
        }
        paragraph(&written.send);
        match &self.script {
            Ok(_) => paragraph(&self.reproduced.words()),
            Err(why) => paragraph(&format!("There is no reproducer without the test itself: {why}.")),
        }
        paragraph(&format!("Nothing was sent. Read {} before you do, and attach {}.", written.file, self.bundle));
        out.truncate(out.trim_end().len());
        out + "\n"
    }
}
