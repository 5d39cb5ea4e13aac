//! Selects the kernel of a root that is tested, checked and configured.

mod order;

use crate::packages::{Format, QueryError, dpkg};
use model::arch::Arch;
use model::kernel::KernelRelease;
use model::package::{NativeName, PackageName};
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A kernel's files, seen from inside the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelImage {
    /// The bootable image.
    pub path: PathBuf,
    /// The text matched by the pattern's `*`, `6.12.41+deb13-amd64`; `None` unless the pattern has exactly one.
    pub release: Option<KernelRelease>,
    /// The modules directory, `/lib/modules/<release>`, or the one of its flavour if the kernel is named by the flavour
    /// only; `None` for the leftover kernel of a removed package, and for a kernel without modules.
    pub modules: Option<PathBuf>,
    /// Whether it is uncertain that the record means this kernel: kernels of other flavours exist, `cloud`, `rt`, or it
    /// is a vendor's own.
    pub in_doubt: bool,
}

/// Returns the kernel that counts among those matching a record's pattern: `/boot/vmlinuz-*`,
/// `/usr/lib/modules/*/vmlinuz`.
///
/// Kernels from the record's packages precede a vendor's own, according to dpkg, or else by flavour or, with RPM, by
/// variant; kernels with modules precede leftovers; then the newest counts, in the order of the record's package
/// manager, or of the one whose database exists in an unknown system. All code that names a kernel uses this function,
/// so that the tested kernel is the configured one.
///
/// # Errors
///
/// Fails if a directory exists and cannot be searched, or if dpkg's database cannot be read or is damaged.
pub fn newest(
    root: &Root,
    pattern: &str,
    packages: &[PackageName],
    manager: Option<PackageManager>,
) -> Result<Option<KernelImage>, QueryError> {
    let mut images: Vec<KernelImage> = Vec::new();
    for path in root.glob(pattern)? {
        images.extend(image(root, pattern, path)?);
    }
    let format = match manager.and_then(Format::of_manager) {
        Some(format) => Some(format),
        None => Format::of(root)?,
    };
    let flavours: BTreeSet<Vec<String>> =
        images.iter().filter_map(|i| Some(flavour(i.release.as_ref()?.as_str()))).collect();
    let package_flavours = flavours_of(packages, &[PREFIX]);
    let own = flavours_of(packages, &[PREFIX, "kernel-", "linux-"]);
    let mut variants: BTreeSet<Option<&str>> = packages.iter().map(variant_of).collect();
    if packages.is_empty() {
        variants.insert(None);
    }
    let has_package_variant = |release: &str| variants.contains(&variant(release));
    // A kernel of a flavour other than in the package's name is not the package's, unless dpkg says so.
    let is_plain = flavours.len() < 2 && (package_flavours.is_empty() || flavours.is_subset(&package_flavours));
    // Only read if there is a choice or a doubt, because dpkg's database is large.
    let named = match (images.len(), format) {
        (0, _) => BTreeSet::new(),
        (1, _) if is_plain => BTreeSet::new(),
        (_, Some(Format::Dpkg)) => named_by(root, packages)?,
        _ => BTreeSet::new(),
    };
    let release = |i: &KernelImage| match &i.release {
        Some(release) => release.to_string(),
        None => i.path.to_string_lossy().into_owned(),
    };
    images.sort_by(|a, b| {
        let rank = |i: &KernelImage| {
            let release = release(i);
            let is_own = (has_package_variant(&release), own.contains(&flavour(&release)));
            (named.contains(&release), is_own, i.modules.is_some())
        };
        rank(b).cmp(&rank(a)).then_with(|| order::compare(format, &release(b), &release(a)))
    });
    Ok(images.into_iter().next().map(|first| {
        let in_doubt = match first.release.as_ref().map(KernelRelease::as_str).filter(|release| !has_number(release)) {
            // Nothing but the name of the flavour says which package a kernel is of, as on Alpine.
            Some(bare) => !own.is_empty() && !own.contains(&flavour(bare)),
            None => (!is_plain && !named.contains(&release(&first))) || !has_package_variant(&release(&first)),
        };
        KernelImage { in_doubt, ..first }
    }))
}

