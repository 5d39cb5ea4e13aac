//! `fallback` and `requirements`.

use super::here::Here;
use super::{Buildable, ComponentName, Exit, Fallback, Requirements};
use crate::{Format, json};
use kata_osinfo::configure::PassedOver;
use kata_osinfo::database::Database;
use kata_osinfo::diagnostic::printable;
use kata_osinfo::fallback::{self, Way, instructions};
use kata_osinfo::profile::Profile;
use kata_osinfo::requirements;
use serde_json::json;
use std::io::Write;

/// Prints the way out.
pub(crate) fn fallback(out: &mut impl Write, arguments: &Fallback, database: &Database) -> anyhow::Result<Exit> {
    let here = Here::look(&arguments.machine, database)?;
    if let Some(component) = arguments.build {
        let component = match component {
            Buildable::Qemu => fallback::Component::Qemu,
            Buildable::Virtiofsd => fallback::Component::Virtiofsd,
        };
        let instructions = instructions(component, &here.release, here.profile);
        match arguments.machine.format {
            Format::Json => json(out, &json!({ "version": 1, "instructions": instructions }))?,
            Format::Human => write!(out, "{}", instructions.script(&here.release.name()))?,
        }
        return Ok(Exit::Done);
    }
    print(out, &fallback::fallback(&here.inputs()), &here, arguments.machine.format)
}

/// Prints a way out, and says by the exit code which it is.
pub(super) fn print(out: &mut impl Write, way: &Way, here: &Here, format: Format) -> anyhow::Result<Exit> {
    if format == Format::Json {
        let mut answer = serde_json::to_value(way)?;
        if let Some(map) = answer.as_object_mut() {
            map.insert("version".to_owned(), 1.into());
            map.insert("release".to_owned(), here.release.name().into());
            map.insert("profile".to_owned(), here.profile.name.clone().into());
        }
        json(out, &answer)?;
    }
    let human = format == Format::Human;
    let name = here.release.name();
    match way {
        Way::Configure { configuration } => {
            if human {
                passed_over(out, &configuration.passed_over)?;
                writeln!(out, "{name} can run Kata {} with {}", here.profile.range, configuration.share.name())?;
                for note in &configuration.notes {
                    writeln!(out, "  {}: {}", printable(&note.about), printable(&note.text))?;
                }
                writeln!(out, "next: kata-osinfo configure --profile {}", here.profile.name)?;
            }
            Ok(Exit::Done)
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
pub(crate) fn requirements(out: &mut impl Write, arguments: &Requirements) -> anyhow::Result<Exit> {
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
            out,
            &json!({ "version": 1, "profile": profile.name, "range": profile.range, "component": name, "requirements": all }),
        )?,
        Format::Human => write!(out, "{}", requirements::human(profile, name, &all))?,
    }
    Ok(Exit::Done)
}
