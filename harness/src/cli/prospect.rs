//! Checks whether releases can be brought up here, before anything starts: `run` refuses what `plan` calls impossible.

use crate::cli::UsageError;
use crate::environments::container::{self, ContainerError};
use crate::environments::vm::outer;
use crate::environments::vm::pinned::Pinned;
use bollard::Docker;
use images::{BaseSource, ImageError, ImageRoute};
use model::diagnostic::error_chain;
use model::distro::Target;
use model::release::Release;
use reports::journal::Environment;
use std::cell::OnceCell;

/// Reason why a release cannot be brought up.
pub(super) struct Refusal {
    /// The release, such as `gentoo:rolling`.
    pub(super) release: Target,
    pub(super) why: String,
    /// A remedy, if one is known.
    pub(super) hint: Option<String>,
}

impl Refusal {
    /// The refusal of a release whose image cannot be made.
    fn of_image(release: &Release, error: &ImageError) -> Refusal {
        Refusal { release: release.target(), why: error.cause.to_string(), hint: error.hint() }
    }
}

/// The Docker engine, or the reason why none answers.
pub(super) type Engine = Result<Docker, ContainerError>;

/// Checks whether a Docker engine answers.
pub(super) async fn engine() -> Engine {
    container::connect().await
}

/// The note that is printed if [`settle`] has replaced containers by virtual machines.
pub(super) const NO_ENGINE: &str = "note: no Docker engine answers: releases are booted as virtual machines (--in vm)";

/// Checks that containers can be brought up, if any are requested. If no engine answers and the user did not name
/// containers, virtual machines replace them in `environments`, and the result is true.
///
/// # Errors
/// If the user named containers and no engine answers.
pub(super) fn settle(
    environments: &mut Vec<Environment>,
    requested: bool,
    engine: &Engine,
) -> Result<bool, UsageError> {
    match engine {
        Err(why) if environments.contains(&Environment::Container) => match requested {
            true => Err(UsageError(format!(
                "--in container needs a Docker engine, but none answers: {} (`--in vm` works without one; \
                 `kata-qualify doctor` shows more)",
                error_chain(why)
            ))),
            false => {
                *environments = vec![Environment::Vm];
                Ok(true)
            }
        },
        _ => Ok(false),
    }
}

/// The means of this machine for bringing releases up.
pub(super) struct Here<'a> {
    environments: &'a [Environment],
    images: &'a images::Options,
    engine: &'a Engine,
    pinned: &'a Pinned,
    /// Whether there is a QEMU for virtual machines, or why not; checked when the first release needs one.
    machine: OnceCell<Result<(), Refusal>>,
}

impl<'a> Here<'a> {
    /// Prepares the checks; neither the network nor Docker is asked.
    pub(super) fn new(
        environments: &'a [Environment],
        images: &'a images::Options,
        pinned: &'a Pinned,
        engine: &'a Engine,
    ) -> Here<'a> {
        Here { environments, images, engine, pinned, machine: OnceCell::new() }
    }

    /// Returns whether there is a QEMU for virtual machines, or why not.
    fn machine(&self) -> &Result<(), Refusal> {
        self.machine.get_or_init(|| machine(self.pinned, self.engine))
    }
}

/// Checks whether the image with the pinned QEMU is in the cache or can be made.
fn machine(pinned: &Pinned, engine: &Engine) -> Result<(), Refusal> {
    match pinned.to_be_made() {
        Ok(None) => Ok(()),
        Ok(Some((release, options))) => image(&release, &options, engine).and(Ok(())),
        Err(error) => Err(Refusal { release: outer::RELEASE, why: error_chain(&error), hint: None }),
    }
}

/// Returns the way to bring a release up on this machine.
///
/// # Errors
/// The reason, if there is no way.
pub(super) fn way(release: &Release, here: &Here<'_>) -> Result<ImageRoute, Refusal> {
    let way = image(release, here.images, here.engine)?;
    if here.environments.contains(&Environment::Vm) && !images::boots_with_systemd(release) {
        return Err(Refusal {
            release: release.target(),
            why: "virtual machines (--in vm) need systemd, which this release does not use as init".to_owned(),
            hint: Some("use --in container only".to_owned()),
        });
    }
    // A guest reads the cloud image.
    let boots = here.environments.contains(&Environment::Vm) || way == ImageRoute::Base(BaseSource::Cloud);
    if !boots {
        return Ok(way);
    }
    match here.machine() {
        Ok(()) => Ok(way),
        Err(lack) => Err(Refusal {
            release: release.target(),
            why: format!(
                "virtual machines are booted with the QEMU of {}, which is not available: {}",
                lack.release, lack.why
            ),
            hint: lack.hint.clone(),
        }),
    }
}

