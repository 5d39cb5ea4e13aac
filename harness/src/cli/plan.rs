//! `kata-qualify plan`: reports whether `run` could bring releases up here, how, and if not, why; it makes the same
//! checks as `run`.

use crate::cli::arguments::{Format, PlanArguments};
use crate::cli::prospect::{self, Here, NO_ENGINE, Refusal};
use crate::cli::vouched::{self, ShippedRecords};
use crate::cli::{Exit, UsageError, print, records, redact, request, runtime, times};
use crate::progress::tell;
use crate::shards::{self, ExpectedCell, Shard};
use images::ImageRoute;
use jiff::civil::Date;
use model::arch::Arch;
use model::database::Database;
use model::distro::{Target, as_name};
use model::record::{ResolveError, known};
use model::release::Release;
use reports::journal::{CellId, Environment};
use schemars::JsonSchema;
use serde::Serialize;

/// How a release can be brought up.
struct PlanLine {
    release: Target,
    way: Result<ImageRoute, Refusal>,
    /// Something that a run will find out, although it is not an obstacle.
    note: Option<String>,
}

/// The JSON document for programs.
#[derive(Debug, Serialize, JsonSchema)]
struct Document {
    /// The architecture that releases would be brought up on: this machine's, unless another one is requested.
    arch: Arch,
    /// The releases in the order of the records, or as they were named.
    releases: Vec<Planned>,
    /// The cells that can be run, with their expected durations.
    cells: Vec<ExpectedCell>,
    /// The cells in shards, each for one machine; empty unless shards are requested.
    shards: Vec<Shard>,
}

/// How a release can be brought up, for programs.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Planned {
    /// The release, such as `debian:13`.
    #[serde(serialize_with = "as_name")]
    #[schemars(with = "String")]
    release: Target,
    /// The environments in which it can be brought up; empty if there is an obstacle.
    #[serde(rename = "in")]
    environments: Vec<Environment>,
    /// The source of its image: `cache`, `bootstrap`, `oci`, `cloud`, `oci-image`.
    from: Option<&'static str>,
    /// The obstacle, in the words of `run`.
    cannot: Option<String>,
    /// What to do about the obstacle.
    hint: Option<String>,
    /// Something that a run would find out.
    note: Option<String>,
}

/// Runs the command.
pub(super) fn plan(arguments: &PlanArguments) -> anyhow::Result<Exit> {
    let database = records::database(arguments.records.as_deref())?;
    let mut environments = request::environments(&arguments.environments)?;
    let arch = request::architecture(arguments.arch, &arguments.images, &environments)?;
    if environments.contains(&Environment::Host) {
        let why = "--in host tests this machine as it is, so there is nothing to plan: `kata-qualify doctor` shows what \
             it lacks";
        return Err(UsageError(why.to_owned()).into());
    }
    let all = ["all".to_owned()];
    let targets: &[String] = if arguments.targets.is_empty() { &all } else { &arguments.targets };
    let named = request::named(targets, &database, arch)?;
    let releases: Vec<Release> = named.iter().filter_map(|(_, release)| release.clone().ok()).collect();
    let (mut images, pinned) =
        request::images(&arguments.images, arguments.offline, &environments, &releases, &database)?;
    request::bases(arch, &mut images);
    let engine = runtime()?.block_on(prospect::engine());
    let settled = prospect::settle(&mut environments, !arguments.environments.is_empty(), &engine);
    if let Ok(true) = settled {
        tell(NO_ENGINE);
    }
    let here = Here::new(&environments, &images, &pinned, &engine);
    let (by_options, shipped) =
        (vouched::by_options(&arguments.images), ShippedRecords::under(arguments.records.as_deref()));
    let today = jiff::Zoned::now().date();
    let judge = |(target, release): &(Target, Result<Release, ResolveError>)| {
        let refusal = |why: String| Refusal { release: target.clone(), why, hint: None };
        let way = match release {
            Ok(release) => match request::cannot(release) {
                Some(why) => Err(refusal(why)),
                None => prospect::way(release, &here),
            },
            Err(error) => Err(refusal(error.to_string())),
        };
        let way = way.and_then(|way| match &settled {
            Ok(_) => Ok(way),
            Err(why) => Err(refusal(why.to_string())),
        });
        let way = way.map_err(|refusal| Refusal { why: redact(&refusal.why), ..refusal });
        let lacks_qemu = release.as_ref().is_ok_and(|release| release.qemu().is_none());
        let lacks_qemu = lacks_qemu.then(|| format!("the record names no QEMU for {arch}, so no guest can be started"));
        let mirror = || release.as_ref().ok().and_then(|one| vouched::by_mirror(&arguments.images, one));
        let records = || shipped.as_ref().zip(release.as_ref().ok()).and_then(|(shipped, one)| shipped.differ(one));
        let shaped = way.as_ref().ok().and_then(|_| by_options.clone().or_else(mirror).or_else(records));
        let shaped = shaped.map(|what| format!("a run is shaped: {what}"));
        let ended = way.as_ref().is_ok_and(|way| *way != ImageRoute::Cache).then(|| ended(target, &database, today));
        let notes: Vec<String> = lacks_qemu.into_iter().chain(shaped).chain(ended.flatten()).collect();
        PlanLine { release: target.clone(), way, note: (!notes.is_empty()).then(|| notes.join("; ")) }
    };
    let rows: Vec<PlanLine> = named.iter().map(judge).collect();
    let cells = shards::expected(&cells(&named, &rows, &environments), &times::runs(&arguments.runs)?);
    let shards = arguments.shards.map(|count| shards::pack(&cells, count.into())).unwrap_or_default();
    match arguments.format {
        Format::Json => {
            let releases = rows.iter().map(|row| planned(row, &environments)).collect();
            let document = Document { arch, releases, cells, shards };
            print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        }
        Format::Human => {
            print(&(text(&rows, &environments) + &sharded(&shards)))?;
            let mut printed_hints: Vec<&str> = Vec::new();
            for hint in rows.iter().filter_map(|row| row.way.as_ref().err()?.hint.as_deref()) {
                if !printed_hints.contains(&hint) {
                    tell(format_args!("hint: {hint}"));
                    printed_hints.push(hint);
                }
            }
        }
    }
    Ok(Exit::AsRecorded)
}

