//! The harness's line to a guest whose VMM offers no virtio-serial port: a vsock port, named on the kernel's command
//! line.

use super::modules;
use std::fs::{self, File};
use std::io;
use suites::vsock;
use vmms::guest::{LINE, LOAD};

/// Opens the line by vsock, if the command line requests it: loads the needed modules, and waits for the harness to
/// connect.
///
/// # Errors
/// If a module cannot be loaded, or listening fails.
pub(super) fn by_vsock() -> io::Result<Option<File>> {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let Some(parameters) = ConnectionParameters::of(&command_line) else { return Ok(None) };
    for name in &parameters.modules {
        // Firecracker passes its devices by parameters of virtio_mmio.
        modules::load_with_parameters(name, &command_line)?;
    }
    let listener = vsock::listen_on(parameters.port)?;
    vsock::accept(&listener).map(Some)
}

/// Request on the command line.
#[derive(Debug, PartialEq, Eq)]
struct ConnectionParameters {
    port: u32,
    modules: Vec<String>,
}

impl ConnectionParameters {
    fn of(command_line: &str) -> Option<ConnectionParameters> {
        let value = |key: &str| command_line.split_whitespace().find_map(|word| word.strip_prefix(key));
        let port = value(LINE)?.parse().ok()?;
        let modules = value(LOAD).unwrap_or_default().split(',').filter(|name| !name.is_empty());
        Some(ConnectionParameters { port, modules: modules.map(str::to_owned).collect() })
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
        assert_eq!(parameters, Some(ConnectionParameters { port: 19281, modules }));
        let nothing = ConnectionParameters::of("kata_qualify.load= kata_qualify.vsock=1");
        assert_eq!(nothing, Some(ConnectionParameters { port: 1, modules: Vec::new() }));
        assert_eq!(ConnectionParameters::of("console=hvc0 panic=1"), None);
    }
}