/// Prefix of the kernel packages of Debian and its relatives; the flavour follows.
const PREFIX: &str = "linux-image-";

/// Returns the flavours at the end of package names: `amd64` of `linux-image-amd64`, `default` of `kernel-default`.
fn flavours_of(packages: &[PackageName], prefixes: &[&str]) -> BTreeSet<Vec<String>> {
    let rest = |package: &str| prefixes.iter().find_map(|prefix| package.strip_prefix(prefix)).map(str::to_owned);
    let rests = packages.iter().filter_map(|package| rest(package.as_str()));
    rests.map(|rest| flavour(&format!("-{rest}"))).collect()
}

/// Returns the words of a release that are not versions: `cloud` and `amd64` of `6.12.48+deb13-cloud-amd64`, and all of
/// a release without a number: `lts`, or `linux-lts`.
fn flavour(release: &str) -> Vec<String> {
    let word = |part: &&str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && !part.starts_with("rc");
    let (words, versions) = match has_number(release) {
        true => (release, 1),
        false => (release.strip_prefix("linux-").unwrap_or(release), 0),
    };
    words.split(['-', '_']).skip(versions).filter(word).map(str::to_owned).collect()
}

/// Checks whether a release has a number, as that of any kernel that is not named by its flavour only.
fn has_number(release: &str) -> bool {
    release.contains(|c: char| c.is_ascii_digit())
}

/// Words in the names of variants in Fedora's and RHEL's kernel.spec: `rt`, `64k`, `rt-64k-debug`.
const VARIANT_WORDS: [&str; 6] = ["16k", "64k", "automotive", "debug", "rt", "zfcpdump"];

/// Returns the variant of an RPM kernel, which its release has after the architecture: `rt` of
/// `5.14.0-503.el9.x86_64+rt`.
fn variant(release: &str) -> Option<&str> {
    let (before, variant) = release.rsplit_once('+')?;
    Arch::ALL.iter().any(|arch| before.ends_with(&format!(".{}", arch.name()))).then_some(variant)
}

/// Returns the variant of a package: `rt` for `kernel-rt-core`, and `None` for any other, such as `kernel-ml-core`,
/// whose releases have nothing after the architecture.
fn variant_of(package: &PackageName) -> Option<&str> {
    let name = package.as_str().strip_prefix("kernel-")?.strip_suffix("-core")?;
    name.split('-').all(|word| VARIANT_WORDS.contains(&word)).then_some(name)
}

/// Checks for files that maintainer scripts, editors and admins leave next to kernels: `.old`, `.bak~`, `.dpkg-new`,
/// `.efi.signed`.
fn is_leftover(name: &str) -> bool {
    let known = ["old", "bak", "orig", "save", "saved", "backup", "signed", "unsigned", "old-dkms", "tmp", "disabled"];
    name.ends_with('~')
        || name.split('.').skip(1).any(|word| {
            known.contains(&word) || word.starts_with("dpkg-") || ["rpmsave", "rpmnew", "rpmorig"].contains(&word)
        })
}

/// Describes a path that matched, unless it is not a kernel.
fn image(root: &Root, pattern: &str, path: PathBuf) -> Result<Option<KernelImage>, RootError> {
    let Some(text) = path.to_str() else { return Ok(None) };
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return Ok(None) };
    // Fedora has an additional kernel for rescue only.
    if is_leftover(name) || text.contains("-0-rescue-") || !root.has_file(&path)? {
        return Ok(None);
    }
    let (before, after) = pattern.split_once('*').filter(|(_, after)| !after.contains('*')).unzip();
    // `/boot/vmlinuz*` also matches the hyphen before the release.
    let matched = before.and_then(|b| text.strip_prefix(b)?.strip_suffix(after?)).map(|m| m.trim_start_matches('-'));
    let Ok(release) = matched.map(str::parse::<KernelRelease>).transpose() else { return Ok(None) };
    let mut modules = None;
    if let Some(release) = &release {
        for folder in [format!("/lib/modules/{release}"), format!("/usr/lib/modules/{release}")].map(PathBuf::from) {
            if modules.is_none() && root.look(&folder)?.is_some_and(|m| m.is_dir()) {
                modules = Some(folder);
            }
        }
    }
    if modules.is_none()
        && let Some(flavour) = &release
    {
        modules = modules_of_flavour(root, flavour.as_str())?;
    }
    Ok(Some(KernelImage { path, release, modules, in_doubt: false }))
}

