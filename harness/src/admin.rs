//! What the admin's own records say: a mistake there is no finding about the distro.

use kata_osinfo::arch::Arch;
use kata_osinfo::database::Database;
use kata_osinfo::record::StatedFact;
use kata_osinfo::release::Release;
use std::collections::BTreeMap;
use suites::outcome::{Component, Outcome};

/// What the admin's records say otherwise than the built-in ones: by release, each value with its file and line.
#[derive(Debug, Clone, Default)]
pub struct Admins(BTreeMap<String, Vec<(String, String)>>);

impl Admins {
    /// Compares the records in use with the built-in ones.
    pub fn of(database: &Database, releases: &[Release]) -> Admins {
        let embedded = Database::embedded();
        let of_release = |release: &Release| {
            let built_in = facts(&embedded, release);
            let mine = facts(database, release).into_iter().filter(|fact| {
                let same = |known: &&StatedFact| known.subject == fact.subject && known.value == fact.value;
                !built_in.iter().any(|known| same(&known))
            });
            let stated = mine.filter_map(|fact| {
                let origin = fact.origin?;
                Some((fact.value?, format!("{}:{}", origin.file, origin.line)))
            });
            (release.name(), stated.collect())
        };
        Admins(releases.iter().map(of_release).collect())
    }

    /// An outcome that blames the record for what the admin said is an error: the shipped record does not say it.
    pub fn settle(&self, release: &str, outcome: Outcome) -> Outcome {
        let Outcome::Fail { message, blames: Component::Record } = &outcome else { return outcome };
        let stated = self.0.get(release).into_iter().flatten();
        let mut named = stated.filter(|(value, _)| value.split(' ').any(|word| names(message, word)));
        match named.next() {
            None => outcome,
            Some((_, origin)) => Outcome::Error { message: format!("{message}; {origin} says so: correct it there") },
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

/// Whether a message has a path or a package's name as a word of its own.
fn names(message: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    message.split(|c| !part(c)).any(|found| found.trim_end_matches('.') == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(record: &str) -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("debian.yaml"), record).unwrap();
        let database = Database::load(&[dir.path().to_owned()]).unwrap();
        assert!(database.problems().is_empty(), "{:?}", database.problems());
        (dir, database)
    }

    fn settled(record: &str, path: &str) -> Outcome {
        let (_dir, database) = database(record);
        let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let admins = Admins::of(&database, std::slice::from_ref(&release));
        let message = format!("the record says that the virtiofsd is {path}, and no executable file is there");
        admins.settle(&release.name(), Outcome::Fail { message, blames: Component::Record })
    }

    #[test]
    fn a_wrong_path_of_the_admins_is_an_error_and_one_that_is_shipped_is_a_failure() {
        let theirs = "distro: debian\nreleases:\n  - version: \"13\"\n    fs:\n      - name: virtio-fs\n        \
                      path: /opt/virtiofsd\n";
        match settled(theirs, "/opt/virtiofsd") {
            Outcome::Error { message } => {
                assert!(message.ends_with("debian.yaml:6 says so: correct it there"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        // What they did not say stays the shipped record's; neither is another path that begins alike theirs.
        for path in ["/usr/libexec/virtiofsd", "/opt/virtiofsd-2"] {
            assert!(matches!(settled(theirs, path), Outcome::Fail { .. }), "{path}");
        }
        // A copy of the shipped record says nothing of its own.
        let shipped = include_str!("../../distros/records/debian.yaml");
        assert!(matches!(settled(shipped, "/usr/libexec/virtiofsd"), Outcome::Fail { .. }));
    }
}
