//! Extended attributes and POSIX ACLs.

use super::expect::{noise, refused, same_bytes};
use super::proves::{ACLS, LABELS, XATTR_MAP, XATTRS};
use super::user::{NOBODY, OTHER, as_user};
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Bytes, Pair, Reply, Site};
use crate::row::{Row, row};
use crate::share::Share;
use crate::test::Need;
use model::profile::DaemonSetting;
use rustix::fs::{Mode, XattrFlags, chmod, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const SOURCE: &str = include_str!("attributes.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Guest(attributes_round_trip), XATTRS).finds("/^setxattr:retval=0"),
    row!(Guest(attributes_are_listed_and_removed), XATTRS).finds("/^removexattr:retval=0"),
    row!(Guest(attributes_honour_create_and_replace), XATTRS).finds("/^setxattr:retval=0"),
    row!(Guest(large_attributes_are_kept_or_refused_cleanly), XATTRS),
    row!(Guest(selinux_labels_are_kept), LABELS).finds("/^setxattr:retval=0").needs(&[Need::SecurityAttributes]),
    row!(Pair(mapped_attributes_have_a_prefix_on_the_host_alone), XATTR_MAP).only_with(&[DaemonSetting::XattrMap]),
    row!(Guest(acls_grant_and_deny), ACLS),
    row!(Guest(default_acls_are_inherited), ACLS).finds("/^setxattr:retval=0"),
    row!(Guest(acl_mask_is_the_group_mode), ACLS).finds("/^setxattr:retval=0"),
];

fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 65_536];
    let length = getxattr(path, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Stop> {
    setxattr(path, name, value, XattrFlags::empty()).doing(format_args!("setting {name} of {}", path.display()))
}

/// The value of a user attribute may be any bytes, on files and directories, and survives a rename; it may also be
/// empty, except over 9p, whose protocol removes an attribute by setting an empty value.
///
/// overlayfs in a guest needs attributes on the share for its upper layer
/// (docs/how-to/how-to-run-docker-with-kata.md@4.1.0), and file capabilities are attributes; Kata passes `--xattr` only
/// on request.
fn attributes_round_trip(site: &Site) -> Check {
    let (file, directory) = (site.file("file", "x")?, site.directory("directory")?);
    for path in [&file, &directory] {
        for (name, value) in [("user.text", &b"value"[..]), ("user.bytes", b"\0\xff\n"), ("user.empty", b"")] {
            if value.is_empty() && site.share == Some(Share::Virtio9p) {
                continue;
            }
            set(path, name, value)?;
            let seen = get(path, name).doing(format_args!("getting {name}"))?;
            same_bytes(&seen, value, format_args!("{name} of {}", path.display()))?;
        }
    }
    set(&file, "user.text", b"changed")?;
    fs::rename(&file, site.path("renamed")).doing("renaming the file")?;
    let seen = get(&site.path("renamed"), "user.text").doing("getting user.text after a rename")?;
    same_bytes(&seen, b"changed", "user.text after a change and a rename")?;
    let short = getxattr(site.path("renamed"), "user.text", &mut [0; 3][..]);
    refused(short, &[Errno::RANGE], "getting 7 bytes into a buffer of 3")
}

/// listxattr(2) names each attribute once, and a removed attribute is gone (ENODATA).
///
/// tar, rsync and image builders copy the listed attributes, so an attribute that is missing from the list is lost;
/// names that the daemon adds or rewrites (its `-o xattrmap`) must not be visible.
fn attributes_are_listed_and_removed(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    for name in ["user.one", "user.two", "user.three"] {
        set(&file, name, b"x")?;
    }
    removexattr(&file, "user.two").doing("removing user.two")?;
    let mut buffer = vec![0; 4096];
    let length = listxattr(&file, &mut buffer[..]).doing("listing the attributes")?;
    let names = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let seen: Vec<&str> = names.split_terminator('\0').filter(|name| name.starts_with("user.")).collect();
    let unique: BTreeSet<&str> = seen.iter().copied().collect();
    ensure!(
        seen.len() == unique.len() && unique == BTreeSet::from(["user.one", "user.three"]),
        "expected user.one and user.three once each, saw {seen:?}"
    );
    refused(get(&file, "user.two"), &[Errno::NODATA], "getting a removed attribute")?;
    refused(removexattr(&file, "user.two"), &[Errno::NODATA], "removing an attribute twice")
}

/// XATTR_CREATE fails for an existing attribute (EEXIST), and XATTR_REPLACE for a missing one (ENODATA).
///
/// setxattr(2) specifies this; programs in containers set locks and marks this way, so the flags must reach the host.
fn attributes_honour_create_and_replace(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    let replace = setxattr(&file, "user.a", b"1", XattrFlags::REPLACE);
    refused(replace, &[Errno::NODATA], "XATTR_REPLACE of a missing attribute")?;
    setxattr(&file, "user.a", b"1", XattrFlags::CREATE).doing("XATTR_CREATE")?;
    let create = setxattr(&file, "user.a", b"2", XattrFlags::CREATE);
    refused(create, &[Errno::EXIST], "XATTR_CREATE of an existing attribute")?;
    setxattr(&file, "user.a", b"3", XattrFlags::REPLACE).doing("XATTR_REPLACE")?;
    same_bytes(&get(&file, "user.a").doing("getting user.a")?, b"3", "user.a")
}

/// A value of 2 KiB is kept; one of 64 KiB is kept whole or refused (ENOSPC, E2BIG, ERANGE), but never truncated; a
/// name of 256 bytes is refused.
///
/// Signatures (IMA, composefs) have some hundred bytes to a few KiB, and the verification of a truncated one fails long
/// after it was written.
fn large_attributes_are_kept_or_refused_cleanly(site: &Site) -> Check {
    let file = site.file("file", "x")?;
    set(&file, "user.large", &noise(1, 2_048))?;
    same_bytes(&get(&file, "user.large").doing("getting 2 KiB")?, &noise(1, 2_048), "an attribute of 2 KiB")?;
    let huge = noise(2, 65_536);
    match setxattr(&file, "user.huge", &huge, XattrFlags::empty()) {
        Ok(()) => same_bytes(&get(&file, "user.huge").doing("getting 64 KiB")?, &huge, "an attribute of 64 KiB")?,
        Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => {
            refused(get(&file, "user.huge"), &[Errno::NODATA], "getting an attribute whose setting was refused")?;
        }
        Err(e) => {
            return Err(Stop::fail(format!("setting 64 KiB: expected success, ENOSPC, E2BIG or ERANGE, got {e}")));
        }
    }
    let name = format!("user.{}", "n".repeat(251));
    refused(
        setxattr(&file, &name, b"x", XattrFlags::empty()),
        &[Errno::RANGE],
        "setting an attribute with a name of 256 bytes",
    )
}

const LABEL: &str = "security.selinux";

/// A SELinux label, an attribute of `security.`, is kept as it was set, on files and directories, and survives a
/// rename.
///
/// If the guest has SELinux, Kata passes `--xattr` for these labels (`createVirtiofsDaemon` in
/// src/runtime/virtcontainers/qemu.go@4.1.0, `virtiofsd_args` in
/// src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.1.0): a container is denied access to
/// files that lose their labels.
fn selinux_labels_are_kept(site: &Site) -> Check {
    let label = b"system_u:object_r:container_file_t:s0:c1,c2\0";
    let (file, directory) = (site.file("file", "x")?, site.directory("directory")?);
    for path in [&file, &directory] {
        set(path, LABEL, label)?;
        let seen = get(path, LABEL).doing(format_args!("getting {LABEL}"))?;
        same_bytes(&seen, label, format_args!("{LABEL} of {}", path.display()))?;
    }
    fs::rename(&file, site.path("renamed")).doing("renaming the file")?;
    let seen = get(&site.path("renamed"), LABEL).doing("getting the label after a rename")?;
    same_bytes(&seen, label, "the label after a rename")
}

/// Attributes that the guest sets, also those that the host reserves (`trusted.`, `security.`), have their own names in
/// the guest, and virtiofsd's prefix below `user.` on the host.
///
/// This gives an overlay in a guest its `trusted.overlay.*`, and a guest's SELinux its labels, although virtiofsd may
/// not set the host's (virtiofsd's doc/xattr-mapping.md; `virtio_fs_extra_args` in
/// src/runtime/config/configuration-qemu.toml.in@4.1.0).
fn mapped_attributes_have_a_prefix_on_the_host_alone(pair: &mut Pair<'_>) -> Check {
    pair.guest_writes("file", b"x", false)?;
    let path = pair.in_guest("file");
    let set = ["security.selinux", "trusted.overlay.opaque", "user.own"];
    for name in set {
        let (name, value) = (name.to_owned(), Bytes(name.as_bytes().to_vec()));
        pair.done(&format!("setting {name}"), Action::SetAttribute { path: path.clone(), name, value })?;
    }
    for name in set {
        let reply =
            pair.done(&format!("getting {name}"), Action::Attribute { path: path.clone(), name: name.to_owned() })?;
        ensure!(
            reply == Reply::Data { data: Bytes::from(name) },
            "{name} in the guest: expected {name:?}, saw {reply:?}"
        );
        let on_host = format!("user.virtiofs.{name}");
        let seen = get(&pair.on_host("file"), &on_host).doing(format_args!("the host, getting {on_host}"))?;
        same_bytes(&seen, name.as_bytes(), format_args!("{on_host} on the host"))?;
    }
    let listed = pair.done("listing the attributes", Action::Attributes { path })?;
    let expected = Reply::Names { names: set.iter().map(|name| Bytes::from(*name)).collect() };
    ensure!(listed == expected, "the guest's list of attributes: expected {expected:?}, saw {listed:?}");
    Ok(())
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// An entry of an ACL: its tag, permissions, and the id that goes with a named user or group.
type AclEntry = (u16, u16, u32);

const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OWNER: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHERS: u16 = 0x20;
const NO_ID: u32 = u32::MAX;

/// Encodes an ACL for the kernel: version 2, then entries in the order of their tags (linux/posix_acl_xattr.h).
fn acl(entries: &[AclEntry]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Encodes an ACL: owner rw, one named user with `permissions`, nothing for group and others.
fn acl_for(user: u32, permissions: u16) -> Vec<u8> {
    acl(&[(OWNER, 6, NO_ID), (USER, permissions, user), (GROUP_OWNER, 0, NO_ID), (MASK, 7, NO_ID), (OTHERS, 0, NO_ID)])
}

/// An ACL admits the user that it names and nobody else, whichever process asks, and is read back byte for byte.
///
/// virtiofsd supports ACLs with `--posix-acl` (from 1.2 on); if nobody enforces them, a volume that an admin protects
/// by an ACL on the node is open in the pod.
fn acls_grant_and_deny(site: &Site) -> Check {
    let file = site.file("file", "contents")?;
    chmod(&file, Mode::from_raw_mode(0o600)).doing("chmod 600")?;
    as_user(site, NOBODY, || refused(fs::read(site.path("file")), &[Errno::ACCESS], "reading before the ACL"))?;
    let granted = acl_for(NOBODY, 4);
    set(&file, ACCESS, &granted)?;
    same_bytes(&get(&file, ACCESS).doing("getting the ACL")?, &granted, "the ACL as read back")?;
    as_user(site, NOBODY, || {
        same_bytes(
            &fs::read(site.path("file")).doing("reading as the user whom the ACL names")?,
            b"contents",
            "the file",
        )?;
        let write = fs::OpenOptions::new().append(true).open(site.path("file"));
        refused(write, &[Errno::ACCESS], "writing with read permission by ACL")
    })?;
    as_user(site, OTHER, || {
        refused(fs::read(site.path("file")), &[Errno::ACCESS], "reading as a user whom the ACL does not name")
    })?;
    chmod(&file, Mode::from_raw_mode(0o644)).doing("chmod 644")?;
    set(
        &file,
        ACCESS,
        &acl(&[(OWNER, 6, NO_ID), (USER, 0, NOBODY), (GROUP_OWNER, 4, NO_ID), (MASK, 4, NO_ID), (OTHERS, 4, NO_ID)]),
    )?;
    as_user(site, NOBODY, || {
        refused(fs::read(site.path("file")), &[Errno::ACCESS], "reading as a user whom the ACL denies while others may")
    })
}

/// New files and directories in a directory with a default ACL inherit it, and directories pass it on.
///
/// Shared volumes are set up this way; the daemon must not apply the caller's umask when it creates files
/// (FUSE_DONT_MASK), which `--posix-acl` negotiates.
fn default_acls_are_inherited(site: &Site) -> Check {
    let directory = site.directory("directory")?;
    chmod(&directory, Mode::from_raw_mode(0o755)).doing("chmod 755")?;
    let default = acl_for(NOBODY, 6);
    set(&directory, DEFAULT, &default)?;
    fs::write(directory.join("file"), "contents").doing("creating in the directory")?;
    fs::create_dir(directory.join("below")).doing("making a directory in the directory")?;
    let passed = get(&directory.join("below"), DEFAULT).doing("getting the default ACL of the new directory")?;
    same_bytes(&passed, &default, "the default ACL of a new directory")?;
    as_user(site, NOBODY, || {
        let path = site.path("directory/file");
        same_bytes(&fs::read(&path).doing("reading a new file as the named user")?, b"contents", "the new file")?;
        fs::OpenOptions::new().append(true).open(&path).doing("writing a new file as the named user").map(drop)
    })?;
    as_user(site, OTHER, || {
        let read = fs::read(site.path("directory/file"));
        refused(read, &[Errno::ACCESS], "reading a new file as a user whom the default ACL does not name")
    })
}

/// The mode's group bits show the ACL's mask, and chmod changes the mask, which limits the named users at once.
///
/// POSIX.1e; `ls -l` and chmod in a container must not disagree with what the host enforces.
fn acl_mask_is_the_group_mode(site: &Site) -> Check {
    let file = site.file("file", "contents")?;
    let entries = [(OWNER, 6, NO_ID), (USER, 6, NOBODY), (GROUP_OWNER, 4, NO_ID), (MASK, 6, NO_ID), (OTHERS, 0, NO_ID)];
    set(&file, ACCESS, &acl(&entries))?;
    let mode = fs::metadata(&file).doing("stat")?.mode() & 0o777;
    ensure!(mode == 0o660, "a file whose ACL has the mask rw-: expected mode 0660, saw {mode:04o}");
    chmod(&file, Mode::from_raw_mode(0o640)).doing("chmod 640")?;
    let mut limited = entries;
    limited[3].1 = 4;
    same_bytes(&get(&file, ACCESS).doing("getting the ACL")?, &acl(&limited), "the ACL after chmod 640")?;
    as_user(site, NOBODY, || {
        fs::read(site.path("file")).doing("reading within the mask")?;
        let write = fs::OpenOptions::new().append(true).open(site.path("file"));
        refused(write, &[Errno::ACCESS], "writing beyond the mask")
    })
}
