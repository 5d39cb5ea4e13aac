//! Mail for trackers that take it: Debian's with pseudo-headers, Launchpad's with commands.
//!
//! The sender is not known here: there is no `From:`.

use super::plain;
use crate::bug::fixed_upstream::upstream_fix;
use crate::bug::sections::BugReport;

/// Returns the headers of a plain text mail.
fn headers(to: &str, subject: &str) -> String {
    format!(
        "To: {to}\nSubject: {}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n\
         Content-Transfer-Encoding: 8bit\n\n",
        ascii(&plain::with_plain_punctuation(subject))
    )
}

/// Reduces a header's value to ASCII, which every program reads.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect()
}

/// Writes Debian's mail (<https://www.debian.org/Bugs/Reporting>): the pseudo-headers are the body's first lines.
pub(super) fn debian(report: &BugReport<'_>) -> String {
    let package = report.package();
    let mut pseudo = Vec::new();
    match package.name() {
        Some(name) if package.is_known_by_source() => pseudo.push(format!("Source: {name}")),
        Some(name) => pseudo.push(format!("Package: {name}")),
        // The package is unknown: the maintainers of the general one sort the bug.
        None => pseudo.push("Package: general".to_owned()),
    }
    pseudo.extend(package.version.map(|version| format!("Version: {version}")));
    pseudo.push(format!("Severity: {}", if report.is_wish() { "wishlist" } else { "normal" }));
    let tags = tags(report);
    if !tags.is_empty() {
        pseudo.push(format!("Tags: {}", tags.join(" ")));
    }
    let head = headers(&report.destination.address, &report.subject());
    format!("{head}{}\n\n{}", pseudo.join("\n"), plain::body(report))
}

/// Returns the bug's tags (<https://www.debian.org/Bugs/Developer#tags>): the release's own tag, which limits the bug
/// to this release, if another one is known to work; and the tag for a bug that is fixed upstream.
fn tags<'r>(report: &BugReport<'r>) -> Vec<&'r str> {
    let failed = report.failed;
    let own = &failed.release.version;
    let works_elsewhere = failed.works_in().iter().any(|one| one.release != *own);
    let codename = failed.release.codename.as_deref().filter(|_| works_elsewhere);
    codename.into_iter().chain(upstream_fix(failed).map(|_| "fixed-upstream")).collect()
}

/// Writes Launchpad's mail (<https://help.launchpad.net/Bugs/EmailInterface>): commands begin with a blank.
pub(super) fn launchpad(report: &BugReport<'_>) -> String {
    let distro = &report.failed.release.distro;
    let affects = match report.package().source {
        Some(source) => format!(" affects {distro}/{source}"),
        None => format!(" affects {distro}"),
    };
    let head = headers(&report.destination.address, &report.subject());
    // After `done`, text that begins with a blank is no command.
    format!("{head}{affects}\n done\n\n{}", plain::body(report))
}
