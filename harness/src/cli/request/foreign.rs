//! Releases of another architecture than this machine's: their needs on this machine, and options that do not work with
//! them.

use crate::built_in;
use crate::cli::UsageError;
use crate::cli::arguments::{ImageArguments, RunArguments, SourceArgument};
use model::arch::Arch;
use model::package_manager::PackageManager;
use model::profile::Profile;
use model::release::Release;
use qemu::argv::is_read;
use reports::journal::Environment;
use std::path::Path;

/// Returns this machine's architecture, on which releases are brought up by default.
pub(in crate::cli) fn machine() -> Result<Arch, UsageError> {
    Arch::of_machine().ok_or_else(|| UsageError(format!("Kata does not support {}", std::env::consts::ARCH)))
}

/// Makes bases of another architecture by bootstrap, because the Docker engine's images have this machine's.
pub(in crate::cli) fn bases(arch: Arch, options: &mut images::Options) {
    if Some(arch) != Arch::of_machine() {
        options.source = images::BaseSource::Bootstrap;
    }
}

/// Returns the architecture of the requested releases.
///
/// # Errors
/// If it is another one than this machine's, and another option does not work with it.
pub(in crate::cli) fn architecture(
    requested: Option<Arch>,
    images: &ImageArguments,
    environments: &[Environment],
) -> Result<Arch, UsageError> {
    let here = machine()?;
    let Some(arch) = requested.filter(|arch| *arch != here) else { return Ok(here) };
    let failed = |why: String| UsageError(format!("--arch {arch}: {why}"));
    if environments != [Environment::Vm] {
        return Err(failed(format!(
            "this machine is {here}; other architectures are emulated in virtual machines only: use --in vm"
        )));
    }
    for (is_given, option) in [
        (images.cloud_image.is_some(), "--cloud-image"),
        (images.oci_image.is_some(), "--oci-image"),
        (images.source == SourceArgument::Oci, "--source oci"),
    ] {
        if is_given {
            return Err(failed(format!("{option} cannot be used: images for {arch} are always bootstrapped")));
        }
    }
    Ok(arch)
}

/// Checks whether these arguments can run the releases on their architecture.
///
/// # Errors
/// If Kata's arguments for the architecture are not known under a profile, or this machine cannot bring a release up:
/// then the error names what is lacking, and what installs it.
pub(super) fn suits(arguments: &RunArguments, releases: &[Release], profiles: &[Profile]) -> Result<(), UsageError> {
    for release in releases {
        let arch = release.arch;
        let failed = |why: String| UsageError(format!("--arch {arch}: {why}"));
        if let Some(profile) = profiles.iter().find(|profile| !is_read(profile, arch)) {
            let known: Vec<&str> =
                Profile::all().iter().filter(|p| is_read(p, arch)).map(|p| p.name.as_str()).collect();
            let (name, known) = (&profile.name, known.join(", "));
            return Err(UsageError(format!("--profile {name}: Kata's arguments on {arch} are known only for {known}")));
        }
        if Some(arch) != Arch::of_machine() && !arguments.kata.is_empty() {
            let why = "--kata cannot be used: Kata's release archives were never tested on an emulated architecture";
            return Err(failed(why.to_owned()));
        }
        if let Some(why) = cannot(release) {
            return Err(failed(why));
        }
    }
    Ok(())
}

/// Returns why a release of another architecture than this machine's cannot be brought up here.
pub(in crate::cli) fn cannot(release: &Release) -> Option<String> {
    cannot_lacking(release, lacks)
}