/// Returns a note if a release's support has ended, after which mirrors drop it; no mirror is asked before a run.
fn ended(target: &Target, database: &Database, today: Date) -> Option<String> {
    let entry = database.record(&target.distro).ok()?.find_release(&target.version)?;
    let last = [known(&entry.eol), known(&entry.lts)].into_iter().flatten().max()?;
    (*last < today).then(|| format!("its support ended on {last}; it was not checked whether a mirror still has it"))
}

/// Returns the cells that can be run: each release that can be brought up, in each environment.
fn cells(
    named: &[(Target, Result<Release, ResolveError>)],
    rows: &[PlanLine],
    environments: &[Environment],
) -> Vec<CellId> {
    let possible = named.iter().zip(rows).filter(|(_, row)| row.way.is_ok());
    let releases = possible.filter_map(|((_, release), _)| release.as_ref().ok());
    let of = |release: &Release, environment: &Environment| CellId {
        distro: release.distro.clone(),
        release: release.version.clone(),
        arch: release.arch,
        environment: *environment,
    };
    releases.flat_map(|release| environments.iter().map(move |environment| of(release, environment))).collect()
}

/// Formats a line for each shard.
fn sharded(shards: &[Shard]) -> String {
    let line = |(number, shard): (usize, &Shard)| {
        let cells = shard.cells.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        format!("shard {number}  {} min  {cells}\n", shard.minutes)
    };
    shards.iter().enumerate().map(line).collect()
}

/// Formats a line for each release.
fn text(rows: &[PlanLine], environments: &[Environment]) -> String {
    let width = rows.iter().map(|row| row.release.to_string().len()).max().unwrap_or(0);
    let places = environments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let line = |row: &PlanLine| {
        let how = match &row.way {
            Ok(ImageRoute::Cache) => format!("{places}, from the cache"),
            Ok(ImageRoute::Base(source)) => format!("{places}, from: {}", source.title()),
            Err(refusal) => format!("cannot: {}", refusal.why),
        };
        let note = row.note.as_ref().map(|note| format!(" (note: {note})")).unwrap_or_default();
        format!("{:width$}  {how}{note}\n", row.release)
    };
    rows.iter().map(line).collect()
}

