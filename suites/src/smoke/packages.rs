//! The native packages and the record's claims about them.
//!
//! Here the distro's own programs report the installed packages and the owner of a file, although `operator` can read
//! every package database itself: `operator` read the versions to compare with, so its reader would only agree with
//! itself.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{CommandOutput, EnvironmentSide};
use crate::outcome::Component;
use crate::row::{Row, row};
use crate::share::Share;
use model::package::{PackageName, PackageVersion};
use model::package_manager::{Questions, usr_merge_names};
use model::release::{InsidePath, Release};
use model::virtiofsd::Flavour;
use std::time::Duration;

const SOURCE: &str = include_str!("packages.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(packages_are_installed), &[Capability::PackagesInstall], Packages).guards(),
    row!(Environment(qemu_is_where_the_record_says), &[Capability::PackagesInstall, Capability::VmmBoot], Record),
    row!(
        Environment(virtiofsd_is_where_the_record_says),
        &[Capability::PackagesInstall, Capability::FsVirtioFs],
        Record
    ),
    row!(Environment(binaries_belong_to_the_packages_named), &[Capability::PackagesInstall], Record).guards(),
    row!(Environment(qemu_reports_the_packaged_version), &[Capability::VmmBoot], Qemu)
        .blocked_by(&["smoke::qemu_is_where_the_record_says"])
        .guards(),
    row!(Environment(virtiofsd_reports_its_version), &[Capability::FsVirtioFs], Virtiofsd)
        .blocked_by(&["smoke::virtiofsd_is_where_the_record_says"]),
];

const QUICK: Duration = Duration::from_secs(20);

/// Every package that the record names for this release is installed, fully configured, at one known version.
///
/// Kata's installers and operators install exactly these names; one that does not exist or does not configure
/// leaves a node without its VMM.
fn packages_are_installed(env: &dyn EnvironmentSide) -> Check {
    let claims = env.claims();
    for package in claims.release.packages() {
        let output = query(env, package.as_str())?;
        ensure!(output.ok(), "package {package} is not installed: {}", output.tail());
        let known = claims.versions.get(&package);
        let version = output.stdout.trim().to_owned();
        ensure!(!version.is_empty(), "package {package} is not fully configured");
        ensure!(
            known.is_none_or(|known| *known == *version),
            "package {package} is at {version}, the image was made with {}",
            known.map_or("no known version", PackageVersion::as_str)
        );
    }
    Ok(())
}

/// The VMM's path in the record is an executable file.
///
/// The path goes into Kata's configuration (`[hypervisor.qemu] path`), which both runtimes check when they load it. The
/// Go runtime does so in `path` in src/runtime/pkg/katautils/config.go@4.1.0, runtime-rs in
/// src/libs/kata-types/src/config/hypervisor/qemu.rs@4.1.0.
fn qemu_is_where_the_record_says(env: &dyn EnvironmentSide) -> Check {
    is_executable(env, &qemu_path(env)?, "VMM")
}

/// The daemon's path in the record is an executable file.
///
/// The path goes into Kata's configuration (`virtio_fs_daemon`); runtime-rs refuses the whole configuration when it
/// does not exist (`resolve_path!`). That is `virtio_fs_daemon` in
/// src/libs/kata-types/src/config/hypervisor/mod.rs@4.1.0; the Go runtime asks for it in `VirtioFSDaemon` in
/// src/runtime/pkg/katautils/config.go@4.1.0.
fn virtiofsd_is_where_the_record_says(env: &dyn EnvironmentSide) -> Check {
    is_executable(env, &virtiofsd_path(env)?, "virtiofsd")
}

