//! The projections of the matrix: they run nothing and can be made again at any time.

pub mod compare;
pub mod explain;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod published;
pub mod record;
pub mod terminal;
pub mod write;

mod causes;
mod disagreement;
mod overview;
mod wording;
