//! Detection of the version of a machine's containerd.

use model::diagnostic::printable;
use model::kata_version::KataVersion;
use model::package_manager::PackageManager;
use operator::configure::{ContainerdConfig, ContainerdVersion, find_containerd_config};
use operator::packages::Packages;
use operator::process::Invocation;
use root::Root;
use std::path::Path;
use std::time::Duration;

/// Time limit for `containerd --version`.
const WITHIN: Duration = Duration::from_secs(10);

/// Returns the given version; else that of the package that owns the program; else, on the running system only, the
/// program's own answer.
pub(super) fn find(
    root: &Root,
    manager: PackageManager,
    requested: Option<&str>,
    place: &ContainerdConfig,
) -> anyhow::Result<Option<ContainerdVersion>> {
    if let Some(requested) = requested {
        let version: KataVersion = requested
            .parse()
            .map_err(|_| anyhow::anyhow!("`{requested}` is not a version of containerd: expected `2.1` or `1.7.24`"))?;
        let has_patch = requested.trim().split(['-', '+']).next().is_some_and(|numbers| numbers.split('.').count() > 2);
        let patch = has_patch.then_some(version.patch);
        return Ok(Some(ContainerdVersion { patch, ..(version.major, version.minor).into() }));
    }
    // The containerd of a Kubernetes distribution is not in the search path.
    let program = if place.is_standard() { root.which("containerd")? } else { None };
    let Some(program) = program else { return Ok(None) };
    let packages = Packages::read(root, Some(manager)).ok();
    if let Some(numbers) = packages.as_ref().and_then(|packages| numbers(packages, &program)) {
        return Ok(ContainerdVersion::of_numbers(&numbers));
    }
    if !root.is_running_system() {
        return Ok(None);
    }
    Ok(ask_program(&program, WITHIN))
}

/// Returns the version of the package that owns the machine's own containerd, without running anything.
pub(crate) fn version_of_package(root: &Root, packages: Option<&Packages<'_>>) -> Option<ContainerdVersion> {
    let place = find_containerd_config(root, None).ok()?;
    let program = root.which("containerd").ok().flatten().filter(|_| place.is_standard())?;
    ContainerdVersion::of_numbers(&numbers(packages?, &program)?)
}

/// Returns the version numbers of the package that owns a program.
fn numbers(packages: &Packages<'_>, program: &Path) -> Option<Vec<u32>> {
    Some(packages.owner(program).ok().flatten()?.version.numbers())
}

/// Parses `containerd github.com/containerd/containerd v2.1.3 …`, also without the `v`, as in Debian's 1.7 and 2.1.
fn ask_program(program: &Path, within: Duration) -> Option<ContainerdVersion> {
    match Invocation::new(program, &["--version"]).run(within, None) {
        Ok(finished) => finished.stdout.split_whitespace().find_map(|word| word.parse().ok()),
        Err(error) => {
            eprintln!(
                "warning: {}: pass containerd's version with --containerd-version",
                printable(&error.to_string())
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn containerd_version_is_parsed_and_the_program_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("containerd");
        let script = |text: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("echo containerd github.com/containerd/containerd v2.1.3 deadbeef");
        let numbers = |numbers: &[u32]| ContainerdVersion::of_numbers(numbers);
        assert_eq!(ask_program(&program, Duration::from_secs(20)), numbers(&[2, 1, 3]));
        script("echo containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6");
        assert_eq!(ask_program(&program, Duration::from_secs(20)), numbers(&[1, 7, 24]));
        script("sleep 1000");
        let started = std::time::Instant::now();
        assert_eq!(ask_program(&program, Duration::from_millis(300)), None);
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }

    #[test]
    fn the_containerd_version_comes_from_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("usr/bin/containerd", "no program that could be run");
        let root = Root::new(dir.path()).unwrap();
        let apt = PackageManager::Apt;
        let found = |requested| find(&root, apt, requested, &find_containerd_config(&root, None).unwrap()).unwrap();
        assert_eq!(found(None), None);
        write("var/lib/dpkg/info/containerd.io.list", "/usr/bin/containerd\n");
        let numbers = |numbers: &[u32]| ContainerdVersion::of_numbers(numbers);
        for (version, expected) in
            [("1:2.1.3-1", &[2, 1, 3][..]), ("1.7.24~ds1-6+b4", &[1, 7, 24]), ("2.2~rc1-1", &[2, 2])]
        {
            let status = format!("Package: containerd.io\nStatus: install ok installed\nVersion: {version}\n");
            write("var/lib/dpkg/status", &status);
            assert_eq!(found(None), numbers(expected));
            let packages = Packages::read(&root, Some(apt)).unwrap();
            assert_eq!(version_of_package(&root, Some(&packages)), numbers(expected));
        }
        assert_eq!(found(Some("2.0")), numbers(&[2, 0]));
        assert_eq!(found(Some("1.6.20")), numbers(&[1, 6, 20]));
        // A Kubernetes distribution has a containerd of its own.
        let main = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
        write(&main[1..], "version = 3\n");
        let k3s_config = find_containerd_config(&root, Some(Path::new(main))).unwrap();
        assert_eq!(find(&root, apt, None, &k3s_config).unwrap(), None);
    }
}
