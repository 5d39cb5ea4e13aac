//! Evaluation of runs: from the journal to verdicts, reports and bug reports.
//!
//! The journal is the only source of truth about a run.
//! [`run`] folds it into the outcome of each test, [`verdict`] judges the outcomes against the catalogue, and
//! [`matrix`] is the result.
//! [`resume`] finds the tests that are still to be run, [`merge`] joins journals, and [`bundle`] lists the files that
//! others need to check a run.
//! [`standing`] compares each capability with the record, [`views`] are projections of this comparison, and
//! [`pipeline`] decides which differences make a pipeline red.
//! [`bug`] turns one failure into a bug report for its maintainers.
//! Output of guests and package managers is untrusted: [`redact`] cleans it once, when the journal is folded, so that
//! every report made from it is safe.

pub mod bug;
pub mod bundle;
mod component_package;
pub mod difference;
pub mod digest;
pub mod installed;
pub mod journal;
pub mod matrix;
pub mod merge;
pub mod package_change;
pub mod pipeline;
pub mod resume;
pub mod run;
pub mod schema;
pub mod signature;
pub mod standing;
pub mod verdict;
pub mod views;

pub use model::redact;

#[cfg(test)]
mod sample;
