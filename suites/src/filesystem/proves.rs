//! What the properties of a filesystem are required for, and with it the shares that they are tried on.

use crate::capability::Capability::{
    self, FsVirtio9p, FsVirtio9pIntegrity, FsVirtio9pPosix, FsVirtio9pXattr, FsVirtioBlk, FsVirtioBlkIntegrity,
    FsVirtioBlkPosix, FsVirtioFs, FsVirtioFsAcl, FsVirtioFsCache, FsVirtioFsEnd, FsVirtioFsHandles,
    FsVirtioFsIntegrity, FsVirtioFsPosix, FsVirtioFsSandbox, FsVirtioFsThreads, FsVirtioFsXattr, FsVirtioFsXattrMap,
};
use crate::under::{self, Names};
use model::profile::DaemonSetting;

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
/// Attributes of `security.`, which QEMU's 9p server refuses whatever it is told (it keeps those of `user.` and ACLs:
/// `none_xattr_ops` in hw/9pfs/9p-xattr.c@v10.0.0), and Kata asks of virtiofsd alone.
pub(super) const LABELS: &[Capability] = &[FsVirtioFsXattr, FsVirtioBlk];
/// POSIX ACLs, which Linux's 9p client lacks.
pub(super) const ACLS: &[Capability] = &[FsVirtioFsAcl, FsVirtioBlk];
/// Conformance as pjdfstest sees it.
pub(super) const POSIX: &[Capability] = &[FsVirtioFsPosix, FsVirtio9pPosix, FsVirtioBlkPosix];
/// File handles in the daemon.
pub(super) const HANDLES: &[Capability] = &[FsVirtioFsHandles];
/// Random work, and what is left of it.
pub(super) const INTEGRITY: &[Capability] = &[FsVirtioFsIntegrity, FsVirtio9pIntegrity, FsVirtioBlkIntegrity];
/// The same between host and guest.
pub(super) const SHARED_INTEGRITY: &[Capability] = &[FsVirtioFsIntegrity, FsVirtio9pIntegrity];
/// The same on a disk that outlives its guest.
pub(super) const DISK_INTEGRITY: &[Capability] = &[FsVirtioBlkIntegrity];
/// What is left when virtiofsd ends, or cannot go on.
pub(super) const DAEMON_END: &[Capability] = &[FsVirtioFsEnd];
/// virtio_fs_cache as it is not shipped.
pub(super) const CACHE: &[Capability] = &[FsVirtioFsCache];
/// Attributes under a prefix.
pub(super) const XATTR_MAP: &[Capability] = &[FsVirtioFsXattrMap];

/// What each setting of virtiofsd is about, the last part of its tests' module, and the profiles that have it.
pub(super) struct About {
    /// What a test with it is required for.
    pub(super) proves: Capability,
    /// The module's last part; of what has always been tried so, none.
    pub(super) module: Option<&'static str>,
    /// The profiles it applies to; `None` is all.
    pub(super) under: Option<&'static Names>,
}

/// See [`About`].
pub(super) fn about(setting: DaemonSetting) -> About {
    let (proves, module, under) = match setting {
        DaemonSetting::Xattr => (FsVirtioFsXattr, None, None),
        DaemonSetting::Acl => (FsVirtioFsAcl, None, None),
        DaemonSetting::XattrMap => (FsVirtioFsXattrMap, Some("xattr_map"), None),
        DaemonSetting::CacheNever => (FsVirtioFsCache, Some("cache_never"), Some(&under::CACHES)),
        DaemonSetting::CacheMetadata => (FsVirtioFsCache, Some("cache_metadata"), Some(&under::CACHE_METADATA)),
        DaemonSetting::CacheAlways => (FsVirtioFsCache, Some("cache_always"), Some(&under::CACHES)),
        DaemonSetting::SandboxNone => (FsVirtioFsSandbox, Some("sandbox_none"), None),
        DaemonSetting::ThreadPool => (FsVirtioFsThreads, Some("thread_pool"), None),
        DaemonSetting::FewDescriptors => (FsVirtioFsEnd, Some("few_descriptors"), None),
    };
    About { proves, module, under }
}

/// The settings with which a share must be mounted at all: what else is tried with them is blocked by that.
pub(super) const SETTINGS: &[DaemonSetting] = &[
    DaemonSetting::XattrMap,
    DaemonSetting::CacheNever,
    DaemonSetting::CacheMetadata,
    DaemonSetting::CacheAlways,
    DaemonSetting::SandboxNone,
    DaemonSetting::ThreadPool,
    DaemonSetting::FewDescriptors,
];
/// Other values of `virtio_fs_cache`.
pub(super) const CACHES: &[DaemonSetting] =
    &[DaemonSetting::CacheNever, DaemonSetting::CacheMetadata, DaemonSetting::CacheAlways];
/// The same, and a virtiofsd that does not confine itself.
pub(super) const CACHES_AND_SANDBOX: &[DaemonSetting] =
    &[DaemonSetting::CacheNever, DaemonSetting::CacheMetadata, DaemonSetting::CacheAlways, DaemonSetting::SandboxNone];
/// A virtiofsd that does not confine itself.
pub(super) const SANDBOX_NONE: &[DaemonSetting] = &[DaemonSetting::SandboxNone];
/// Several threads.
pub(super) const THREAD_POOL: &[DaemonSetting] = &[DaemonSetting::ThreadPool];
