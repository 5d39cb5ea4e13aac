//! A layer of the guest's own, stacked on one that is on the share.

use super::expect::{noise, same_bytes};
use super::proves::OVERLAY;
use super::user::with_own_mounts;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::outcome::Component;
use crate::row::{Row, row};
use model::profile::ModuleUse;
use rustix::fs::{Mode, chmod};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("overlay.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Guest(a_layer_of_the_guests_covers_one_on_the_share), OVERLAY).loads(ModuleUse::Overlay)];

/// An overlayfs with its lower layer on the share and its upper layer in the guest's memory shows the files of the
/// share, and what is changed, removed, renamed and created in it changes nothing on the share.
///
/// Kata's agent stacks the root filesystem of a container in the guest (`OverlayfsHandler` in
/// src/agent/src/storage/fs_handler.rs@4.1.0). Its lower layer is on virtio-fs with Nydus
/// (`shareRootFilesystemWithNydus` in src/runtime/virtcontainers/fs_share_linux.go@4.1.0), and the upper one in the
/// guest's own `/run` with EROFS (`shareRootFilesystemWithErofs`). A copy that is not complete, or a listing that the
/// layers do not share, damages the container's files, and a write that reaches the lower layer damages those of all.
fn a_layer_of_the_guests_covers_one_on_the_share(site: &Site) -> Check {
    let below = site.directory("below")?;
    let memory = site.scratch.join(format!("layers-{}", std::process::id()));
    fs::create_dir_all(&memory).map_err(|e| Stop::error(format!("making {}: {e}", memory.display())))?;
    let checked = match site.share {
        Some(_) => with_own_mounts(|| on_a_share(&below, &memory)),
        None => natively(&below, &memory),
    };
    let _ = fs::remove_dir(&memory);
    checked
}

/// Tries the property on the share, after the control: the same with all layers in the guest's memory.
fn on_a_share(below: &Path, memory: &Path) -> Check {
    in_memory(memory)?;
    let control = memory.join("control");
    fs::create_dir(&control).map_err(|e| Stop::error(format!("making {}: {e}", control.display())))?;
    covers(&control, &memory.join("of-control")).map_err(|stop| match stop {
        Stop::Fail { message, .. } => Stop::blame(Component::Kernel, format!("with all layers in memory: {message}")),
        other => other,
    })?;
    covers(below, &memory.join("of-share"))
}

/// Tries the property on the environment's own filesystem, where that is possible: a container may not mount, and a
/// host's kernel may have no overlayfs. Neither says anything about a guest, which has a control of its own.
fn natively(below: &Path, memory: &Path) -> Check {
    let tried = with_own_mounts(|| {
        in_memory(memory)?;
        covers(below, &memory.join("native"))
    });
    match tried {
        Err(Stop::Error { .. } | Stop::Fail { blames: Some(Component::Kernel), .. }) => Ok(()),
        other => other,
    }
}

/// Mounts a filesystem in memory.
fn in_memory(at: &Path) -> Check {
    let mounted = mount("tmpfs", at, "tmpfs", MountFlags::empty(), c"size=16m");
    mounted.map_err(|e| Stop::error(format!("mounting a tmpfs: {e}")))
}

const CHANGED: &str = "changed";
const KEPT: &str = "kept";
const REMOVED: &str = "removed";
const FOLDER: &str = "folder";

/// Fills the lower layer, stacks one on it that is in memory, and changes what is seen in the stack.
fn covers(lower: &Path, memory: &Path) -> Check {
    let large = noise(7, 200_000);
    fs::write(lower.join(CHANGED), &large).doing("filling the lower layer")?;
    chmod(lower.join(CHANGED), Mode::from_raw_mode(0o640)).doing("setting a mode in the lower layer")?;
    for name in [KEPT, REMOVED] {
        fs::write(lower.join(name), name).doing("filling the lower layer")?;
    }
    fs::create_dir(lower.join(FOLDER)).doing("making a directory in the lower layer")?;
    let stack = Stack::mount(lower, memory)?;
    has_names(&stack.merged, &[CHANGED, FOLDER, KEPT, REMOVED], "the stack")?;
    for name in [KEPT, REMOVED] {
        has_contents(&stack.merged.join(name), name.as_bytes(), "a file of the lower layer")?;
    }
    let expected = change(&stack.merged, &large)?;
    has_names(&stack.merged, &[CHANGED, FOLDER, "moved"], "the stack after the changes")?;
    has_contents(&stack.upper.join(CHANGED), &expected, "the copy in the upper layer")?;
    has_names(lower, &[CHANGED, FOLDER, KEPT, REMOVED], "the lower layer after the changes")?;
    has_names(&lower.join(FOLDER), &[], "a directory of the lower layer after the changes")?;
    has_contents(&lower.join(CHANGED), &large, "a file of the lower layer that was changed in the stack")?;
    has_contents(&lower.join(REMOVED), REMOVED.as_bytes(), "a file of the lower layer that was removed in the stack")
}

/// Appends, removes, renames and creates in the stack; returns the contents of the file that was appended to.
fn change(merged: &Path, large: &[u8]) -> Result<Vec<u8>, Stop> {
    let (changed, more): (PathBuf, &[u8]) = (merged.join(CHANGED), b", and more");
    let opened = OpenOptions::new().append(true).open(&changed);
    opened.and_then(|mut file| file.write_all(more)).doing("appending to a file of the lower layer")?;
    let expected = [large, more].concat();
    has_contents(&changed, &expected, "a file of the lower layer after an append")?;
    let mode = fs::metadata(&changed).doing("looking at a copied file")?.mode() & 0o7777;
    ensure!(mode == 0o640, "a file of the lower layer after an append: expected mode 0640, saw {mode:04o}");
    fs::remove_file(merged.join(REMOVED)).doing("removing a file of the lower layer")?;
    fs::rename(merged.join(KEPT), merged.join("moved")).doing("renaming a file of the lower layer")?;
    has_contents(&merged.join("moved"), KEPT.as_bytes(), "a renamed file of the lower layer")?;
    let new = merged.join(FOLDER).join("new");
    fs::write(&new, "new").doing("creating a file in a directory of the lower layer")?;
    has_contents(&new, b"new", "a new file in a directory of the lower layer")?;
    Ok(expected)
}

fn has_names(folder: &Path, expected: &[&str], what: &str) -> Check {
    let listed = fs::read_dir(folder).doing(format_args!("listing {what}"))?;
    let names: io::Result<Vec<String>> =
        listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names.doing(format_args!("listing {what}"))?;
    names.sort();
    ensure!(names == expected, "{what}: expected the names {expected:?}, saw {names:?}");
    Ok(())
}

fn has_contents(file: &Path, expected: &[u8], what: &str) -> Check {
    same_bytes(&fs::read(file).doing(format_args!("reading {what}"))?, expected, what)
}

/// A mounted overlayfs; dropping it unmounts it.
struct Stack {
    merged: PathBuf,
    upper: PathBuf,
}

impl Stack {
    /// Mounts with the option that Kata adds; a refusal by overlayfs itself blames the kernel.
    fn mount(lower: &Path, memory: &Path) -> Result<Stack, Stop> {
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| memory.join(name));
        for folder in [&upper, &work, &merged] {
            fs::create_dir_all(folder).map_err(|e| Stop::error(format!("making {}: {e}", folder.display())))?;
        }
        let layers = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let options = CString::new(format!("{layers},index=off"))
            .map_err(|e| Stop::error(format!("the options of an overlayfs: {e}")))?;
        match mount("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => Ok(Stack { merged, upper }),
            Err(e @ (Errno::NODEV | Errno::INVAL | Errno::PERM)) => {
                Err(Stop::blame(Component::Kernel, format!("mounting an overlayfs: {e}")))
            }
            Err(e) => Err(Stop::fail(format!("mounting an overlayfs: {e}"))),
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = unmount(&self.merged, UnmountFlags::DETACH);
    }
}
