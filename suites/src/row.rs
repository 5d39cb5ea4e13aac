//! One line of the table: a body, and on which shares it makes sense.

use super::{GuestBody, PairBody};
use crate::capability::Capability;
use crate::catalogue::{Body, Need, Place, Suite, Test};
use crate::docs::doc_of;
use crate::outcome::Component;
use crate::share::Share;

/// Which capability of a share a body is required for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The share itself.
    Files,
    /// Extended attributes.
    Xattrs,
    /// POSIX ACLs.
    Acls,
    /// Conformance as pjdfstest sees it.
    Posix,
    /// File handles in the daemon.
    Handles,
}

/// A body with what the catalogue says of it on every share.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) body: Body,
    source: &'static str,
    shares: &'static [Share],
    about: About,
    /// Kata itself did not ask it of 9p.
    posix_on_9p: bool,
    needs: &'static [Need],
    seconds: u32,
}

impl Row {
    /// A body inside the guest, on every share.
    pub(super) const fn guest(name: &'static str, body: GuestBody, source: &'static str) -> Row {
        Row {
            name,
            body: Body::Guest(body),
            source,
            shares: Share::ALL,
            about: About::Files,
            posix_on_9p: false,
            needs: &[],
            seconds: 60,
        }
    }

    /// A body inside the guest that compares with what fails natively, on every share.
    pub(super) const fn beside_native(mut self) -> Row {
        if let Body::Guest(body) = self.body {
            self.body = Body::BesideNative(body);
        }
        self
    }

    /// A body between host and guest, on the shares in which the host sees the guest's files.
    pub(super) const fn pair(name: &'static str, body: PairBody, source: &'static str) -> Row {
        Row {
            name,
            body: Body::Pair(body),
            source,
            shares: Share::SHARED,
            about: About::Files,
            posix_on_9p: false,
            needs: &[],
            seconds: 90,
        }
    }

    /// Linux's 9p client lacks the call, whatever the server does.
    pub(super) const fn not_on_9p(mut self) -> Row {
        self.shares = &[Share::VirtioFs, Share::VirtioBlk];
        self
    }

    /// It is about what the host gives, so it says nothing of a disk of the guest's own.
    pub(super) const fn shared_only(mut self) -> Row {
        self.shares = Share::SHARED;
        self
    }

    /// It is about virtiofsd.
    pub(super) const fn virtio_fs_only(mut self) -> Row {
        self.shares = &[Share::VirtioFs];
        self
    }

    /// A daemon opens files by their handles for it.
    pub(super) const fn opens_by_handle(mut self) -> Row {
        self.needs = &[Need::FileHandles];
        self
    }

    /// It is required for another capability than the share itself.
    pub(super) const fn about(mut self, about: About) -> Row {
        self.about = about;
        self
    }

    /// On 9p it counts for conformance only: Kata's own conformance run left it out there as a known failure
    /// (conformance/posixfs/fstests.sh in kata-containers/tests, for kata-containers/runtime#826: mkfifo/00, mknod/00,
    /// mknod/11, open/00).
    pub(super) const fn posix_on_9p(mut self) -> Row {
        self.posix_on_9p = true;
        self
    }

    /// It makes device nodes through the host.
    pub(super) const fn makes_nodes(mut self) -> Row {
        self.needs = &[Need::Mknod];
        self
    }

    /// A daemon has thousands of files open for it.
    pub(super) const fn opens_thousands(mut self) -> Row {
        self.needs = &[Need::OpenFiles];
        self
    }

    /// It may take so many seconds under emulation.
    pub(super) const fn seconds(mut self, seconds: u32) -> Row {
        self.seconds = seconds;
        self
    }

    /// The catalogue's entries for it, one for each share.
    pub(super) fn tests(&self) -> Vec<Test> {
        self.shares.iter().map(|&share| self.test(share)).collect()
    }

    fn about_on(&self, share: Share) -> About {
        if share == Share::Virtio9p && self.posix_on_9p { About::Posix } else { self.about }
    }

    fn test(&self, share: Share) -> Test {
        let mounts = format!("filesystem::{}::{}", share.module(), super::MOUNTS);
        let place = if self.body.on_a_site().is_some() { Place::Guest } else { Place::Pair };
        Test {
            id: format!("filesystem::{}::{}", share.module(), self.name),
            name: self.name,
            suite: Suite::Filesystem,
            place,
            share: Some(share),
            proves: vec![capability(share, self.about_on(share))],
            blames: blames(share),
            // On a disk of its own the guest makes the nodes itself.
            needs: if share == Share::VirtioBlk { &[] } else { self.needs },
            blocked_by: if self.name == super::MOUNTS { mount_blockers(share) } else { vec![mounts] },
            profiles: profiles(share),
            environments: &[],
            seconds: self.seconds,
            doc: doc_of(self.source, self.name),
        }
    }
}

fn capability(share: Share, about: About) -> Capability {
    match (share, about) {
        (Share::VirtioFs, About::Files) => Capability::FsVirtioFs,
        (Share::VirtioFs, About::Xattrs) => Capability::FsVirtioFsXattr,
        (Share::VirtioFs, About::Acls) => Capability::FsVirtioFsAcl,
        (Share::VirtioFs, About::Posix) => Capability::FsVirtioFsPosix,
        (Share::VirtioFs, About::Handles) => Capability::FsVirtioFsHandles,
        (Share::Virtio9p, About::Xattrs) => Capability::FsVirtio9pXattr,
        (Share::Virtio9p, About::Posix) => Capability::FsVirtio9pPosix,
        (Share::Virtio9p, About::Files | About::Acls | About::Handles) => Capability::FsVirtio9p,
        (Share::VirtioBlk, About::Posix) => Capability::FsVirtioBlkPosix,
        (Share::VirtioBlk, _) => Capability::FsVirtioBlk,
    }
}

fn blames(share: Share) -> Component {
    match share {
        Share::VirtioFs => Component::Virtiofsd,
        Share::Virtio9p => Component::Qemu,
        Share::VirtioBlk => Component::Kernel,
    }
}

/// 9p is gone from Kata's guest agent since 3.29, and runtime-rs never had it.
fn profiles(share: Share) -> &'static [&'static str] {
    match share {
        Share::Virtio9p => &crate::under::NINEP,
        Share::VirtioFs | Share::VirtioBlk => &[],
    }
}

fn mount_blockers(share: Share) -> Vec<String> {
    let own: &[&str] = match share {
        Share::VirtioFs => &[
            "smoke::virtiofsd_accepts_the_profiles_flags",
            "smoke::qemu_has_the_devices_of_virtio_fs",
            "smoke::kernel_has_the_modules_of_virtio_fs",
        ],
        Share::Virtio9p => &["smoke::qemu_has_the_devices_of_virtio_9p", "smoke::kernel_has_the_modules_of_virtio_9p"],
        Share::VirtioBlk => &["smoke::kernel_has_the_modules_of_virtio_blk"],
    };
    own.iter().chain(&["smoke::kernel_boots_to_userspace"]).map(|id| (*id).to_owned()).collect()
}

/// A row for a body inside the guest; its module holds its own text in `SOURCE`.
macro_rules! guest {
    ($body:ident) => {
        $crate::filesystem::row::Row::guest(stringify!($body), $body, SOURCE)
    };
}

/// A row for a body between host and guest; its module holds its own text in `SOURCE`.
macro_rules! pair {
    ($body:ident) => {
        $crate::filesystem::row::Row::pair(stringify!($body), $body, SOURCE)
    };
}

pub(super) use {guest, pair};
