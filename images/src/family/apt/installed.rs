//! What is installed in a tree by dpkg: exact versions, the suites that they came from, and who owns a path.

use super::programs;
use crate::error::Failure;
use crate::manifest::{Owner, Package, PackageOrigin};
use crate::progress::Phase;
use crate::runner::Runner;
use root::Root;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of one of dpkg's lists of files, and of all of them.
const MAX_LIST: u64 = 64 << 20;
const MAX_LISTS: u64 = 1 << 30;

/// All installed packages.
pub(crate) fn packages(runner: &Runner<'_>, tree: &Path) -> Result<Vec<Package>, Failure> {
    let mut query = programs::command(tree, &[], "dpkg-query")?;
    query.args(["-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n"]);
    Ok(parse_packages(&runner.output(Phase::Record, &mut query)?))
}

fn parse_packages(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let mut fields = line.split('\t');
        let installed = fields.next()?.starts_with("ii");
        let mut next = || fields.next().map(str::to_owned);
        let package = Package { name: next()?, version: next()?, arch: next()?, source: next()? };
        installed.then_some(package)
    };
    let mut all: Vec<Package> = text.lines().filter_map(package).collect();
    all.sort_by(|a, b| (&a.name, &a.arch).cmp(&(&b.name, &b.arch)));
    all
}

/// The suites that offer the installed versions of these packages, by these lists.
pub(crate) fn origins(
    runner: &Runner<'_>,
    tree: &Path,
    lists: &Path,
    names: &[String],
    packages: &[Package],
) -> Result<Vec<PackageOrigin>, Failure> {
    let mut policy = programs::command(tree, &[programs::lists(lists)], "apt-cache")?;
    // The tree needs no cache of the lists, which it does not have.
    policy.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
    policy.args(["policy", "--"]).args(names);
    let known = parse_policy(&runner.output(Phase::Record, &mut policy)?);
    let origin = |name: &String| {
        let installed = packages.iter().find(|p| p.name == *name)?;
        let suites = known.get(&(name.clone(), installed.version.clone())).cloned().unwrap_or_default();
        Some(PackageOrigin { package: name.clone(), version: installed.version.clone(), suites })
    };
    Ok(names.iter().filter_map(origin).collect())
}

/// `apt-cache policy`: the suites of every version; hosts are never read.
fn parse_policy(text: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut all: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let (mut package, mut version) = (String::new(), String::new());
    let mut table = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end_matches(':').to_owned();
            table = false;
        } else if line.trim() == "Version table:" {
            table = true;
        } else if table {
            let words: Vec<&str> = line.trim_start_matches(" ***").split_whitespace().collect();
            match words.as_slice() {
                // `500 URI suite/component arch Packages`, or `100 /var/lib/dpkg/status`.
                [_, _, suite, ..] => {
                    let suite = suite.rsplit_once('/').map_or(*suite, |(suite, _)| suite).to_owned();
                    let suites = all.entry((package.clone(), version.clone())).or_default();
                    if !suites.contains(&suite) {
                        suites.push(suite);
                    }
                }
                [_, source] if source.starts_with('/') => {}
                [found, ..] => version = (*found).to_owned(),
                [] => {}
            }
        }
    }
    all
}

