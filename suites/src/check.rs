//! The result of a test's body, and the reasons for which a body stops.

use crate::outcome::{Component, FailureDetail, Grounds};

/// The result of a test's body: success, or the reason why the body stopped.
pub type Check = Result<(), Stop>;

/// Why a body stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stop")]
pub enum Stop {
    /// The property does not hold. `blames` overrides the component that the catalogue names.
    Fail {
        /// What was expected and what was seen instead.
        message: String,
        /// The component at fault, where the body knows better than the catalogue.
        blames: Option<Component>,
        /// The record's statements that do not hold, if the record is blamed: paths and names of packages.
        record: Vec<String>,
        /// Places in Kata's source that require the property, beyond those cited by the test's documentation:
        /// `FILE@TAG` each.
        #[serde(default)]
        asked_for: Vec<String>,
        /// The kind of observation that the failure rests on.
        #[serde(default)]
        grounds: Grounds,
        /// The observation as data.
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
        /// The error message.
        message: String,
    },
    /// A sandbox gave no answer, which an emulated machine may cause by itself. This is an error, and the next tests
    /// should run in a fresh machine.
    Unanswered {
        /// How long the sandbox was waited for, and which of its processes still run.
        message: String,
    },
}

impl Stop {
    /// Returns a failure: the property does not hold.
    pub fn fail(message: impl Into<String>) -> Stop {
        Stop::failed(message.into(), None, Vec::new())
    }

    /// Returns a failure that blames `component`.
    pub fn blame(component: Component, message: impl Into<String>) -> Stop {
        Stop::failed(message.into(), Some(component), Vec::new())
    }

    /// Returns a failure that blames the record for these statements: paths and names of packages.
    pub fn blame_record<S: Into<String>>(statements: impl IntoIterator<Item = S>, message: impl Into<String>) -> Stop {
        Stop::failed(message.into(), Some(Component::Record), statements.into_iter().map(Into::into).collect())
    }

    /// Sets the grounds of a failure; any other stop is unchanged.
    #[must_use]
    pub fn resting_on(mut self, what: Grounds) -> Stop {
        if let Stop::Fail { grounds, .. } = &mut self {
            *grounds = what;
        }
        self
    }

    /// Sets the detail of a failure; any other stop is unchanged.
    #[must_use]
    pub fn showing(mut self, what: FailureDetail) -> Stop {
        if let Stop::Fail { detail, .. } = &mut self {
            **detail = what;
        }
        self
    }

    /// Returns the message or reason of any kind of stop.
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

    /// Adds to a failure the places in Kata's source that require the property; any other stop is unchanged.
    ///
    /// The citations are kept apart from the message, because the same cause has other citations under another profile.
    #[must_use]
    pub fn citing<S: Into<String>>(mut self, sources: impl IntoIterator<Item = S>) -> Stop {
        if let Stop::Fail { asked_for, .. } = &mut self {
            asked_for.extend(sources.into_iter().map(Into::into));
        }
        self
    }

    /// Returns a skip: the environment lacks something.
    pub fn skip(reason: impl Into<String>) -> Stop {
        Stop::Skip { reason: reason.into() }
    }

    /// Returns an error: the harness is at fault.
    pub fn error(message: impl Into<String>) -> Stop {
        Stop::Error { message: message.into() }
    }
}

/// Turns a failed system call into a failed check whose message names the attempted operation, and whose detail is the
/// kernel's error.
pub trait Doing<T> {
    /// `what` is a gerund with the name of the thing: "renaming a over b".
    fn doing(self, what: impl std::fmt::Display) -> Result<T, Stop>;
}

impl<T, E: std::fmt::Display + 'static> Doing<T> for Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T, Stop> {
        self.map_err(|e| {
            Stop::fail(format!("{what}: {e}")).showing(FailureDetail::of_error(&e).unwrap_or(FailureDetail::Other))
        })
    }
}

/// Returns the message of a check that must fail.
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
    use super::{Doing as _, Stop};
    use crate::outcome::{FailureDetail, Grounds};

    fn grounds(stop: &Stop) -> Grounds {
        let Stop::Fail { grounds, .. } = stop else { panic!("{stop:?}") };
        *grounds
    }

    #[test]
    fn only_a_failure_is_measured_and_only_if_marked() {
        let failure = Stop::fail("200 descriptors");
        assert_eq!(grounds(&failure), Grounds::Waited);
        assert_eq!(grounds(&failure.resting_on(Grounds::Measured)), Grounds::Measured);
        assert_eq!(Stop::error("no daemon").resting_on(Grounds::Measured), Stop::error("no daemon"));
    }

    #[test]
    fn only_a_failure_has_a_detail_which_is_other_by_default() {
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
    fn a_failed_call_is_reported_as_text_and_as_data() {
        let failed: Result<(), _> = Err(std::io::Error::from_raw_os_error(libc::ENXIO));
        let expected = Stop::fail("making a fifo: No such device or address (os error 6)");
        let detail = FailureDetail::SystemCall { errno: libc::ENXIO };
        assert_eq!(failed.doing("making a fifo"), Err(expected.showing(detail)));
        assert_eq!(Err::<(), _>("no number").doing("parsing"), Err(Stop::fail("parsing: no number")));
    }

    #[test]
    fn only_a_failure_cites_sources() {
        let Stop::Fail { message, asked_for, .. } = Stop::fail("no q35").citing(["qemu_amd64.go@3.32.0"]) else {
            panic!("another stop")
        };
        assert_eq!((message.as_str(), &asked_for[..]), ("no q35", &["qemu_amd64.go@3.32.0".to_owned()][..]));
        assert_eq!(Stop::skip("no vsock").citing(["x.go@3.32.0"]), Stop::skip("no vsock"));
    }
}
