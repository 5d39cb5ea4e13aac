//! The ways a directory of the host reaches a Kata guest.

use serde::{Deserialize, Serialize};

/// One way to give files to a guest; `virtio-blk` is the baseline for comparison with the shared filesystems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// `vhost-user-fs` with virtiofsd: Kata's default since 2.0.
    VirtioFs,
    /// QEMU's built-in 9p server: Kata's default in 1.x, removed from the guest agent in 3.29.
    #[serde(rename = "virtio-9p")]
    Virtio9p,
    /// An ext4 image on a virtio disk: the guest's own filesystem, without the host.
    VirtioBlk,
}

impl Share {
    /// All shares, in the order of the matrix.
    pub const ALL: &'static [Share] = &[Share::VirtioFs, Share::Virtio9p, Share::VirtioBlk];
    /// The shares in which the host sees the guest's files.
    pub const SHARED: &'static [Share] = &[Share::VirtioFs, Share::Virtio9p];

    /// Returns the name as a path segment of a test id: `virtio_fs`.
    pub fn module(self) -> &'static str {
        match self {
            Share::VirtioFs => "virtio_fs",
            Share::Virtio9p => "virtio_9p",
            Share::VirtioBlk => "virtio_blk",
        }
    }

    /// Returns the name as spelled in Kata's `shared_fs` and in records: `virtio-fs`.
    pub const fn name(self) -> &'static str {
        match self {
            Share::VirtioFs => "virtio-fs",
            Share::Virtio9p => "virtio-9p",
            Share::VirtioBlk => "virtio-blk",
        }
    }

    /// Returns the share of that name, if there is one.
    pub fn of_name(name: &str) -> Option<Share> {
        Share::ALL.iter().copied().find(|share| share.name() == name)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_parsed_and_serialized_by_its_displayed_name() {
        for share in Share::ALL {
            assert_eq!(serde_json::to_string(share).unwrap(), format!("\"{share}\""));
            assert_eq!(Share::of_name(share.name()), Some(*share));
        }
        assert_eq!(Share::of_name("nfs"), None);
    }
}
