//! A vendor's cloud image as the base of a release: read in a guest, never mounted on this machine.
//!
//! A filesystem of somebody else's is input that kernels were broken with.
//! So the image is attached, for reading only, to a guest under the pinned QEMU whose init is our agent; the agent finds
//! the root filesystem and writes it as an archive to the guest's second disk, an empty file, which is unpacked here like
//! any other archive.

use crate::vm::outer::Pinned;
use crate::vm::tiny::{Extras, FREE_FD, Tiny};
use agent::protocol::{GuestReply, GuestRequest};
use images::base::{Archive, Base, Task, qcow2};
use images::external_file::{Checksum, ExternalFile};
use kata_osinfo::database::Database;
use kata_osinfo::detect::{Detection, FoundBy, detect};
use kata_osinfo::diagnostic::error_chain;
use kata_osinfo::release::Release;
use kata_osinfo::root::Root;
use serde_json::json;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What the reader's kernel needs for disks and for the filesystems that vendors use.
const MODULES: [&str; 4] = ["virtio_blk", "ext4", "xfs", "btrfs"];
/// The archive's disk: what an image may hold at most.
const SPACE: u64 = 32 << 30;
/// How long the reader may take to boot, and to read: under emulation, on a busy machine.
const BOOT: Duration = Duration::from_secs(300);
const READ: Duration = Duration::from_secs(3600);
/// An agent says that it lives twice a second.
const SILENCE: Duration = Duration::from_secs(120);

/// A cloud image and the release that it must be of.
pub struct CloudImage {
    source: ExternalFile,
    checksum: Checksum,
    release: Release,
    database: Database,
    pinned: Arc<Pinned>,
    cancel: Arc<AtomicBool>,
}

impl CloudImage {
    /// Checks what can be checked before anything is fetched: a file by its checksum and header, an address by having a
    /// checksum.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn open(
        source: ExternalFile,
        release: &Release,
        database: &Database,
        pinned: Arc<Pinned>,
        cancel: Arc<AtomicBool>,
    ) -> Result<CloudImage, String> {
        let checksum = match &source.checksum {
            Some(checksum) if source.is_address() => checksum.clone(),
            None if source.is_address() => {
                return Err(format!(
                    "{} has no checksum: put the vendor's behind the address, as #sha512:HEX or #sha256:HEX (it is in the SHA512SUMS or SHA256SUMS beside the image)",
                    source.name()
                ));
            }
            _ => {
                let place = Path::new(&source.place);
                if !place.is_file() {
                    return Err(format!("{} is no file: expected a qcow2 image, or an https:// address", source.place));
                }
                let (path, sha256) = source.open(place, &cancel).map_err(|e| error_chain(&e))?;
                qcow2::open(&path).map_err(|e| error_chain(&e))?;
                Checksum::Sha256(sha256)
            }
        };
        Ok(CloudImage { source, checksum, release: release.clone(), database: database.clone(), pinned, cancel })
    }
}

impl fmt::Debug for CloudImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudImage").field("name", &self.source.name()).field("checksum", &self.checksum).finish()
    }
}

impl Base for CloudImage {
    fn identity(&self) -> String {
        self.checksum.to_string()
    }

