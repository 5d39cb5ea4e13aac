//! Reasons why a failure has no script, or no tracker that takes a report.

use super::form::Form;
use model::distro::DistroId;
use suites::outcome::Component;

/// Why a failure has no script, or no tracker takes a report of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BugError {
    /// The failure is nobody's fault.
    #[error("there is nothing to report. {why}")]
    NothingToReport {
        /// The reason, as a sentence.
        why: String,
    },
    /// The report is not taken in the form that was asked for.
    #[error("--to {to} cannot be used for this failure, which must be reported as {forms}. {why}")]
    NotTakenAs {
        /// The form that was asked for.
        to: Form,
        /// The forms in which it is taken.
        forms: String,
        /// Whose failure it is, as a sentence.
        why: String,
    },
    /// The tracker of a component's developers is not known.
    #[error("the bug tracker of {component}'s developers is unknown")]
    UnknownMakers {
        /// The component at fault.
        component: Component,
    },
    /// The tracker of a distro is not known.
    #[error("the bug tracker of {distro} is unknown, or takes none of these forms")]
    UnknownTracker {
        /// Its name.
        distro: DistroId,
    },
    /// The test has no reproducer.
    #[error("this test's failure cannot be shown by a script alone")]
    NoReproducer,
    /// The record has no path of QEMU.
    #[error("the record names no QEMU for the release")]
    NoQemu,
    /// The record has no path of virtiofsd.
    #[error("the record names no virtiofsd for the release")]
    NoVirtiofsd,
    /// The failure does not say what QEMU's lists lack.
    #[error("the failure does not name what is missing")]
    UnnamedInLists,
    /// The failure does not say which options the kernel lacks.
    #[error("the failure does not name the missing options")]
    UnnamedOptions,
    /// The failure is not the one that the test's reproducer shows.
    #[error("the failure is not that QEMU refuses an argument")]
    NoRefusedArgument,
    /// The argument that QEMU refuses cannot be passed alone.
    #[error("the {flag} that QEMU refuses refers to other arguments of Kata")]
    NamesOtherArguments {
        /// The argument's flag.
        flag: String,
    },
    /// The run has no arguments with the property that QEMU refuses.
    #[error("the run does not show to what Kata sets {of}.{name}")]
    UnknownValue {
        /// The type or object that has the property.
        of: String,
        /// The property.
        name: String,
    },
    /// The failure has no output of the daemon.
    #[error("the daemon did not say what it refuses")]
    SilentDaemon,
    /// The daemon's output consists only of paths, names and numbers.
    #[error("the daemon's output has no text that is always the same")]
    NoSteadyWords,
    /// The failure is not the one that the test's reproducer shows.
    #[error("the failure is not a device that QEMU refuses")]
    NoRefusedDevice,
    /// The failure has no output of QEMU.
    #[error("QEMU did not say why it refuses the device")]
    SilentQemu,
    /// Hiding names and folders would change the script's commands.
    #[error("a name or folder that must not leave this machine would be in the script")]
    Hidden,
    /// The test needs no share, or one that no daemon serves.
    #[error("the test has no share that the host serves")]
    NoServedShare,
}
