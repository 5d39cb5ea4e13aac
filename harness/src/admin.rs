//! What the admin's own records say. A mistake in them is no finding about the distro.

use model::arch::Arch;
use model::database::Database;
use model::record::StatedFact;
use model::release::Release;
use std::collections::BTreeMap;
use suites::outcome::{Failure, Outcome};

/// What the admin's records say that the built-in ones do not, by release.
#[derive(Debug, Clone, Default)]
pub struct AdminRecords(BTreeMap<String, Vec<Stated>>);

/// One fact of an admin's record.
#[derive(Debug, Clone)]
struct Stated {
    /// A path, or names of packages.
    values: Vec<String>,
    /// `/etc/kata-osinfo/debian.yaml:6`.
    place: String,
}

impl AdminRecords {
    /// Compares the records in use with the built-in ones.
    pub fn of(database: &Database, releases: &[Release]) -> AdminRecords {
        let embedded = Database::embedded();
        let of_release = |release: &Release| {
            let built_in = facts(&embedded, release);
            let theirs = facts(database, release).into_iter().filter(|fact| {
                let same = |known: &&StatedFact| known.subject == fact.subject && known.values == fact.values;
                !built_in.iter().any(|known| same(&known))
            });
            let stated = theirs.filter_map(|fact| {
                let origin = fact.origin?;
                Some(Stated { values: fact.values?, place: format!("{}:{}", origin.file, origin.line) })
            });
            (release.name(), stated.collect())
        };
        AdminRecords(releases.iter().map(of_release).collect())
    }

    /// A failure of what a record says, `record`, as an outcome: an error where the admin said so, because then the shipped
    /// record is not at fault.
    pub fn judge(&self, release: &str, failure: Failure, record: &[String]) -> Outcome {
        let mut stated = self.0.get(release).into_iter().flatten();
        match stated.find(|fact| fact.values.iter().any(|value| record.contains(value))) {
            None => Outcome::Fail(failure),
            Some(Stated { place, .. }) => {
                Outcome::Error { message: format!("{}; {place} says so: correct it there", failure.observed) }
            }
        }
    }
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
        let records = AdminRecords::of(&database, std::slice::from_ref(&release));
        // What blames the record is its value, whatever else the message names.
        let message = "no executable file is at /opt/virtiofsd, which the record names";
        let failure = Failure::new(Component::Record, message);
        records.judge(&release.name(), failure, &[path.to_owned()])
    }

    #[test]
    fn a_wrong_path_of_the_admins_is_an_error_and_one_that_is_shipped_is_a_failure() {
        let theirs = "distro: debian\nreleases:\n  - version: \"13\"\n    fs:\n      - name: virtio-fs\n        \
                      path: /opt/virtiofsd\n";
        match judged(theirs, "/opt/virtiofsd") {
            Outcome::Error { message } => {
                assert!(message.ends_with("debian.yaml:6 says so: correct it there"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        // What they did not say is still the shipped record's, and so is a path that only begins like theirs.
        for path in ["/usr/libexec/virtiofsd", "/opt/virtiofsd-2"] {
            assert!(matches!(judged(theirs, path), Outcome::Fail { .. }), "{path}");
        }
        // A copy of the shipped record says nothing of its own.
        let shipped = include_str!("../../distros/records/debian.yaml");
        assert!(matches!(judged(shipped, "/usr/libexec/virtiofsd"), Outcome::Fail { .. }));
    }
}
