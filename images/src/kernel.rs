//! The release's kernel in its tree.

use crate::error::{Cause, Failure, ImageError, Phase};
use crate::tree;
use kata_osinfo::release::Release;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// The files of one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KernelFiles {
    /// `6.12.41+deb13-amd64`: what `uname -r` will say.
    pub release: String,
    /// The bootable image.
    pub vmlinuz: PathBuf,
    /// `…/lib/modules/<release>`.
    pub modules_dir: PathBuf,
    /// Its configuration, where the distro ships it.
    pub config: Option<PathBuf>,
}

/// The newest kernel in the tree that the record's glob matches, of the record's packages where another lies beside it, as
/// a cloud image's own does.
///
/// What the glob's `*` stands for is the kernel's release: `/boot/vmlinuz-*`, `/usr/lib/modules/*/vmlinuz`.
///
/// # Errors
/// The record names no kernel, its glob has not exactly one `*`, or nothing matches.
pub fn find(tree: &Path, release: &Release) -> Result<KernelFiles, ImageError> {
    files(tree, release).map_err(|f| ImageError::new(&release.name(), Phase::Record, f))
}

pub(crate) fn files(tree: &Path, release: &Release) -> Result<KernelFiles, Failure> {
    let glob = release
        .kernel
        .as_ref()
        .map(|k| k.image.as_str())
        .ok_or_else(|| Cause::RecordLacks { what: "kernel".to_owned(), source_kind: "guest".to_owned() })?;
    let missing = || Cause::NotInTree { what: format!("a kernel matching {glob}") };
    let Some((before, after)) = glob.split_once('*').filter(|(_, after)| !after.contains('*')) else {
        return Err(
            Cause::RecordLacks { what: format!("single `*` in {glob}"), source_kind: "guest".to_owned() }.into()
        );
    };
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let real = tree::resolve(tree, Path::new(folder)).map_err(|_| missing())?;
    // Of `*/vmlinuz`, the star's own component ends at the slash.
    let suffix = after.split('/').next().unwrap_or_default();
    let mut names: Vec<String> = std::fs::read_dir(&real)
        .map_err(|_| missing())?
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter_map(|n| n.strip_prefix(prefix)?.strip_suffix(suffix).map(str::to_owned))
        .filter(|version| !version.is_empty())
        .collect();
    let named = named_by_packages(tree, release);
    names.sort_by(|a, b| named.contains(b).cmp(&named.contains(a)).then_with(|| compare(b, a)));
    for version in names {
        let image = format!("{before}{version}{after}");
        let modules = format!("/lib/modules/{version}");
        let at = |path: &str| tree::resolve(tree, Path::new(path)).ok().filter(|p| p.exists());
        // A kernel without its modules is a left-over of a removed package.
        if let (Some(vmlinuz), Some(modules_dir)) = (at(&image), at(&modules).or_else(|| at(&format!("/usr{modules}"))))
            && vmlinuz.is_file()
        {
            let config = at(&format!("/boot/config-{version}")).or_else(|| at(&format!("/usr{modules}/config")));
            return Ok(KernelFiles { release: version, vmlinuz, modules_dir, config });
        }
    }
    Err(missing().into())
}

/// The kernels that the record's packages stand for: what they depend on, by dpkg's own words.
fn named_by_packages(tree: &Path, release: &Release) -> Vec<String> {
    const PREFIX: &str = "linux-image-";
    let status = tree::resolve(tree, Path::new("/var/lib/dpkg/status")).and_then(std::fs::read_to_string);
    let status = status.unwrap_or_default();
    let packages = release.kernel.iter().flat_map(|kernel| &kernel.packages);
    let wanted: Vec<String> = packages.map(|name| format!("Package: {name}")).collect();
    let paragraphs = status.split("\n\n").filter(|paragraph| wanted.iter().any(|w| paragraph.lines().any(|l| l == w)));
    let depends = paragraphs.flat_map(|paragraph| paragraph.lines().filter_map(|line| line.strip_prefix("Depends: ")));
    let names = depends.flat_map(|list| list.split([',', '|'])).filter_map(|one| one.split_whitespace().next());
    names.filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned).collect()
}