/// Returns the modules of a kernel that is named by its flavour only, as on Alpine: `/lib/modules/6.12.13-0-virt` for
/// `/boot/vmlinuz-virt`, the newest if there are several.
fn modules_of_flavour(root: &Root, flavour: &str) -> Result<Option<PathBuf>, RootError> {
    if !flavour.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let folder = Path::new("/lib/modules");
    let mut found = root.list(folder)?;
    found.retain(|name| name.strip_suffix(flavour).is_some_and(|version| version.ends_with('-')));
    found.sort_by(|a, b| order::compare(Some(Format::Apk), a, b));
    Ok(found.pop().map(|name| folder.join(name)))
}

/// Returns the releases of the kernels that packages depend on, directly or indirectly, according to dpkg:
/// `linux-image-generic` depends on `linux-image-6.8.0-45-generic`.
fn named_by(root: &Root, packages: &[PackageName]) -> Result<BTreeSet<String>, QueryError> {
    let installed = dpkg::configured(root)?;
    let mut pending: Vec<&str> = packages.iter().map(PackageName::as_str).collect();
    let mut seen = BTreeSet::new();
    while let Some(package) = pending.pop().filter(|_| seen.len() < 256) {
        if seen.insert(package) {
            let depends = installed.iter().filter(|p| p.package.name == package).flat_map(|p| &p.depends);
            pending.extend(depends.map(NativeName::as_str).filter(|name| name.starts_with(PREFIX)));
        }
    }
    Ok(seen.into_iter().filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn with(files: &[&str]) -> Tree {
            let tree = Tree(tempfile::tempdir().unwrap());
            files.iter().for_each(|name| tree.write(name, ""));
            tree
        }

        fn write(&self, name: &str, text: &str) {
            let file = self.0.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }

        fn newest(&self, pattern: &str) -> Option<String> {
            self.newest_of("linux-image-amd64", pattern)
        }

        fn newest_of(&self, package: &str, pattern: &str) -> Option<String> {
            let packages = [package.parse::<PackageName>().unwrap()];
            let root = Root::new(self.0.path()).unwrap();
            newest(&root, pattern, &packages, None).unwrap().map(|k| k.path.display().to_string())
        }
    }

    #[test]
    fn the_newest_kernel_is_the_one_with_the_highest_version() {
        let tree = Tree::with(&[
            "boot/vmlinuz-6.1.0-9-amd64",
            "boot/vmlinuz-6.1.0-28-amd64",
            "boot/vmlinuz-6.12.43.old",
            "boot/vmlinuz-0-rescue-abc",
            "boot/vmlinuz-",
            "boot/config-7",
            "lib/modules/6.9.1/vmlinuz",
            "lib/modules/6.12.1/vmlinuz",
            // A directory of that name is not a kernel.
            "boot/vmlinuz-9/file",
        ]);
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-6.1.0-28-amd64"));
        assert_eq!(tree.newest("/boot/vmlinux-*"), None);
        assert_eq!(tree.newest("/boot/config-7").as_deref(), Some("/boot/config-7"));
        assert_eq!(tree.newest("/lib/modules/*/vmlinuz").as_deref(), Some("/lib/modules/6.12.1/vmlinuz"));
    }

    #[test]
    fn a_pattern_may_leave_out_the_hyphen_before_the_release() {
        let tree = Tree::with(&["boot/vmlinuz-6.1.0-9-amd64"]);
        tree.write("lib/modules/6.1.0-9-amd64/modules.dep", "");
        let root = Root::new(tree.0.path()).unwrap();
        let found = newest(&root, "/boot/vmlinuz*", &[], None).unwrap().unwrap();
        assert_eq!(found.release.unwrap(), "6.1.0-9-amd64");
        assert_eq!(found.modules.as_deref(), Some(Path::new("/lib/modules/6.1.0-9-amd64")));
        assert!(!found.in_doubt);
    }

    /// In dpkg's order, a version with Debian's suffix is higher than the same version without it.
    #[test]
    fn a_distros_own_revision_is_newer_than_the_version_alone() {
        let tree = Tree::with(&["boot/vmlinuz-6.12.5-amd64", "boot/vmlinuz-6.12.5+deb13-amd64"]);
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-6.12.5+deb13-amd64"));
    }

    #[test]
    fn versions_are_ordered_as_by_the_roots_package_manager() {
        let beside = ["boot/vmlinuz-7.2~rc1", "boot/vmlinuz-7.2"];
        assert_eq!(Tree::with(&beside).newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-7.2"));
        // For rpm, a caret comes after the end and before a dot; for dpkg it is an ordinary character, which comes
        // after a dot.
        let tree = Tree::with(&["boot/vmlinuz-7.2^1", "boot/vmlinuz-7.2.1"]);
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-7.2^1"));
        tree.write("usr/lib/sysimage/rpm/rpmdb.sqlite", "");
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-7.2.1"));
        // The record of a known system says which database counts, even if others exist.
        tree.write("var/lib/dpkg/status", "");
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-7.2^1"));
        let root = Root::new(tree.0.path()).unwrap();
        let known = newest(&root, "/boot/vmlinuz-*", &[], Some(PackageManager::Dnf)).unwrap().unwrap();
        assert_eq!(known.path, Path::new("/boot/vmlinuz-7.2.1"));
    }

    #[test]
    fn a_kernel_without_its_modules_ranks_last() {
        let tree = Tree::with(&["boot/vmlinuz-6.1.0-9-amd64", "boot/vmlinuz-6.1.0-99-amd64"]);
        tree.write("usr/lib/modules/6.1.0-9-amd64/modules.dep", "");
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-6.1.0-9-amd64"));
    }

    #[test]
    fn the_kernel_of_the_records_packages_ranks_before_others() {
        let tree = Tree::with(&["boot/vmlinuz-6.12.9+deb13-amd64", "boot/vmlinuz-6.12.9+deb13-cloud-amd64"]);
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-6.12.9+deb13-amd64"));
        let status = "Package: linux-image-cloud-amd64\nVersion: 1\nDepends: linux-image-6.12.9+deb13-cloud-amd64 (= 6.12.9-1)\n\n\
            Package: linux-image-amd64\nStatus: install ok installed\nVersion: 1\nDepends: linux-image-latest | other\n\n\
            Package: linux-image-latest\nVersion: 1\nDepends: kmod, linux-image-6.12.9+deb13-amd64 (= 6.12.9-1)\n\n";
        tree.write("var/lib/dpkg/status", status);
        assert_eq!(tree.newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-6.12.9+deb13-amd64"));
    }

    #[test]
    fn the_status_and_updates_of_dpkg_decide_the_newest_kernel() {
        let tree = Tree::with(&["boot/vmlinuz-6.12.9+deb13-amd64", "boot/vmlinuz-6.12.48+deb13-amd64"]);
        let newest_with = |file: &str, status: &str, version: &str| {
            let depends = format!("Depends: linux-image-{version}+deb13-amd64 (= 1)");
            let text = format!("Package: linux-image-amd64\nStatus: {status}\nVersion: 1\n{depends}\n\n");
            tree.write(&format!("var/lib/dpkg/{file}"), &text);
            tree.newest("/boot/vmlinuz-*").unwrap()
        };
        // A removed package's configuration is still listed.
        let removed = newest_with("status", "deinstall ok config-files", "6.12.9");
        assert_eq!(removed, "/boot/vmlinuz-6.12.48+deb13-amd64");
        assert_eq!(newest_with("status", "install ok installed", "6.12.9"), "/boot/vmlinuz-6.12.9+deb13-amd64");
        // Later changes by dpkg, while it runs.
        assert_eq!(newest_with("updates/0001", "install ok installed", "6.12.48"), "/boot/vmlinuz-6.12.48+deb13-amd64");
        tree.write("var/lib/dpkg/status", "<html>");
        let root = Root::new(tree.0.path()).unwrap();
        let newest_by = |manager| newest(&root, "/boot/vmlinuz-*", &[], Some(manager));
        assert!(matches!(newest_by(PackageManager::Apt), Err(QueryError::Damaged { .. })));
        assert!(newest_by(PackageManager::Dnf).unwrap().is_some(), "it is not that system's database");
    }

    /// Even with a lower version and without its modules, if no database says which kernel is the record's.
    #[test]
    fn the_records_own_flavour_ranks_before_others() {
        let others = ["6.17.0-cloud-amd64", "6.14.11-4-pve", "6.17.0-rt-amd64"];
        let tree = Tree::with(&["boot/vmlinuz-6.12.9+deb13-amd64", "boot/vmlinuz-6.12.48+deb13-amd64"]);
        for other in others {
            tree.write(&format!("boot/vmlinuz-{other}"), "");
            tree.write(&format!("lib/modules/{other}/modules.dep"), "");
            let newest = tree.newest("/boot/vmlinuz-*");
            assert_eq!(newest.as_deref(), Some("/boot/vmlinuz-6.12.48+deb13-amd64"), "beside {other}");
        }
        // An admin's record may name another flavour; without a kernel of its flavour, the newest counts.
        let cloud = tree.newest_of("linux-image-cloud-amd64", "/boot/vmlinuz-*");
        assert_eq!(cloud.as_deref(), Some("/boot/vmlinuz-6.17.0-cloud-amd64"));
        let none = tree.newest_of("linux-image-arm64", "/boot/vmlinuz-*");
        assert_eq!(none.as_deref(), Some("/boot/vmlinuz-6.17.0-rt-amd64"));
        let suse = Tree::with(&["boot/vmlinuz-6.4.0-150600.21-default", "boot/vmlinuz-6.4.0-150600.30-rt"]);
        let newest = suse.newest_of("kernel-default", "/boot/vmlinuz-*");
        assert_eq!(newest.as_deref(), Some("/boot/vmlinuz-6.4.0-150600.21-default"));
    }

    #[test]
    fn leftover_files_are_ignored_and_other_flavours_raise_a_doubt() {
        let doubt = |tree: &Tree| {
            let root = Root::new(tree.0.path()).unwrap();
            let packages = ["linux-image-amd64".parse::<PackageName>().unwrap()];
            newest(&root, "/boot/vmlinuz-*", &packages, None).unwrap().map(|k| k.in_doubt)
        };
        let tree = Tree::with(&["boot/vmlinuz-6.12.48+deb13-amd64", "boot/vmlinuz-6.12.9+deb13-amd64"]);
        for suffix in ["bak~", "bak", "efi.signed", "old-dkms", "dpkg-bak", "rpmsave", "old"] {
            tree.write(&format!("boot/vmlinuz-6.16.3+deb13-amd64.{suffix}"), "");
        }
        let ours = "/boot/vmlinuz-6.12.48+deb13-amd64";
        assert_eq!((tree.newest("/boot/vmlinuz-*").as_deref(), doubt(&tree)), (Some(ours), Some(false)));
        let alone = Tree::with(&["boot/vmlinuz-6.14.11-4-pve"]);
        assert_eq!(doubt(&alone), Some(true), "a vendor's own is not the record's, though nothing lies beside it");
        for flavour in ["6.14.11-4-pve", "6.12.48+deb13-cloud-amd64", "6.12.48+deb13-rt-amd64"] {
            tree.write(&format!("boot/vmlinuz-{flavour}"), "");
            assert_eq!(doubt(&tree), Some(true), "{flavour}");
        }
        // The vendor's kernel has its modules, but dpkg's answer takes precedence.
        tree.write("lib/modules/6.14.11-4-pve/modules.dep", "");
        tree.write(
            "var/lib/dpkg/status",
            "Package: linux-image-amd64\nVersion: 1\nDepends: linux-image-6.12.48+deb13-amd64 (= 6.12.48-1)\n",
        );
        assert_eq!((tree.newest("/boot/vmlinuz-*").as_deref(), doubt(&tree)), (Some(ours), Some(false)));
    }

    #[test]
    fn an_rpm_kernel_variant_is_undoubted_only_if_the_record_names_it() {
        let (plain, rt) = ("5.14.0-503.el9.x86_64", "5.14.0-503.el9.x86_64+rt");
        let pattern = "/lib/modules/*/vmlinuz";
        let found = |kernels: &[&str], package: &str| {
            let files: Vec<String> = kernels.iter().map(|release| format!("lib/modules/{release}/vmlinuz")).collect();
            let tree = Tree::with(&files.iter().map(String::as_str).collect::<Vec<_>>());
            let packages = [package.parse::<PackageName>().unwrap()];
            let root = Root::new(tree.0.path()).unwrap();
            let newest = newest(&root, pattern, &packages, Some(PackageManager::Dnf)).unwrap().unwrap();
            (newest.release.unwrap().to_string(), newest.in_doubt)
        };
        assert_eq!(found(&[plain, rt], "kernel-core"), (plain.to_owned(), false));
        assert_eq!(found(&[plain, rt], "kernel-rt-core"), (rt.to_owned(), false));
        assert_eq!(found(&[rt], "kernel-core"), (rt.to_owned(), true), "only another one is there");
        assert_eq!(found(&[plain], "kernel-rt-core"), (plain.to_owned(), true), "only another one is there");
        let ml = "6.12.9-1.el9.elrepo.x86_64";
        assert_eq!(found(&[ml], "kernel-ml-core"), (ml.to_owned(), false), "its name is no variant's");
        assert_eq!(variant("6.12.48+deb13-amd64"), None);
        assert_eq!(variant("6.17.1-300.fc43.aarch64+rt-64k"), Some("rt-64k"));
    }

    /// On Alpine the kernels of all flavours have names without a version, and each flavour is a package.
    #[test]
    fn a_kernel_named_by_another_flavour_is_not_the_records() {
        let found = |kernels: &[&str], package: &str| {
            let tree = Tree::with(kernels);
            let packages = [package.parse::<PackageName>().unwrap()];
            let root = Root::new(tree.0.path()).unwrap();
            let newest = newest(&root, "/boot/vmlinuz-*", &packages, Some(PackageManager::Apk)).unwrap().unwrap();
            (newest.release.unwrap().to_string(), newest.in_doubt)
        };
        assert_eq!(found(&["boot/vmlinuz-virt"], "linux-virt"), ("virt".to_owned(), false));
        assert_eq!(found(&["boot/vmlinuz-lts"], "linux-virt"), ("lts".to_owned(), true));
        let both = ["boot/vmlinuz-lts", "boot/vmlinuz-virt"];
        for flavour in ["lts", "virt"] {
            assert_eq!(found(&both, &format!("linux-{flavour}")), (flavour.to_owned(), false));
        }
        assert_eq!(found(&["boot/vmlinuz-linux-lts"], "linux-lts"), ("linux-lts".to_owned(), false), "as on Arch");
        assert_eq!(found(&["boot/vmlinuz-linux"], "linux"), ("linux".to_owned(), false), "no flavour in the name");
    }

    #[test]
    fn version_numbers_are_not_part_of_the_flavour() {
        for (release, expected) in [
            ("6.12.48+deb13-amd64", &["amd64"][..]),
            ("6.12.48+deb13-cloud-amd64", &["cloud", "amd64"]),
            ("6.11.4-301.fc41.x86_64", &[]),
            ("6.8.0-45-generic", &["generic"]),
            ("6.14.11-4-pve", &["pve"]),
            ("7.2-rc1-amd64", &["amd64"]),
            ("virt", &["virt"]),
            ("linux-zen", &["zen"]),
        ] {
            assert_eq!(flavour(release), expected, "{release}");
        }
    }
}
