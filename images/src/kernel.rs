//! The release's kernel in its tree.

use crate::error::{Cause, Failure, ImageError, Phase};
use kata_osinfo::kernel_image;
use kata_osinfo::release::Release;
use kata_osinfo::root::{Root, RootError};
use serde::{Deserialize, Serialize};
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

/// The kernel in the tree that counts, as [`kernel_image::newest`] says, with its modules.
///
/// # Errors
/// The record names no kernel, its glob has not exactly one `*`, or nothing matches.
pub fn find(tree: &Path, release: &Release) -> Result<KernelFiles, ImageError> {
    files(tree, release).map_err(|f| ImageError::new(&release.name(), Phase::Record, f))
}

pub(crate) fn files(tree: &Path, release: &Release) -> Result<KernelFiles, Failure> {
    let lacks = |what: String| Cause::RecordLacks { what, source_kind: "guest".to_owned() };
    let kernel = release.kernel.as_ref().ok_or_else(|| lacks("kernel".to_owned()))?;
    let glob = &kernel.image;
    if glob.matches('*').count() != 1 {
        return Err(lacks(format!("single `*` in {glob}")).into());
    }
    let missing = || Failure::from(Cause::NotInTree { what: format!("a kernel with its modules, matching {glob}") });
    let unreadable = |e: RootError| {
        Failure::from(Cause::Io { context: format!("looking for {glob}"), source: std::io::Error::other(e) })
    };
    let root = Root::new(tree).map_err(unreadable)?;
    let found = kernel_image::newest(&root, glob, &kernel.packages).map_err(unreadable)?.ok_or_else(missing)?;
    let (Some(version), Some(modules)) = (found.release, found.modules) else { return Err(missing()) };
    let at = |path: &Path| root.resolve(path).map(|inside| root.shown(&inside)).map_err(unreadable);
    let configs = [format!("/boot/config-{version}"), format!("{}/config", modules.display())];
    let config = configs.iter().find(|path| root.has_file(Path::new(path)));
    Ok(KernelFiles {
        vmlinuz: at(&found.path)?,
        modules_dir: at(&modules)?,
        config: config.map(|path| at(Path::new(path))).transpose()?,
        release: version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::tests::release;
    use kata_osinfo::configure::Found;
    use std::os::unix::fs::symlink;

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

    /// Nothing else may order kernels: what is proved here is what is checked and configured there.
    #[test]
    fn the_kernel_that_is_proved_is_the_one_that_is_configured() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot")).unwrap();
        let release = release("13", "trixie");
        // Another flavour than the record's comes after all of its own.
        let mut versions = vec!["7.11-cloud-amd64", "7.2~rc1-amd64", "7.2-amd64", "7.10-amd64"];
        for version in &versions {
            std::fs::create_dir_all(dir.path().join("lib/modules").join(version)).unwrap();
            std::fs::write(dir.path().join(format!("boot/vmlinuz-{version}")), "").unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        while let Some(expected) = versions.pop() {
            let proved = find(dir.path(), &release).unwrap();
            let configured = Found::gather(&root, &release).kernel.unwrap();
            assert_eq!(format!("/boot/vmlinuz-{}", proved.release), configured);
            assert_eq!(proved.release, expected);
            std::fs::remove_file(&proved.vmlinuz).unwrap();
        }
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