/// Compares versions as people read them: runs of digits as numbers.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let number = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        match (number(a), number(b)) {
            (0, 0) => match (a.split_first(), b.split_first()) {
                (None, None) => return Ordering::Equal,
                (None, Some((c, _))) => return pre_release(*c).reverse(),
                (Some((c, _)), None) => return pre_release(*c),
                (Some((x, left)), Some((y, right))) => {
                    // `~` sorts before everything (Debian policy 5.6.12).
                    match (*x == b'~', *y == b'~') {
                        (true, false) => return Ordering::Less,
                        (false, true) => return Ordering::Greater,
                        _ if x != y => return x.cmp(y),
                        _ => (a, b) = (left, right),
                    }
                }
            },
            (0, _) => {
                return a.first().map_or(Ordering::Less, |c| if *c == b'~' { Ordering::Less } else { c.cmp(&b[0]) });
            }
            (_, 0) => {
                return b.first().map_or(
                    Ordering::Greater,
                    |c| {
                        if *c == b'~' { Ordering::Greater } else { a[0].cmp(c) }
                    },
                );
            }
            (n, m) => {
                let zeros = |s: &[u8], n: usize| s[..n].iter().take_while(|c| **c == b'0').count();
                let (x, y) = (&a[zeros(a, n)..n], &b[zeros(b, m)..m]);
                match x.len().cmp(&y.len()).then_with(|| x.cmp(y)) {
                    Ordering::Equal => (a, b) = (&a[n..], &b[m..]),
                    other => return other,
                }
            }
        }
    }
}

/// How a version with a rest compares with the same version without.
fn pre_release(next: u8) -> Ordering {
    if next == b'~' { Ordering::Less } else { Ordering::Greater }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::tests::release;
    use std::os::unix::fs::symlink;

    #[test]
    fn versions_compare_as_people_read_them() {
        for (less, more) in [
            ("6.1.0-9-amd64", "6.1.0-56-amd64"),
            ("5.10.0-30-amd64", "6.1.0-1-amd64"),
            ("6.12.9+deb13-amd64", "6.12.10+deb13-amd64"),
            ("7.2~rc1-amd64", "7.2-amd64"),
            ("7.2~rc1-amd64", "7.2.1-amd64"),
            ("6.1", "6.1.1"),
        ] {
            assert_eq!(compare(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more, less), Ordering::Greater, "{more} {less}");
        }
        assert_eq!(compare("6.1.0-9", "6.1.0-9"), Ordering::Equal);
    }

    #[test]
    fn the_newest_kernel_with_modules_is_found_through_the_usr_merge() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        std::fs::create_dir_all(tree.join("boot")).unwrap();
        symlink("usr/lib", tree.join("lib")).unwrap();
        for version in ["6.1.0-9-amd64", "6.1.0-56-amd64"] {
            std::fs::create_dir_all(tree.join("usr/lib/modules").join(version)).unwrap();
            std::fs::write(tree.join(format!("boot/vmlinuz-{version}")), "").unwrap();
            std::fs::write(tree.join(format!("boot/config-{version}")), "").unwrap();
        }
        std::fs::write(tree.join("boot/vmlinuz-6.1.0-99-amd64"), "").unwrap();
        let found = find(tree, &release("12", "bookworm")).unwrap();
        assert_eq!(found.release, "6.1.0-56-amd64");
        assert_eq!(found.modules_dir, tree.join("usr/lib/modules/6.1.0-56-amd64"));
        assert_eq!(found.config, Some(tree.join("boot/config-6.1.0-56-amd64")));
    }

    #[test]
    fn the_kernel_of_the_records_packages_goes_before_a_vendors_own() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["6.12.9+deb13-amd64", "6.12.9+deb13-cloud-amd64"] {
            std::fs::create_dir_all(dir.path().join("lib/modules").join(version)).unwrap();
            std::fs::create_dir_all(dir.path().join("boot")).unwrap();
            std::fs::write(dir.path().join(format!("boot/vmlinuz-{version}")), "").unwrap();
        }
        let release = release("13", "trixie");
        assert_eq!(find(dir.path(), &release).unwrap().release, "6.12.9+deb13-cloud-amd64");
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        let status = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.12.9+deb13-cloud-amd64 (= 6.12.9-1)\n\nPackage: linux-image-amd64\nStatus: install ok installed\nDepends: linux-image-6.12.9+deb13-amd64 (= 6.12.9-1)\n\n";
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        assert_eq!(find(dir.path(), &release).unwrap().release, "6.12.9+deb13-amd64");
    }

    #[test]
    fn the_star_may_be_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("usr/lib/modules/7.0.1-200.fc44.x86_64");
        std::fs::create_dir_all(&modules).unwrap();
        std::fs::write(modules.join("vmlinuz"), "").unwrap();
        let mut release = release("44", "-");
        release.kernel.as_mut().unwrap().image = "/usr/lib/modules/*/vmlinuz".to_owned();
        assert_eq!(find(dir.path(), &release).unwrap().vmlinuz, modules.join("vmlinuz"));
    }

    #[test]
    fn no_kernel_is_an_error_that_names_the_glob() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(dir.path(), &release("13", "trixie")).unwrap_err();
        assert!(error.to_string().contains("/boot/vmlinuz-*"), "{error}");
    }
}
