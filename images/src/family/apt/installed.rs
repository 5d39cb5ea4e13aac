//! Packages installed in a tree by dpkg: exact versions, the suites of their origin, and the owner of a path.

use super::programs;
use crate::error::Failure;
use crate::family::installed;
use crate::family::offered::{self, Offered};
use crate::manifest::{PackageOrigin, PathOwner};
use crate::progress::ImagePhase;
use crate::runner::Runner;
use crate::tree;
use model::package::{Package, PackageVersion};
use operator::packages::dpkg;
use root::InsidePath;
use std::path::Path;

/// Lists all installed packages.
pub(crate) fn packages(tree: &Path) -> Result<Vec<Package>, Failure> {
    installed::listed(dpkg::installed(&tree::open(tree)?))
}

/// Returns the suites that offer the installed versions of packages, according to these lists.
pub(crate) fn origins(
    runner: &Runner<'_>,
    tree: &Path,
    lists: &Path,
    packages: &[Package],
) -> Result<Vec<PackageOrigin>, Failure> {
    let mut policy = programs::command(tree, &[programs::lists(lists)], "apt-cache")?;
    // The tree has no cache of the lists, and needs none.
    policy.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
    policy.args(["policy", "--"]).args(packages.iter().map(|package| package.name.as_str()));
    Ok(offered::origins(packages, &parse_policy(&runner.output(ImagePhase::Record, &mut policy)?)))
}

/// Reads the suites of every version from `apt-cache policy`; hosts are never read.
fn parse_policy(text: &str) -> Vec<Offered> {
    let mut all = Vec::new();
    let (mut package, mut version) = ("", None);
    let mut table = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            (package, version) = (line.trim_end_matches(':'), None);
            table = false;
        } else if line.trim() == "Version table:" {
            table = true;
        } else if table {
            let words: Vec<&str> = line.trim_start_matches(" ***").split_whitespace().collect();
            match words.as_slice() {
                // `500 URI suite/component arch Packages`, or `100 /var/lib/dpkg/status`.
                [_, _, suite, ..] => {
                    let repository = suite.rsplit_once('/').map_or(*suite, |(suite, _)| suite).to_owned();
                    let offered = |version: &PackageVersion| Offered {
                        repository,
                        name: package.to_owned(),
                        version: version.clone(),
                    };
                    all.extend(version.as_ref().map(offered));
                }
                [_, source] if source.starts_with('/') => {}
                [found, ..] => version = found.parse::<PackageVersion>().ok(),
                [] => {}
            }
        }
    }
    all
}

/// Returns the owners of paths.
pub(crate) fn owners(tree: &Path, paths: &[InsidePath]) -> Result<Vec<PathOwner>, Failure> {
    installed::owners(tree, paths, dpkg::owners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::package::NativeName;

    #[test]
    fn installed_packages_are_sorted_and_have_their_source() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        let status = "Package: qemu-utils\nStatus: install ok installed\nArchitecture: amd64\nSource: qemu (1:7)\n\
            Version: 1:7.2\n\nPackage: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: adduser\nStatus: install ok installed\nArchitecture: all\nVersion: 3.134\n";
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        let found = packages(dir.path()).unwrap();
        let found: Vec<[&str; 4]> =
            found.iter().map(|p| [p.name.as_str(), p.version.as_str(), p.arch.as_str(), p.source.as_str()]).collect();
        assert_eq!(found, [["adduser", "3.134", "all", "adduser"], ["qemu-utils", "1:7.2", "amd64", "qemu"]]);
    }

    #[test]
    fn policy_names_the_suites_of_each_version() {
        let text = "qemu-system-x86:\n  Installed: 2\n  Candidate: 2\n  Version table:\n *** 2 500\n        \
            500 http://mirror.example/debian bookworm/main amd64 Packages\n        \
            500 http://mirror.example/debian-security bookworm-security/main amd64 Packages\n        \
            100 /var/lib/dpkg/status\n     1 500\n        \
            500 http://mirror.example/debian bookworm-updates/main amd64 Packages\n\
            local:\n  Installed: 9\n  Candidate: 9\n  Version table:\n *** 9 100\n        100 /var/lib/dpkg/status\n";
        let found = parse_policy(text);
        let suites_of = |name: &str, version: &str| {
            let is_it = |one: &&Offered| one.name == name && one.version == version;
            found.iter().filter(is_it).map(|one| one.repository.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(suites_of("qemu-system-x86", "2"), ["bookworm", "bookworm-security"]);
        assert_eq!(suites_of("qemu-system-x86", "1"), ["bookworm-updates"]);
        assert!(suites_of("local", "9").is_empty());
    }

    #[test]
    fn owners_are_found_through_symlinks_and_the_usr_merge() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        for folder in ["usr/lib/qemu", "usr/libexec", "usr/bin", "var/lib/dpkg/info"] {
            std::fs::create_dir_all(tree.join(folder)).unwrap();
        }
        symlink("usr/bin", tree.join("bin")).unwrap();
        std::fs::write(tree.join("usr/libexec/virtiofsd"), "").unwrap();
        symlink("../../libexec/virtiofsd", tree.join("usr/lib/qemu/virtiofsd")).unwrap();
        std::fs::write(tree.join("usr/bin/sh"), "").unwrap();
        let info = tree.join("var/lib/dpkg/info");
        std::fs::write(info.join("virtiofsd.list"), "/.\n/usr/libexec/virtiofsd\n").unwrap();
        std::fs::write(info.join("dash:amd64.list"), "/bin/sh\n").unwrap();
        let paths =
            ["/usr/lib/qemu/virtiofsd", "/usr/bin/sh", "/no/such"].map(|path| path.parse::<InsidePath>().unwrap());
        let found = owners(tree, &paths).unwrap();
        assert_eq!(found[0].package.as_ref().map(NativeName::as_str), Some("virtiofsd"));
        assert_eq!(found[0].resolved, "/usr/libexec/virtiofsd".parse().ok());
        assert_eq!(found[1].package.as_ref().map(NativeName::as_str), Some("dash"));
        assert_eq!((&found[2].package, &found[2].resolved), (&None, &None));
    }
}
