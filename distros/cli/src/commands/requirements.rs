//! `requirements`: demands on a distro's package, and the comparison of a kernel's configuration with them.

mod configuration;

use super::{Exit, Failed, Format, arch_parser, json, print, problems, this_arch};
use clap::{Args, ValueEnum};
use model::arch::Arch;
use model::component::Component;
use model::kernel::KernelConfig;
use model::profile::Profile;
use model::words::list_or;
use operator::requirements::{self, KernelOptions};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `requirements`.
#[derive(Debug, Args)]
pub(crate) struct RequirementsArguments {
    /// The profile, a range of Kata versions that pass the same arguments: `go-3.29`, `rs-4.0`.
    #[arg(long, value_name = "PROFILE")]
    profile: String,
    /// The component.
    #[arg(long, value_enum)]
    component: ComponentName,
    /// Compare this kernel configuration with the options of Kata's own kernel; needs `--component kernel`. It may be
    /// compressed (`/proc/config.gz`); `-` is standard input. Exit code 1 if an option is missing that Kata requires.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// The kernel's architecture [default: that of the configuration, or this machine's].
    #[arg(long, value_name = "ARCH", value_parser = arch_parser())]
    arch: Option<Arch>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A component on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ComponentName {
    /// The VMM.
    Qemu,
    /// The VMM Cloud Hypervisor, under the maintained profiles.
    CloudHypervisor,
    /// The VMM Firecracker, likewise.
    Firecracker,
    /// The virtio-fs daemon.
    Virtiofsd,
    /// The kernel, as a guest's.
    Kernel,
    /// The container manager.
    Containerd,
}

impl ComponentName {
    fn component(self) -> Component {
        match self {
            ComponentName::Qemu => Component::Qemu,
            ComponentName::CloudHypervisor => Component::CloudHypervisor,
            ComponentName::Firecracker => Component::Firecracker,
            ComponentName::Virtiofsd => Component::Virtiofsd,
            ComponentName::Kernel => Component::Kernel,
            ComponentName::Containerd => Component::Containerd,
        }
    }
}

/// Prints the demands on a package, or the missing options of a kernel.
pub(crate) fn run(arguments: &RequirementsArguments) -> anyhow::Result<Exit> {
    let profile = Profile::find(&arguments.profile)?;
    let component = arguments.component.component();
    if component != Component::Kernel && (arguments.check.is_some() || arguments.arch.is_some()) {
        let message = format!("--check and --arch apply to a kernel, but the component is {component}");
        return Err(Failed::new(Exit::BadInput, "usage", message).hint("pass --component kernel").into());
    }
    if !requirements::is_known(profile, component) {
        let message = format!("the requirements of Kata {} for {component} are not known", profile.range);
        let maintained = Profile::maintained().map(|profile| profile.name.as_str());
        let hint = format!("pass --profile {}", list_or(maintained));
        return Err(Failed::new(Exit::BadInput, "not-read", message).hint(hint).into());
    }
    let options = match (&arguments.check, component) {
        (Some(file), _) => Some(compared(file, arguments.arch, profile)?),
        (None, Component::Kernel) => Some(KernelOptions::listed(arguments.arch.map_or_else(this_arch, Ok)?, profile)),
        (None, _) => None,
    };
    let all = requirements::requirements(profile, component);
    match (arguments.format, &options, &arguments.check) {
        (Format::Json, options, _) => {
            let mut answer = json!({
                "version": 1,
                "profile": profile.name,
                "range": profile.range,
                "component": component,
                "requirements": all,
            });
            if let Some(options) = options {
                answer["kernel-options"] = serde_json::to_value(options)?;
                answer["problems"] = problems(options.problems());
            }
            json(&answer)?;
        }
        (Format::Human, Some(options), Some(file)) => print(&options.human_held(&display_name(file), profile))?,
        (Format::Human, options, _) => {
            print(&requirements::human(profile, component, &all))?;
            options.as_ref().map_or(Ok(()), |options| print(&options.human()))?;
        }
    }
    Ok(if options.is_some_and(|options| !options.problems().is_empty()) { Exit::No } else { Exit::Ok })
}

/// Reads a configuration and compares it with Kata's options.
fn compared(file: &Path, requested: Option<Arch>, profile: &Profile) -> anyhow::Result<KernelOptions> {
    let failed = |message: String| {
        Failed::new(Exit::BadInput, "bad-configuration", format!("{}: {message}", display_name(file)))
    };
    let text = configuration::read(file)?;
    let config = KernelConfig::parse(&text).map_err(|e| {
        failed(e.to_string())
            .hint("expected a kernel's complete configuration: .config of its build, or /boot/config-VERSION")
    })?;
    let arch = match (config.arch(), requested) {
        (Some(own), Some(requested)) if own != requested => {
            return Err(failed(format!("it is for {own}, but --arch is {requested}")).into());
        }
        (own, requested) => own.or(requested).ok_or_else(|| {
            failed("it does not name an architecture that Kata supports".to_owned())
                .hint("pass --arch if it is the input of a kernel build, and not the resulting .config")
        })?,
    };
    Ok(KernelOptions::held(&config, arch, profile))
}

/// Returns the name of a file in messages.
fn display_name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packaged_component_has_a_command_line_name() {
        let names = ComponentName::value_variants();
        for component in Component::ALL {
            let is_packaged = match component {
                Component::Qemu
                | Component::CloudHypervisor
                | Component::Firecracker
                | Component::Virtiofsd
                | Component::Kernel
                | Component::Containerd => true,
                Component::Packages | Component::Record | Component::Kata => false,
            };
            let name = names.iter().find(|name| name.component() == *component);
            assert_eq!(name.is_some(), is_packaged, "{component}");
            if let Some(name) = name {
                assert_eq!(name.to_possible_value().unwrap().get_name(), component.name());
            }
        }
    }
}
