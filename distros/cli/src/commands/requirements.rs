//! `requirements`: what a distro's package must have.

use super::{Exit, Format, json};
use clap::{Args, ValueEnum};
use model::profile::Profile;
use operator::requirements;
use serde_json::json;
use std::io::{Write, stdout};

/// Arguments of `requirements`.
#[derive(Debug, Args)]
pub(crate) struct RequirementsArguments {
    /// The profile, a range of Kata versions that pass the same arguments: `go-3.29`, `rs-4.0`.
    #[arg(long, value_name = "PROFILE")]
    profile: String,
    /// The component.
    #[arg(long, value_enum)]
    component: ComponentName,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A component on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ComponentName {
    /// The VMM.
    Qemu,
    /// The virtio-fs daemon.
    Virtiofsd,
    /// The kernel, as a guest's.
    Kernel,
    /// The container manager.
    Containerd,
}

/// Prints what a package must have.
pub(crate) fn run(arguments: &RequirementsArguments) -> anyhow::Result<Exit> {
    let profile = Profile::find(&arguments.profile)?;
    let (component, name) = match arguments.component {
        ComponentName::Qemu => (requirements::RequiredComponent::Qemu, "qemu"),
        ComponentName::Virtiofsd => (requirements::RequiredComponent::Virtiofsd, "virtiofsd"),
        ComponentName::Kernel => (requirements::RequiredComponent::Kernel, "kernel"),
        ComponentName::Containerd => (requirements::RequiredComponent::Containerd, "containerd"),
    };
    let all = requirements::requirements(profile, component);
    match arguments.format {
        Format::Json => json(
            &json!({ "version": 1, "profile": profile.name, "range": profile.range, "component": name, "requirements": all }),
        )?,
        Format::Human => write!(stdout(), "{}", requirements::human(profile, name, &all))?,
    }
    Ok(Exit::Ok)
}
