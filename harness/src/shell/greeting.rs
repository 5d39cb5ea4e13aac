//! The greeting for a visitor of an environment: which test failed there and how, the test's requirements, and
//! differences from the run.

use super::NoGuest;
use agent::home::VOLUME;
use model::package::PackageVersion;
use model::profile::ProfileName;
use model::shell::quoted;
use model::test_id::TestId;
use reports::redact::one_line;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum length of a line about a failure, in bytes.
const MAX: usize = 400;
/// Maximum number of packages that are named; the others are counted.
const MOST: usize = 10;

/// A guest in the test's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchedGuest {
    /// QEMU's arguments.
    pub argv: Vec<String>,
    /// The filesystem daemon's arguments, if there was one.
    pub daemon: Vec<String>,
}

/// The greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The cell, such as `debian:13/x86_64/container`.
    pub cell: String,
    /// The test's id.
    pub test: TestId,
    /// The profile under which the test failed.
    pub profile: ProfileName,
    /// The observed failure.
    pub observed: String,
    /// The guests that the test had in that run.
    pub guests: Vec<LaunchedGuest>,
    /// The test's logs on this machine.
    pub logs: Vec<String>,
    /// The command that runs the test again.
    pub again: String,
    /// Whether the visitor enters the original container.
    pub is_kept: bool,
    /// Options of the run that this visit does not have.
    pub lacks: Vec<String>,
}

impl Greeting {
    /// Returns the lines. `booted` is the result of booting the guest that the test shares, `differing` lists the
    /// packages that have changed since.
    pub fn lines(&self, booted: Option<&Result<(), NoGuest>>, differing: &[String]) -> Vec<String> {
        let Greeting { cell, test, profile, .. } = self;
        let again = if self.is_kept { "the container that was kept" } else { "brought up again" };
        let mut lines = vec![format!("{cell}, {again}: {test} failed under {profile}")];
        lines.push(format!("  seen:    {}", one_line(&self.observed, MAX)));
        for LaunchedGuest { argv, daemon } in &self.guests {
            lines.push(format!("  QEMU:    {}", words(argv)));
            if !daemon.is_empty() {
                lines.push(format!("  daemon:  {}", words(daemon)));
            }
        }
        lines.extend(self.logs.iter().map(|log| format!("  log:     {log}")));
        lines.push(format!("  here:    logs and shares are in {VOLUME}, if that folder exists"));
        lines.push(match booted {
            Some(Ok(())) => "  guest:   runs, as for the test".to_owned(),
            Some(Err(why)) => format!("  guest:   does not run: {}", one_line(&why.to_string(), MAX)),
            None => "  guest:   none".to_owned(),
        });
        lines.extend(
            self.lacks.iter().map(|option| format!("  differs: the run used {option}, which was not given here")),
        );
        lines.extend(differing.iter().map(|package| format!("  differs: {package}")));
        lines.push(format!("  again:   {}", self.again));
        lines.push("all of this is removed when the shell ends".to_owned());
        lines
    }
}

/// Quotes words for a shell.
fn words(argv: &[String]) -> String {
    argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// Returns the packages whose versions differ from those of the run; empty if these are not known.
pub fn differing(before: &BTreeMap<String, PackageVersion>, now: &BTreeMap<String, PackageVersion>) -> Vec<String> {
    if before.is_empty() || now.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let version = |of: Option<&PackageVersion>| of.map_or("absent", PackageVersion::as_str).to_owned();
    let turn = |name: &String| {
        let (then, now) = (version(before.get(name)), version(now.get(name)));
        (then != now).then(|| format!("{name} was {then}, now {now}"))
    };
    let mut lines: Vec<String> = names.into_iter().filter_map(turn).collect();
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("and {more} more packages"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use suites::check::Stop;

    fn versions(all: &[(&str, &str)]) -> BTreeMap<String, PackageVersion> {
        all.iter().map(|(name, version)| ((*name).to_owned(), version.parse().unwrap())).collect()
    }

    #[test]
    fn packages_that_differ_now_are_named() {
        let then = versions(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = versions(&[("b", "1"), ("c", "2"), ("d", "1")]);
        let expected = ["a was 1, now absent", "c was 1, now 2", "d was absent, now 1"];
        assert_eq!(differing(&then, &now), expected);
        assert_eq!(differing(&then, &then), Vec::<String>::new());
        assert_eq!(differing(&BTreeMap::new(), &now), Vec::<String>::new(), "they are not known");
        let many: BTreeMap<String, PackageVersion> =
            (0..20).map(|number| (format!("p{number:02}"), "1".parse().unwrap())).collect();
        assert_eq!(differing(&many, &now).last().map(String::as_str), Some("and 13 more packages"));
    }

    #[test]
    fn the_greeting_shows_the_failure_and_how_to_repeat_it() {
        let strings = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let greeting = Greeting {
            cell: "debian:13/x86_64/container".to_owned(),
            test: "smoke::guest_boots".parse().unwrap(),
            profile: "go-3.32".parse().unwrap(),
            observed: "no console\nfor 60 s".to_owned(),
            guests: vec![LaunchedGuest {
                argv: strings(&["/usr/bin/qemu-system-x86_64", "-append", "console=hvc0 panic=1"]),
                daemon: strings(&["/usr/libexec/virtiofsd", "--fd=3"]),
            }],
            logs: strings(&["out/artifacts/debian-13/g1/serial.log"]),
            again: "kata-qualify run debian:13 --in container --profile go-3.32 --test smoke::guest_boots".to_owned(),
            is_kept: false,
            lacks: strings(&["--overlay"]),
        };
        let expected = [
            "debian:13/x86_64/container, brought up again: smoke::guest_boots failed under go-3.32",
            "  seen:    no console for 60 s",
            "  QEMU:    /usr/bin/qemu-system-x86_64 -append 'console=hvc0 panic=1'",
            "  daemon:  /usr/libexec/virtiofsd --fd=3",
            "  log:     out/artifacts/debian-13/g1/serial.log",
            "  here:    logs and shares are in /kata-qualify, if that folder exists",
            "  guest:   does not run: refused",
            "  differs: the run used --overlay, which was not given here",
            "  differs: qemu was 1, now 2",
            "  again:   kata-qualify run debian:13 --in container --profile go-3.32 --test smoke::guest_boots",
            "all of this is removed when the shell ends",
        ];
        let differs = strings(&["qemu was 1, now 2"]);
        assert_eq!(greeting.lines(Some(&Err(NoGuest::Stopped(Stop::fail("refused")))), &differs), expected);
        let kept = Greeting { is_kept: true, ..greeting };
        let lines = kept.lines(None, &[]);
        assert!(lines[0].contains(", the container that was kept: "), "{lines:?}");
        assert!(lines.contains(&"  guest:   none".to_owned()), "{lines:?}");
    }
}
