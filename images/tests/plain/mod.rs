//! A release's tree as mmdebstrap itself makes it as this machine's root, and the comparison of two trees.

use model::package::PackageName;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files that differ from one build to the next, with the reasons.
const EXCLUDED: &[(&str, &str)] = &[
    ("etc/machine-id", "drawn by lot"),
    ("etc/passwd-", "the state before the last change, whichever that was"),
    ("etc/shadow-", "the same"),
    ("etc/group-", "the same"),
    ("etc/gshadow-", "the same"),
    ("etc/subuid-", "the same"),
    ("etc/subgid-", "the same"),
    ("etc/shadow", "has the day of its making"),
    ("etc/hostname", "the machine's or the distro's name"),
    ("etc/resolv.conf", "the machine's or none"),
    ("etc/apt/sources.list", "may name a keyring of the machine"),
    ("var/log", "times"),
    ("var/cache", "made again whenever it is wanted"),
    ("var/lib/apt", "lists, and which packages came by themselves: essential ones and apt are installed by dpkg here"),
    ("var/lib/dpkg/status-old", "the state before the last change"),
    ("var/lib/dpkg/lock", "made by whoever locks first"),
    ("var/lib/dpkg/lock-frontend", "the same"),
    ("var/lib/dpkg/triggers/Lock", "the same"),
    ("var/lib/systemd/catalog/database", "has its own identity and time"),
    ("usr/lib/udev/hwdb.bin", "made again"),
    ("run", "of what runs"),
];

/// Makes the tree with mmdebstrap in one go, which runs the packages' scripts in chroot(2).
pub(crate) fn make(tree: &Path, sources: &str, packages: &[PackageName]) {
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mmdebstrap", "--mode=root", "--variant=minbase"])
        .args(["--format=directory", "--quiet", "--aptopt=Acquire::Check-Valid-Until \"false\""])
        .args(["--dpkgopt=force-unsafe-io", "--skip=cleanup/apt,cleanup/reproducible"])
        .arg(format!("--include={}", packages.join(",")))
        .arg("")
        .arg(tree)
        .args(sources.lines().filter(|l| !l.is_empty()))
        .env("INITRD", "No")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    for file in ["etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"] {
        let _ = std::fs::remove_file(tree.join(file));
    }
}

/// Returns a description of each path: kind, mode, owner, device, attributes, content.
pub(crate) fn inventory(tree: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(tree.join(&folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            if EXCLUDED.iter().any(|(name, _)| path == Path::new(name)) {
                continue;
            }
            let meta = entry.metadata().unwrap();
            let content = if meta.is_dir() {
                folders.push(path.clone());
                String::new()
            } else if meta.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap().display().to_string();
                // Both names refer to the same directory; the name in a unit's link depends on the order of
                // configuration.
                target.strip_prefix("/usr/lib/").map_or(target.clone(), |rest| format!("/lib/{rest}"))
            } else if meta.file_type().is_char_device() || meta.file_type().is_block_device() {
                format!("device {:x}", meta.rdev())
            } else if path == Path::new("etc/gshadow") {
                // Groups are in the order in which packages were configured.
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let mut lines: Vec<&str> = text.lines().collect();
                lines.sort_unstable();
                lines.join(" ")
            } else {
                format!("{} bytes, {}", meta.len(), images::artifacts::sha256(&entry.path()).unwrap())
            };
            let attributes = attributes(&entry.path());
            let line = format!("{:o} {}:{} {attributes} {content}", meta.mode(), meta.uid(), meta.gid());
            all.insert(path, line);
        }
    }
    all
}

fn attributes(path: &Path) -> String {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or_default();
    let attribute = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), value.as_mut_slice()).unwrap();
        format!("{}={:02x?}", String::from_utf8_lossy(name), &value[..length])
    };
    let mut all: Vec<String> = names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()).map(attribute).collect();
    all.sort();
    all.join(" ")
}

/// Returns each path that differs, with its description in both trees.
pub(crate) fn differences(theirs: &BTreeMap<PathBuf, String>, ours: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let paths: std::collections::BTreeSet<&PathBuf> = theirs.keys().chain(ours.keys()).collect();
    let description =
        |tree: &BTreeMap<PathBuf, String>, path| tree.get(path).cloned().unwrap_or_else(|| "nothing".to_owned());
    paths
        .into_iter()
        .filter(|path| theirs.get(*path) != ours.get(*path))
        .map(|path| {
            format!("{}: {} without, {} with", path.display(), description(theirs, path), description(ours, path))
        })
        .collect()
}
