//! Texts of blaming: the command of each step, and the conclusion.

use super::Case;
use crate::blame::{Finding, Seen};
use crate::cli::arguments::RunArguments;
use model::shell::quoted;
use model::words::list_and;
use reports::journal::Environment;
use suites::environment::Effort;
use suites::outcome::Component;

/// Names a step: `control`, `qemu`, `qemu-kernel`.
pub(super) fn step_name(swap: &[Component]) -> String {
    match swap.is_empty() {
        true => "control".to_owned(),
        false => swap.iter().map(|component| component.name()).collect::<Vec<_>>().join("-"),
    }
}

/// Describes a swap: `nothing swapped`, `qemu and kernel of debian:13`.
pub(super) fn named(swap: &[Component], from: &str) -> String {
    let names = swap.iter().map(|component| component.name());
    if swap.is_empty() { "nothing swapped".to_owned() } else { format!("{} of {from}", list_and(names)) }
}

/// Returns the command line of a step, for a person to type; mirrors and keys are left out, because they belong to this
/// machine.
pub(super) fn command(arguments: &RunArguments) -> String {
    let mut words = vec!["kata-qualify".to_owned(), "run".to_owned()];
    words.extend(arguments.targets.iter().cloned());
    let mut add = |option: &str, value: &str| words.extend([option.to_owned(), quoted(value)]);
    for environment in &arguments.environments {
        add("--in", Environment::from(*environment).name());
    }
    arguments.profiles.iter().for_each(|profile| add("--profile", profile));
    arguments.filters.iter().for_each(|filter| add("--test", filter));
    add("--repeat", &arguments.repeat.to_string());
    if arguments.seed != Effort::SEED {
        add("--seed", &arguments.seed.to_string());
    }
    arguments.components.iter().for_each(|component| add("--component", component));
    arguments.kata.iter().for_each(|kata| add("--kata", kata));
    let images = &arguments.images;
    images.install.iter().for_each(|package| add("--install", package));
    images.overlay.iter().for_each(|folder| add("--overlay", &folder.to_string_lossy()));
    images.with_packages.iter().for_each(|file| add("--with-packages", &file.to_string_lossy()));
    if arguments.thorough {
        words.push("--thorough".to_owned());
    }
    if !images.with_packages.is_empty() {
        words.push("--no-base".to_owned());
    }
    words.join(" ")
}

/// Lists the steps with their results, and the conclusion.
pub(super) fn report_text(
    case: &Case,
    from: &str,
    seen: &[(Vec<Component>, String, Seen)],
    finding: &Finding,
) -> String {
    let mut out = format!("{} in {} under {}\n", case.test, case.cell, case.profile);
    out.push_str(&format!("it failed, presumably because of {}: {}\n", case.blames, case.signature));
    for (swap, command, seen) in seen {
        out.push_str(&format!("  with {}: {seen}\n    {command}\n", named(swap, from)));
    }
    out.push_str(&match finding {
        Finding::Green(swap) if swap.len() > 1 => {
            format!("it passes with {}, and fails with only some of them\n", named(swap, from))
        }
        Finding::Green(swap) => {
            format!("it passes with {}: this is the smallest swap that fixes it\n", named(swap, from))
        }
        Finding::MayBeLess { green, parts } => {
            let parts: Vec<String> = parts.iter().map(|swap| named(swap, from)).collect();
            format!(
                "no verdict: it passes with {}; a smaller swap may be enough, but could not be judged reliably: {}\n",
                named(green, from),
                parts.join("; ")
            )
        }
        Finding::None => format!("swapping in components of {from} does not fix it\n"),
        Finding::NoneCertain(uncertain) => {
            let results: Vec<String> =
                uncertain.iter().map(|(swap, seen)| format!("with {} it {seen}", named(swap, from))).collect();
            format!("no verdict: no swap fixed it reliably: {}\n", results.join("; "))
        }
        Finding::Control(seen) => format!("no verdict: without any swap it now {seen}\n"),
        Finding::OtherFailure(signature) => {
            format!("no verdict: without any swap it now fails differently: {signature}\n")
        }
        Finding::NoDonor => format!(
            "no verdict: the records know no release where it passes under {}: name one with `kata-qualify blame RUN \
             {} --from RELEASE`\n",
            case.profile, case.test
        ),
        Finding::NothingToSwap => {
            format!("no verdict: no component that this test uses can be replaced by that of {from}\n")
        }
    });
    reports::redact::text(&out)
}
