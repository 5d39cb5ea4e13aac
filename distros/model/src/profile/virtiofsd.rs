//! The virtiofsd command line of a profile's runtime.

use serde::{Deserialize, Serialize};

/// The runtime's virtiofsd command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Virtiofsd {
    /// The form of the arguments.
    pub style: DaemonStyle,
    /// `virtio_fs_cache`.
    pub cache: String,
    /// `virtio_fs_extra_args`.
    pub extra_args: Vec<String>,
    /// The line on the daemon's stderr that the runtime waits for before it starts QEMU; the Go runtime does not wait.
    pub ready_line: Option<String>,
}

/// A daemon setting: an option of virtiofsd that Kata's configuration can request but does not request as shipped
/// (`virtio_fs_cache`, `virtio_fs_extra_args`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonSetting {
    /// Extended attributes, which Kata requests if the guest has SELinux.
    Xattr,
    /// POSIX ACLs, and with them extended attributes.
    Acl,
    /// All extended attributes of the guest are stored with a prefix in the host's `user.` namespace.
    XattrMap,
    /// Nothing is cached in the guest.
    CacheNever,
    /// Names and attributes are cached in the guest, contents are not.
    CacheMetadata,
    /// Everything is cached in the guest.
    CacheAlways,
    /// The daemon does not sandbox itself.
    SandboxNone,
    /// Several threads serve requests; as shipped, Kata asks for one.
    ThreadPool,
    /// The daemon may have few files open.
    FewDescriptors,
}

/// The forms in which Kata has driven virtiofsd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaemonStyle {
    /// `-o source=DIR --fd=3`: the syntax of the C daemon, which the Rust one supports for compatibility.
    DashO,
    /// `--shared-dir=DIR --fd=3`.
    LongFd,
    /// `--socket-path S --shared-dir DIR`.
    LongSocket,
}
