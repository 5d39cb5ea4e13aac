//! Control groups that systemd makes for pods: a scope each, below a slice of the instance.

use operator::process::Invocation;
use std::path::Path;
use std::time::Duration;

/// runc's handler that lets systemd make control groups: without it, runc would make a group of that name itself.
pub(super) const RUNC: &str = "runc-systemd";

/// Returns the slice of an instance's pods. It is at the root, because a hyphen in its name would put it below another
/// slice.
pub(super) fn slice(name: &str) -> String {
    format!("{name}.slice")
}

/// Returns whether systemd runs the environment (sd_booted(3)), and its bus exists, which runtime-rs uses
/// (`src/systemd/dbus/proxy.rs` of cgroups-rs 0.5.1).
pub(super) fn is_there() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/run/dbus/system_bus_socket").exists()
}

/// Ends the slice of an instance, because systemd keeps an empty one.
pub(super) fn end(name: &str) {
    if is_there() {
        let _ = Invocation::new(Path::new("systemctl"), &["stop", &slice(name)]).run(Duration::from_secs(30), None);
    }
}
