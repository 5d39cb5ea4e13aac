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
    /// The guest keeps what is written until it is synced or the file is closed.
    WriteBack,
    /// Nothing is cached in the guest, but files may be mapped shared.
    UncachedMaps,
    /// The daemon translates [`TRANSLATED_UIDS`] and [`TRANSLATED_GIDS`].
    TranslatedIds,
    /// The daemon creates its socket by a path that is relative to its working directory, as runtime-rs makes it do for
    /// a VMM without root.
    RelativeSocket,
}

/// A range of ids that have other numbers on the host than in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first id in the guest.
    pub guest: u32,
    /// The first id on the host.
    pub host: u32,
    /// The number of ids.
    pub count: u32,
}

/// The users that [`DaemonSetting::TranslatedIds`] is about; below 65,536, because a container may know no others.
pub const TRANSLATED_UIDS: IdRange = IdRange { guest: 5000, host: 31_000, count: 10 };
/// The groups, other ones than the users, so that a daemon that confuses them is noticed.
pub const TRANSLATED_GIDS: IdRange = IdRange { guest: 6000, host: 42_000, count: 10 };

impl IdRange {
    /// Returns the number that a guest's id has on the host; ids outside the range keep theirs.
    pub fn on_host(self, id: u32) -> u32 {
        self.translated(id, self.guest, self.host)
    }

    /// Returns the number that a host's id has in the guest; ids outside the range keep theirs.
    pub fn in_guest(self, id: u32) -> u32 {
        self.translated(id, self.host, self.guest)
    }

    fn translated(self, id: u32, from: u32, to: u32) -> u32 {
        match id.checked_sub(from) {
            Some(offset) if offset < self.count => to + offset,
            _ => id,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::TRANSLATED_UIDS;

    #[test]
    fn ids_outside_the_range_keep_their_numbers() {
        let ids = [0, 4999, 5000, 5009, 5010, u32::MAX];
        assert_eq!(ids.map(|id| TRANSLATED_UIDS.on_host(id)), [0, 4999, 31_000, 31_009, 5010, u32::MAX]);
        assert_eq!(ids.map(|id| TRANSLATED_UIDS.in_guest(TRANSLATED_UIDS.on_host(id))), ids);
        assert_eq!(TRANSLATED_UIDS.in_guest(31_010), 31_010);
    }
}
