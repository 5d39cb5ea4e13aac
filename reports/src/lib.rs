//! What a run left behind, and everything that is made of it.
//!
//! The journal is the only truth of a run.
//! [`run`] folds it into what became of each test, [`verdict`] judges that against the catalogue, [`matrix`] is the result, and the rest are projections of the matrix: they run nothing and can be made again at any time.
//! What a guest or a package manager printed is untrusted: it passes [`redact`] once, when the journal is folded, and every report is safe from there on.

pub mod agreement;
pub mod compare;
pub mod explain;
pub mod html;
pub mod journal;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod matrix;
pub mod published;
pub mod record;
pub use kata_osinfo::redact;
pub mod run;
pub mod terminal;
pub mod verdict;
pub mod write;

mod causes;
mod disagreements;
mod marks;

#[cfg(test)]
mod sample;

pub use write::write_all;
