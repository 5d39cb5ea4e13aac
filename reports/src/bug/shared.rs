//! Places in Kata's source where a container gets its files by a share.

use model::profile::{Profile, Runtime};
use model::share::Share;

/// Says in a sentence that Kata uses a share, and where in its source; `None` for a share that no host serves.
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