/// Each binary named in the record belongs to one of the packages that the record names for it.
///
/// An operator that removes, holds or upgrades "the VMM's packages" must reach the binary that Kata runs, and a bug
/// report must reach the right maintainer.
fn binaries_belong_to_the_packages_named(env: &dyn EnvironmentSide) -> Check {
    let release = &env.claims().release;
    let mut claims: Vec<(InsidePath, Vec<PackageName>)> = Vec::new();
    if let Some(vmm) = release.qemu() {
        claims.push((vmm.path.clone(), vmm.packages.clone()));
    }
    for driver in &release.filesystems {
        // A driver without packages of its own is in the VMM's packages.
        let own = if driver.packages.is_empty() { release.packages() } else { driver.packages.clone() };
        claims.extend(driver.path.clone().map(|path| (path, own)));
    }
    for (path, packages) in claims {
        let owner = owner(env, path.as_str())?;
        if !packages.iter().any(|package| *package == *owner) {
            let message = format!("{path} belongs to package {owner}, the record names {}", packages.join(", "));
            return Err(Stop::blame_record(packages.into_iter().map(String::from).chain([path.into()]), message));
        }
    }
    Ok(())
}

/// QEMU's own version agrees with the version of its package.
///
/// A binary that was replaced behind the package manager's back makes every other verdict about "the distro's QEMU"
/// worthless.
fn qemu_reports_the_packaged_version(env: &dyn EnvironmentSide) -> Check {
    let output = env.run(&[&qemu_path(env)?, "--version"], QUICK)?;
    let reported = number_after(&output.stdout, "version ").ok_or_else(|| no_version(&output))?;
    let release = &env.claims().release;
    let packaged = release
        .qemu()
        .and_then(|vmm| vmm.packages.iter().find_map(|p| env.claims().versions.get(p)))
        .ok_or_else(|| Stop::error("the image has no version for the VMM's packages"))?;
    ensure!(agree(&reported, packaged), "the binary says version {reported}, the package is {packaged}");
    env.note(format!("QEMU {reported}"));
    Ok(())
}

/// virtiofsd answers `--version` with a version, which tells the C daemon (QEMU ≤ 7.2) from the Rust one.
///
/// Kata 3.2 and later, and all of runtime-rs, pass flags that only the Rust daemon (≥ 1.1 for Go) knows; the version is
/// evidence only, and the test of the flags decides. The Go runtime's flags are in
/// src/runtime/virtcontainers/virtiofsd.go@4.1.0.
fn virtiofsd_reports_its_version(env: &dyn EnvironmentSide) -> Check {
    let path = path_of_virtiofsd(&env.claims().in_use())?;
    let output = env.run(&[&path, "--version"], QUICK)?;
    let text = format!("{}{}", output.stdout, output.stderr);
    let version = ["virtiofsd version ", "virtiofsd ", "virtiofsd backend "]
        .iter()
        .find_map(|before| number_after(&text, before))
        .or_else(|| number_after(&text, "kernel interface version ").map(|fuse| format!("of FUSE interface {fuse}")))
        .ok_or_else(|| no_version(&output))?;
    env.note(format!("virtiofsd {version} ({})", Flavour::of_version(&text)));
    Ok(())
}

/// Returns the VMM's path in the record.
fn qemu_path(env: &dyn EnvironmentSide) -> Result<String, Stop> {
    path_of_qemu(&env.claims().release)
}

/// Returns the path of the VMM that guests run under: the record's, or a candidate.
pub(super) fn qemu_in_use(env: &dyn EnvironmentSide) -> Result<String, Stop> {
    path_of_qemu(&env.claims().in_use())
}

fn path_of_qemu(release: &Release) -> Result<String, Stop> {
    match release.qemu() {
        Some(vmm) => Ok(vmm.path.to_string()),
        None => Err(Stop::blame(
            Component::Record,
            format!("the record names no qemu for {} on {}", release.name(), release.arch),
        )),
    }
}

/// Returns the daemon's path in the record.
fn virtiofsd_path(env: &dyn EnvironmentSide) -> Result<String, Stop> {
    path_of_virtiofsd(&env.claims().release)
}

fn path_of_virtiofsd(release: &Release) -> Result<String, Stop> {
    release.filesystem(Share::VirtioFs).and_then(|f| f.path.as_ref()).map(ToString::to_string).ok_or_else(|| {
        let name = release.name();
        Stop::blame(Component::Record, format!("the record names no virtiofsd for {name} on {}", release.arch))
    })
}

