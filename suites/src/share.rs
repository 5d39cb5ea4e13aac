//! The ways a directory of the host reaches a Kata guest, and what serves each.

use crate::outcome::Component;

pub use model::share::Share;

/// What serves a share, and is to blame unless a test knows better.
pub(crate) fn served_by(share: Share) -> Component {
    match share {
        Share::VirtioFs => Component::Virtiofsd,
        Share::Virtio9p => Component::Qemu,
        Share::VirtioBlk => Component::Kernel,
    }
}
