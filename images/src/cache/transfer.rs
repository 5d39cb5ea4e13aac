//! Transfer of images from one machine's cache to another's, one file per image.
//!
//! ```text
//! manifest.json     first, so that the image is known at once
//! rootfs/…          the tree; device nodes and pipes are left out, as when a tree is handed to Docker
//! …                 other files of the image: package lists, a disk with its kernel
//! ```
//!
//! An imported image is used as if it had been made here.
//! So the import requires the checksum that the export printed, because nothing in the file proves its origin.

use super::{Image, Store, is_key, trust};
use crate::error::{Context as _, Failure, ImageError, ImageErrorKind, failure_of};
use crate::external_file::{Checksum, ExternalFile};
use crate::manifest::Manifest;
use crate::progress::ImagePhase;
use crate::tree::archived::{BYTES, Entries};
use crate::unpack::{self, ArchiveFile, Names, UnpackLimits, refused};
use model::diagnostic::error_chain;
use model::distro::Target;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tar::EntryType;

/// Name of the manifest in an image and in its file.
const MANIFEST: &str = "manifest.json";
/// Name of the tree.
const TREE: &str = "rootfs";
/// Name of the maker's lock, which may be left if it could not be removed.
const LOCK: &str = "lock";
/// Size limit of a manifest, in bytes.
const MAX_MANIFEST: u64 = 64 << 20;
/// Compression level: an archive of a gigabyte is to be written in a few seconds.
const LEVEL: i32 = 3;
const LIMITS: UnpackLimits = UnpackLimits { entries: 4_000_000, bytes: BYTES, reason: "it is too large for an image" };
/// Reason to refuse an entry outside the image.
const LEADS_OUT: &str = "its path leads out of the image";
/// Block size for the detection of holes, in bytes.
const BLOCK: usize = 64 << 10;

/// Result of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The imported image.
    pub image: Image,
    /// Whether the cache already had the image.
    pub was_there: bool,
}

/// Returns the images of a release in a cache: the newest plain one first, then the images derived from it.
pub fn of_release(cache: &Path, release: &Target) -> Vec<Image> {
    let all: Vec<Image> = super::list(cache).into_iter().filter(|image| image.release() == *release).collect();
    let Some(plain) = all.iter().find(|image| image.manifest.derived_from.is_none()).cloned() else {
        return Vec::new();
    };
    let derived = all.into_iter().filter(|image| image.manifest.derived_from.as_deref() == Some(plain.key()));
    std::iter::once(plain.clone()).chain(derived).collect()
}

/// Writes an image to a file, completely or not at all; returns the file's checksum.
///
/// # Errors
/// If something cannot be read or written, or the file already exists.
pub fn export(image: &Image, to: &Path) -> Result<Checksum, ImageError> {
    exported(image, to).map_err(|failure| ImageError::new(image.release(), ImagePhase::Store, failure))
}

fn exported(image: &Image, to: &Path) -> Result<Checksum, Failure> {
    let _hold = image.hold().context("locking", &image.dir)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.prefix(".export").tempfile_in(folder).context("creating a file in", folder)?;
    write(image, file.as_file_mut()).context("exporting", &image.dir)?;
    file.as_file().sync_all().context("writing", to)?;
    let sum = crate::digest::of_file(file.path())?;
    file.persist_noclobber(to).map_err(|e| e.error).context("creating", to)?;
    Ok(Checksum::Sha256(sum))
}

fn write(image: &Image, to: &mut File) -> io::Result<()> {
    let mut builder = tar::Builder::new(zstd::stream::write::Encoder::new(to, LEVEL)?);
    builder.mode(tar::HeaderMode::Complete);
    let mut archived = Entries::new(BYTES, |name| !name.starts_with(b"trusted."));
    let mut add = |path: &Path| {
        let from = image.dir.join(path);
        let meta = std::fs::symlink_metadata(&from)?;
        if meta.is_dir() || meta.is_file() || meta.is_symlink() {
            archived.append(&mut builder, &from, path, &meta)?;
        }
        io::Result::Ok(meta.is_dir())
    };
    add(Path::new(MANIFEST))?;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries = std::fs::read_dir(image.dir.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            if path != Path::new(MANIFEST) && path != Path::new(LOCK) && add(&path)? {
                folders.push(path);
            }
        }
    }
    builder.into_inner()?.finish()?.flush()
}