pub(super) fn is_executable(env: &dyn EnvironmentSide, path: &str, what: &str) -> Check {
    let found = env.run(&["test", "-x", path], QUICK)?;
    match found.ok() {
        true => Ok(()),
        false => Err(Stop::blame_record(
            [path],
            format!("the record says that the {what} is {path}, and no executable file is there"),
        )),
    }
}

/// Returns the commands that query the environment's package manager.
fn questions(env: &dyn EnvironmentSide) -> Result<Questions, Stop> {
    let manager = env.claims().release.package_manager;
    manager.questions().ok_or_else(|| Stop::error(format!("the packages of {manager} cannot be asked for yet")))
}

/// Queries a package; the result's standard output is the package's version.
fn query(env: &dyn EnvironmentSide, package: &str) -> Result<CommandOutput, Stop> {
    let questions = questions(env)?;
    let mut output = env.run(&questions.exact_version(package), QUICK)?;
    output.stdout = questions.version_in(&output.stdout, package).to_owned();
    Ok(output)
}

fn owner(env: &dyn EnvironmentSide, path: &str) -> Result<String, Stop> {
    // The package database knows real paths only; `/usr/lib/qemu/virtiofsd` may be a link, and `/lib` one to
    // `/usr/lib`.
    let real = env.run(&["readlink", "-f", path], QUICK)?.stdout.trim().to_owned();
    let questions = questions(env)?;
    for name in usr_merge_names(path).chain(usr_merge_names(&real)) {
        let output = env.run(&[questions.owner, &[name.as_str()]].concat(), QUICK)?;
        if let Some(owner) = questions.owner_in(&output.stdout).filter(|_| output.ok()) {
            return Ok(owner.to_owned());
        }
    }
    Err(Stop::fail(format!("no package owns {path} ({real})")))
}

fn no_version(output: &CommandOutput) -> Stop {
    let end = output.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
    Stop::fail(format!("--version answered no version, it {end}: {}", output.tail()))
}

/// Checks whether a binary's version is the package's, as far as the package shows it: Debian's `1:7.2+dfsg-7+deb12u18`
/// is 7.2 with stable updates on top, `1:10.0.13+ds-0+deb13u1` has the full version.
fn agree(reported: &str, packaged: &PackageVersion) -> bool {
    let reported: Vec<u32> = reported.split('.').map_while(|number| number.parse().ok()).collect();
    let upstream = packaged.numbers();
    let shared = reported.len().min(upstream.len());
    shared >= 2 && reported[..shared] == upstream[..shared]
}

/// Returns the dotted number that follows `prefix` in `text`.
fn number_after(text: &str, prefix: &str) -> Option<String> {
    let rest = &text[text.find(prefix)? + prefix.len()..];
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let number = number.trim_end_matches('.').to_owned();
    (!number.is_empty()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::number_after;

    #[test]
    fn a_package_version_may_be_shorter_than_the_binarys_but_not_differ() {
        let agree = |reported, packaged: &str| super::agree(reported, &packaged.parse().unwrap());
        assert!(agree("7.2.22", "1:7.2+dfsg-7+deb12u18+b3"));
        assert!(agree("5.2.0", "1:5.2+dfsg-11+deb11u5"));
        assert!(agree("10.0.13", "1:10.0.13+ds-0+deb13u1"));
        assert!(!agree("9.1.0", "1:7.2+dfsg-7"));
        assert!(!agree("10.0.8", "1:10.0.13+ds-0+deb13u1"));
        assert!(!agree("7", "1:7.2+dfsg-7"));
    }

    #[test]
    fn versions_are_found_in_real_program_output() {
        let qemu = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\n";
        assert_eq!(number_after(qemu, "version ").as_deref(), Some("7.2.22"));
        assert_eq!(number_after("virtiofsd 1.13.2\n", "virtiofsd ").as_deref(), Some("1.13.2"));
        assert_eq!(number_after("no number", "version "), None);
    }
}
