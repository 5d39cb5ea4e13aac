//! The ways in which a directory of the host reaches a Kata guest, and the component that serves each.

use crate::outcome::Component;

pub use model::share::Share;

/// Returns the component that serves a share and is to blame unless a test knows better.
pub(crate) fn served_by(share: Share) -> Component {
    match share {
        Share::VirtioFs => Component::Virtiofsd,
        Share::Virtio9p => Component::Qemu,
        Share::VirtioBlk => Component::Kernel,
    }
}
