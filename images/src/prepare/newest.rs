//! Versions that a release's archives have now; nothing is installed.

use super::{expired, request, resolve, vouching};
use crate::error::{Failure, ImageError, ImageErrorKind};
use crate::family;
use crate::family::offered::Offered;
use crate::job::Job;
use crate::options::Options;
use crate::progress::{ImagePhase, ProgressMessage};
use jiff::Timestamp;
use model::package::{PackageName, PackageVersion};
use model::package_manager::PackageManager;
use model::release::Release;
use model::version_order::compare;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the newest version of each named package in a release's archives, according to the signed indexes that an
/// image would be made from; packages that the archives do not offer are left out.
///
/// If an image's base names the package sources, the base is fetched, too.
///
/// # Errors
/// Those of [`prepare`](super::prepare()) up to the point where an image is made; [`ImageErrorKind::NotCached`]
/// offline.
pub fn newest_versions(
    release: &Release,
    options: &Options,
    names: &BTreeSet<&str>,
    progress: &(dyn Fn(ProgressMessage) + Sync),
) -> Result<BTreeMap<PackageName, PackageVersion>, ImageError> {
    let mut job = Job::new(release, options, progress)?;
    let offered = offered(&mut job, names).map_err(|failure| job.failed(failure))?;
    Ok(newest(release.package_manager, offered))
}

fn offered(job: &mut Job<'_>, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
    job.enter(ImagePhase::Resolve);
    if job.options.offline {
        return Err(ImageErrorKind::NotCached.into());
    }
    job.store.check()?;
    // A workshop, because the next start removes it if this process is killed.
    let scratch = job.store.workshop("indexes")?;
    let archives = match job.family.settings_in_base().is_empty() {
        true => {
            let mut archives = job.archives()?;
            let indexes = archives.indexes(&mut job.runner, &scratch.dir, None)?;
            expired(&indexes, Timestamp::now(), job.options.accept_expired)?;
            archives
        }
        false => {
            let requested = family::requested_packages(job.family, job.release)?;
            let vouching = vouching(job.release, job.options)?;
            let request = request(job.release, &requested, job.options.base.as_deref(), &vouching);
            resolve(job, &request, &scratch.dir)?.archives
        }
    };
    archives.offered(&job.runner, &scratch.dir, names)
}

fn newest(manager: PackageManager, offered: Vec<Offered>) -> BTreeMap<PackageName, PackageVersion> {
    let mut all: BTreeMap<PackageName, PackageVersion> = BTreeMap::new();
    for Offered { name, version, .. } in offered {
        let Ok(name) = name.parse::<PackageName>() else { continue };
        match all.get(&name) {
            Some(known) if compare(manager, version.as_str(), known.as_str()).is_le() => {}
            _ => {
                all.insert(name, version);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::release;

    #[test]
    fn the_newest_of_several_versions_is_chosen() {
        let one = |repository: &str, name: &str, version: &str| Offered {
            repository: repository.to_owned(),
            name: name.to_owned(),
            version: version.parse().unwrap(),
        };
        let offered = vec![
            one("trixie", "qemu", "1:10.0.2-1"),
            one("trixie-security", "qemu", "1:10.0.10-1"),
            one("trixie-updates", "qemu", "1:10.0.9-1"),
            one("trixie", "no name", "1"),
        ];
        let found = newest(PackageManager::Apt, offered);
        assert_eq!(found.get("qemu").unwrap(), &"1:10.0.10-1");
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn newest_versions_cannot_be_queried_offline() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { offline: true, ..Options::new(dir.path()) };
        let refused = newest_versions(&release("13", "trixie"), &options, &BTreeSet::new(), &|_| ()).unwrap_err();
        assert!(matches!(*refused.cause, ImageErrorKind::NotCached));
    }
}
