//! Ways that need no build, where no shared filesystem of the distro works.

use super::build::Buildable;
use super::own_record;
use crate::configure::{Inputs, knows_no_shared_fs};
use model::share::Share;
use serde::Serialize;

/// Where Kata's static release has its own daemon.
const DAEMON: &str = "/opt/kata/libexec/virtiofsd";

/// A way that does without a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choice {
    /// Which.
    pub what: ChoiceKind,
    /// What to do, and what it costs.
    pub text: String,
    /// A record for `/etc/kata-osinfo`, where one is needed.
    pub record: Option<String>,
}

/// Which way it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceKind {
    /// The daemon of Kata's static release in the place of the distro's.
    KatasVirtiofsd,
    /// No filesystem is shared: containers' files are on block devices.
    NoSharedFs,
}

/// The choices in the order in which they are tried; `built` is what a build would have to replace.
pub(super) fn choices(inputs: &Inputs<'_>, built: &[Buildable]) -> Vec<Choice> {
    let mut all = Vec::new();
    // Its daemon helps nobody whose QEMU is at fault.
    if built == [Buildable::Virtiofsd] {
        let part = format!(
            "fs:\n  - name: {}\n    confidence: documented\n    packages: []\n    path: {DAEMON}\n",
            Share::VirtioFs
        );
        let distro = &inputs.release.distro;
        all.push(Choice {
            what: ChoiceKind::KatasVirtiofsd,
            text: format!(
                "take Kata's own virtiofsd, which its static release has at {DAEMON}: state it in \
                 /etc/kata-osinfo/{distro}.yaml; Kata's releases keep it up to date, and the distro does not"
            ),
            record: Some(own_record::record(inputs.release, &part)),
        });
    }
    if knows_no_shared_fs(inputs.profile.runtime, inputs.kata) {
        all.push(Choice {
            what: ChoiceKind::NoSharedFs,
            text: format!(
                "share no filesystem: `kata-osinfo configure --profile {} --no-shared-fs`; it needs a snapshotter that \
                 gives block devices, such as containerd's devmapper, and what Kubernetes mounts is copied once",
                inputs.profile.name
            ),
            record: None,
        });
    }
    all
}
