//! Targets on the command line: `debian:13`, `debian`, `debian:11,12`, `all`.

use crate::database::{Database, DatabaseError};
use crate::distro::{DistroId, ReleaseVersion};
use crate::record::{Record, ReleaseEntry, ResolveError};
use std::str::FromStr;

/// One release of one distro.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Target {
    /// `debian`.
    pub distro: DistroId,
    /// The version as the record has it, whatever name was used: `13`.
    pub version: ReleaseVersion,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.distro, self.version)
    }
}

/// A text is not the name of one release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a release: expected DISTRO:VERSION, for example debian:13")]
pub struct NotATarget(String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Target, NotATarget> {
        let named = || {
            let (distro, version) = text.split_once(':')?;
            Some(Target { distro: distro.parse().ok()?, version: version.parse().ok()? })
        };
        named().ok_or_else(|| NotATarget(text.chars().take(40).collect()))
    }
}

/// Releases as a list of their names, for serde.
pub(crate) mod texts {
    use super::Target;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(targets: &[Target], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(targets.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Target>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

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
    fn targets_are_named_in_four_ways() {
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
    fn one_release_is_read_by_its_name() {
        let sid: Target = "debian:sid".parse().unwrap();
        assert_eq!(
            (sid.distro.as_str(), sid.version.as_str(), sid.to_string().as_str()),
            ("debian", "sid", "debian:sid")
        );
        for wrong in ["debian", "debian:", ":13", "Debian:13", "debian:1/3", "debian:13,12", "a:b:c"] {
            let error = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is not the name of a release: expected ")), "{error}");
        }
    }

    #[test]
    fn errors_say_what_is_known_and_what_is_near() {
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
