//! What a run left behind, and everything that is made of it.
//!
//! The journal is the only truth of a run.
//! [`run`] folds it into what became of each test, [`verdict`] judges that against the catalogue, [`matrix`] is the result, and [`views`] are projections of the matrix.
//! What a guest or a package manager printed is untrusted: it passes [`redact`] once, when the journal is folded, and every report is safe from there on.

pub mod digest;
pub mod journal;
pub mod matrix;
pub mod run;
pub mod schema;
pub mod signature;
pub mod verdict;
pub mod views;

pub use model::redact;

#[cfg(test)]
mod sample;