    fn read(&self, task: &Task<'_>) -> Result<Archive, String> {
        (task.tell)(&format!("fetching and verifying {}", self.source.name()));
        // The file may have been replaced since it was asked for.
        let source = ExternalFile { checksum: Some(self.checksum.clone()), ..self.source.clone() };
        let fetched = task.folder.join("image");
        let (path, sha256) = source.open(&fetched, &self.cancel).map_err(|e| error_chain(&e))?;
        let image = qcow2::open(&path).map_err(|e| error_chain(&e))?;
        (task.tell)("preparing the QEMU that reads it");
        let outer = self.pinned.get()?;
        let tar = task.folder.join("base.tar");
        let made = File::options().read(true).write(true).create_new(true).open(&tar);
        let archive = made.and_then(|file| file.set_len(SPACE).map(|()| file));
        let archive = archive.map_err(|e| format!("creating {}: {e}", tar.display()))?;
        let ours = archive.try_clone().map_err(|e| e.to_string())?;
        (task.tell)("booting the guest that reads it");
        let extras = Extras {
            modules: &MODULES,
            arguments: arguments(),
            descriptors: vec![(image.into(), IMAGE_FD), (archive.into(), ARCHIVE_FD)],
        };
        let tiny = Tiny::start(&outer, &outer.accelerator, extras)?;
        let bytes = read_in(&tiny, task)?;
        drop(tiny);
        if bytes > SPACE {
            return Err(format!("the guest that read it says that it wrote {bytes} bytes to a disk of {SPACE}"));
        }
        ours.set_len(bytes).map_err(|e| format!("cutting {}: {e}", tar.display()))?;
        if source.is_address() {
            std::fs::remove_file(&path).map_err(|e| format!("removing {}: {e}", path.display()))?;
        }
        Ok(Archive { tar, sha256 })
    }

    fn accept(&self, tree: &Path) -> Result<(), String> {
        let root = Root::new(tree).map_err(|e| error_chain(&e))?;
        let found = detect(&root, &self.database).map_err(|e| error_chain(&e))?;
        let wanted = format!("{}:{}", self.release.distro, self.release.version);
        let is_it = found.by == Some(FoundBy::Id) && found.releases.iter().any(|target| target.to_string() == wanted);
        if !is_it {
            return Err(format!(
                "{} is {}, and {wanted} was asked for: name the release that it is of",
                self.source.name(),
                named(&found)
            ));
        }
        match found.arch.filter(|arch| *arch != self.release.arch) {
            Some(arch) => {
                Err(format!("{} is for {}, not for {}", self.source.name(), arch.name(), self.release.arch.name()))
            }
            None => Ok(()),
        }
    }
}

const IMAGE_FD: i32 = FREE_FD;
const ARCHIVE_FD: i32 = FREE_FD + 1;

/// The disks: the image as `vda`, the archive as `vdb`.
///
/// Formats and chains are spelt out: QEMU shall not find out by itself what a file is, nor follow where it points.
fn arguments() -> Vec<String> {
    let nodes = [
        json!({"driver": "file", "node-name": "image-file", "filename": "/dev/fdset/1", "read-only": true, "auto-read-only": false}),
        json!({"driver": "qcow2", "node-name": "image", "file": "image-file", "backing": null, "read-only": true}),
        json!({"driver": "file", "node-name": "archive-file", "filename": "/dev/fdset/2", "cache": {"no-flush": true}}),
        json!({"driver": "raw", "node-name": "archive", "file": "archive-file", "cache": {"no-flush": true}}),
    ];
    let mut words = Vec::new();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("-add-fd", format!("fd={IMAGE_FD},set=1"));
    add("-add-fd", format!("fd={ARCHIVE_FD},set=2"));
    for node in nodes {
        add("-blockdev", node.to_string());
    }
    add("-device", "virtio-blk-pci,drive=image".to_owned());
    add("-device", "virtio-blk-pci,drive=archive".to_owned());
    words
}

/// Has the guest write the archive; gives its length.
fn read_in(tiny: &Tiny, task: &Task<'_>) -> Result<u64, String> {
    let alive = || (task.go_on)() && tiny.runs();
    let ended = |doing: &str, e: agent::client::ClientError| {
        format!("{doing}: {}", tiny.ending().unwrap_or_else(|| error_chain(&e)))
    };
    tiny.client.wait_for_hello(BOOT, alive).map_err(|e| ended("booting the guest that reads it", e))?;
    (task.tell)("reading its root filesystem");
    let request = GuestRequest::Archive { disk: "vda".to_owned(), to: "/dev/vdb".to_owned() };
    let heard = || alive() && tiny.client.silent_for() < SILENCE;
    match tiny.client.ask(request, READ, heard) {
        Ok(GuestReply::Archived { bytes, from }) => {
            tracing::debug!("the root filesystem was read from {from:?}: {bytes} bytes");
            Ok(bytes)
        }
        Ok(GuestReply::Failed { message }) => Err(said(&message)),
        Ok(other) => Err(format!("the guest that reads it answered {other:?}")),
        Err(e) if tiny.client.silent_for() >= SILENCE => Err(ended("the guest that reads it fell silent", e)),
        Err(e) => Err(ended("reading it", e)),
    }
}

