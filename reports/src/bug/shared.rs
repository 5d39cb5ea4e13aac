//! Where Kata's source gives a container its files by a share.

use model::profile::{Profile, Runtime};
use model::share::Share;

/// That Kata uses a share, and where its source does, in a sentence; nothing of what no host serves.
pub(super) fn asked_for(share: Share, profile: &Profile) -> Option<String> {
    let file = match (share, profile.runtime) {
        (Share::Virtio9p, Runtime::Go) => "src/runtime/virtcontainers/qemu_arch_base.go",
        (Share::VirtioFs, Runtime::Go) => "src/runtime/virtcontainers/qemu.go",
        (Share::VirtioFs, Runtime::Rs) => "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs",
        (Share::Virtio9p, Runtime::Rs) | (Share::VirtioBlk, _) => return None,
    };
    let tag = &profile.tag;
    Some(format!(
        "With `shared_fs = \"{share}\"` Kata Containers gives a container its files by such a share ({file}@{tag}), where \
         programs expect of it what they expect of any filesystem."
    ))
}
