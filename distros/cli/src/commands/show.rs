//! What `show` prints.

use super::support::Support;
use super::system::{self, BorrowedRecord, GlobalArguments, release_json};
use super::{Exit, Format, arch_parser, json};
use anyhow::Result;
use clap::Args;
use jiff::civil::Date;
use model::arch::Arch;
use model::capability::Capability;
use model::database::Database;
use model::diagnostic::printable;
use model::record::{ReleaseEntry, ResolveError, StatedFact};
use model::release::Release;
use model::target;
use model::verified::{Verdict, VerifiedEntry};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

/// What is named in one line; the rest is counted.
const MOST_NAMED: usize = 3;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// `debian:13`, `debian:11,12`, `debian` or `all`; a release by version, codename or alias; by default the system's.
    target: Option<String>,
    /// Tell file and line of each value.
    #[arg(long)]
    origin: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// The architecture, by Kata's name; by default the system's.
    #[arg(long, value_parser = arch_parser())]
    arch: Option<Arch>,
}

pub(crate) fn run(common: &GlobalArguments, arguments: &ShowArguments) -> Result<Exit> {
    let root = common.root()?;
    let database = common.database(&root)?;
    let arch = system::arch(&root, arguments.arch)?;
    let shown = match &arguments.target {
        Some(target) => releases(&database, target, arch)?,
        None => {
            let found = system::detect(&root, &database)?;
            if found.releases.is_empty() {
                return Err(system::unknown(&root, &database, &found).into());
            }
            if let Some(borrowed) = BorrowedRecord::of(&found) {
                eprintln!("note: {borrowed}");
            }
            let mut all = Vec::new();
            for target in &found.releases {
                all.extend(releases(&database, &target.to_string(), arch)?);
            }
            all
        }
    };
    match arguments.format {
        Format::Human => std::io::stdout().write_all(human(&shown, arguments.origin).as_bytes())?,
        Format::Json => json(&document(&shown))?,
    }
    Ok(Exit::Ok)
}

/// One release with everything that is printed of it.
struct Shown {
    release: Release,
    entry: ReleaseEntry,
    facts: Vec<StatedFact>,
    verified: Vec<VerifiedEntry>,
}

