//! What an environment provides of what Kata gives a guest, and what its lack makes of Kata's arguments.

use qemu::deviation::Deviation;
use std::net::SocketAddr;

/// A device of Kata's that a test cannot do without, although containers usually cannot have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredDevice {
    /// None.
    None,
    /// vhost-vsock.
    Vsock,
    /// The network interface.
    Network,
    /// The network interface, its other end where the environment has no tap at this address.
    Peer(SocketAddr),
}

/// What an environment provides of what Kata gives a guest; what it does not is a deviation on record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provided {
    /// KVM runs guests.
    pub kvm: bool,
    /// vhost-vsock.
    pub vsock: bool,
    /// vhost-net, and taps in network namespaces of their own.
    pub network: bool,
    /// Namespaces for virtiofsd's sandbox.
    pub namespaces: bool,
    /// Files are opened by their handles, as virtiofsd likes to.
    pub handles: bool,
    /// Kata would see that its host is a virtual machine, and ask for transitional virtio devices.
    pub nested: bool,
    /// The serial line is so slow that only warnings are to go there.
    pub terse: bool,
    /// Where the harness listens in the place of a tap.
    pub peer: Option<SocketAddr>,
}

impl Provided {
    /// What a virtual machine that is an environment provides, before it has been probed.
    pub const EVERYTHING: Provided = Provided {
        kvm: true,
        vsock: true,
        network: true,
        namespaces: true,
        handles: true,
        nested: true,
        terse: true,
        peer: None,
    };

    /// With a device that a test insists on.
    pub fn with(self, required: RequiredDevice) -> Provided {
        match required {
            RequiredDevice::None => self,
            RequiredDevice::Vsock => Provided { vsock: true, ..self },
            RequiredDevice::Network => Provided { network: true, ..self },
            RequiredDevice::Peer(address) => Provided { peer: Some(address), ..self },
        }
    }

    /// The deviations of QEMU's arguments that what is lacking makes necessary.
    pub(crate) fn lacking(self) -> Vec<Deviation> {
        let mut changes = Vec::new();
        if !self.kvm {
            changes.extend([Deviation::Accelerator, Deviation::CpuModel]);
        }
        if !self.vsock {
            changes.push(Deviation::NoVsock);
        }
        if !self.network {
            changes.push(match self.peer {
                Some(address) => Deviation::SocketNetwork { address: address.to_string() },
                None => Deviation::NoNetwork,
            });
        }
        changes
    }

    /// The deviations of virtiofsd's.
    pub(crate) fn lacking_for_the_daemon(self) -> Vec<Deviation> {
        let sandbox = (!self.namespaces).then_some(Deviation::DaemonSandbox);
        let handles = (!self.handles).then_some(Deviation::DaemonHandles);
        sandbox.into_iter().chain(handles).collect()
    }
}