/// Returns why a release of another architecture cannot be brought up on a machine that lacks these things for it.
fn cannot_lacking(release: &Release, lacks: impl Fn(Arch) -> Vec<String>) -> Option<String> {
    if Some(release.arch) == Arch::of_machine() {
        return None;
    }
    if release.package_manager != PackageManager::Apt {
        let (name, manager) = (release.name(), release.package_manager);
        return Some(format!(
            "{name} uses {manager}, but other architectures are supported only for releases that use \
                             apt"
        ));
    }
    let missing = lacks(release.arch);
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Lists what this machine lacks for releases of an architecture, and what provides it.
pub(in crate::cli) fn lacks(arch: Arch) -> Vec<String> {
    let mut all = Vec::new();
    if built_in::agent(arch).is_none() {
        let toolchain = built_in::toolchain(arch);
        all.push(format!(
            "this kata-qualify was built without an agent for {arch}: install {toolchain}, and rebuild it"
        ));
    }
    if !images::runs_programs_of(arch) {
        let advice = how_to_interpret(Path::new(INTERPRETERS), arch);
        all.push(format!("this machine cannot run programs for {arch}, which packages' scripts need: {advice}"));
    }
    all
}

/// Directory of packages' configuration for systemd-binfmt (binfmt.d(5)).
const INTERPRETERS: &str = "/usr/lib/binfmt.d";

/// Explains how to give the kernel an interpreter for an architecture. Installing the package is not enough if systemd
/// does not run, as in a container or another root.
fn how_to_interpret(folder: &Path, arch: Arch) -> String {
    let line = folder.join(format!("qemu-{arch}.conf"));
    match line.is_file() {
        true => format!(
            "qemu-user is installed but not registered: mount binfmt_misc at /proc/sys/fs/binfmt_misc, write {} to \
             `register` there, and leave it mounted",
            line.display()
        ),
        false => "install qemu-user-binfmt (up to Debian 12: qemu-user-static)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;
    use model::database::Database;

    fn parsed(words: &[&str]) -> Box<RunArguments> {
        let words = ["kata-qualify", "run", "debian:13"].into_iter().chain(words.iter().copied());
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
        arguments
    }

    fn of(words: &[&str], environments: &[Environment]) -> Result<Arch, String> {
        let arguments = parsed(words);
        architecture(arguments.arch, &arguments.images, environments).map_err(|e| e.to_string())
    }

    /// Returns another architecture than this machine's.
    fn other() -> Arch {
        Arch::ALL.iter().copied().find(|arch| Some(*arch) != Arch::of_machine()).unwrap()
    }

    fn debian(arch: Arch) -> Release {
        Database::embedded().record("debian").unwrap().release("13", arch).unwrap()
    }

    fn refused(words: &[&str], release: Release, profile: &str) -> String {
        let profile = Profile::find(profile).unwrap().clone();
        suits(&parsed(words), &[release], &[profile]).unwrap_err().to_string()
    }

    #[test]
    fn this_machines_own_architecture_needs_nothing_extra() {
        let here = Arch::of_machine().unwrap();
        assert_eq!(of(&[], &[Environment::Container]), Ok(here));
        assert_eq!(of(&["--arch", here.name()], &[Environment::Container]), Ok(here));
        assert!(lacks(here).is_empty());
        assert_eq!(cannot(&debian(here)), None);
    }

    #[test]
    fn other_architectures_run_only_as_vms_without_oci_images() {
        let arch = other().name();
        let refused = of(&["--arch", arch], &[Environment::Container]).unwrap_err();
        assert!(refused.starts_with(&format!("--arch {arch}: this machine is ")), "{refused}");
        let refused = of(&["--arch", arch, "--source", "oci"], &[Environment::Vm]).unwrap_err();
        assert!(refused.contains("--source oci cannot be used"), "{refused}");
        assert_eq!(of(&["--arch", arch], &[Environment::Vm]), Ok(other()));
    }

    #[test]
    fn missing_tools_for_an_architecture_are_reported_up_front() {
        let missing = lacks(other());
        assert_eq!(cannot(&debian(other())).is_some(), !missing.is_empty());
        let profile = Profile::find("rs-4.1").unwrap().clone();
        let suited = suits(&parsed(&[]), &[debian(other())], &[profile]);
        let message = suited.err().map(|error| error.to_string());
        let expected = (!missing.is_empty()).then(|| format!("--arch {}: {}", other(), missing.join("; ")));
        assert_eq!(message, expected);
        // Whatever this machine has, all that is missing is named.
        let two = || vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(cannot_lacking(&debian(other()), |_| two()).as_deref(), Some("one; two"));
        assert_eq!(cannot_lacking(&debian(other()), |_| Vec::new()), None);
        assert_eq!(cannot_lacking(&debian(Arch::of_machine().unwrap()), |_| two()), None);
        let by_dnf = Release { package_manager: PackageManager::Dnf, ..debian(other()) };
        assert!(cannot(&by_dnf).unwrap().contains(" uses dnf, but other architectures"));
    }

    #[test]
    fn an_installed_but_unregistered_interpreter_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        assert!(how_to_interpret(folder.path(), Arch::Aarch64).starts_with("install qemu-user-binfmt"));
        std::fs::write(folder.path().join("qemu-aarch64.conf"), ":qemu-aarch64:M::x:y:/usr/bin/qemu-aarch64:POF\n")
            .unwrap();
        let message = how_to_interpret(folder.path(), Arch::Aarch64);
        assert!(
            message.starts_with("qemu-user is installed but not registered") && message.contains("qemu-aarch64.conf"),
            "{message}"
        );
        assert!(how_to_interpret(folder.path(), Arch::S390x).starts_with("install"));
    }

    #[test]
    fn unknown_profiles_and_kata_are_refused_on_other_architectures() {
        let message = refused(&[], debian(Arch::Aarch64), "go-3.29");
        assert_eq!(message, "--profile go-3.29: Kata's arguments on aarch64 are known only for go-3.32, rs-4.1");
        let message = refused(&["--kata", "/kata.tar.zst"], debian(other()), "rs-4.1");
        assert!(message.contains("--kata cannot be used"), "{message}");
    }
}
