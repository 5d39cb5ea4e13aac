//! How a profile's runtime drives virtiofsd.

use serde::{Deserialize, Serialize};

/// How the runtime drives virtiofsd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Virtiofsd {
    /// The form of the arguments.
    pub style: DaemonStyle,
    /// `virtio_fs_cache`.
    pub cache: String,
    /// `virtio_fs_extra_args`.
    pub extra_args: Vec<String>,
    /// What the runtime waits for on the daemon's stderr before it starts QEMU; the Go runtime waits for nothing.
    pub ready_line: Option<String>,
}

/// A daemon setting: what virtiofsd can be asked for by Kata's configuration and is not as shipped: `virtio_fs_cache`, `virtio_fs_extra_args`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonSetting {
    /// Extended attributes, which Kata asks for where the guest has SELinux.
    Xattr,
    /// POSIX ACLs, and with them extended attributes.
    Acl,
    /// All extended attributes of the guest are kept under a prefix of the host's `user.`.
    XattrMap,
    /// Nothing is cached in the guest.
    CacheNever,
    /// Names and attributes are cached in the guest, contents are not.
    CacheMetadata,
    /// Everything is cached in the guest.
    CacheAlways,
    /// It does not confine itself.
    SandboxNone,
    /// Several threads serve requests, where Kata asks for one.
    ThreadPool,
    /// It may have few files open.
    FewDescriptors,
}

/// The forms in which Kata has driven virtiofsd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonStyle {
    /// `-o source=DIR --fd=3`: what the C daemon understands, and the Rust one for compatibility.
    DashO,
    /// `--shared-dir=DIR --fd=3`.
    LongFd,
    /// `--socket-path S --shared-dir DIR`.
    LongSocket,
}