fn planned(row: &PlanLine, environments: &[Environment]) -> Planned {
    let refusal = row.way.as_ref().err();
    Planned {
        release: row.release.clone(),
        environments: if refusal.is_none() { environments.to_vec() } else { Vec::new() },
        from: row.way.as_ref().ok().map(|way| match way {
            ImageRoute::Cache => "cache",
            ImageRoute::Base(source) => source.name(),
        }),
        cannot: refusal.map(|refusal| refusal.why.clone()),
        hint: refusal.and_then(|refusal| refusal.hint.clone()),
        note: row.note.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::BaseSource;
    use insta::assert_snapshot;
    use serde_json::{Value, json};
    use std::path::Path;

    fn rows() -> Vec<PlanLine> {
        let row = |release: &str, way| PlanLine { release: release.parse().unwrap(), way, note: None };
        let refused = |release: &str, why: &str, hint: Option<&str>| Refusal {
            release: release.parse().unwrap(),
            why: why.to_owned(),
            hint: hint.map(str::to_owned),
        };
        vec![
            row("debian:12", Ok(ImageRoute::Cache)),
            row("debian:13", Ok(ImageRoute::Base(BaseSource::Bootstrap))),
            PlanLine {
                note: Some("the record names no QEMU for x86_64, so no guest can be started".to_owned()),
                ..row("amzn:2023", Ok(ImageRoute::Base(BaseSource::Oci)))
            },
            row(
                "gentoo:rolling",
                Err(refused("gentoo:rolling", "the package manager is not supported", Some("run it elsewhere"))),
            ),
        ]
    }

    #[test]
    fn the_schema_is_current() {
        let current = model::schema::of::<Document>().unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/plan.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&file, &current).unwrap();
        }
        let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(checked_in == current, "{} is old: run the test with UPDATE_SCHEMA=1", file.display());
    }

    #[test]
    fn the_text_plan_has_a_line_for_each_release() {
        assert_snapshot!(text(&rows(), &[Environment::Container, Environment::Vm]), @r"
        debian:12       container, vm, from the cache
        debian:13       container, vm, from: bootstrap
        amzn:2023       container, vm, from: OCI image of its registry (note: the record names no QEMU for x86_64, so no guest can be started)
        gentoo:rolling  cannot: the package manager is not supported
        ");
    }

    #[test]
    fn a_release_without_support_is_noted_with_its_end_date() {
        let database = Database::embedded();
        let of = |version: &str, today: Date| {
            ended(&Target { distro: "fedora".parse().unwrap(), version: version.parse().unwrap() }, &database, today)
        };
        let today = jiff::civil::date(2026, 11, 30);
        let note = of("32", today).unwrap();
        assert!(note.starts_with("its support ended on 2021-") && note.ends_with("a mirror still has it"), "{note}");
        assert_eq!((of("44", today), of("rawhide", today)), (None, None));
    }

    #[test]
    fn the_text_plan_has_a_line_for_each_shard() {
        let shards = [
            Shard { minutes: 45, cells: vec!["debian:13/x86_64/vm".parse().unwrap()] },
            Shard {
                minutes: 16,
                cells: vec![
                    "debian:12/x86_64/container".parse().unwrap(),
                    "debian:13/x86_64/container".parse().unwrap(),
                ],
            },
        ];
        assert_snapshot!(sharded(&shards), @r"
        shard 0  45 min  debian:13/x86_64/vm
        shard 1  16 min  debian:12/x86_64/container debian:13/x86_64/container
        ");
    }

    #[test]
    fn the_json_plan_has_the_same_rows_as_the_text() {
        let values = rows().iter().map(|row| planned(row, &[Environment::Vm])).collect::<Vec<Planned>>();
        let values = serde_json::to_value(values).unwrap();
        let nothing = Value::Null;
        assert_eq!(
            values,
            json!([
                {"release": "debian:12", "in": ["vm"], "from": "cache", "cannot": nothing, "hint": nothing, "note": nothing},
                {"release": "debian:13", "in": ["vm"], "from": "bootstrap", "cannot": nothing, "hint": nothing, "note": nothing},
                {"release": "amzn:2023", "in": ["vm"], "from": "oci", "cannot": nothing, "hint": nothing, "note": "the record names no QEMU for x86_64, so no guest can be started"},
                {"release": "gentoo:rolling", "in": [], "from": nothing, "cannot": "the package manager is not supported", "hint": "run it elsewhere", "note": nothing},
            ])
        );
    }
}
