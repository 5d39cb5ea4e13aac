//! Permissions and ownership.

use super::expect::{refused, same_bytes};
use super::proves::{FILES, FILES_NOT_ON_9P, SANDBOX_NONE};
use super::user::{NOBODY, OTHER, as_user, with_own_fs};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::Site;
use crate::row::{Row, row};
use rustix::fs::{Mode, chmod};
use rustix::io::Errno;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;

const SOURCE: &str = include_str!("permissions.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(permissions_bind_other_users), FILES).finds("setresuid:retval=0"),
    row!(Guest(root_passes_permissions), FILES),
    row!(Guest(directories_need_search_permission), FILES).finds("setresuid:retval=0"),
    row!(Guest(new_files_belong_to_their_creator), FILES).finds("setresuid:retval=0").also_with(SANDBOX_NONE),
    row!(Guest(ownership_is_roots_to_give), FILES).finds("/chown:retval=0"),
    row!(Guest(chown_clears_setuid), FILES),
    row!(Guest(writing_clears_setuid), FILES_NOT_ON_9P),
    row!(Guest(setuid_setgid_and_sticky_bits_are_kept), FILES).finds("/chmod:retval=0"),
    row!(Guest(sticky_directories_guard_other_users_files), FILES).finds("setresuid:retval=0"),
    row!(Guest(setgid_directories_pass_on_their_group), FILES),
    row!(Guest(umask_masks_new_files), FILES).finds("umask:retval=0"),
];

fn set_mode(path: &Path, mode: u32) -> Check {
    chmod(path, Mode::from_raw_mode(mode)).doing(format_args!("chmod {mode:o} {}", path.display()))
}

fn mode_of(path: &Path) -> Result<u32, Stop> {
    Ok(fs::symlink_metadata(path).doing(format_args!("lstat of {}", path.display()))?.mode() & 0o7777)
}

fn owner_of(path: &Path) -> Result<(u32, u32), Stop> {
    let status = fs::symlink_metadata(path).doing(format_args!("lstat of {}", path.display()))?;
    Ok((status.uid(), status.gid()))
}

fn expect_mode(path: &Path, expected: u32, what: &str) -> Check {
    let seen = mode_of(path)?;
    ensure!(seen == expected, "{what}: expected mode {expected:04o}, saw {seen:04o}");
    Ok(())
}

/// An ordinary user can read, write and execute exactly as the owner, group and other bits allow; the first matching
/// class decides.
///
/// The guest's kernel or the daemon must check the calling user: a daemon that acts as root for everybody opens all
/// files to every user of a container.
fn permissions_bind_other_users(site: &Site) -> Check {
    let cases: [(&str, u32, u32, bool, bool); 6] = [
        ("others-read", 0o604, 0, true, false),
        ("others-none", 0o660, 0, false, false),
        ("others-write", 0o602, 0, false, true),
        ("owned", 0o600, NOBODY, true, true),
        ("owned-read-only", 0o400, NOBODY, true, false),
        ("owned-but-denied", 0o066, NOBODY, false, false),
    ];
    for (name, mode, owner, _, _) in cases {
        let path = site.file(name, "contents")?;
        chown(&path, Some(owner), Some(0)).doing(format_args!("chown of {name} to {owner}"))?;
        set_mode(&path, mode)?;
    }
    as_user(site, NOBODY, || {
        for (name, mode, owner, may_read, may_write) in cases {
            let path = site.path(name);
            let what = |verb: &str| format!("user {NOBODY} {verb} a file of user {owner} with mode {mode:04o}");
            match may_read {
                true => same_bytes(&fs::read(&path).doing(what("reading"))?, b"contents", name)?,
                false => refused(fs::read(&path), &[Errno::ACCESS], what("reading"))?,
            }
            let write = OpenOptions::new().append(true).open(&path);
            match may_write {
                true => drop(write.doing(what("writing"))?),
                false => refused(write, &[Errno::ACCESS], what("writing"))?,
            }
        }
        refused(chmod(site.path("others-write"), Mode::from_raw_mode(0o777)), &[Errno::PERM], "chmod of another's file")
    })
}

