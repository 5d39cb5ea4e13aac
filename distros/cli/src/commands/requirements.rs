//! `requirements`: what a distro's package must have.

use super::{Exit, Format, json};
use clap::{Args, ValueEnum};
use model::component::Component;
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
    let component = match arguments.component {
        ComponentName::Qemu => Component::Qemu,
        ComponentName::Virtiofsd => Component::Virtiofsd,
        ComponentName::Kernel => Component::Kernel,
        ComponentName::Containerd => Component::Containerd,
    };
    let all = requirements::requirements(profile, component);
    match arguments.format {
        Format::Json => json(
            &json!({ "version": 1, "profile": profile.name, "range": profile.range, "component": component, "requirements": all }),
        )?,
        Format::Human => write!(stdout(), "{}", requirements::human(profile, component, &all))?,
    }
    Ok(Exit::Ok)
}