/// Imports an image from a file into a cache.
///
/// # Errors
/// If the file has no checksum or another one, is no image, cannot be imported, or `cancel` was set; then nothing of
/// the image is left.
pub fn import(file: &ExternalFile, cache: &Path, cancel: &AtomicBool) -> Result<Imported, ImageError> {
    imported(file, cache, cancel).map_err(|failure| ImageError::new(file.name(), ImagePhase::Store, failure))
}

fn imported(file: &ExternalFile, cache: &Path, cancel: &AtomicBool) -> Result<Imported, Failure> {
    let path = Path::new(&file.place);
    if file.checksum.is_none() || file.is_address() {
        let reason = "expected a local file with the checksum that `images export` printed: FILE#sha256:HEX";
        return Err(refused(file.name().as_bytes(), reason));
    }
    let go_on = || match cancel.load(Ordering::Relaxed) {
        true => Err(Failure::from(ImageErrorKind::Cancelled)),
        false => Ok(()),
    };
    let archive = ArchiveFile::open(path)?;
    // The checksum is verified before anything is read from the archive.
    file.check(archive.file(), path, cancel).map_err(|e| {
        let failed = |e| failure_of(io::Error::other(error_chain(&e)), || "checking".to_owned());
        go_on().err().unwrap_or_else(|| failed(e))
    })?;
    unpack::check_metadata(tar::Archive::new(archive.content()?), path, &go_on)?;
    let manifest = first(&archive, path)?;
    let store = Store::new(cache);
    store.check()?;
    let place = store.images.join(".locks").join(&manifest.key);
    let lock = trust::lock(&place).context("opening", &place)?;
    let acquired = match lock.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(e)) => return Err(e).context("locking", &place),
    };
    match store.find(&manifest.key)? {
        Some(image) => return Ok(Imported { image, was_there: true }),
        None if !acquired => return Err(refused(file.name().as_bytes(), "another process is making this image now")),
        // A damaged image of the same key is in the way.
        None => store.discard(&manifest.key)?,
    }
    let workshop = store.workshop(&manifest.key)?;
    let folder = workshop.dir.canonicalize().context("resolving", &workshop.dir)?;
    let mut tar = tar::Archive::new(archive.content()?);
    tar.set_preserve_permissions(true);
    tar.set_preserve_ownerships(true);
    tar.set_unpack_xattrs(true);
    tar.set_preserve_mtime(true);
    unpack::each(tar, path, &mut { LIMITS }, &accept, &go_on, |entry| put(entry, &folder, &go_on))?;
    let image = workshop.finish(&store, &manifest)?;
    Ok(Imported { image, was_there: false })
}

/// Reads the manifest at the beginning of a file.
fn first(archive: &ArchiveFile<'_>, path: &Path) -> Result<Manifest, Failure> {
    let mut tar = tar::Archive::new(archive.content()?);
    let entry = tar.entries().context("reading", path)?.next();
    let entry = entry.ok_or_else(|| refused(MANIFEST.as_bytes(), "it is missing"))?.context("reading", path)?;
    let name = entry.path_bytes().into_owned();
    if name != MANIFEST.as_bytes() || !entry.header().entry_type().is_file() {
        return Err(refused(&name, "expected the image's manifest in its place"));
    }
    let mut text = Vec::new();
    entry.take(MAX_MANIFEST).read_to_end(&mut text).context("reading", path)?;
    let manifest = Manifest::parse(&text, path)?;
    match is_key(&manifest.key) {
        true => Ok(manifest),
        false => {
            let (path, reason) = (path.to_owned(), format!("`{}` is not a valid image key", manifest.key));
            Err(ImageErrorKind::BadManifest { path, reason }.into())
        }
    }
}

fn accept(path: &Path, target: Option<&Path>, kind: EntryType) -> Result<(), &'static str> {
    let is_known = kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link();
    match (is_known, Names::Plain.entry_leads_out(path, target, kind)) {
        (false, _) => Err("it is not a file, a folder or a link"),
        (true, true) => Err(LEADS_OUT),
        (true, false) => Ok(()),
    }
}

/// Puts an entry into the directory of an image; a disk keeps its holes.
fn put<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    folder: &Path,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = entry.path().context("unpacking into", folder)?.into_owned();
    if entry.header().entry_type().is_file() && !path.starts_with(TREE) {
        // An export has no entries below a link, and a link could lead anywhere.
        if path.ancestors().skip(1).any(|above| folder.join(above).is_symlink()) {
            return Err(refused(&entry.path_bytes(), LEADS_OUT));
        }
        let to = folder.join(&path);
        std::fs::create_dir_all(to.parent().unwrap_or(folder)).context("creating", &to)?;
        return with_holes(entry, &to, go_on);
    }
    unpack::put(entry, folder, LEADS_OUT)
}

