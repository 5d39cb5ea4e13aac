//! What the properties of a filesystem are required for, and with it the shares that they are tried on.

use crate::capability::Capability::{
    self, FsVirtio9p, FsVirtio9pPosix, FsVirtio9pXattr, FsVirtioBlk, FsVirtioBlkPosix, FsVirtioFs, FsVirtioFsAcl,
    FsVirtioFsHandles, FsVirtioFsPosix, FsVirtioFsXattr,
};

/// Every share itself.
pub(super) const FILES: &[Capability] = &[FsVirtioFs, FsVirtio9p, FsVirtioBlk];
/// All shares except 9p: Linux's 9p client lacks the call, whatever the server does.
pub(super) const FILES_NOT_ON_9P: &[Capability] = &[FsVirtioFs, FsVirtioBlk];
/// The shares in which the host sees the guest's files: it is about what the host gives, and says nothing of a disk of
/// the guest's own.
pub(super) const SHARED_FILES: &[Capability] = &[FsVirtioFs, FsVirtio9p];
/// Every share itself, except that on 9p it counts for conformance only: Kata's own conformance run left it out there as a known
/// failure (conformance/posixfs/fstests.sh in kata-containers/tests, for kata-containers/runtime#826: mkfifo/00, mknod/00,
/// mknod/11, open/00).
pub(super) const FILES_POSIX_ON_9P: &[Capability] = &[FsVirtioFs, FsVirtio9pPosix, FsVirtioBlk];
/// Extended attributes; the guest's own filesystem has them always.
pub(super) const XATTRS: &[Capability] = &[FsVirtioFsXattr, FsVirtio9pXattr, FsVirtioBlk];
/// POSIX ACLs, which Linux's 9p client lacks.
pub(super) const ACLS: &[Capability] = &[FsVirtioFsAcl, FsVirtioBlk];
/// Conformance as pjdfstest sees it.
pub(super) const POSIX: &[Capability] = &[FsVirtioFsPosix, FsVirtio9pPosix, FsVirtioBlkPosix];
/// File handles in the daemon.
pub(super) const HANDLES: &[Capability] = &[FsVirtioFsHandles];
