//! A container's network: an interface in a namespace that was created beforehand, as CNI does.

use super::process::parse_facts;
use crate::capability::Capability;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerOutput, ContainerSandbox, Containers};
use crate::row::{Row, row};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("network.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(without_a_network_there_is_only_lo), &[Capability::KataNet], Kernel),
    row!(Containers(a_ready_made_network_carries_both_ways), &[Capability::KataNet], Kernel).seconds(240),
];

/// A container in a ready-made network namespace has its interface, is reached from the host, and reaches the host.
///
/// CNI makes the namespace before the runtime starts; Kata takes its interface over with a tap device, vhost-net and
/// traffic control (`sch_ingress`, `cls_u32`, `act_mirred`) on the host's kernel. That is `setupTCFiltering` in
/// src/runtime/virtcontainers/network_linux.go@4.1.0 and
/// src/runtime-rs/crates/resource/src/network/network_model/tc_filter_model.rs@4.1.0.
fn a_ready_made_network_carries_both_ways(containers: &dyn Containers) -> Check {
    let network = containers.network()?;
    let within = |command: &[&str]| Container {
        netns: Some(network.path()),
        ..Container::new(command).within(ContainerSandbox::Alone)
    };
    let task = containers.start(&within(&["serve", "8080"]))?;
    let facts = parse_facts(&task.exec(&["facts"], &[])?)?;
    ensure!(facts.interfaces.iter().any(|i| i == "eth0"), "no eth0 inside, only {}", facts.interfaces.join(", "));
    let reply = converse(&network.inside().to_string(), 8080)?;
    ensure!(reply == "served", "the container's server said {reply:?}");
    reaches_the_host(network.outside(), |words| task.exec(words, &[]))
}

/// A container without a network has no interface but `lo`.
///
/// An isolated pod must have no network; Kata must not add an interface that was not there. Kata adds only interfaces
/// that it finds in the namespace (`addAllEndpoints` in src/runtime/virtcontainers/network_linux.go@4.1.0).
fn without_a_network_there_is_only_lo(containers: &dyn Containers) -> Check {
    let facts = parse_facts(&containers.run(&Container::new(&["facts"]), &[])?)?;
    // The kernel's own tunnels appear in every namespace where their modules are loaded.
    let tunnels = ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];
    let others: Vec<String> =
        facts.interfaces.into_iter().filter(|i| i != "lo" && !tunnels.contains(&i.as_str())).collect();
    ensure!(others.is_empty(), "besides lo there is {}", others.join(", "));
    Ok(())
}

/// Checks whether a container fetches the text that a server on the host serves at this address; `exec` runs the probe.
pub(super) fn reaches_the_host(host: Ipv4Addr, exec: impl FnOnce(&[&str]) -> Result<ContainerOutput, Stop>) -> Check {
    let listener = TcpListener::bind((host, 0)).doing("listening on the host's side")?;
    let port = listener.local_addr().doing("listening on the host's side")?.port();
    let server = std::thread::spawn(move || {
        let _ = listener.set_nonblocking(true);
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.write_all(b"from the host");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let fetched = exec(&["fetch", &host.to_string(), &port.to_string()])?;
    drop(server);
    ensure!(fetched.text() == "from the host", "fetching from the host: {}", fetched.summary());
    Ok(())
}

/// Connects until the server is up, and reads until it closes.
pub(super) fn converse(address: &str, port: u16) -> Result<String, Stop> {
    let end = Instant::now() + Duration::from_secs(30);
    let target = format!("{address}:{port}");
    loop {
        let parsed = target.parse().map_err(|e| Stop::error(format!("{target}: {e}")))?;
        match TcpStream::connect_timeout(&parsed, Duration::from_secs(5)) {
            Ok(mut stream) => {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                let mut text = String::new();
                stream.read_to_string(&mut text).doing(format!("reading from {target}"))?;
                return Ok(text);
            }
            Err(e) if Instant::now() > end => return Err(Stop::fail(format!("connecting to {target}: {e}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