/// Root in the guest can read and write a file that gives nobody any permission, and can list and enter such a
/// directory.
///
/// Package managers in containers run as root and rely on CAP_DAC_OVERRIDE; they fail if the daemon lacks this
/// capability on the host.
fn root_passes_permissions(site: &Site) -> Check {
    let file = site.file("file", "contents")?;
    let directory = site.directory("directory")?;
    fs::write(directory.join("inside"), "inside").doing("writing inside")?;
    for path in [&file, &directory] {
        chown(path, Some(NOBODY), Some(NOBODY)).doing("giving the file away")?;
        set_mode(path, 0)?;
    }
    same_bytes(&fs::read(&file).doing("reading a file of mode 0 as root")?, b"contents", "the file of mode 0")?;
    fs::write(&file, "changed").doing("writing a file of mode 0 as root")?;
    same_bytes(
        &fs::read(directory.join("inside")).doing("reading in a directory of mode 0 as root")?,
        b"inside",
        "inside",
    )?;
    fs::write(directory.join("new"), "").doing("creating in a directory of mode 0 as root")?;
    let count = fs::read_dir(&directory).doing("listing a directory of mode 0 as root")?.count();
    ensure!(count == 2, "a directory of mode 0: expected 2 entries, saw {count}");
    Ok(())
}

/// In a directory without x another user can reach nothing; without r they cannot list it, and without w they can
/// neither make nor remove names.
///
/// This is how POSIX resolves paths; only the directory's bits protect home directories and secrets volumes of pods.
fn directories_need_search_permission(site: &Site) -> Check {
    for (name, mode) in [("closed", 0o700), ("listable", 0o704), ("searchable", 0o701), ("open", 0o705)] {
        let path = site.directory(name)?;
        fs::write(path.join("inside"), "inside").doing(format_args!("writing {name}/inside"))?;
        set_mode(&path.join("inside"), 0o644)?;
        set_mode(&path, mode)?;
    }
    as_user(site, NOBODY, || {
        for name in ["closed", "listable"] {
            let what = format!("reading {name}/inside without search permission");
            refused(fs::read(site.path(name).join("inside")), &[Errno::ACCESS], what)?;
        }
        for name in ["closed", "searchable"] {
            refused(
                fs::read_dir(site.path(name)),
                &[Errno::ACCESS],
                format_args!("listing {name} without read permission"),
            )?;
        }
        fs::read(site.path("searchable/inside")).doing("reading in a directory that may only be searched")?;
        let listed = fs::read_dir(site.path("open")).doing("listing a directory that may be read")?.count();
        ensure!(listed == 1, "listing a directory that may be read: expected 1 entry, saw {listed}");
        refused(fs::write(site.path("open/new"), ""), &[Errno::ACCESS], "creating without write permission")?;
        refused(fs::remove_file(site.path("open/inside")), &[Errno::ACCESS], "removing without write permission")
    })
}

