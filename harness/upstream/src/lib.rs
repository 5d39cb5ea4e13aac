//! Comparison of the profiles with Kata's source, release by release.
//!
//! There are two checks for each runtime.
//! *Values* are read from the source at every release and compared with the profile of that release; a value that
//! differs is wrong in the profile.
//! *Readings* cover the functions that make arguments or speak QMP, the defaults, the shipped settings and the guest
//! kernel's options. When one of them changes, a person must have read the change and recorded which profile accounts
//! for it, or why it has no effect.
//! Anything that is in no profile is caught only by the second check.
//! Compared one by one in addition: the options of Kata's own guest kernel (`distros/profiles/kernel`), the
//! requirements of Kata's own QEMU build, and the constants that the generators and the tests take from Kata's source.
//! Files that are cited elsewhere are only looked up at their tags.
//!
//! Pre-releases (`3.2.0-rc0`) are not checked for their own sake: each lies between two releases that are read, no
//! distribution ships one, and `main` has everything after the newest release.
//! Some pre-releases are assigned to a profile, because nothing changed between the preceding release and their own.
//! Their values are compared with this profile, to detect changes that were reverted before the release.
//!
//! Only git is run, read-only and with a deadline.

mod built;
mod checkout;
mod citations;
mod compare;
mod constants;
mod go;
mod kernel;
mod qmp;
mod readings;
mod report;
mod rs;
mod source;
mod values;

pub use built::compare_build;
pub use checkout::{Checkout, CheckoutError};
pub use citations::look_up_citations;
pub use compare::{compare, compare_family};
pub use constants::compare_constants;
pub use readings::{Readings, ReadingsError};
pub use report::{Report, SourceDifference};
