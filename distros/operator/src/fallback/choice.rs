//! Alternatives to a build, if no shared filesystem of the distro works.

use super::build::Buildable;
use super::own_record;
use crate::configure::{Inputs, knows_no_shared_fs};
use model::share::Share;
use serde::Serialize;

/// The path of the daemon in Kata's static release.
const DAEMON: &str = "/opt/kata/libexec/virtiofsd";

/// An alternative to a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choice {
    /// The kind of alternative.
    pub what: ChoiceKind,
    /// Instructions, with their cost.
    pub text: String,
    /// A record for `/etc/kata-osinfo`, if one is needed.
    pub record: Option<String>,
}

/// The kinds of alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChoiceKind {
    /// The daemon of Kata's static release instead of the distro's.
    KatasVirtiofsd,
    /// No filesystem is shared: containers' files are on block devices.
    NoSharedFs,
}

/// Returns the alternatives in the order in which they should be tried; `built` lists the components that a build would
/// replace.
pub(super) fn choices(inputs: &Inputs<'_>, built: &[Buildable]) -> Vec<Choice> {
    let mut all = Vec::new();
    // Another daemon does not help if QEMU is at fault.
    if built == [Buildable::Virtiofsd] {
        let part = format!(
            "fs:\n  - name: {}\n    confidence: documented\n    packages: []\n    path: {DAEMON}\n",
            Share::VirtioFs
        );
        let distro = &inputs.release.distro;
        all.push(Choice {
            what: ChoiceKind::KatasVirtiofsd,
            text: format!(
                "use Kata's own virtiofsd, which its static release has at {DAEMON}: state it in \
                 /etc/kata-osinfo/{distro}.yaml; Kata's releases keep it up to date, not the distro"
            ),
            record: Some(own_record::record(inputs.release, &part)),
        });
    }
    if knows_no_shared_fs(inputs.profile.runtime, inputs.kata) {
        all.push(Choice {
            what: ChoiceKind::NoSharedFs,
            text: format!(
                "share no filesystem: `kata-osinfo configure --profile {} --no-shared-fs`; it needs a snapshotter that \
                 provides block devices, such as containerd's devmapper, and files that Kubernetes mounts are \
                 copied only once",
                inputs.profile.name
            ),
            record: None,
        });
    }
    all
}