/// A file, directory, symlink or fifo that an ordinary user creates belongs to that user and group.
///
/// The daemon runs as root on the host and must take the caller's identity for each creation; otherwise a container's
/// user cannot use its own files.
fn new_files_belong_to_their_creator(site: &Site) -> Check {
    as_user(site, OTHER, || {
        site.file("file", "mine")?;
        site.directory("directory")?;
        symlink("file", site.path("symlink")).doing("making a symlink")?;
        let fifo = rustix::fs::mknodat(
            rustix::fs::CWD,
            site.path("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        );
        fifo.doing("making a fifo")?;
        let mut file = OpenOptions::new().append(true).open(site.path("file")).doing("opening one's own file")?;
        file.write_all(b" still").doing("writing to one's own file")
    })?;
    for name in ["file", "directory", "symlink", "fifo"] {
        let seen = owner_of(&site.path(name))?;
        ensure!(
            seen == (OTHER, OTHER),
            "{name} made by user {OTHER}: expected owner {:?}, saw {seen:?}",
            (OTHER, OTHER)
        );
    }
    Ok(())
}

/// Root can give files to any user and group; -1 leaves either unchanged, lchown changes only the symlink, and ids
/// beyond 16 bits are kept; other users may not give files away (EPERM).
///
/// Unpacking an image layer consists mostly of this, and pods' users have large ids; virtiofsd needs CAP_CHOWN on the
/// host for it.
fn ownership_is_roots_to_give(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    let expect = |path: &Path, expected: (u32, u32), what: &str| -> Check {
        let seen = owner_of(path)?;
        ensure!(seen == expected, "{what}: expected owner {expected:?}, saw {seen:?}");
        Ok(())
    };
    chown(&file, Some(1000), Some(2000)).doing("chown 1000:2000")?;
    expect(&file, (1000, 2000), "chown 1000:2000")?;
    chown(&file, None, Some(3000)).doing("chown of the group alone")?;
    expect(&file, (1000, 3000), "chown of the group alone")?;
    symlink("file", site.path("symlink")).doing("making a symlink")?;
    lchown(site.path("symlink"), Some(7), Some(8)).doing("lchown 7:8 of a symlink")?;
    expect(&site.path("symlink"), (7, 8), "lchown 7:8 of a symlink")?;
    expect(&file, (1000, 3000), "the target of a symlink that was lchowned")?;
    chown(&file, Some(1_000_660_000), Some(1_000_660_001)).doing("chown to ids of ten digits")?;
    expect(&file, (1_000_660_000, 1_000_660_001), "chown to ids of ten digits")?;
    chown(&file, Some(OTHER), Some(OTHER)).doing("chown to an ordinary user")?;
    as_user(site, OTHER, || {
        refused(chown(site.path("file"), Some(NOBODY), None), &[Errno::PERM], "giving one's own file away")?;
        refused(chown(site.path("file"), None, Some(0)), &[Errno::PERM], "giving one's own file to a foreign group")
    })
}

/// A chown removes setuid and setgid from an executable, also if its owner stays the same.
///
/// Linux clears them so that nobody inherits a privileged program. Over FUSE the daemon must do this
/// (FUSE_HANDLE_KILLPRIV); if it does not, users inside the container can become root there.
fn chown_clears_setuid(site: &Site) -> Check {
    let given = site.file("given", "x")?;
    set_mode(&given, 0o6755)?;
    expect_mode(&given, 0o6755, "an executable made setuid and setgid")?;
    as_user_owner(site, &given, || {
        let same_owner = chown(site.path("given"), Some(OTHER), Some(OTHER));
        same_owner.doing("chown of one's own executable to oneself")
    })?;
    expect_mode(&given, 0o755, "a setuid and setgid executable after chown by its owner")
}

/// A write by a user who is not root removes setuid and setgid from an executable that everybody may write to.
///
/// Otherwise everybody who may write to the file could run their own program as its owner. POSIX leaves this to the
/// system, and Linux does it; but Linux's 9p client never requests it, so this is not tried on 9p.
fn writing_clears_setuid(site: &Site) -> Check {
    let written = site.file("written", "x")?;
    set_mode(&written, 0o6777)?;
    as_user(site, NOBODY, || {
        let mut file =
            OpenOptions::new().append(true).open(site.path("written")).doing("opening a setuid executable")?;
        file.write_all(b"more").doing("writing to a setuid executable")
    })?;
    expect_mode(&written, 0o777, "a setuid and setgid executable after a write by another user")
}

/// Gives `path` to [`OTHER`] without changing its mode, and acts as that user.
fn as_user_owner(site: &Site, path: &Path, body: impl FnOnce() -> Check + Send) -> Check {
    let mode = mode_of(path)?;
    chown(path, Some(OTHER), Some(OTHER)).doing("giving the executable away")?;
    set_mode(path, mode)?;
    as_user(site, OTHER, body)
}

/// The setuid, setgid and sticky bits stay as chmod set them, on files and directories, each independent of the others,
/// and after the name is looked up again.
///
/// `sudo`, `/tmp` and shared group directories of an image depend on them; on a share that drops them, an image unpacks
/// without an error and does not work.
fn setuid_setgid_and_sticky_bits_are_kept(site: &Site) -> Check {
    let (file, directory) = (site.file("file", "x")?, site.directory("directory")?);
    for mode in [0o4755, 0o2755, 0o1755, 0o6711, 0o7777, 0o000, 0o644] {
        set_mode(&file, mode)?;
        expect_mode(&file, mode, "a file after chmod")?;
        set_mode(&directory, mode)?;
        expect_mode(&directory, mode, "a directory after chmod")?;
    }
    set_mode(&file, 0o4750)?;
    fs::rename(&file, site.path("renamed")).doing("renaming a setuid file")?;
    expect_mode(&site.path("renamed"), 0o4750, "a setuid file after a rename")
}

/// In a sticky directory a user may remove and rename only their own files, although the directory is open to all.
///
/// The sticky bit of a container's `/tmp` protects its users from each other this way (POSIX, S_ISVTX).
fn sticky_directories_guard_other_users_files(site: &Site) -> Check {
    let directory = site.directory("tmp")?;
    set_mode(&directory, 0o1777)?;
    for (name, owner) in [("mine", NOBODY), ("other", OTHER)] {
        fs::write(directory.join(name), name).doing(format_args!("writing tmp/{name}"))?;
        chown(directory.join(name), Some(owner), Some(owner)).doing(format_args!("chown of tmp/{name}"))?;
    }
    let denied = [Errno::PERM, Errno::ACCESS];
    as_user(site, NOBODY, || {
        let directory = site.path("tmp");
        refused(fs::remove_file(directory.join("other")), &denied, "removing another's file in a sticky directory")?;
        let rename = fs::rename(directory.join("other"), directory.join("stolen"));
        refused(rename, &denied, "renaming another's file in a sticky directory")?;
        let over = fs::rename(directory.join("mine"), directory.join("other"));
        refused(over, &denied, "renaming over another's file in a sticky directory")?;
        fs::remove_file(directory.join("mine")).doing("removing one's own file in a sticky directory")
    })
}

/// In a setgid directory new files and directories get the directory's group, and new directories the bit as well.
///
/// Kubernetes' fsGroup sets exactly this on volumes, so that a pod's users share them; the daemon creates files as the
/// caller, and must leave the group to the filesystem. Kata's own test of fsGroup is
/// tests/integration/kubernetes/k8s-empty-dirs.bats@4.1.0.
fn setgid_directories_pass_on_their_group(site: &Site) -> Check {
    let directory = site.directory("group")?;
    chown(&directory, None, Some(4321)).doing("chown of the directory's group")?;
    set_mode(&directory, 0o2777)?;
    as_user(site, OTHER, || {
        site.file("group/file", "x")?;
        site.directory("group/below").map(drop)
    })?;
    for name in ["group/file", "group/below"] {
        let seen = owner_of(&site.path(name))?;
        ensure!(seen == (OTHER, 4321), "{name}: expected owner {:?}, saw {seen:?}", (OTHER, 4321));
    }
    let mode = mode_of(&site.path("group/below"))?;
    ensure!(mode & 0o2000 != 0, "a directory made in a setgid directory: expected the setgid bit, saw mode {mode:04o}");
    Ok(())
}

/// Exactly the umask of the creating process is removed from the requested mode.
///
/// FUSE can leave the mask to the guest's kernel or to the daemon; if neither applies it, or the daemon applies its
/// own, a container's files are open to everybody or closed to their user.
fn umask_masks_new_files(site: &Site) -> Check {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    with_own_fs(|| {
        for (mask, file, directory) in
            [(0o000, 0o666, 0o777), (0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o777, 0, 0)]
        {
            rustix::process::umask(Mode::from_raw_mode(mask));
            let (path, below) = (site.path(format!("file-{mask:o}")), site.path(format!("directory-{mask:o}")));
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o666).open(&path).doing("creating a file")?;
            fs::DirBuilder::new().mode(0o777).create(&below).doing("making a directory")?;
            expect_mode(&path, file, &format!("a file made under umask {mask:03o}"))?;
            expect_mode(&below, directory, &format!("a directory made under umask {mask:03o}"))?;
        }
        Ok(())
    })
}