/// Returns the way to an image of a release.
fn image(release: &Release, options: &images::Options, engine: &Engine) -> Result<ImageRoute, Refusal> {
    let way = images::attainable(release, options).map_err(|error| Refusal::of_image(release, &error))?;
    match (way, engine) {
        (ImageRoute::Base(BaseSource::Oci), Err(why)) => Err(Refusal {
            release: release.target(),
            why: format!(
                "pulling the record's OCI image needs a Docker engine, but none answers: {}",
                error_chain(why)
            ),
            hint: Some(
                "start the Docker engine, install the tools that bootstrap the distro (`kata-qualify doctor` lists \
                 them), or provide an image with --oci-image"
                    .to_owned(),
            ),
        }),
        _ => Ok(way),
    }
}

/// Refuses releases that this machine cannot bring up in any way.
///
/// # Errors
/// The refusals of all such releases, with remedies.
pub(super) fn attainable(releases: &[Release], here: &Here<'_>) -> Result<(), UsageError> {
    let refused: Vec<Refusal> = releases.iter().filter_map(|release| way(release, here).err()).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> =
        refused.iter().map(|refusal| format!("{}: {}", refusal.release, refusal.why)).collect();
    let mut hints: Vec<String> = refused.into_iter().filter_map(|refusal| refusal.hint).collect();
    hints.dedup();
    lines.extend(hints.iter().map(|hint| format!("hint: {hint}")));
    Err(UsageError(lines.join("\n")))
}

#[cfg(test)]
#[path = "../../tests/cached/mod.rs"]
mod cached;

#[cfg(test)]
mod tests {
    use super::*;
    use images::docker::EngineSettingsError;
    use model::arch::Arch;
    use model::database::Database;

    fn none_answers() -> Engine {
        Err(ContainerError::Connect { source: EngineSettingsError::NoCertificates.into() })
    }

    #[test]
    fn virtual_machines_are_refused_without_the_pinned_qemu() {
        let cache = tempfile::tempdir().unwrap();
        let database = Database::embedded();
        let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let folder = cache.path().join("cache");
        let offline = images::Options { offline: true, ..images::Options::new(&folder) };
        // Either only the record's OCI image could be used, which needs an engine, or this machine cannot make images
        // at all.
        let made = images::Options { source: BaseSource::Oci, ..images::Options::new(&folder) };
        let engine = none_answers();
        let environments = [Environment::Container];
        let pinned = Pinned::new(offline.clone(), std::slice::from_ref(&release));
        let here = Here::new(&environments, &offline, &pinned, &engine);
        let message = attainable(std::slice::from_ref(&release), &here).unwrap_err().0;
        let nothing = "debian:13: the image is not in the cache, and --offline forbids downloads";
        assert_eq!(message, format!("{nothing}\nhint: run once without --offline"));
        cached::empty_images(&folder, &["debian:13"]).unwrap();
        let without = Pinned::new(made.clone(), std::slice::from_ref(&release));
        let with = Pinned::new(offline.clone(), std::slice::from_ref(&release));
        let refused = |environment, images: &images::Options, pinned: &Pinned| {
            let environments = [environment];
            let here = Here::new(&environments, images, pinned, &engine);
            let refused = way(&release, &here).err().map(|refusal| refusal.why);
            assert_eq!(attainable(std::slice::from_ref(&release), &here).is_err(), refused.is_some());
            assert!(
                here.machine.get().is_none() || environment == Environment::Vm,
                "nothing boots, and it was looked for"
            );
            refused
        };
        assert_eq!(refused(Environment::Vm, &offline, &with), None);
        assert_eq!(refused(Environment::Container, &offline, &without), None);
        let why = refused(Environment::Vm, &offline, &without).unwrap();
        assert!(
            why.starts_with("virtual machines are booted with the QEMU of debian:13, which is not available: "),
            "{why}"
        );
        // The release's own reason comes first.
        let why = refused(Environment::Vm, &made, &without).unwrap();
        assert!(!why.starts_with("virtual machines"), "{why}");
    }

