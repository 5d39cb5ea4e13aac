//! `fallback` and `requirements`.

use super::here::Here;
use super::{Buildable, ComponentName, Fallback, Requirements};
use crate::commands::system::Common;
use crate::commands::{Exit, Format, json};
use model::diagnostic::printable;
use model::profile::Profile;
use operator::configure::PassedOver;
use operator::fallback::{self, Way, instructions};
use operator::requirements;
use serde_json::json;
use std::io::{Write, stdout};

/// Prints the way out.
pub(crate) fn fallback(common: &Common, arguments: &Fallback) -> anyhow::Result<Exit> {
    let mut here = Here::look(common, &arguments.machine)?;
    if let Some(component) = arguments.build {
        let component = match component {
            Buildable::Qemu => fallback::Component::Qemu,
            Buildable::Virtiofsd => fallback::Component::Virtiofsd,
        };
        let instructions = instructions(component, &here.release, here.profile);
        match arguments.machine.about.format {
            Format::Json => json(&json!({ "version": 1, "instructions": instructions }))?,
            Format::Human => write!(stdout(), "{}", instructions.script(&here.release.name()))?,
        }
        return Ok(Exit::Ok);
    }
    here.packages_are_known()?;
    print(&fallback::fallback(&here.inputs()), &here, arguments.machine.about.format)
}

/// Prints a way out, and says by the exit code which it is.
pub(super) fn print(way: &Way, here: &Here, format: Format) -> anyhow::Result<Exit> {
    let out = &mut stdout();
    if format == Format::Json {
        let mut answer = serde_json::to_value(way)?;
        if let Some(map) = answer.as_object_mut() {
            map.insert("version".to_owned(), 1.into());
            map.insert("release".to_owned(), here.release.name().into());
            map.insert("profile".to_owned(), here.profile.name.clone().into());
        }
        json(&answer)?;
    }
    let human = format == Format::Human;
    let name = here.release.name();
    match way {
        Way::Configure { configuration } => {
            if human {
                passed_over(out, &configuration.passed_over)?;
                let (range, share) = (&here.profile.range, configuration.share.name());
                match (configuration.in_doubt, configuration.unproven_image) {
                    (false, false) => writeln!(out, "{name} can run Kata {range} with {share}")?,
                    (true, _) => writeln!(
                        out,
                        "{name} is not known to run Kata {range}: with {share} it can, but its guests' kernel or initrd is \
                         in doubt"
                    )?,
                    (false, true) => writeln!(
                        out,
                        "{name} is not known to run Kata {range}: with {share} it can, but no run has proved that its \
                         guests boot Kata's image"
                    )?,
                }
                for note in &configuration.notes {
                    writeln!(out, "  {}: {}", printable(&note.about), printable(&note.text))?;
                }
                writeln!(out, "next: kata-osinfo configure --profile {}", here.profile.name)?;
            }
            Ok(Exit::Ok)
        }
        Way::Install { wanting } => {
            if human {
                writeln!(out, "{}: {}", printable(&wanting.component), printable(&wanting.why))?;
                writeln!(out, "next: install {}", printable(&wanting.packages.join(" ")))?;
            }
            Ok(Exit::Wanting)
        }
        Way::Describe { component, record } => {
            if human {
                writeln!(out, "# {name} does not package {component}, as far as its record knows.")?;
                writeln!(out, "# Describe yours in /etc/kata-osinfo/{}.yaml:", printable(&here.release.distro))?;
                write!(out, "{record}")?;
            }
            Ok(Exit::Wanting)
        }
        Way::Unsupported { capability, why, instead } => {
            for why in why {
                eprintln!("error: {capability}: {}", printable(why));
            }
            eprintln!("hint: {instead}, or --force");
            if human {
                writeln!(out, "{name} is known not to run Kata {}: {capability}", here.profile.range)?;
            }
            Ok(Exit::Refused)
        }
        Way::Build { passed_over: all, instructions } => {
            if human {
                for line in evidence(all) {
                    writeln!(out, "# {line}")?;
                }
                for instructions in instructions {
                    write!(out, "{}", instructions.script(&name))?;
                }
            }
            eprintln!("error: no shared filesystem of {name} works with Kata {}", here.profile.range);
            if all.iter().any(|p| p.forceable.is_some()) {
                eprintln!("hint: --force takes one that is known not to pass every test");
            }
            Ok(Exit::NothingWorks)
        }
    }
}

fn evidence(all: &[PassedOver]) -> Vec<String> {
    all.iter().flat_map(|p| p.why.iter().map(move |why| format!("not {}: {}", p.name, printable(why)))).collect()
}

fn passed_over(out: &mut impl Write, all: &[PassedOver]) -> std::io::Result<()> {
    evidence(all).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Prints what a package must have.
pub(crate) fn requirements(arguments: &Requirements) -> anyhow::Result<Exit> {
    let profile = Profile::find(&arguments.profile)?;
    let (component, name) = match arguments.component {
        ComponentName::Qemu => (requirements::Component::Qemu, "qemu"),
        ComponentName::Virtiofsd => (requirements::Component::Virtiofsd, "virtiofsd"),
        ComponentName::Kernel => (requirements::Component::Kernel, "kernel"),
        ComponentName::Containerd => (requirements::Component::Containerd, "containerd"),
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
