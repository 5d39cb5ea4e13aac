//! Targets on the command line: `debian:13`, `debian`, `debian:11,12`, `all`.

use crate::database::{Database, DatabaseError};
use crate::distro::Target;
use crate::record::{Record, ReleaseEntry, ResolveError};

/// Why a text names no releases.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// There is no such distro.
    #[error(transparent)]
    Distro(#[from] DatabaseError),
    /// There is no such release.
    #[error(transparent)]
    Release(#[from] ResolveError),
    /// The text has none of the accepted forms.
    #[error("`{0}` is not a target: expected `debian:13`, `debian:11,12`, `debian` or `all`")]
    Form(String),
}

/// Returns the releases that `text` names, in its order, each once; `debian` and `all` are in the records' order.
///
/// # Errors
///
/// The unknown name, with the known ones and the most similar one.
pub fn parse(text: &str, database: &Database) -> Result<Vec<Target>, TargetError> {
    let mut targets: Vec<Target> = Vec::new();
    let mut add = |record: &Record, release: &ReleaseEntry| {
        let target = record.target(release);
        if !targets.contains(&target) {
            targets.push(target);
        }
    };
    if text == "all" {
        for record in database.records() {
            record.releases.iter().for_each(|release| add(record, release));
        }
        return Ok(targets);
    }
    let (distro, releases) = match text.split_once(':') {
        Some((distro, releases)) => (distro, Some(releases)),
        None => (text, None),
    };
    if distro.is_empty() {
        return Err(TargetError::Form(text.to_owned()));
    }
    let record = database.record(distro)?;
    match releases {
        None | Some("all") => {
            record.releases.iter().for_each(|release| add(record, release));
        }
        Some(names) => {
            for name in names.split(',') {
                if name.is_empty() {
                    return Err(TargetError::Form(text.to_owned()));
                }
                add(record, record.require_release(name)?);
            }
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let targets = parse(text, &Database::embedded()).expect("known");
        targets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn targets_are_parsed_by_version_codename_distro_or_all() {
        assert_eq!(names("debian:13"), ["debian:13"]);
        assert_eq!(names("debian:12,bullseye,12"), ["debian:12", "debian:11"]);
        assert_eq!(names("debian:sid"), ["debian:unstable"]);
        let all = ["debian:11", "debian:12", "debian:13", "debian:testing", "debian:unstable"];
        assert_eq!(names("debian"), all);
        let every = names("all");
        assert!(all.iter().all(|name| every.iter().any(|e| e == name)), "{every:?}");
        assert_eq!(every.len(), Database::embedded().records().map(|r| r.releases.len()).sum::<usize>());
    }

    #[test]
    fn errors_list_known_names_and_suggest_the_nearest() {
        let error = |text| parse(text, &Database::embedded()).unwrap_err().to_string();
        let unknown = error("debain");
        assert!(unknown.starts_with("unknown distro `debain`: known are almalinux, "), "{unknown}");
        assert!(unknown.ends_with(", ubuntu; did you mean `debian`?"), "{unknown}");
        assert_eq!(
            error("debian:trixi"),
            "unknown release `trixi` of debian: known are 11 (bullseye), 12 (bookworm), 13 (trixie), testing (forky), unstable (sid); did you mean `trixie`?"
        );
        assert!(error("debian:13,").contains("is not a target"));
        assert!(error(":13").contains("is not a target"));
    }
}
