//! Control groups that systemd makes for pods: a scope each, below a slice of the instance's.

use operator::process::Invocation;
use std::path::Path;
use std::time::Duration;

/// runc's handler that has systemd make control groups: by the group's name alone it would make one of that name itself.
pub(super) const RUNC: &str = "runc-systemd";

/// The slice of an instance's pods. It is at the root: a hyphen in its name would put it below another one.
pub(super) fn slice(name: &str) -> String {
    format!("{name}.slice")
}

/// Whether systemd runs the environment (sd_booted(3)), and its bus is there, by which runtime-rs speaks with it
/// (`src/systemd/dbus/proxy.rs` of cgroups-rs 0.5.1).
pub(super) fn is_there() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/run/dbus/system_bus_socket").exists()
}

/// Ends the slice of an instance; systemd keeps one that is empty.
pub(super) fn end(name: &str) {
    if is_there() {
        let _ = Invocation::new(Path::new("systemctl"), &["stop", &slice(name)]).run(Duration::from_secs(30), None);
    }
}
