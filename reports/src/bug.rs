//! One failure as a bug report: whose it is, where that is taken, and in which form.
//!
//! Nothing is sent, run or found out here: what a report says follows from the run, the record and the catalogue, and what
//! none of these knows is left out, or said to be unknown.
//! [`FailedTest`] is what is known of the failure, [`Route`] whose it is, [`Destination`] who takes it, [`script`] how it
//! is shown without this program, and [`Report`] all of that in the form that is taken there.

mod case;
mod error;
mod feature;
mod form;
mod forms;
mod log;
mod mended;
mod older;
mod options;
mod refused;
mod route;
pub mod script;
mod sections;
mod shared;
mod tracker;

pub use case::{FailedTest, Package, Sighting, passed_in};
pub use error::BugError;
pub use feature::Series;
pub use form::Form;
pub use forms::Written;
pub use log::Log;
pub use route::{Owner, Route, Ruling};
pub use sections::{Report, Reproduced};
pub use tracker::{Destination, destination};

#[cfg(test)]
mod tests;