    #[test]
    fn a_release_without_systemd_is_accepted_only_as_a_container() {
        let arch = Arch::of_machine().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let release = Database::embedded().record("alpine").unwrap().release("3.23", arch).unwrap();
        let folder = cache.path().join("cache");
        cached::empty_images(&folder, &["debian:13", "alpine:3.23"]).unwrap();
        let offline = images::Options { offline: true, ..images::Options::new(&folder) };
        let pinned = Pinned::new(offline.clone(), std::slice::from_ref(&release));
        let engine = none_answers();
        let of = |environments: &[Environment]| {
            way(&release, &Here::new(environments, &offline, &pinned, &engine)).map_err(|refusal| refusal.why)
        };
        assert_eq!(of(&[Environment::Container]), Ok(ImageRoute::Cache));
        for environments in [&[Environment::Vm][..], &[Environment::Container, Environment::Vm]] {
            assert!(of(environments).is_err_and(|why| why.contains("does not use as init")), "{environments:?}");
        }
    }

    /// The record has this fact, and nothing is fetched to find it. A machine that cannot make images reports that
    /// first.
    #[test]
    #[cfg_attr(lacks = "images", ignore = "needs root, x86_64 and mmdebstrap")]
    fn an_image_without_qemu_in_its_repositories_needs_a_mirror() {
        let cache = tempfile::tempdir().unwrap();
        let database = Database::embedded();
        let engine = none_answers();
        for (distro, version) in [("rhel", "10"), ("sles", "16.0")] {
            let release = database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
            let made = images::Options { source: BaseSource::Oci, ..images::Options::new(cache.path()) };
            let of = |images: &images::Options| {
                let pinned = Pinned::new(images.clone(), std::slice::from_ref(&release));
                let environments = [Environment::Container];
                let Err(refusal) = way(&release, &Here::new(&environments, images, &pinned, &engine)) else {
                    panic!("without an engine there is no way")
                };
                refusal.why
            };
            let why = of(&made);
            assert!(why.starts_with("none of the repositories in its OCI image has QEMU, which "), "{why}");
            let mirror = Some("http://mirror.example/repository".to_owned());
            let why = of(&images::Options { mirror, ..made.clone() });
            assert!(!why.contains("none of the repositories in its OCI image"), "{why}");
        }
    }

    #[test]
    fn a_bootstrap_without_a_known_mirror_is_refused_with_a_hint() {
        let cache = tempfile::tempdir().unwrap();
        let database = Database::embedded();
        // A machine that runs the distro knows a mirror of it.
        let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let is_fedora = system.lines().any(|line| line == "ID=fedora");
        let (distro, version) = if is_fedora { ("almalinux", "9") } else { ("fedora", "43") };
        let release = database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        let name = release.name();
        let images = images::Options { source: BaseSource::Bootstrap, ..images::Options::new(cache.path()) };
        let environments = [Environment::Container];
        let engine = none_answers();
        let pinned = Pinned::new(images.clone(), std::slice::from_ref(&release));
        let here = Here::new(&environments, &images, &pinned, &engine);
        let Err(refusal) = way(&release, &here) else { panic!("it cannot be made") };
        assert_eq!(refusal.why, format!("no mirror of {name} is known"));
        assert_eq!(refusal.hint.as_deref(), Some("name one with --mirror"));
        let message = attainable(std::slice::from_ref(&release), &here).unwrap_err().0;
        assert_eq!(message, format!("{name}: no mirror of {name} is known\nhint: name one with --mirror"));
    }

    #[test]
    fn vms_replace_containers_only_if_containers_were_not_requested() {
        use Environment::{Container, Vm};
        let none = none_answers();
        let mut environments = vec![Container];
        assert!(settle(&mut environments, false, &none).unwrap());
        assert_eq!(environments, [Vm]);
        for requested in [vec![Container], vec![Container, Vm]] {
            let mut environments = requested.clone();
            assert!(settle(&mut environments, true, &none).is_err());
            assert_eq!(environments, requested);
        }
        assert!(!settle(&mut vec![Vm], true, &none).unwrap());
    }
}
