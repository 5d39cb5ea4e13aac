//! Bug reports for single failures: whom the failure concerns, where it is reported, and in which form.
//!
//! Nothing is sent, run or investigated here: a report follows from the run, the record and the catalogue; facts that
//! none of them has are left out or called unknown.
//! [`FailedTest`] holds the facts about the failure, [`Route`] says whom it concerns, [`Destination`] who takes the
//! report, [`script`] reproduces it without this program, and [`BugReport`] combines them in the form that the
//! destination takes.

mod block;
mod case;
mod error;
mod feature;
mod fixed_upstream;
mod form;
mod forms;
mod log;
mod older;
mod options;
mod route;
pub mod script;
mod sections;
mod shared;
mod tracker;

pub use case::{FailedTest, FaultyPackage, Sighting, passed_in};
pub use error::BugError;
pub use feature::Series;
pub use form::Form;
pub use forms::WrittenReport;
pub use log::LogExcerpt;
pub use route::{Owner, Route, Ruling};
pub use sections::{BugReport, Reproduced};
pub use tracker::{Destination, destination};

#[cfg(test)]
mod tests;
