//! `show`: the record and the verdicts of a release.

mod answer;
mod named;
mod recorded;

pub(super) use named::named;
pub(super) use recorded::{OLDER_TESTS, ago};

use super::support::Support;
use super::system::{self, BorrowedRecord, GlobalArguments, release_json};
use super::{Exit, Format, arch_parser, json};
use anyhow::Result;
use clap::Args;
use jiff::civil::Date;
use model::arch::Arch;
use model::database::Database;
use model::diagnostic::printable;
use model::package::PackageName;
use model::record::{ComponentKind, ReleaseEntry, ResolveError, StatedFact};
use model::release::Release;
use model::target;
use model::verified::VerifiedEntry;
use operator::check::{StatedComponent, stated};
use operator::detect::Derivative;
use operator::packages::Packages;
use recorded::InstalledVersions;
use root::Root;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// `debian:13`, `debian:11,12`, `debian` or `all`; a release by version, codename or alias; by default the
    /// system's.
    target: Option<String>,
    /// Print the file and line of each value.
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
    let mut lent = (None, None);
    let shown = match &arguments.target {
        Some(target) => releases(&database, target, arch)?,
        None => {
            let found = system::detect(&root, &database)?;
            if found.releases.is_empty() {
                return Err(system::unknown(&root, &database, &found).into());
            }
            lent = (BorrowedRecord::of(&found), found.derivative);
            if let Some(borrowed) = &lent.0 {
                eprintln!("note: {borrowed}");
            }
            let mut all = Vec::new();
            for target in &found.releases {
                all.extend(releases(&database, &target.to_string(), arch)?);
            }
            if arguments.format == Format::Human {
                all.iter_mut().for_each(|one| one.installed = installed(&root, one));
            }
            all
        }
    };
    match arguments.format {
        Format::Human => std::io::stdout().write_all(human(&shown, arguments.origin).as_bytes())?,
        Format::Json => json(&document(&shown, lent.0.as_ref(), lent.1))?,
    }
    Ok(Exit::Ok)
}

/// One release with everything that is printed about it.
struct Shown {
    release: Release,
    entry: ReleaseEntry,
    facts: Vec<StatedFact>,
    components: Vec<StatedComponent>,
    verified: Vec<VerifiedEntry>,
    /// Installed versions of the verified packages, if the release is the system's and its packages can be queried.
    installed: Option<InstalledVersions>,
}

impl Shown {
    /// Returns the components of a kind that are packaged for the architecture, the preferred one first, for programs;
    /// packages or a path are null where the record does not know them.
    fn stated_json(&self, kind: ComponentKind) -> Vec<Value> {
        let of_kind = self.components.iter().filter(|stated| stated.kind == kind && stated.packaged);
        let form = |stated: &StatedComponent| serde_json::json!({ "name": stated.name, "packages": stated.packages, "path": stated.path });
        of_kind.map(form).collect()
    }
}

/// Returns the installed versions of the packages that a release was verified with; `None` if they cannot be queried.
fn installed(root: &Root, shown: &Shown) -> Option<InstalledVersions> {
    if shown.verified.is_empty() {
        return None;
    }
    let packages = Packages::read(root, Some(shown.release.package_manager)).ok()?;
    let names = shown.verified.iter().flat_map(|entry| entry.versions.keys());
    let version = |name: &PackageName| {
        let found = packages.installed(name.as_str()).ok()?;
        Some((name.clone(), found.into_iter().next().map(|one| one.version)))
    };
    names.map(version).collect()
}

/// Returns the releases that `text` names; those without the architecture are left out unless none remains.
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
            components: stated(record, entry, arch),
            verified: record
                .verified
                .iter()
                .filter(|v| v.release == target.version && v.arch == arch)
                .cloned()
                .collect(),
            release,
            entry: entry.clone(),
            installed: None,
        });
    }
    match lacking {
        Some(error) if shown.is_empty() => Err(error.into()),
        _ => Ok(shown),
    }
}

/// Formats releases for people.
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
        out += &recorded::matrix(&shown.verified, shown.installed.as_ref(), release.package_manager, today);
    }
    // Records may come from anywhere, so control characters are made visible on each line.
    let safe: Vec<String> = out.lines().map(printable).collect();
    safe.join("\n") + "\n"
}

/// Formats releases for programs.
fn document(releases: &[Shown], borrowed: Option<&BorrowedRecord>, derivative: Option<Derivative>) -> Value {
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
                "container-managers": shown.stated_json(ComponentKind::ContainerManager),
                "kata": shown.stated_json(ComponentKind::Kata),
                "firmware": shown.stated_json(ComponentKind::Firmware),
                "jailer": shown.stated_json(ComponentKind::Jailer),
                "snapshotter": shown.stated_json(ComponentKind::Snapshotter),
                "facts": shown.facts,
                "verified": shown.verified.iter().map(run_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    serde_json::json!({
        "version": 1,
        "releases": releases,
        "borrowed": borrowed.map(BorrowedRecord::how),
        "derivative": derivative,
    })
}

/// Formats a run below its release, in the form that `check --all` and `verified` use, too.
///
/// Records are terser: a verdict there may be a single word.
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
                "flaky": judged.flaky,
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
