//! Unpacks the archive of a root filesystem: from Docker, or read from a cloud image.

use crate::error::{Context, Failure};
use crate::runner::Runner;
use crate::unpack::{self, ArchiveFile, UnpackLimits};
use std::path::Path;

/// Limits for an archive; that of a release's server has some 100,000 entries and 4 GiB.
pub(super) const LIMITS: UnpackLimits =
    UnpackLimits { entries: 4_000_000, bytes: 64 << 30, reason: "the archive is too large for a release" };

/// Unpacks an archive with owners, modes, and files' capabilities and other extended attributes.
///
/// The archive is not trusted: nothing is written outside the tree, and the unpacked bytes are counted on the way,
/// because a hole of a terabyte takes a single entry. Names, links, attributes and maps of holes that would fill the
/// memory are refused first.
pub(crate) fn unpack(runner: &Runner<'_>, archive: &Path, tree: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(tree).context("creating", tree)?;
    let tree = tree.canonicalize().context("resolving", tree)?;
    let opened = ArchiveFile::open(archive)?;
    unpack::check_metadata_and_maps(opened.content()?, archive, &|| runner.check())?;
    let mut tar = tar::Archive::new(opened.content()?);
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(true);
    tar.set_unpack_xattrs(true);
    tar.set_preserve_mtime(true);
    unpack::unpack(tar, archive, &tree, &LIMITS, &|_, _, _| Ok(()), &|| runner.check())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ImageErrorKind;
    use std::sync::atomic::AtomicBool;

    fn unpacked(archive: Vec<u8>) -> (tempfile::TempDir, Result<(), Failure>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        std::fs::write(&path, archive).unwrap();
        let cancel = AtomicBool::new(false);
        let runner = crate::fixtures::runner(&cancel, 60);
        let result = unpack(&runner, &path, &dir.path().join("tree"));
        (dir, result)
    }

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_size(size);
        header
    }

    #[test]
    fn archive_entries_outside_the_tree_are_refused() {
        for (link, file) in [("../outside", "link/file"), ("/tmp", "link/file")] {
            let mut tar = tar::Builder::new(Vec::new());
            tar.append_link(&mut header(tar::EntryType::Symlink, 0), "link", link).unwrap();
            tar.append_data(&mut header(tar::EntryType::Regular, 1), file, &b"x"[..]).unwrap();
            let (dir, result) = unpacked(tar.into_inner().unwrap());
            assert!(result.is_err(), "{link}");
            assert!(!dir.path().join("outside").exists() && !Path::new("/tmp/file").exists());
        }
        let mut tar = tar::Builder::new(Vec::new());
        let mut up = header(tar::EntryType::Regular, 1);
        up.as_old_mut().name[..7].copy_from_slice(b"../file");
        up.set_cksum();
        tar.append(&up, &b"x"[..]).unwrap();
        let (dir, result) = unpacked(tar.into_inner().unwrap());
        assert!(matches!(result.unwrap_err().cause, ImageErrorKind::BadArchive { entry, .. } if entry == "../file"));
        assert!(!dir.path().join("file").exists());
    }

    #[test]
    fn a_sparse_file_of_a_terabyte_is_refused() {
        let mut sparse = header(tar::EntryType::GNUSparse, 0);
        let gnu = sparse.as_gnu_mut().unwrap();
        gnu.name[..4].copy_from_slice(b"hole");
        gnu.sparse[0].offset[..12].copy_from_slice(b"20000000000\0");
        gnu.sparse[0].numbytes[..12].copy_from_slice(b"00000000000\0");
        gnu.realsize[..8].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 1, 0]);
        gnu.realsize[8..].copy_from_slice(&[0, 0, 0, 0]);
        gnu.sparse[0].offset.copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        sparse.set_cksum();
        let mut archive = sparse.as_bytes().to_vec();
        archive.extend([0; 1024]);
        let (_dir, result) = unpacked(archive);
        let cause = result.unwrap_err().cause;
        assert!(matches!(&cause, ImageErrorKind::BadArchive { entry, .. } if entry == "hole"), "{cause}");
    }

    #[test]
    fn modes_and_hard_links_are_kept() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let mut tar = tar::Builder::new(Vec::new());
        let mut folder = header(tar::EntryType::Directory, 0);
        folder.set_mode(0o555);
        tar.append_data(&mut folder, "closed", std::io::empty()).unwrap();
        let mut file = header(tar::EntryType::Regular, 1);
        file.set_mode(0o4711);
        tar.append_data(&mut file, "closed/file", &b"x"[..]).unwrap();
        tar.append_link(&mut header(tar::EntryType::Link, 0), "same", "closed/file").unwrap();
        let (dir, result) = unpacked(tar.into_inner().unwrap());
        result.unwrap();
        let metadata = |name: &str| std::fs::metadata(dir.path().join("tree").join(name)).unwrap();
        assert_eq!(metadata("closed").permissions().mode() & 0o7777, 0o555);
        assert_eq!(metadata("closed/file").permissions().mode() & 0o7777, 0o4711);
        assert_eq!(metadata("closed/file").ino(), metadata("same").ino());
    }
}
