//! Kata's configuration for a machine: from a record, a profile and what is installed.
//!
//! [`plan`] is pure: it decides from facts that were gathered before ([`Found`]).
//! Everything that touches files is apart from it: what is there ([`Found::gather`], [`locate`]), what Kata would read
//! ([`Merged`]), what is written and taken back ([`change`]).

pub mod change;
mod choose;
mod configured;
mod containerd;
mod crio;
mod edit;
mod found;
mod image;
mod keys;
mod locate;
pub mod lock;
mod merged;
mod own;
mod plan;
mod prepare;
mod runtime_files;
mod settings;
mod standing;
pub mod stray;
mod theirs;
mod today;
mod version;

pub use choose::{PassedOver, Share, ShareChoice, evidence};
pub use containerd::{Place, place};
pub use edit::{DROP_IN, drop_in, edited};
pub use found::{Daemon, Flavour, Found, Initrd, PackageDatabase};
pub use locate::{LocateError, Located, Sibling, locate, siblings};
pub use merged::{Merged, NotEffective, Problem};
pub use plan::{BlockAio, Boot, Configuration, Guest, Inputs, Note, PlanError, Wanting, plan};
pub use prepare::{HandlerChoice, PrepareError, Prepared, prepare};
pub use runtime_files::{Handler, HandlerError, shim};
pub use settings::{Setting, settings};
pub use standing::standing;
pub use theirs::{Fate, Theirs};
pub use version::{key_since, reads_drop_ins};
