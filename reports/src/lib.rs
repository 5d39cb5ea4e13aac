//! What a run left behind, and everything that is made of it.
//!
//! The journal is the only truth of a run.
//! [`run`] folds it into what became of each test, [`verdict`] judges that against the catalogue, and [`matrix`] is the result.
//! [`resume`] says what a journal leaves to be run, [`merge`] joins journals, [`bundle`] says what others need of a
//! run.
//! [`standing`] says where each capability stands beside the record; [`views`] are projections of that, and [`pipeline`]
//! says what of it makes a pipeline red.
//! [`bug`] makes one failure a report for whom it concerns.
//! What a guest or a package manager printed is untrusted: it passes [`redact`] once, when the journal is folded, and
//! every report is safe from there on.

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
