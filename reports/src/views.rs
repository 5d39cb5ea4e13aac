//! The projections of a run beside the record: they run nothing, decide nothing and can be made again at any time.

pub mod closing;
pub mod explain;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod proof;
pub mod published;
pub mod rates;
pub mod record;
pub mod side_by_side;
pub mod site;
pub mod terminal;
pub mod write;

pub(crate) mod causes;
mod disagreement;
mod marks;
mod overview;
pub(crate) mod wording;

#[cfg(test)]
mod same_reasons;
