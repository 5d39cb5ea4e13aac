//! Devices that an environment provides for Kata's guests, and the changes to Kata's arguments for missing ones.

use qemu::deviation::Deviation;
use std::net::SocketAddr;

/// A device of Kata that a test requires, although containers usually cannot have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredDevice {
    /// No device.
    None,
    /// vhost-vsock.
    Vsock,
    /// The network interface.
    Network,
    /// The network interface, with its other end at this address if the environment has no tap.
    Peer(SocketAddr),
}

/// Devices that an environment provides for Kata's guests; a missing one is a recorded deviation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provided {
    /// Whether KVM runs guests.
    pub kvm: bool,
    /// Whether there is vhost-vsock.
    pub vsock: bool,
    /// Whether there are vhost-net, and taps in network namespaces of their own.
    pub network: bool,
    /// Whether there are namespaces for virtiofsd's sandbox.
    pub namespaces: bool,
    /// Whether files can be opened by their handles, as virtiofsd prefers.
    pub handles: bool,
    /// Whether Kata would detect that its host is a virtual machine, and use transitional virtio devices.
    pub nested: bool,
    /// Whether the serial line is so slow that only warnings should be sent there.
    pub terse: bool,
    /// Address on which the harness listens in place of a tap.
    pub peer: Option<SocketAddr>,
}

impl Provided {
    /// Everything that an environment in a virtual machine provides, before it has been probed.
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

    /// Adds a device that a test requires.
    pub fn with(self, required: RequiredDevice) -> Provided {
        match required {
            RequiredDevice::None => self,
            RequiredDevice::Vsock => Provided { vsock: true, ..self },
            RequiredDevice::Network => Provided { network: true, ..self },
            RequiredDevice::Peer(address) => Provided { peer: Some(address), ..self },
        }
    }

    /// Returns the deviations of QEMU's arguments for missing devices.
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

    /// Returns the deviations of virtiofsd's arguments for missing features.
    pub(crate) fn lacking_for_the_daemon(self) -> Vec<Deviation> {
        let sandbox = (!self.namespaces).then_some(Deviation::DaemonSandbox);
        let handles = (!self.handles).then_some(Deviation::DaemonHandles);
        sandbox.into_iter().chain(handles).collect()
    }
}
