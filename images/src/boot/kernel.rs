//! The release's kernel in its tree.

use super::configuration;
use crate::error::{Failure, ImageError, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::tree;
use model::kernel::KernelRelease;
use model::release::Release;
use operator::kernel_image;
use operator::packages::QueryError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Size limit of a kernel image, in bytes: about 15 MB compressed, about 100 MB uncompressed, and more with debug
/// information.
pub(crate) const MAX_IMAGE: u64 = 512 << 20;

/// The files of one kernel: paths as a process in the tree sees them, links followed there.
///
/// Open them only relative to the tree's descriptor, as [`read`] does: a tree's content is not trusted, and a checked
/// path may have become a link, a FIFO or a sparse file since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KernelFiles {
    /// Release of the kernel, as `uname -r` will report it: `6.12.41+deb13-amd64`.
    pub release: KernelRelease,
    /// The bootable image.
    pub vmlinuz: PathBuf,
    /// `/usr/lib/modules/<release>`.
    pub modules_dir: PathBuf,
    /// Kernel configuration, if the distro ships it.
    pub config: Option<PathBuf>,
}

/// Finds the newest kernel in the tree, in the order of [`kernel_image::newest`], with its modules.
///
/// # Errors
/// If the record names no kernel, its glob has not exactly one `*`, or nothing matches.
pub fn find(tree: &Path, release: &Release) -> Result<KernelFiles, ImageError> {
    files(tree, release).map_err(|f| ImageError::new(release.target(), ImagePhase::Record, f))
}

/// Reads the bootable image of a kernel from [`find`].
///
/// # Errors
/// If the image is missing, is no regular file, or is larger than a kernel can be.
pub fn read(tree: &Path, kernel: &KernelFiles) -> Result<Vec<u8>, ImageError> {
    let image = || -> Result<Vec<u8>, Failure> {
        match tree::open(tree)?.read(&kernel.vmlinuz, MAX_IMAGE) {
            Err(error) if error.is_missing() => {
                Err(ImageErrorKind::NotInTree { what: kernel.vmlinuz.display().to_string() }.into())
            }
            image => image.map_err(tree::failed),
        }
    };
    image().map_err(|f| ImageError::new(format!("the kernel {}", kernel.release).as_str(), ImagePhase::Record, f))
}

/// Returns the embedded configuration of a kernel from [`find`], if the distro ships it in no file.
///
/// # Errors
/// As [`read`].
pub fn own_configuration(tree: &Path, kernel: &KernelFiles) -> Result<Option<String>, ImageError> {
    match kernel.config {
        Some(_) => Ok(None),
        None => read(tree, kernel).map(|image| configuration::of(&image)),
    }
}

