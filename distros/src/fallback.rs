//! What to do where a distro does not have what Kata needs: use the next best, install, describe one's own, or build.

mod build;

pub use build::{Component, Instructions, instructions};

use crate::configure::{Configuration, Inputs, PassedOver, PlanError, Wanting, plan};
use serde::Serialize;

/// The way out, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Way {
    /// Kata can be configured with what is there; what was preferred and passed over is in it.
    Configure {
        /// The configuration.
        configuration: Box<Configuration>,
    },
    /// Packages of the distro are missing.
    Install {
        /// What is missing and what brings it.
        wanting: Wanting,
    },
    /// The distro does not package it: the admin's own must be described.
    Describe {
        /// `qemu`, `kernel`.
        component: String,
        /// A record for `/etc/kata-osinfo`, to be completed.
        record: String,
    },
    /// It is there and known not to work; nothing here replaces it.
    Unsupported {
        /// The capability: `vmm.boot`.
        capability: String,
        /// Each independent cause.
        why: Vec<String>,
        /// What to do instead.
        instead: String,
    },
    /// No shared filesystem works: one must be built.
    Build {
        /// All that were tried, with the evidence.
        passed_over: Vec<PassedOver>,
        /// How to build what would.
        instructions: Box<Instructions>,
    },
    /// A file that was named is not there.
    NoFile {
        /// Which, and what to do.
        message: String,
    },
}

/// Goes through the ways out and takes the first that leads anywhere.
pub fn fallback(inputs: &Inputs<'_>) -> Way {
    let release = inputs.release;
    match plan(inputs) {
        Ok(configuration) => Way::Configure { configuration: Box::new(configuration) },
        Err(PlanError::Missing { wanting }) => Way::Install { wanting },
        Err(PlanError::NotPackaged { component, .. }) => {
            Way::Describe { record: build::own_component(release, &component), component }
        }
        Err(PlanError::Unsupported { what, why, instead }) => Way::Unsupported { capability: what, why, instead },
        Err(PlanError::NothingWorks { passed_over }) => Way::Build {
            passed_over,
            // virtio-fs is the one that every family has; 9p comes with QEMU or not at all.
            instructions: Box::new(instructions(Component::Virtiofsd, release, inputs.profile)),
        },
        Err(error @ PlanError::NoFile { .. }) => Way::NoFile { message: error.to_string() },
    }
}