/// What a guest said, for people: it was told by a disk that is not trusted.
fn said(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}

/// What a system says it is.
fn named(found: &Detection) -> String {
    let targets: Vec<String> = found.releases.iter().map(ToString::to_string).collect();
    let name = found.name.clone().unwrap_or_else(|| {
        let version = found.version_id.as_deref().or(found.codename.as_deref());
        format!("{} {}", found.id, version.unwrap_or("of no version"))
    });
    match (found.by, targets.as_slice()) {
        (Some(FoundBy::Id), [_, ..]) => format!("{} ({})", said(&name), targets.join(" or ")),
        _ => format!("{} (ID={})", said(&name), said(&found.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::Options;

    fn image(target: &str) -> CloudImage {
        let database = Database::embedded();
        let (distro, version) = target.split_once(':').unwrap();
        let release = database.record(distro).unwrap().release(version, kata_osinfo::arch::Arch::X86_64).unwrap();
        CloudImage {
            source: ExternalFile::parse("/somewhere/made.qcow2").unwrap(),
            checksum: Checksum::Sha256("0".repeat(64)),
            release,
            database,
            pinned: Arc::new(Pinned::new(Options::new("/nonexistent"))),
            cancel: Arc::default(),
        }
    }

    fn accepted(target: &str, os_release: &str) -> Result<(), String> {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        std::fs::write(tree.path().join("etc/os-release"), os_release).unwrap();
        image(target).accept(tree.path())
    }

    #[test]
    fn only_the_release_that_was_asked_for_is_taken() {
        let trixie =
            "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(accepted("debian:13", trixie), Ok(()));
        let other = accepted("debian:12", trixie).unwrap_err();
        assert_eq!(
            other,
            "made.qcow2 is Debian GNU/Linux 13 (trixie) (debian:13), and debian:12 was asked for: name the release that it is of"
        );
        // A relative of that very release is not it.
        let relative =
            "ID=raspbian\nID_LIKE=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"A relative\"\n";
        let other = accepted("debian:13", relative).unwrap_err();
        assert!(other.contains("A relative (ID=raspbian)"), "{other}");
        assert!(accepted("debian:13", "NAME=nothing\n").is_err());
    }

    #[test]
    fn qemu_is_told_the_formats_and_follows_nothing() {
        let words = arguments().join(" ");
        for expected in [r#""driver":"qcow2""#, r#""backing":null"#, r#""read-only":true"#] {
            assert!(words.contains(expected), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_runs() {
        let dir = tempfile::tempdir().unwrap();
        let junk = dir.path().join("junk.qcow2");
        std::fs::write(&junk, "junk").unwrap();
        let open = |text: &str| {
            let CloudImage { release, database, pinned, cancel, .. } = image("debian:13");
            CloudImage::open(ExternalFile::parse(text).unwrap(), &release, &database, pinned, cancel).unwrap_err()
        };
        assert!(open("https://images.example/debian-13.qcow2").contains("debian-13.qcow2 has no checksum"));
        assert!(open("/nonexistent/x.qcow2").contains("/nonexistent/x.qcow2 is no file"));
        assert!(open(&junk.to_string_lossy()).contains("no qcow2 image, it begins with `junk`"));
        assert!(open(&format!("{}#{}", junk.display(), "0".repeat(64))).contains("has the checksum sha256:"));
    }
}