/// The owners of paths.
///
/// dpkg's file lists have a path as it was packed: perhaps from before `/usr` was merged, perhaps as a symlink.
/// An overlay may have replaced the lists: only regular files of the tree are read, up to a limit.
pub(crate) fn owners(tree: &Path, paths: &[String]) -> Vec<Owner> {
    let root = Root::new(tree).ok();
    let mut wanted: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut resolved = Vec::new();
    for path in paths {
        let inside = Path::new(path);
        // Nobody but root reads a tree here, so that what cannot be looked at is not there.
        let is_there = |r: &&Root| r.look(inside).is_ok_and(|found| found.is_some());
        let real = root.as_ref().filter(is_there).and_then(|r| r.resolve(inside).ok());
        let real = real.map(|r| r.display().to_string());
        for name in spellings(path).into_iter().chain(real.iter().flat_map(|r| spellings(r))) {
            wanted.insert(name, None);
        }
        resolved.push(real);
    }
    let info = Path::new("/var/lib/dpkg/info");
    let mut left = MAX_LISTS;
    for name in root.iter().flat_map(|r| r.list(info).unwrap_or_default()) {
        let Some(package) = name.strip_suffix(".list") else {
            continue;
        };
        let Some(Ok(text)) = root.as_ref().map(|r| r.read_text(&info.join(&name), left.min(MAX_LIST))) else {
            continue;
        };
        left = left.saturating_sub(text.len() as u64);
        for line in text.lines() {
            if let Some(owner) = wanted.get_mut(line) {
                *owner = Some(package.split(':').next().unwrap_or(package).to_owned());
            }
        }
    }
    let owner = |name: &str| spellings(name).iter().find_map(|s| wanted.get(s).cloned().flatten());
    paths
        .iter()
        .zip(resolved)
        .map(|(path, resolved)| Owner {
            package: owner(path).or_else(|| owner(resolved.as_deref()?)),
            path: path.clone(),
            resolved,
        })
        .collect()
}

fn spellings(path: &str) -> Vec<String> {
    let mut all = vec![path.to_owned()];
    match path.strip_prefix("/usr") {
        Some(rest) if rest.starts_with("/bin/") || rest.starts_with("/sbin/") || rest.starts_with("/lib") => {
            all.push(rest.to_owned());
        }
        Some(_) => {}
        None => all.push(format!("/usr{path}")),
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let text = "ii \tqemu-utils\t1:7.2\tamd64\tqemu\nrc \told\t1\tall\told\nii \tadduser\t3.134\tall\tadduser\n";
        let found = parse_packages(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[1].source.as_str()), ("adduser", "qemu"));
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
        let of = |p: &str, v: &str| found.get(&(p.to_owned(), v.to_owned())).cloned().unwrap_or_default();
        assert_eq!(of("qemu-system-x86", "2"), ["bookworm", "bookworm-security"]);
        assert_eq!(of("qemu-system-x86", "1"), ["bookworm-updates"]);
        assert!(of("local", "9").is_empty());
    }

    #[test]
    fn only_regular_files_of_the_tree_are_read() {
        use std::os::unix::fs::symlink;
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let info = dir.path().join("var/lib/dpkg/info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(outside.path().join("list"), "/usr/bin/sh\n").unwrap();
        symlink(outside.path().join("list"), info.join("aaa.list")).unwrap();
        symlink("/dev/zero", info.join("bbb.list")).unwrap();
        symlink("/proc/kmsg", info.join("ccc.list")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, info.join("ddd.list"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let huge = std::fs::File::create(info.join("eee.list")).unwrap();
        huge.set_len(MAX_LIST + 1).unwrap();
        std::fs::write(info.join("zzz.list"), "/bin/sh\n").unwrap();
        std::fs::create_dir_all(dir.path().join("dev")).unwrap();
        let zero = rustix::fs::makedev(1, 5);
        let kind = rustix::fs::FileType::CharacterDevice;
        let _ = rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("dev/zero"), kind, mode, zero);
        let found = owners(dir.path(), &["/usr/bin/sh".to_owned()]);
        assert_eq!(found[0].package.as_deref(), Some("zzz"));
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
        let paths = ["/usr/lib/qemu/virtiofsd", "/usr/bin/sh", "/no/such"].map(str::to_owned);
        let found = owners(tree, &paths);
        assert_eq!(found[0].package.as_deref(), Some("virtiofsd"));
        assert_eq!(found[0].resolved.as_deref(), Some("/usr/libexec/virtiofsd"));
        assert_eq!(found[1].package.as_deref(), Some("dash"));
        assert_eq!((found[2].package.as_deref(), found[2].resolved.as_deref()), (None, None));
    }
}
