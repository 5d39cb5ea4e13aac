//! apt-get, whose options have the same meaning since Debian 8.

use super::{Action, Aside, Change, Chosen, Wanted};
use crate::process::{Finished, Invocation};
use crate::root::Root;
use std::io;

/// The answers to all questions: keep changed configuration, remove nothing, bring no recommendations.
///
/// What is qualified is a component with its dependencies, without what it recommends.
const QUIETLY: [&str; 10] = [
    "--quiet=2",
    "--yes",
    "--no-install-recommends",
    "--no-remove",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
];

/// apt of the machine on the files of another root, and dpkg with it.
pub(super) fn outside_options(root: &Root) -> Vec<String> {
    let at = root.path().display();
    let options = [
        format!("Dir={at}"),
        format!("Dir::State::status={at}/var/lib/dpkg/status"),
        "Dir::Bin::dpkg=/usr/bin/dpkg".to_owned(),
        "Dir::Bin::methods=/usr/lib/apt/methods/".to_owned(),
        format!("Dpkg::Options::=--root={at}"),
    ];
    options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect()
}

/// The root's own settings in place of the machine's, whose hooks would act on the machine.
pub(super) fn aside(root: &Root) -> io::Result<Aside> {
    let at = root.path().display().to_string().replace(['\\', '"'], "?");
    let text = format!("Dir::Etc::parts \"{at}/etc/apt/apt.conf.d\";\nDir::Etc::main \"{at}/etc/apt/apt.conf\";\n");
    Ok(Aside::with("apt.conf", &text)?.told("APT_CONFIG", "apt.conf"))
}

pub(super) fn steps(chosen: &Chosen, root: &Root, wanted: &Wanted, refresh: bool) -> Vec<Invocation> {
    let mut steps = Vec::new();
    if refresh {
        // An index that cannot be fetched is an error, not a warning beside an old one.
        steps.push(chosen.invocation(root, &["--quiet=2", "-o", "APT::Update::Error-Mode=any", "update"]));
    }
    let mut arguments = QUIETLY.to_vec();
    arguments.extend(["install", "--"]);
    arguments.extend(wanted.packages.iter().map(String::as_str));
    steps.push(chosen.invocation(root, &arguments));
    steps
}

pub(super) fn simulation(chosen: &Chosen, root: &Root, wanted: &Wanted) -> Invocation {
    let mut arguments = vec!["--quiet=2", "--simulate", "--no-install-recommends", "--no-remove", "install", "--"];
    arguments.extend(wanted.packages.iter().map(String::as_str));
    chosen.invocation(root, &arguments)
}

/// `Inst NAME [OLD] (NEW SUITE [ARCH])`, `Remv NAME [OLD]`.
pub(super) fn changes(finished: &Finished) -> Option<Vec<Change>> {
    if !finished.is_ok() {
        return None;
    }
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let action = words.next()?;
        let package = words.next()?.to_owned();
        let within = |open: char| line.split_once(open)?.1.split([' ', ']', ')']).next().map(str::to_owned);
        let (action, version) = match action {
            "Inst" if line.split(" (").next()?.contains('[') => (Action::Upgrade, within('(')),
            "Inst" => (Action::Install, within('(')),
            "Remv" | "Purg" => (Action::Remove, within('[')),
            _ => return None,
        };
        Some(Change { action, package, version: version.unwrap_or_default() })
    };
    Some(finished.stdout.lines().filter_map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulation_is_read() {
        let stdout = "Inst a (1.2 Debian:13/stable [amd64])\nInst b [1] (2 x [amd64]) []\nRemv c [3]\nConf a (1.2 x)\n";
        let found = changes(&Finished { code: Some(0), stdout: stdout.into(), stderr: String::new() }).unwrap();
        let shown: Vec<String> = found.iter().map(|c| format!("{:?} {} {}", c.action, c.package, c.version)).collect();
        assert_eq!(shown, ["Install a 1.2", "Upgrade b 2", "Remove c 3"]);
    }
}