/// Writes a file without the blocks that are all zeros.
fn with_holes(from: &mut impl Read, to: &Path, go_on: &dyn Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    // An existing file was not made by this import, which makes each file once.
    let mut file = File::options().write(true).create_new(true).open(to).context("creating", to)?;
    let (mut block, mut length) = (Vec::with_capacity(BLOCK), 0_u64);
    loop {
        go_on()?;
        block.clear();
        from.take(BLOCK as u64).read_to_end(&mut block).context("unpacking", to)?;
        if block.is_empty() {
            return file.set_len(length).context("unpacking", to);
        }
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(length)).and_then(|_| file.write_all(&block)).context("unpacking", to)?;
        }
        length += block.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::manifest;
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const DERIVED: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn target(name: &str) -> Target {
        name.parse().unwrap()
    }

    fn cancel() -> AtomicBool {
        AtomicBool::new(false)
    }

    fn made(cache: &Path) -> Image {
        let store = Store::new(cache);
        let workshop = store.workshop(KEY).unwrap();
        let tree = workshop.rootfs();
        std::fs::create_dir_all(tree.join("usr/bin")).unwrap();
        std::fs::write(tree.join("usr/bin/a"), "content").unwrap();
        std::fs::set_permissions(tree.join("usr/bin/a"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::hard_link(tree.join("usr/bin/a"), tree.join("usr/bin/b")).unwrap();
        symlink("/usr/bin", tree.join("bin")).unwrap();
        let mut disk = File::create(workshop.dir.join("disk.img")).unwrap();
        disk.write_all(b"begins").unwrap();
        disk.set_len(8 << 20).unwrap();
        workshop.finish(&store, &manifest(KEY, "13", "2026-11-01T00:00:00Z")).unwrap()
    }

    fn file(path: &Path, sum: &Checksum) -> ExternalFile {
        ExternalFile { place: path.display().to_string(), checksum: Some(sum.clone()) }
    }

    #[test]
    fn an_exported_image_is_the_same_after_import() {
        let dir = tempfile::tempdir().unwrap();
        let [here, there, to] = ["here", "there", "image.tar.zst"].map(|name| dir.path().join(name));
        let image = made(&here);
        let sum = export(&image, &to).unwrap();
        assert!(export(&image, &to).is_err(), "a file that is there stays");
        let result = import(&file(&to, &sum), &there, &cancel()).unwrap();
        assert!(!result.was_there);
        assert_eq!((result.image.key(), &result.image.manifest), (KEY, &image.manifest));
        let metadata = |name: &str| std::fs::symlink_metadata(result.image.rootfs().join(name)).unwrap();
        assert_eq!(metadata("usr/bin/a").mode() & 0o7777, 0o4755);
        assert_eq!(metadata("usr/bin/a").ino(), metadata("usr/bin/b").ino());
        assert_eq!(std::fs::read_link(result.image.rootfs().join("bin")).unwrap(), Path::new("/usr/bin"));
        let disk = std::fs::metadata(result.image.dir.join("disk.img")).unwrap();
        assert_eq!(disk.len(), 8 << 20);
        assert!(disk.blocks() * 512 < 1 << 20, "its holes are holes");
        assert!(std::fs::read(result.image.dir.join("disk.img")).unwrap().starts_with(b"begins\0"));
        assert_eq!(of_release(&there, &target("debian:13")).len(), 1);
        assert!(import(&file(&to, &sum), &there, &cancel()).unwrap().was_there);
    }

    /// A file without its checksum could pass for the distro's own image.
    #[test]
    fn an_import_requires_the_right_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let [here, there, to] = ["here", "there", "image.tar.zst"].map(|name| dir.path().join(name));
        let sum = export(&made(&here), &to).unwrap();
        let import_error = |file: &ExternalFile| import(file, &there, &cancel()).unwrap_err().to_string();
        let without = ExternalFile { checksum: None, ..file(&to, &sum) };
        assert!(import_error(&without).contains("with the checksum that `images export` printed"));
        let mut bytes = std::fs::read(&to).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&to, bytes).unwrap();
        assert!(import_error(&file(&to, &sum)).contains("expected sha256:"));
        assert!(!there.exists(), "nothing was made");
    }

    #[test]
    fn an_invalid_archive_leaves_nothing_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let (to, cache) = (dir.path().join("made"), dir.path().join("cache"));
        let archive = |entries: &[(&str, EntryType, &[u8])]| {
            let mut tar = tar::Builder::new(Vec::new());
            for (name, kind, bytes) in entries {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(*kind);
                header.set_uid(rustix::process::geteuid().as_raw().into());
                header.set_gid(rustix::process::getegid().as_raw().into());
                header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
                let (link, content): (&[u8], &[u8]) = if kind.is_symlink() { (*bytes, &[]) } else { (&[], *bytes) };
                header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
                header.set_size(content.len() as u64);
                header.set_cksum();
                tar.append(&header, content).unwrap();
            }
            zstd::stream::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap()
        };
        let manifest_of = |key: &str| serde_json::to_vec(&manifest(key, "13", "2026-11-01T00:00:00Z")).unwrap();
        let (good, bad) = (manifest_of(KEY), manifest_of("../../etc"));
        let (file_kind, link) = (EntryType::Regular, EntryType::Symlink);
        let outside = dir.path().as_os_str().as_encoded_bytes();
        for (bytes, why) in [
            (archive(&[]), "it is missing"),
            (archive(&[("rootfs", EntryType::Directory, b"")]), "expected the image's manifest in its place"),
            (archive(&[(MANIFEST, file_kind, b"{}")]), "missing field"),
            (archive(&[(MANIFEST, file_kind, &bad)]), "is not a valid image key"),
            (archive(&[(MANIFEST, file_kind, &good), ("../x", file_kind, b"x")]), "its path leads out of the image"),
            (archive(&[(MANIFEST, file_kind, &good), ("rootfs/x", EntryType::Char, b"")]), "it is not a file"),
            (
                archive(&[(MANIFEST, file_kind, &good), ("y", link, outside), ("y/x", file_kind, b"x")]),
                "its path leads out of the image",
            ),
        ] {
            std::fs::write(&to, &bytes).unwrap();
            let sum = Checksum::Sha256(crate::digest::of_bytes(&bytes));
            let error = import(&file(&to, &sum), &cache, &cancel()).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
            assert!(super::super::list(&cache).is_empty() && !dir.path().join("x").exists());
        }
        let remaining = std::fs::read_dir(cache.join("images/.tmp")).unwrap().count();
        assert_eq!(remaining, 0);
    }

    #[test]
    fn a_cancelled_import_leaves_nothing_in_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let [here, there, to] = ["here", "there", "image.tar.zst"].map(|name| dir.path().join(name));
        let sum = export(&made(&here), &to).unwrap();
        let set = AtomicBool::new(true);
        let failed = import(&file(&to, &sum), &there, &set).unwrap_err();
        assert!(matches!(*failed.cause, ImageErrorKind::Cancelled), "{failed}");
        assert!(!there.exists(), "nothing was made");
        // Cancelling works in the middle of a file, too, because a file may have many blocks.
        let looks = std::cell::Cell::new(0);
        let soon = || {
            looks.set(looks.get() + 1);
            if looks.get() > 2 { Err(ImageErrorKind::Cancelled.into()) } else { Ok(()) }
        };
        let failed = with_holes(&mut io::repeat(1), &dir.path().join("disk.img"), &soon).unwrap_err();
        assert!(matches!(failed.cause, ImageErrorKind::Cancelled));
    }

    #[test]
    fn of_release_lists_the_newest_image_and_those_derived_from_it() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::new(cache.path());
        let put = |key: &str, version: &str, made: &str, from: Option<&str>| {
            let workshop = store.workshop(key).unwrap();
            let manifest = Manifest { derived_from: from.map(str::to_owned), ..manifest(key, version, made) };
            workshop.finish(&store, &manifest).unwrap();
        };
        put(KEY, "13", "2026-11-02T00:00:00Z", None);
        put(DERIVED, "13", "2026-11-03T00:00:00Z", Some(KEY));
        put(&"c".repeat(64), "13", "2026-11-01T00:00:00Z", None);
        put(&"d".repeat(64), "12", "2026-11-09T00:00:00Z", None);
        let keys: Vec<String> =
            of_release(cache.path(), &target("debian:13")).iter().map(|image| image.key().to_owned()).collect();
        assert_eq!(keys, [KEY, DERIVED]);
        assert!(of_release(cache.path(), &target("debian:11")).is_empty());
    }
}
