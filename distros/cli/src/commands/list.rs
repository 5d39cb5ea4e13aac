//! `list`: the known releases.

use super::support::Support;
use super::system::{GlobalArguments, release_json};
use super::{Exit, Failed, Format, json, print};
use clap::Args;
use jiff::civil::Date;
use model::database::{Database, DatabaseError};
use model::diagnostic::printable;
use model::record::{Record, ReleaseEntry};
use serde_json::Value;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only releases of this distro, by its id: `debian`.
    #[arg(long, value_name = "DISTRO")]
    distro: Option<String>,
    /// Only releases of this family: a package manager, `apt`, or a distro with those that derive from it.
    #[arg(long, value_name = "FAMILY")]
    family: Option<String>,
    /// Only releases that are supported on this day, if only by long-term support; without a day, today. A release
    /// whose end of support is not known counts as supported.
    #[arg(long, value_name = "DATE", num_args = 0..=1, require_equals = true)]
    supported: Option<Option<Date>>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// A release and its record.
type Listed<'d> = (&'d Record, &'d ReleaseEntry);

/// Prints the known releases.
pub(crate) fn run(common: &GlobalArguments, arguments: &ListArguments) -> anyhow::Result<Exit> {
    let database = common.database_without_shipped_verdicts(&common.root()?)?;
    let today = jiff::Zoned::now().date();
    let listed = chosen(&database, arguments, today)?;
    match arguments.format {
        Format::Human => print(&human(&listed, today))?,
        Format::Json => json(&document(&listed))?,
    }
    Ok(Exit::Ok)
}

fn chosen<'d>(database: &'d Database, arguments: &ListArguments, today: Date) -> Result<Vec<Listed<'d>>, Failed> {
    let unknown = |e: DatabaseError| Failed::new(Exit::BadInput, "unknown-distro", e.to_string());
    let of_distro = arguments.distro.as_ref().map(|name| database.record(name)).transpose().map_err(unknown)?;
    let is_requested = |record: &Record| {
        of_distro.is_none_or(|requested| record.distro == requested.distro)
            && arguments.family.as_ref().is_none_or(|family| belongs_to_family(database, record, family))
    };
    if let Some(family) = &arguments.family
        && !database.records().any(|record| belongs_to_family(database, record, family))
    {
        let message = format!("unknown family `{family}`: expected a package manager, such as apt, or a distro");
        return Err(Failed::new(Exit::BadInput, "unknown-family", message));
    }
    let day = arguments.supported.map(|day| day.unwrap_or(today));
    let is_supported = |entry: &ReleaseEntry| day.is_none_or(|day| Support::of(entry, day).is_given());
    let records = database.records().filter(|record| is_requested(record));
    let all = records.flat_map(|record| record.releases.iter().map(move |entry| (record, entry)));
    Ok(all.filter(|(_, entry)| is_supported(entry)).collect())
}

/// Whether a record belongs to a family.
fn belongs_to_family(database: &Database, record: &Record, family: &str) -> bool {
    let mut next = Some(record);
    // No chain of distros is longer; a distro that derives from itself has no usable record.
    for _ in 0..8 {
        let Some(record) = next else { return false };
        if record.distro == family || record.package_manager.name() == family {
            return true;
        }
        next = record.derives_from.as_ref().and_then(|parent| database.record(parent).ok());
    }
    false
}

/// Formats the list with one line per release.
fn human(listed: &[Listed<'_>], today: Date) -> String {
    let mut out = String::new();
    for (record, release) in listed {
        let arches: Vec<&str> = record.release_arches(release).iter().map(|a| a.name()).collect();
        let name = format!("{}:{}", record.distro, release.version);
        let others = release.names().get(1..).unwrap_or_default().join(" ");
        let support = Support::of(release, today).words().map(|words| format!("  ({words})")).unwrap_or_default();
        let line = format!("{name:20} {others:24} {}{support}", arches.join(" "));
        out += &printable(line.trim_end());
        out.push('\n');
    }
    out
}

/// Formats the list for programs.
fn document(listed: &[Listed<'_>]) -> Value {
    let release = |(record, release): &Listed<'_>| {
        serde_json::json!({
            "release": release_json(&record.distro, release),
            "arches": record.release_arches(release),
        })
    };
    let releases: Vec<Value> = listed.iter().map(release).collect();
    serde_json::json!({ "version": 1, "releases": releases })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn names(distro: Option<&str>, family: Option<&str>, supported: Option<Date>) -> Result<Vec<String>, String> {
        let (distro, family) = (distro.map(str::to_owned), family.map(str::to_owned));
        let arguments = ListArguments { distro, family, supported: supported.map(Some), format: Format::Human };
        let database = Database::embedded();
        let listed = chosen(&database, &arguments, date(2026, 11, 29)).map_err(|failed| failed.message)?;
        Ok(listed.iter().map(|(record, release)| format!("{}:{}", record.distro, release.version)).collect())
    }

    #[test]
    fn releases_are_filtered() {
        let debian = names(Some("debian"), None, None).unwrap();
        assert_eq!(debian[..2], ["debian:11", "debian:12"]);
        let supported = names(Some("debian"), None, Some(date(2027, 1, 1))).unwrap();
        assert!(!supported.contains(&"debian:11".to_owned()), "{supported:?}");
        assert!(["debian:12", "debian:unstable"].iter().all(|name| supported.contains(&(*name).to_owned())));
        let apt = names(None, Some("apt"), None).unwrap();
        assert!(debian.iter().all(|name| apt.contains(name)) && apt.iter().any(|name| name.starts_with("ubuntu:")));
        assert!(names(None, Some("debian"), None).unwrap().contains(&"debian:13".to_owned()));
        assert!(names(Some("debain"), None, None).unwrap_err().contains("did you mean `debian`?"));
        assert!(names(None, Some("apr"), None).unwrap_err().contains("unknown family `apr`"));
    }

    #[test]
    fn a_list_line_shows_long_term_support_or_the_end_of_support() {
        let database = Database::embedded();
        let record = database.record("debian").unwrap();
        let line = |day: Date| human(&[(record, record.find_release("11").unwrap())], day);
        assert!(line(date(2024, 1, 1)).ends_with("aarch64\n"), "{}", line(date(2024, 1, 1)));
        assert!(line(date(2025, 1, 1)).ends_with("aarch64  (long-term support until 2026-08-31)\n"));
        assert!(line(date(2027, 1, 1)).ends_with("aarch64  (support ended on 2026-08-31)\n"));
    }
}
