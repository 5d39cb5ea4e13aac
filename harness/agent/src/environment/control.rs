//! The control: each property of a filesystem is checked natively on the volume, before a share of it is blamed.
//!
//! A property inside a guest runs natively first, on the same volume, once in each environment.
//! A native failure is an `error` of that test: a share cannot be judged by a property that the host's filesystem
//! lacks. pjdfstest is judged by the difference: the names of its failures on the share that are not native failures.

use crate::body::in_fresh_directory;
use crate::home::AgentHome;
use crate::process::run;
use model::sync::locked;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use suites::catalogue::{Body, Test, body};
use suites::check::{Check, Stop};
use suites::filesystem::{self, Effort, GuestBody, Site};

/// Results on the native filesystem, by the test's name; each property runs once.
#[derive(Default)]
pub struct Controls {
    results: Mutex<BTreeMap<&'static str, Arc<Mutex<Option<Check>>>>>,
}

impl Controls {
    /// Runs the property natively on the volume, once; a failure becomes an error or a skip.
    pub fn check(&self, test: &Test, volume: &Volume<'_>) -> Check {
        let Some(guest_body) = body(test).and_then(Body::on_a_site) else { return Ok(()) };
        // The outer lock is held only to find the entry: a slow property must not hold up the others.
        let entry = Arc::clone(locked(&self.results).entry(test.name).or_default());
        let mut known = locked(&entry);
        let result = known.get_or_insert_with(|| natively(guest_body, volume)).clone();
        result.map_err(|stop| match stop {
            Stop::Fail { message, .. } => Stop::error(format!(
                "the property does not even hold on the environment's own filesystem, so the share cannot be judged: {message}"
            )),
            other => other,
        })
    }
}

fn natively(property: GuestBody, volume: &Volume<'_>) -> Check {
    in_fresh_directory(volume.root, |dir| property(&volume.site(dir)))
}

/// The environment's own filesystem.
pub struct Volume<'a> {
    /// Directory that stands for a share's root.
    pub root: &'a Path,
    /// Directory of the agent's files.
    pub home: &'a AgentHome,
    /// Amount and seed of random work.
    pub effort: Effort,
}

impl Volume<'_> {
    fn site(&self, dir: PathBuf) -> Site {
        Site {
            dir,
            small: Some(self.root.join("small")).filter(|s| s.is_dir()),
            root: self.root.to_owned(),
            share: None,
            pjdfstest: self.home.external("pjdfstest"),
            fsx: self.home.external("fsx"),
            run,
            scratch: self.home.scratch(),
            effort: self.effort,
        }
    }
}

/// Returns the names of pjdfstest's tests that fail natively, in the format of the file that the guest's comparison
/// reads.
pub fn pjdfstest_failures(volume: &Volume<'_>) -> Result<Vec<u8>, Stop> {
    let scratch = volume.home.scratch().join("pjdfstest-native");
    std::fs::create_dir_all(&scratch).map_err(|e| Stop::error(format!("making {}: {e}", scratch.display())))?;
    in_fresh_directory(volume.root, |dir| {
        let mut site = volume.site(dir);
        site.scratch.clone_from(&scratch);
        let failures = filesystem::pjdfstest_failures(&site)?;
        filesystem::record_native_failures(&scratch, &failures)
    })?;
    std::fs::read(scratch.join(filesystem::NATIVE_FAILURES))
        .map_err(|e| Stop::error(format!("reading the native failures: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of native failures by another user would excuse failures of the share.
    #[test]
    fn no_other_user_may_write_where_native_checks_keep_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let home = AgentHome::host(dir.path());
        let volume = Volume { root: dir.path(), home: &home, effort: Effort::default() };
        assert!(volume.site(dir.path().join("t")).scratch.starts_with(dir.path()));
    }
}
