//! `fallback`: advice if something is missing or does not work.

use super::machine::{Machine, MachineArguments};
use super::system::GlobalArguments;
use super::{Exit, Failed, Format, json, problems};
use clap::{Args, ValueEnum};
use model::diagnostic::printable;
use operator::configure::PassedOver;
use operator::fallback::{self, Fallback, instructions};
use serde_json::json;
use std::io::{Write, stdout};

/// Arguments of `fallback`.
#[derive(Debug, Args)]
pub(crate) struct FallbackArguments {
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    /// Print a shell script that builds this component, whatever is installed.
    #[arg(long, value_enum)]
    build: Option<BuildableName>,
}

/// A component with build instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BuildableName {
    /// The VMM.
    Qemu,
    /// The virtio-fs daemon, the Rust one.
    Virtiofsd,
}

/// Prints the advice.
pub(crate) fn run(common: &GlobalArguments, arguments: &FallbackArguments) -> anyhow::Result<Exit> {
    let mut machine = Machine::inspect(common, &arguments.machine)?;
    if let Some(component) = arguments.build {
        let component = match component {
            BuildableName::Qemu => fallback::Buildable::Qemu,
            BuildableName::Virtiofsd => fallback::Buildable::Virtiofsd,
        };
        let instructions = instructions(component, &machine.release, machine.profile);
        match arguments.machine.about.format {
            Format::Json => json(&json!({ "version": 1, "instructions": instructions }))?,
            Format::Human => write!(stdout(), "{}", instructions.script(&machine.release.name()))?,
        }
        return Ok(Exit::Ok);
    }
    machine.check_packages_readable()?;
    machine.check_guest_files_exist()?;
    print_advice(&fallback::fallback(&machine.inputs()), &machine, arguments.machine.about.format)
}

/// Prints the advice, and returns the exit code of its kind.
pub(crate) fn print_advice(way: &Fallback, machine: &Machine, format: Format) -> anyhow::Result<Exit> {
    let out = &mut stdout();
    if let Fallback::WrongInitrd { initrd, why, instead } = way {
        let failed = Failed::new(Exit::BadInput, "wrong-initrd", format!("--initrd: {} {why}", initrd.display()));
        return Err(failed.hint(format!("{instead}, or pass --force")).into());
    }
    if format == Format::Json {
        let mut answer = serde_json::to_value(way)?;
        machine.name_system(&mut answer)?;
        answer["version"] = 1.into();
        answer["profile"] = machine.profile.name.as_str().into();
        answer["parts-from"] = machine.parts_from.as_deref().into();
        answer["problems"] = problems(obstacles(way, &machine.release.name()));
        json(&answer)?;
    }
    let human = format == Format::Human;
    let name = machine.release.name();
    match way {
        Fallback::Configure { configuration } => {
            if human {
                passed_over(out, &configuration.passed_over)?;
                let (range, share) = (&machine.profile.range, configuration.share.name());
                match (configuration.in_doubt, configuration.unproven_image) {
                    (false, false) => writeln!(out, "{name} can run Kata {range} with {share}")?,
                    (true, _) => writeln!(
                        out,
                        "{name} is not known to run Kata {range}: it could with {share}, but what its guests boot, or what \
                         is plugged into them, may not work"
                    )?,
                    (false, true) => writeln!(
                        out,
                        "{name} is not known to run Kata {range}: it could with {share}, but no run has proved that \
                         its guests boot from Kata's image"
                    )?,
                }
                for note in &configuration.notes {
                    writeln!(out, "  {}: {}", printable(&note.about), printable(&note.text))?;
                }
                writeln!(out, "next: kata-osinfo configure --profile {}", machine.profile.name)?;
            }
            Ok(Exit::Ok)
        }
        Fallback::Install { missing } => {
            if human {
                writeln!(out, "{}: {}", printable(missing.component.as_str()), printable(&missing.why))?;
                // A component of the admin's own has no packages.
                if !missing.packages.is_empty() {
                    writeln!(out, "next: install {}", printable(&missing.packages.join(" ")))?;
                } else if let Some(from) = &machine.parts_from {
                    writeln!(out, "next: get it from {}", printable(from))?;
                }
            }
            Ok(Exit::Missing)
        }
        Fallback::Describe { component, record } => {
            if human {
                writeln!(out, "# The record of {name} has no package of {component}.")?;
                if let Some(from) = &machine.parts_from {
                    writeln!(out, "# The system's parts come from {}.", printable(from))?;
                }
                writeln!(out, "# Describe your own in /etc/kata-osinfo/{}.yaml:", machine.release.distro)?;
                write!(out, "{record}")?;
            }
            Ok(Exit::Missing)
        }
        Fallback::Unsupported { capability, why, instead } => {
            for why in why {
                eprintln!("error: {capability}: {}", printable(why));
            }
            eprintln!("hint: {instead}, or pass --force");
            if human {
                writeln!(out, "{name} is known not to run Kata {}: {capability}", machine.profile.range)?;
            }
            Ok(Exit::Refused)
        }
        // Already returned as an error above.
        Fallback::WrongInitrd { .. } => Ok(Exit::BadInput),
        Fallback::Build { passed_over: all, choices, instructions } => {
            if human {
                for line in evidence(all) {
                    writeln!(out, "# {line}")?;
                }
                for choice in choices {
                    writeln!(out, "# Try this before building it: {}", printable(&choice.text))?;
                    for line in choice.record.iter().flat_map(|record| record.lines()) {
                        writeln!(out, "#   {}", printable(line))?;
                    }
                }
                for instructions in instructions {
                    write!(out, "{}", instructions.script(&name))?;
                }
            }
            eprintln!("error: no shared filesystem of {name} works with Kata {}", machine.profile.range);
            if all.iter().any(|p| p.forceable.is_some()) {
                eprintln!("hint: --force uses one that is known to fail some tests");
            }
            Ok(Exit::NothingWorks)
        }
    }
}

/// Returns the reasons why Kata cannot simply be configured.
fn obstacles(way: &Fallback, name: &str) -> Vec<String> {
    match way {
        Fallback::Configure { .. } => Vec::new(),
        Fallback::Install { missing } => vec![format!("{}: {}", missing.component, missing.why)],
        Fallback::Describe { component, .. } => {
            vec![format!("the record of {name} has no package of {component}")]
        }
        Fallback::Unsupported { capability, why, .. } => why.iter().map(|why| format!("{capability}: {why}")).collect(),
        Fallback::WrongInitrd { initrd, why, .. } => vec![format!("{}: {why}", initrd.display())],
        Fallback::Build { passed_over, .. } => {
            let none = format!("no shared filesystem of {name} works");
            std::iter::once(none).chain(evidence(passed_over)).collect()
        }
    }
}

fn evidence(all: &[PassedOver]) -> Vec<String> {
    all.iter()
        .flat_map(|p| p.why.iter().map(move |why| format!("{} is not used: {}", p.name, printable(why))))
        .collect()
}

fn passed_over(out: &mut impl Write, all: &[PassedOver]) -> std::io::Result<()> {
    evidence(all).iter().try_for_each(|line| writeln!(out, "{line}"))
}
