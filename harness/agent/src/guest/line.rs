//! What the harness asks of the guest's agent on the kernel's command line: modules to load before anything else, and
//! a vsock port as the line to a guest whose VMM offers no virtio-serial port.

use super::modules;
use std::fs::{self, File};
use std::io;
use suites::vsock;
use vmms::guest::{LINE, LOAD};

/// Loads the modules that the command line names, and opens the line by vsock if it names a port: waits for the harness
/// to connect.
///
/// # Errors
/// If a module cannot be loaded, or listening fails.
pub(super) fn by_vsock() -> io::Result<Option<File>> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let parameters = ConnectionParameters::of(&command_line);
    for name in &parameters.modules {
        // Firecracker passes its devices by parameters of virtio_mmio.
        modules::load_with_parameters(name, &command_line)?;
    }
    let Some(port) = parameters.port else { return Ok(None) };
    let listener = vsock::listen_on(port)?;
    vsock::accept(&listener).map(Some)
}

/// Request on the command line.
#[derive(Debug, PartialEq, Eq)]
struct ConnectionParameters {
    port: Option<u32>,
    modules: Vec<String>,
}

impl ConnectionParameters {
    fn of(command_line: &str) -> ConnectionParameters {
        let value = |key: &str| command_line.split_whitespace().find_map(|word| word.strip_prefix(key));
        let port = value(LINE).and_then(|port| port.parse().ok());
        let modules = value(LOAD).unwrap_or_default().split(',').filter(|name| !name.is_empty());
        ConnectionParameters { port, modules: modules.map(str::to_owned).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_modules_are_read_from_the_command_line() {
        let parameters = ConnectionParameters::of(
            "quiet kata_qualify.vsock=19281 kata_qualify.load=vsock,vmw_vsock_virtio_transport\n",
        );
        let modules = ["vsock", "vmw_vsock_virtio_transport"].map(str::to_owned).to_vec();
        assert_eq!(parameters, ConnectionParameters { port: Some(19281), modules });
        let nothing = ConnectionParameters::of("kata_qualify.load= kata_qualify.vsock=1");
        assert_eq!(nothing, ConnectionParameters { port: Some(1), modules: Vec::new() });
        let modules_alone = ConnectionParameters::of("console=hvc0 kata_qualify.load=virtio_mmio panic=1");
        assert_eq!(modules_alone, ConnectionParameters { port: None, modules: vec!["virtio_mmio".to_owned()] });
        assert_eq!(ConnectionParameters::of("console=hvc0"), ConnectionParameters { port: None, modules: Vec::new() });
    }
}
