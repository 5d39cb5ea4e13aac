//! A network namespace with a veth pair, with one end inside as `eth0` and the other end on the host.

use operator::process::{Invocation, ProcessError};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::check::Stop;
use suites::containers::{DockerNetwork, NetworkNamespace};

/// A namespace that is removed when this value is dropped.
pub struct Namespace {
    name: String,
    link: String,
    inside: Ipv4Addr,
    outside: Ipv4Addr,
}

impl Namespace {
    /// Makes the namespace `name`; `number` makes its link names and addresses unique.
    ///
    /// # Errors
    /// A skip if the environment has no `ip` or the kernel no virtual Ethernet.
    pub fn make(name: &str, number: u64) -> Result<Namespace, Stop> {
        // From the range for benchmarking (RFC 2544), which is routed nowhere. Four addresses per namespace.
        let block = u8::try_from(number % 64).unwrap_or(0) * 4;
        let address = |last| Ipv4Addr::new(198, 18, u8::try_from(number / 64 % 256).unwrap_or(0), block + last);
        let (outside, inside) = (address(1), address(2));
        let link = format!("kq{:x}v{number}", std::process::id());
        // Dropped on an early return, it removes what has been made so far.
        let made = Namespace { name: name.to_owned(), link: link.clone(), inside, outside };
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["addr", "add", &format!("{outside}/30"), "dev", &link])?;
        ip(&["link", "set", &link, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{inside}/30"), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(made)
    }
}

impl NetworkNamespace for Namespace {
    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    fn inside(&self) -> Ipv4Addr {
        self.inside
    }

    fn outside(&self) -> Ipv4Addr {
        self.outside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Deleting either end deletes the other one; a namespace that was never made is no error.
        let _ = ip(&["link", "del", &self.link]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Runs the distro's `ip`; a failure counts as a limitation of the environment.
pub(super) fn ip(arguments: &[&str]) -> Result<(), Stop> {
    let cannot = |why: &str| {
        Err(Stop::skip(format!("the environment cannot make a network: ip {}: {why}", arguments.join(" "))))
    };
    match Invocation::new(Path::new("ip"), arguments).run(Duration::from_secs(30), None) {
        Ok(finished) if finished.is_ok() => Ok(()),
        Ok(finished) => cannot(finished.stderr.trim()),
        Err(ProcessError::Start { source, .. }) => {
            Err(Stop::skip(format!("the environment has no ip command to make a network with: {source}")))
        }
        Err(error @ (ProcessError::Sandbox { .. } | ProcessError::Wait { .. })) => Err(Stop::error(error.to_string())),
        Err(late) => cannot(&late.to_string()),
    }
}

/// Returns the name of an instance's bridge for the containers in a network of Docker; an interface name has at most 15
/// bytes.
pub(super) fn bridge(instance: &str, network: DockerNetwork) -> String {
    let letter = match network {
        DockerNetwork::Bridge => 'a',
        DockerNetwork::Made => 'b',
    };
    format!("{instance}{letter}")
}

/// Removes the bridges of an instance; most instances have none.
pub(super) fn remove_bridges(instance: &str) {
    for network in [DockerNetwork::Bridge, DockerNetwork::Made] {
        let bridge = bridge(instance, network);
        if Path::new("/sys/class/net").join(&bridge).exists() {
            let _ = ip(&["link", "del", &bridge]);
        }
    }
}