pub(crate) fn files(tree: &Path, release: &Release) -> Result<KernelFiles, Failure> {
    let lacks = |what: String| ImageErrorKind::RecordLacks { what, needed_for: "a guest" };
    let kernel = release.kernel.as_ref().ok_or_else(|| lacks("kernel".to_owned()))?;
    let glob = kernel.image.as_str();
    if glob.matches('*').count() != 1 {
        return Err(lacks(format!("single `*` in {glob}")).into());
    }
    let missing =
        || Failure::from(ImageErrorKind::NotInTree { what: format!("a kernel with its modules, matching {glob}") });
    let unreadable = |e: QueryError| {
        Failure::from(ImageErrorKind::Io { context: format!("looking for {glob}"), source: std::io::Error::other(e) })
    };
    let root = tree::open(tree)?;
    let found = kernel_image::newest(&root, glob, &kernel.packages, Some(release.package_manager));
    let found = found.map_err(unreadable)?.ok_or_else(missing)?;
    let Some(modules) = found.modules else { return Err(missing()) };
    // The version from the modules' directory, because a file in /boot may be named after the flavour only.
    let version = KernelRelease::of_modules(&modules).ok_or_else(missing)?;
    let resolved = |path: &Path| root.resolve(path).map_err(|e| unreadable(e.into()));
    let configs = [format!("/boot/config-{version}"), format!("{}/config", modules.display())];
    let config = root.first_file(configs.iter().map(Path::new)).map_err(|e| unreadable(e.into()))?;
    Ok(KernelFiles {
        vmlinuz: resolved(&found.path)?,
        modules_dir: resolved(&modules)?,
        config: config.map(resolved).transpose()?,
        release: version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::release;
    use operator::configure::{GuestKernel, Inventory};
    use root::Root;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_newest_kernel_with_modules_is_found_with_merged_usr() {
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
        assert_eq!(found.modules_dir, Path::new("/usr/lib/modules/6.1.0-56-amd64"));
        assert_eq!(found.config.as_deref(), Some(Path::new("/boot/config-6.1.0-56-amd64")));
    }

    /// Both crates must order kernels alike: the kernel that is proved here is the one that is checked and configured
    /// there.
    #[test]
    fn find_and_the_configuration_inventory_choose_the_same_kernel() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot")).unwrap();
        let release = release("13", "trixie");
        // A flavour other than the record's sorts below all kernels of the record's flavour.
        let mut versions = vec!["7.11-cloud-amd64", "7.2~rc1-amd64", "7.2-amd64", "7.10-amd64"];
        for version in &versions {
            std::fs::create_dir_all(dir.path().join("lib/modules").join(version)).unwrap();
            std::fs::write(dir.path().join(format!("boot/vmlinuz-{version}")), "").unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let guest = GuestKernel::Own { kernel: None, initrd: PathBuf::new() };
        while let Some(expected) = versions.pop() {
            let proved = find(dir.path(), &release).unwrap();
            let configured = Inventory::gather(&root, &release, &guest).unwrap().kernel.unwrap();
            assert_eq!(Path::new(&format!("/boot/vmlinuz-{}", proved.release)), configured);
            assert_eq!(proved.release, expected);
            std::fs::remove_file(root.shown(&proved.vmlinuz)).unwrap();
        }
    }

    #[test]
    fn the_wildcard_may_stand_for_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("usr/lib/modules/7.0.1-200.fc44.x86_64");
        std::fs::create_dir_all(&modules).unwrap();
        std::fs::write(modules.join("vmlinuz"), "").unwrap();
        let mut release = release("44", "-");
        release.kernel.as_mut().unwrap().image = "/usr/lib/modules/*/vmlinuz".parse().unwrap();
        let found = find(dir.path(), &release).unwrap();
        assert_eq!(found.vmlinuz, Path::new("/usr/lib/modules/7.0.1-200.fc44.x86_64/vmlinuz"));
    }

    /// Alpine's kernel image is named after its flavour, its modules and configuration after the kernel's release.
    #[test]
    fn a_kernel_image_named_after_its_flavour_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for release in ["6.12.9-0-virt", "6.12.13-0-virt", "6.12.20-0-lts"] {
            std::fs::create_dir_all(dir.path().join("lib/modules").join(release)).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("boot")).unwrap();
        for file in ["vmlinuz-virt", "config-6.12.13-0-virt"] {
            std::fs::write(dir.path().join("boot").join(file), "").unwrap();
        }
        let mut release = release("3.22", "-");
        release.package_manager = model::package_manager::PackageManager::Apk;
        release.kernel.as_mut().unwrap().packages = vec!["linux-virt".parse().unwrap()];
        let found = find(dir.path(), &release).unwrap();
        assert_eq!(found.release, "6.12.13-0-virt");
        assert_eq!(found.vmlinuz, Path::new("/boot/vmlinuz-virt"));
        assert_eq!(found.modules_dir, Path::new("/lib/modules/6.12.13-0-virt"));
        assert_eq!(found.config.as_deref(), Some(Path::new("/boot/config-6.12.13-0-virt")));
    }

    /// A package's script may replace the kernel's file with anything, also after it was found.
    #[test]
    fn kernels_that_are_outside_links_fifos_or_too_large_are_refused() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (tree, secret) = (dir.path().to_owned(), outside.path().join("secret"));
        std::fs::write(&secret, "of the machine").unwrap();
        for folder in ["boot", "lib/modules/1-amd64"] {
            std::fs::create_dir_all(tree.join(folder)).unwrap();
        }
        let place = tree.join("boot/vmlinuz-1-amd64");
        std::fs::write(&place, "kernel").unwrap();
        let found = find(&tree, &release("13", "trixie")).unwrap();
        // Opening a FIFO would block forever.
        let read_kernel = || {
            let (sender, receiver) = std::sync::mpsc::channel();
            let (tree, found) = (tree.clone(), found.clone());
            std::thread::spawn(move || sender.send(read(&tree, &found).map_err(|e| e.cause.to_string())));
            receiver.recv_timeout(std::time::Duration::from_secs(60)).expect("reading the kernel does not end")
        };
        assert_eq!(read_kernel(), Ok(b"kernel".to_vec()));
        let exchange = |make: &dyn Fn()| {
            std::fs::remove_file(&place).unwrap();
            make();
            read_kernel().unwrap_err()
        };
        let link = exchange(&|| symlink(&secret, &place).unwrap());
        assert_eq!(link, "/boot/vmlinuz-1-amd64 was not found in the tree");
        let mode = rustix::fs::Mode::RUSR;
        let fifo = exchange(&|| rustix::fs::mkfifoat(rustix::fs::CWD, &place, mode).unwrap());
        assert!(fifo.contains("not a regular file"), "{fifo}");
        let hole = exchange(&|| std::fs::File::create(&place).unwrap().set_len(MAX_IMAGE + 1).unwrap());
        assert!(hole.contains("more than 536870912 bytes"), "{hole}");
    }

    #[test]
    fn the_error_for_a_missing_kernel_names_the_glob() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(dir.path(), &release("13", "trixie")).unwrap_err();
        assert!(error.to_string().contains("/boot/vmlinuz-*"), "{error}");
    }
}
