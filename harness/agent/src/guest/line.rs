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
    let Some(asked) = Asked::of(&command_line) else { return Ok(None) };
    for name in &asked.modules {
        // Firecracker passes its devices by parameters of virtio_mmio.
        modules::load_with_parameters(name, &command_line)?;
    }
    let listener = vsock::listen_on(asked.port)?;
    vsock::accept(&listener).map(Some)
}

/// Request on the command line.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    port: u32,
    modules: Vec<String>,
}

impl Asked {
    fn of(command_line: &str) -> Option<Asked> {
        let value = |key: &str| command_line.split_whitespace().find_map(|word| word.strip_prefix(key));
        let port = value(LINE)?.parse().ok()?;
        let modules = value(LOAD).unwrap_or_default().split(',').filter(|name| !name.is_empty());
        Some(Asked { port, modules: modules.map(str::to_owned).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_modules_are_read_from_the_command_line() {
        let asked = Asked::of("quiet kata_qualify.vsock=19281 kata_qualify.load=vsock,vmw_vsock_virtio_transport\n");
        let modules = ["vsock", "vmw_vsock_virtio_transport"].map(str::to_owned).to_vec();
        assert_eq!(asked, Some(Asked { port: 19281, modules }));
        let nothing = Asked::of("kata_qualify.load= kata_qualify.vsock=1");
        assert_eq!(nothing, Some(Asked { port: 1, modules: Vec::new() }));
        assert_eq!(Asked::of("console=hvc0 panic=1"), None);
    }
}
