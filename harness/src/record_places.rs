//! Source positions (file and line) of the records' claims that a run finds wrong. A mistake in the admin's own record
//! is not a finding about the distro.

use model::arch::Arch;
use model::database::Database;
use model::distro::Target;
use model::record::StatedFact;
use model::release::Release;
use std::collections::BTreeMap;
use suites::outcome::{Failure, Outcome};

/// Source positions of the records' claims, by release.
#[derive(Debug, Clone, Default)]
pub struct RecordPlaces(BTreeMap<Target, Places>);

/// Source positions of the claims about one release.
#[derive(Debug, Clone, Default)]
struct Places {
    /// Claims in the admin's records that are not in the built-in ones.
    admins: Vec<Stated>,
    /// All other claims.
    shipped: Vec<Stated>,
    /// The position of the release itself.
    release: Option<String>,
}

/// One claim of a record.
#[derive(Debug, Clone)]
struct Stated {
    /// A path, or names of packages.
    values: Vec<String>,
    /// The position: `/etc/kata-osinfo/debian.yaml:6`.
    place: String,
}

impl RecordPlaces {
    /// Collects the positions of the records in use; claims that the built-in ones do not have are the admin's.
    pub fn of(database: &Database, releases: &[Release]) -> RecordPlaces {
        let embedded = Database::embedded();
        let of_release = |release: &Release| {
            let built_in = facts(&embedded, release);
            let is_built_in = |fact: &StatedFact| {
                built_in.iter().any(|known| known.subject == fact.subject && known.values == fact.values)
            };
            let mut places = Places { release: place_of(database, release), ..Places::default() };
            for fact in facts(database, release) {
                let list = if is_built_in(&fact) { &mut places.shipped } else { &mut places.admins };
                if let (Some(origin), Some(values)) = (fact.origin, fact.values) {
                    list.push(Stated { values, place: format!("{}:{}", origin.file, origin.line) });
                }
            }
            (release.target(), places)
        };
        RecordPlaces(releases.iter().map(of_release).collect())
    }

    /// Returns the outcome of a failure for which the record is to blame, with the file and line of the claim that has
    /// one of the values `record`: an error if the claim is the admin's, because the shipped record is not to blame.
    pub fn judge(&self, release: &Target, failure: Failure, record: &[String]) -> Outcome {
        let Some(places) = self.0.get(release) else { return Outcome::Fail(failure) };
        let is_stated = |fact: &&Stated| fact.values.iter().any(|value| record.contains(value));
        let observation = &failure.observed;
        if let Some(Stated { place, .. }) = places.admins.iter().find(is_stated) {
            return Outcome::Error { message: format!("{observation}; {place} says so: correct it there") };
        }
        let observed = match (places.shipped.iter().find(is_stated), &places.release) {
            (Some(Stated { place, .. }), _) => format!("{observation}; {place} says so"),
            (None, Some(place)) => format!("{observation}; the release stands at {place}"),
            (None, None) => observation.clone(),
        };
        Outcome::Fail(Failure { observed, ..failure })
    }

    /// Where a record names a package of a release, if it does.
    pub fn of_package(&self, release: &Target, package: &str) -> Option<&str> {
        let places = self.0.get(release)?;
        let names = |fact: &&Stated| fact.values.iter().any(|value| value == package);
        places.admins.iter().chain(&places.shipped).find(names).map(|fact| fact.place.as_str())
    }
}

/// Returns the file and line of a release.
fn place_of(database: &Database, release: &Release) -> Option<String> {
    let record = database.record(&release.distro).ok()?;
    let entry = record.find_release(&release.version)?;
    let origin = record.origin(entry.source, &entry.span)?;
    Some(format!("{}:{}", origin.file, origin.line))
}

fn facts(database: &Database, release: &Release) -> Vec<StatedFact> {
    let of_arch = |arch: Arch| {
        let record = database.record(&release.distro).ok()?;
        Some(record.facts(record.find_release(&release.version)?, arch))
    };
    of_arch(release.arch).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use suites::outcome::Component;

    fn database(record: &str) -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("debian.yaml"), record).unwrap();
        let database = Database::load(&[dir.path().to_owned()]).unwrap();
        assert!(database.problems().is_empty(), "{:?}", database.problems());
        (dir, database)
    }

    fn judged(record: &str, path: &str) -> Outcome {
        let (_dir, database) = database(record);
        let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let records = RecordPlaces::of(&database, std::slice::from_ref(&release));
        // The record is blamed by its value, whatever else the message names.
        let message = "no executable file is at /opt/virtiofsd, which the record names";
        let failure = Failure::new(Component::Record, message);
        records.judge(&release.target(), failure, &[path.to_owned()])
    }

    #[test]
    fn an_admins_wrong_path_is_an_error_and_a_shipped_one_a_failure() {
        let admins_record = "distro: debian\nreleases:\n  - version: \"13\"\n    fs:\n      - name: virtio-fs\n        \
                      path: /opt/virtiofsd\n";
        match judged(admins_record, "/opt/virtiofsd") {
            Outcome::Error { message } => {
                assert!(message.ends_with("debian.yaml:6 says so: correct it there"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        // Claims that the admin did not make are still the shipped record's, and so is a path that merely begins like
        // the admin's.
        for path in ["/usr/libexec/virtiofsd", "/opt/virtiofsd-2"] {
            assert!(matches!(judged(admins_record, path), Outcome::Fail { .. }), "{path}");
        }
        // A copy of the shipped record adds no claims of the admin's.
        let shipped = include_str!("../../distros/records/debian.yaml");
        assert!(matches!(judged(shipped, "/usr/libexec/virtiofsd"), Outcome::Fail { .. }));
    }

    /// Returns the line of the shipped record at a position.
    fn line(place: &str) -> &'static str {
        let (file, number) = place.rsplit_once(':').unwrap();
        assert!(file.ends_with("debian.yaml"), "{place}");
        include_str!("../../distros/records/debian.yaml").lines().nth(number.parse::<usize>().unwrap() - 1).unwrap()
    }

    #[test]
    fn wrong_or_missing_values_of_a_record_are_reported_with_file_and_line() {
        let database = Database::embedded();
        let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let places = RecordPlaces::of(&database, std::slice::from_ref(&release));
        let judge_record = |record: &[&str]| {
            let record: Vec<String> = record.iter().map(|value| (*value).to_owned()).collect();
            match places.judge(&release.target(), Failure::new(Component::Record, "it is not there"), &record) {
                Outcome::Fail(Failure { component: Component::Record, observed, .. }) => observed,
                other => panic!("{other:?}"),
            }
        };
        let daemon = release.filesystem(model::share::Share::VirtioFs).and_then(|f| f.path.clone()).unwrap();
        let wrong = judge_record(&[daemon.as_str()]);
        let place = wrong.strip_prefix("it is not there; ").and_then(|rest| rest.strip_suffix(" says so")).unwrap();
        assert!(line(place).contains(daemon.as_str()), "{place}: {}", line(place));
        // For a value that the record does not have, the message names the release's line.
        let missing = judge_record(&[]);
        let place = missing.strip_prefix("it is not there; the release stands at ").unwrap();
        assert!(line(place).contains("13"), "{place}: {}", line(place));
        let package = places.of_package(&release.target(), "virtiofsd").unwrap();
        assert!(line(package).contains("virtiofsd"), "{package}: {}", line(package));
        assert_eq!(places.of_package(&release.target(), "no-such-package"), None);
    }
}