/// The releases that `text` names; those that lack the architecture are left out unless none is left.
fn releases(database: &Database, text: &str, arch: Arch) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut lacking = None;
    for target in target::parse(text, database)? {
        let record = database.record(&target.distro)?;
        let release = match record.release(&target.version, arch) {
            Ok(release) => release,
            Err(error @ ResolveError::NoArch { .. }) => {
                eprintln!("warning: {error}");
                lacking = Some(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let entry = record.require_release(&target.version)?;
        shown.push(Shown {
            facts: record.facts(entry, arch),
            verified: record
                .verified
                .iter()
                .filter(|v| v.release == target.version && v.arch == arch)
                .cloned()
                .collect(),
            release,
            entry: entry.clone(),
        });
    }
    match lacking {
        Some(error) if shown.is_empty() => Err(error.into()),
        _ => Ok(shown),
    }
}

/// For people.
fn human(releases: &[Shown], origin: bool) -> String {
    let today = jiff::Zoned::now().date();
    let blocks: Vec<String> = releases.iter().map(|r| one(r, today, origin)).collect();
    blocks.join("\n")
}

fn one(shown: &Shown, today: Date, origin: bool) -> String {
    let release = &shown.release;
    let mut out = release.name();
    if let Some(codename) = &release.codename {
        let _ = write!(out, " {codename}");
    }
    if !release.aliases.is_empty() {
        let _ = write!(out, " ({})", release.aliases.join(", "));
    }
    let _ = writeln!(out, " on {}", release.arch);
    if let Some(words) = Support::of(&shown.entry, today).words() {
        let _ = writeln!(out, "  {words}");
    }
    let width = shown.facts.iter().map(|f| f.subject.to_string().len()).max();
    let width = width.unwrap_or_default();
    for fact in &shown.facts {
        let value = fact.value();
        let value = match value.as_deref() {
            None => "unknown",
            Some("") => "none",
            Some(value) => value,
        };
        let confidence = fact.confidence.name();
        let _ = write!(out, "  {:width$}  {value}  [{confidence}]", fact.subject);
        if let Some(origin) = fact.origin.as_ref().filter(|_| origin) {
            let _ = write!(out, "  {}:{}", origin.file, origin.line);
        }
        out.push('\n');
    }
    if shown.verified.is_empty() {
        out += "  nothing verified yet: run `kata-qualify`\n";
    } else {
        out += &matrix(&shown.verified, today);
    }
    // Records may come from anywhere: each line is made safe for the terminal.
    let safe: Vec<String> = out.lines().map(printable).collect();
    safe.join("\n") + "\n"
}

/// Capabilities by profile and environment, then the causes.
fn matrix(entries: &[VerifiedEntry], today: Date) -> String {
    let head = |e: &VerifiedEntry| format!("{}/{}", e.profile, e.environment);
    let capabilities: BTreeSet<Capability> = entries.iter().flat_map(|e| e.capabilities.keys().copied()).collect();
    let first = capabilities.iter().map(|c| c.name().len()).max().unwrap_or(0);
    let width = |e: &VerifiedEntry| head(e).len().max("not-applicable".len());
    let mut out = String::from("  verified\n");
    for entry in entries {
        let _ = writeln!(out, "    {}: {}", head(entry), summary(entry, today));
    }
    let mut row = |name: &str, cell: &dyn Fn(&VerifiedEntry) -> String| {
        let mut line = format!("    {name:first$}");
        for entry in entries {
            let _ = write!(line, "  {:1$}", cell(entry), width(entry));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row("", &head);
    for shown in &capabilities {
        row(shown.name(), &|e| match e.capabilities.get(shown) {
            Some(capability) => capability.verdict.to_string(),
            None => "-".to_owned(),
        });
    }
    row("basis", &|e| e.basis.to_string());
    if entries.iter().any(|e| e.shaped) {
        // The packages may not have been the distro's own.
        row("shaped", &|e| if e.shaped { "yes" } else { "-" }.to_owned());
    }
    row("tested", &|e| e.tested.to_string());
    row("age", &|e| age(e.tested, today));
    let mut said = BTreeSet::new();
    for entry in entries {
        for (name, capability) in &entry.capabilities {
            for cause in &capability.causes {
                said.insert(format!("    {} {name}: {cause}", head(entry)));
            }
            if let Some(workaround) = &capability.workaround {
                said.insert(format!("    {} {name}: workaround: {workaround}", head(entry)));
            }
        }
    }
    for line in said {
        let _ = writeln!(out, "{line}");
    }
    out
}

/// What is said of an entry that another set of tests judged than this version's.
pub(super) const OLDER_TESTS: &str = ", by an older set of tests";

/// An entry in one line: `7 of 8 supported, not vmm.vsock, on emulated basis, 12 days ago`.
fn summary(entry: &VerifiedEntry, today: Date) -> String {
    let judged = entry.capabilities.iter().filter(|(_, said)| said.verdict.is_decided());
    let (supported, others): (Vec<_>, Vec<_>) = judged.partition(|(_, said)| said.verdict == Verdict::Supported);
    let others: Vec<&str> = others.iter().map(|(capability, _)| capability.name()).collect();
    let lacking = match others.as_slice() {
        [] => String::new(),
        some => format!(", not {}", named(some)),
    };
    let (count, basis) = (supported.len() + others.len(), entry.basis.marked(entry.shaped));
    let (older, ago) = (if entry.is_by_older_tests() { OLDER_TESTS } else { "" }, ago(entry.tested, today));
    format!("{} of {count} supported{lacking}, on {basis} basis{older}, {ago}", supported.len())
}

/// A few of what there is; the rest is counted.
pub(super) fn named(all: &[&str]) -> String {
    match all.len().saturating_sub(MOST_NAMED) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..MOST_NAMED].join(", ")),
    }
}

/// How long ago a day was, for the end of a sentence.
pub(super) fn ago(tested: Date, today: Date) -> String {
    let age = age(tested, today);
    if tested < today { format!("{age} ago") } else { age }
}

/// How long ago a day was, in words.
fn age(tested: Date, today: Date) -> String {
    let days = tested.until(today).map_or(0, |span| span.get_days());
    match days {
        ..0 => "in the future".to_owned(),
        0 => "today".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// For programs.
fn document(releases: &[Shown]) -> Value {
    let releases: Vec<Value> = releases
        .iter()
        .map(|shown| {
            let release = &shown.release;
            serde_json::json!({
                "release": release_json(&release.distro, &shown.entry),
                "arch": release.arch,
                "package-manager": release.package_manager,
                "suites": release.suites,
                "image": release.oci_image,
                "vmm": release.vmms,
                "fs": release.filesystems,
                "kernel": release.kernel,
                "container-manager": release.container_manager,
                "facts": shown.facts,
                "verified": shown.verified.iter().map(run_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    serde_json::json!({ "version": 1, "releases": releases })
}

/// A run of the release that it stands under, in the shapes that `check --all` and `verified` have, too.
///
/// Records are shorter: a verdict is a word there, or a map.
fn run_json(entry: &VerifiedEntry) -> Value {
    let versions = entry.versions.iter();
    let versions: Vec<Value> =
        versions.map(|(package, version)| serde_json::json!({ "package": package, "verified": version })).collect();
    let capabilities = entry.capabilities.iter();
    let capabilities: Vec<Value> = capabilities
        .map(|(capability, judged)| {
            serde_json::json!({
                "capability": capability,
                "verdict": judged.verdict,
                "causes": judged.causes,
                "workaround": judged.workaround,
            })
        })
        .collect();
    serde_json::json!({
        "profile": entry.profile,
        "environment": entry.environment,
        "basis": entry.basis,
        "shaped": entry.shaped,
        "tested": entry.tested,
        "harness": entry.harness,
        "test-set": entry.test_set,
        "kata": entry.kata,
        "versions": versions,
        "capabilities": capabilities,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn ages_are_told_in_days() {
        let today = date(2026, 11, 21);
        assert_eq!(age(today, today), "today");
        assert_eq!(age(date(2026, 11, 20), today), "1 day");
        assert_eq!(age(date(2025, 11, 21), today), "365 days");
        assert_eq!(age(date(2027, 1, 1), today), "in the future");
        assert_eq!(ago(today, today), "today");
        assert_eq!(ago(date(2026, 11, 19), today), "2 days ago");
    }

    #[test]
    fn of_many_a_few_are_named() {
        assert_eq!(named(&["a", "b", "c"]), "a, b, c");
        assert_eq!(named(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
