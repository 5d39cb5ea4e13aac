//! What a test's body returns, and how it says why it stopped.

use crate::outcome::{Component, FailureDetail, Grounds};

/// The result of a test's body: nothing to say, or why it stopped.
pub type Check = Result<(), Stop>;

/// Why a body stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stop")]
pub enum Stop {
    /// The property does not hold. `blames` overrides the component that the catalogue names.
    Fail {
        /// What was expected and what was seen.
        message: String,
        /// The component at fault, where the body knows better than the catalogue.
        blames: Option<Component>,
        /// What the record says and does not hold, where it is the record that is blamed: paths, names of packages.
        record: Vec<String>,
        /// Where Kata's source asks for it, beyond what the test's documentation cites: a file and a tag each.
        #[serde(default)]
        asked_for: Vec<String>,
        /// What it rests on.
        #[serde(default)]
        grounds: Grounds,
        /// What it shows, as data.
        #[serde(default)]
        detail: Box<FailureDetail>,
    },
    /// The environment cannot show the property either way; the reason names what it lacks.
    Skip {
        /// What the environment lacks.
        reason: String,
    },
    /// The harness or the infrastructure failed, never the distro.
    Error {
        /// What went wrong.
        message: String,
    },
    /// A sandbox gave no answer, which an emulated machine may cause by itself: an error, and what comes next is better
    /// tried in a fresh machine.
    Unanswered {
        /// How long, and what runs of the sandbox.
        message: String,
    },
}

impl Stop {
    /// The property does not hold.
    pub fn fail(message: impl Into<String>) -> Stop {
        Stop::failed(message.into(), None, Vec::new())
    }

    /// The property does not hold, and `component` is at fault.
    pub fn blame(component: Component, message: impl Into<String>) -> Stop {
        Stop::failed(message.into(), Some(component), Vec::new())
    }

    /// The property does not hold because of what the record says: these paths and names of packages.
    pub fn blame_record<S: Into<String>>(said: impl IntoIterator<Item = S>, message: impl Into<String>) -> Stop {
        Stop::failed(message.into(), Some(Component::Record), said.into_iter().map(Into::into).collect())
    }

    /// A failure with what it rests on; it changes no other stop.
    #[must_use]
    pub fn resting_on(mut self, what: Grounds) -> Stop {
        if let Stop::Fail { grounds, .. } = &mut self {
            *grounds = what;
        }
        self
    }

    /// A failure with what it shows as data; it changes no other stop.
    #[must_use]
    pub fn showing(mut self, what: FailureDetail) -> Stop {
        if let Stop::Fail { detail, .. } = &mut self {
            **detail = what;
        }
        self
    }

    /// What it says, whatever it is.
    pub fn words(self) -> String {
        match self {
            Stop::Fail { message, .. }
            | Stop::Error { message }
            | Stop::Unanswered { message }
            | Stop::Skip { reason: message } => message,
        }
    }

    fn failed(message: String, blames: Option<Component>, record: Vec<String>) -> Stop {
        let (asked_for, grounds, detail) = (Vec::new(), Grounds::Waited, Box::new(FailureDetail::Other));
        Stop::Fail { message, blames, record, asked_for, grounds, detail }
    }

    /// A failure that also says where Kata's source asks for what does not hold; it changes no other stop.
    ///
    /// These stand beside the message and not in it: under another profile the same cause has other citations.
    #[must_use]
    pub fn citing<S: Into<String>>(mut self, sources: impl IntoIterator<Item = S>) -> Stop {
        if let Stop::Fail { asked_for, .. } = &mut self {
            asked_for.extend(sources.into_iter().map(Into::into));
        }
        self
    }

    /// The environment lacks something.
    pub fn skip(reason: impl Into<String>) -> Stop {
        Stop::Skip { reason: reason.into() }
    }

    /// Our own fault.
    pub fn error(message: impl Into<String>) -> Stop {
        Stop::Error { message: message.into() }
    }
}

/// Turns a failed system call into a failed check that says what was being done.
pub trait Doing<T> {
    /// `what` is a gerund with the name of the thing: "renaming a over b".
    fn doing(self, what: impl std::fmt::Display) -> Result<T, Stop>;
}

impl<T, E: std::fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T, Stop> {
        self.map_err(|e| Stop::fail(format!("{what}: {e}")))
    }
}

/// What a check that must fail says.
#[cfg(test)]
#[track_caller]
pub(crate) fn message(check: Check) -> String {
    match check {
        Err(Stop::Fail { message, .. }) => message,
        other => panic!("expected a failure, got {other:?}"),
    }
}

/// Fails the check with the formatted message unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::check::Stop::fail(format!($($message)+)));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::Stop;
    use crate::outcome::{FailureDetail, Grounds};

    fn grounds(stop: &Stop) -> Grounds {
        let Stop::Fail { grounds, .. } = stop else { panic!("{stop:?}") };
        *grounds
    }

    #[test]
    fn only_a_failure_is_measured_and_none_by_itself() {
        let failure = Stop::fail("200 descriptors");
        assert_eq!(grounds(&failure), Grounds::Waited);
        assert_eq!(grounds(&failure.resting_on(Grounds::Measured)), Grounds::Measured);
        assert_eq!(Stop::error("no daemon").resting_on(Grounds::Measured), Stop::error("no daemon"));
    }

    #[test]
    fn only_a_failure_shows_something_and_none_by_itself() {
        let detail = |stop: Stop| match stop {
            Stop::Fail { detail, .. } => Some(*detail),
            Stop::Skip { .. } | Stop::Error { .. } | Stop::Unanswered { .. } => None,
        };
        let failure = Stop::fail("200 descriptors");
        assert_eq!(detail(failure.clone()), Some(FailureDetail::Other));
        assert_eq!(detail(failure.showing(FailureDetail::NoFileHandles)), Some(FailureDetail::NoFileHandles));
        assert_eq!(detail(Stop::error("no daemon").showing(FailureDetail::NoFileHandles)), None);
    }

    #[test]
    fn only_a_failure_cites() {
        let Stop::Fail { message, asked_for, .. } = Stop::fail("no q35").citing(["qemu_amd64.go@3.32.0"]) else {
            panic!("another stop")
        };
        assert_eq!((message.as_str(), &asked_for[..]), ("no q35", &["qemu_amd64.go@3.32.0".to_owned()][..]));
        assert_eq!(Stop::skip("no vsock").citing(["x.go@3.32.0"]), Stop::skip("no vsock"));
    }
}
