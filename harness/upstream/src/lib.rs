//! The profiles held against Kata's source, release by release.
//!
//! Two nets, for each runtime.
//! *Values* are read out of the source at every release and compared with what the profile of that release says: a value
//! that differs is wrong in the profile.
//! *Readings* are the functions that make arguments and those that speak QMP, the defaults, the shipped settings and the
//! guest kernel's options: when one changes, a person has to have read it and said which profile accounts for it, or why it
//! has no effect.
//! Whatever a profile says nothing about falls into the second net.
//! The options of Kata's own guest kernel (`distros/profiles/kernel`), what Kata's own build of QEMU insists on, and what the
//! generators and the tests take from Kata's source as fixed are compared one by one besides.
//!
//! Pre-releases (`3.2.0-rc0`) are in neither net by themselves: each lies between two releases that are read, nobody ships
//! one, and `main` has what comes after the newest release.
//! Some are taken for a profile's, because nothing changed between the release that they set out from and their own: their
//! values are compared with that profile, so that nothing came and went in between.
//!
//! Only git is run, read-only and with a deadline.

mod built;
mod checkout;
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
pub use compare::{compare, compare_family};
pub use constants::compare_constants;
pub use readings::{Readings, ReadingsError};
pub use report::{Difference, Report};
