//! The capabilities that properties of a filesystem prove, and thereby the shares that the properties are tried on.

use crate::capability::Capability::{
    self, FsVirtio9p, FsVirtio9pIntegrity, FsVirtio9pPosix, FsVirtio9pXattr, FsVirtioBlk, FsVirtioBlkIntegrity,
    FsVirtioBlkPosix, FsVirtioFs, FsVirtioFsAcl, FsVirtioFsCache, FsVirtioFsEnd, FsVirtioFsHandles, FsVirtioFsIds,
    FsVirtioFsIntegrity, FsVirtioFsOverlay, FsVirtioFsPosix, FsVirtioFsRelativeSocket, FsVirtioFsSandbox,
    FsVirtioFsThreads, FsVirtioFsUncachedMaps, FsVirtioFsWriteBack, FsVirtioFsXattr, FsVirtioFsXattrMap,
};
use crate::under::{self, Names};
use model::profile::DaemonSetting;

/// All shares.
pub(super) const FILES: &[Capability] = &[FsVirtioFs, FsVirtio9p, FsVirtioBlk];
/// All shares except 9p: Linux's 9p client lacks the call, whatever the server does.
pub(super) const FILES_NOT_ON_9P: &[Capability] = &[FsVirtioFs, FsVirtioBlk];
/// The shares on which the host sees the guest's files: properties of the host's share, which say nothing about a disk
/// of the guest's own.
pub(super) const SHARED_FILES: &[Capability] = &[FsVirtioFs, FsVirtio9p];
/// All shares, except that on 9p the property counts for conformance only: Kata's own conformance run left it out there
/// as a known failure (conformance/posixfs/fstests.sh in kata-containers/tests, for kata-containers/runtime#826:
/// mkfifo/00, mknod/00, mknod/11, open/00).
pub(super) const FILES_POSIX_ON_9P: &[Capability] = &[FsVirtioFs, FsVirtio9pPosix, FsVirtioBlk];
/// Extended attributes, which the guest's own filesystem on a disk always has.
pub(super) const XATTRS: &[Capability] = &[FsVirtioFsXattr, FsVirtio9pXattr, FsVirtioBlk];
/// Attributes of `security.`. QEMU's 9p server refuses them whatever its options (it keeps those of `user.` and ACLs:
/// `none_xattr_ops` in hw/9pfs/9p-xattr.c@v10.0.0), and Kata requires them of virtiofsd alone.
pub(super) const LABELS: &[Capability] = &[FsVirtioFsXattr, FsVirtioBlk];
/// POSIX ACLs, which Linux's 9p client lacks.
pub(super) const ACLS: &[Capability] = &[FsVirtioFsAcl, FsVirtioBlk];
/// Conformance as checked by pjdfstest.
pub(super) const POSIX: &[Capability] = &[FsVirtioFsPosix, FsVirtio9pPosix, FsVirtioBlkPosix];
/// File handles in the daemon.
pub(super) const HANDLES: &[Capability] = &[FsVirtioFsHandles];
/// Integrity of random writes.
pub(super) const INTEGRITY: &[Capability] = &[FsVirtioFsIntegrity, FsVirtio9pIntegrity, FsVirtioBlkIntegrity];
/// Integrity of random writes between host and guest.
pub(super) const SHARED_INTEGRITY: &[Capability] = &[FsVirtioFsIntegrity, FsVirtio9pIntegrity];
/// Integrity of random writes on a disk that outlives its guest.
pub(super) const DISK_INTEGRITY: &[Capability] = &[FsVirtioBlkIntegrity];
/// The state after virtiofsd ends, or cannot go on.
pub(super) const DAEMON_END: &[Capability] = &[FsVirtioFsEnd];
/// Values of `virtio_fs_cache` other than the shipped one.
pub(super) const CACHE: &[Capability] = &[FsVirtioFsCache];
/// Attributes stored under a prefix.
pub(super) const XATTR_MAP: &[Capability] = &[FsVirtioFsXattrMap];
/// Writes that stay in the guest until they are synced.
pub(super) const WRITE_BACK: &[Capability] = &[FsVirtioFsWriteBack];
/// Shared mappings of files that the guest does not cache.
pub(super) const UNCACHED_MAPS: &[Capability] = &[FsVirtioFsUncachedMaps];
/// Ids with other numbers on the host.
pub(super) const IDS: &[Capability] = &[FsVirtioFsIds];
/// Layers of the guest on top of one on the share.
pub(super) const OVERLAY: &[Capability] = &[FsVirtioFsOverlay];

/// The tests with a setting of virtiofsd: their capability, module and profiles.
pub(super) struct About {
    /// The capability that a test with this setting proves.
    pub(super) proves: Capability,
    /// The last part of the tests' module; `None` for settings that have always been tried without a module of their
    /// own.
    pub(super) module: Option<&'static str>,
    /// The profiles that have the setting; `None` means all.
    pub(super) under: Option<&'static Names>,
}

/// Describes the tests with a setting.
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
        DaemonSetting::WriteBack => (FsVirtioFsWriteBack, Some("write_back"), None),
        // `never` has another name for the C daemon, which would not know the other option either.
        DaemonSetting::UncachedMaps => (FsVirtioFsUncachedMaps, Some("uncached_maps"), Some(&under::CACHES)),
        DaemonSetting::TranslatedIds => (FsVirtioFsIds, Some("translated_ids"), None),
        // The Go runtime passes the socket as a descriptor.
        DaemonSetting::RelativeSocket => (FsVirtioFsRelativeSocket, Some("relative_socket"), Some(&under::RS)),
    };
    About { proves, module, under }
}

/// The settings whose tests of mounting block all other tests with the same setting.
pub(super) const SETTINGS: &[DaemonSetting] = &[
    DaemonSetting::XattrMap,
    DaemonSetting::CacheNever,
    DaemonSetting::CacheMetadata,
    DaemonSetting::CacheAlways,
    DaemonSetting::SandboxNone,
    DaemonSetting::ThreadPool,
    DaemonSetting::FewDescriptors,
    DaemonSetting::WriteBack,
    DaemonSetting::UncachedMaps,
    DaemonSetting::TranslatedIds,
    DaemonSetting::RelativeSocket,
];
/// Values of `virtio_fs_cache` other than the shipped one.
pub(super) const CACHES: &[DaemonSetting] =
    &[DaemonSetting::CacheNever, DaemonSetting::CacheMetadata, DaemonSetting::CacheAlways];
/// Those values, a virtiofsd without a sandbox, and one whose socket has a relative path.
pub(super) const CACHES_SANDBOX_AND_SOCKET: &[DaemonSetting] = &[
    DaemonSetting::CacheNever,
    DaemonSetting::CacheMetadata,
    DaemonSetting::CacheAlways,
    DaemonSetting::SandboxNone,
    DaemonSetting::RelativeSocket,
];
/// A virtiofsd without a sandbox.
pub(super) const SANDBOX_NONE: &[DaemonSetting] = &[DaemonSetting::SandboxNone];
/// A virtiofsd with several threads.
pub(super) const THREAD_POOL: &[DaemonSetting] = &[DaemonSetting::ThreadPool];
