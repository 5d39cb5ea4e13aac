//! The modules of the release's kernel that Kata's host needs.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::row::{Row, row};
use std::path::Path;
use std::time::Duration;

const SOURCE: &str = include_str!("modules.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(vhost_modules_load), &[Capability::HostVhost, Capability::KernelHost], Kernel),
    row!(Environment(tun_loads), &[Capability::HostNetwork, Capability::KernelHost], Kernel),
    row!(Environment(traffic_control_modules_load), &[Capability::HostNetwork, Capability::KernelHost], Kernel),
    row!(Environment(host_modules_come_from_the_running_kernels_package), &[Capability::KernelHost], Kernel).guards(),
];

/// `vhost`, `vhost_net` and `vhost_vsock` load.
///
/// Kata hands QEMU descriptors of /dev/vhost-vsock (the channel of its agent) and /dev/vhost-net; `kata-runtime check`
/// asks for all three (src/runtime/cmd/kata-runtime/kata-check_amd64.go@3.29.0).
fn vhost_modules_load(env: &dyn EnvironmentSide) -> Check {
    load(env, &["vhost", "vhost_net", "vhost_vsock"])
}

/// `tun` loads.
///
/// Kata makes a tap device for each network interface of a guest. That is `createLink` in
/// src/runtime/virtcontainers/network_linux.go@4.1.0.
fn tun_loads(env: &dyn EnvironmentSide) -> Check {
    load(env, &["tun"])
}

/// `sch_ingress`, `cls_u32` and `act_mirred` load.
///
/// Kata's default network model, `tcfilter`, redirects between a pod's interface and the tap with an ingress queueing
/// discipline, a u32 match and a mirred action (src/runtime/virtcontainers/network_linux.go@3.29.0).
fn traffic_control_modules_load(env: &dyn EnvironmentSide) -> Check {
    load(env, &["sch_ingress", "cls_u32", "act_mirred"])
}

/// The running kernel is the release's package, and each module of Kata's host is in that kernel's own directory.
///
/// A module from another package or for another kernel would say nothing about the release.
fn host_modules_come_from_the_running_kernels_package(env: &dyn EnvironmentSide) -> Check {
    let running = env.read("/proc/sys/kernel/osrelease")?;
    let (running, packaged) = (running.trim(), env.claims().kernel.as_str());
    ensure!(running == packaged, "the release's newest packaged kernel is {packaged}, running is {running}");
    let mut foreign = Vec::new();
    for module in ["kvm", "vhost", "vhost_net", "vhost_vsock", "tun", "sch_ingress", "cls_u32", "act_mirred"] {
        let output = env.run(&["modinfo", "-F", "filename", module], Duration::from_secs(20))?;
        let file = output.stdout.trim();
        let own = ["/lib/modules/", "/usr/lib/modules/"].map(|folder| format!("{folder}{running}/"));
        let builtin = file == "(builtin)" || file.starts_with("name:");
        if !output.ok() || !(builtin || own.iter().any(|folder| file.starts_with(folder.as_str()))) {
            foreign.push(format!("{module}: {}", if output.ok() { file.to_owned() } else { output.tail() }));
        }
    }
    ensure!(foreign.is_empty(), "modules that are not the running kernel's: {}", foreign.join("; "));
    Ok(())
}

/// Checks whether the kernel has a module now: loaded, or built in with parameters.
pub(super) fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// Loads modules as `kata-runtime check` does: skips those in /sys/module and calls `modprobe` for the rest.
pub(super) fn load(env: &dyn EnvironmentSide, modules: &[&str]) -> Check {
    let mut missing = Vec::new();
    for module in modules.iter().filter(|module| !is_loaded(module)) {
        let output = env.run(&["modprobe", "--", module], Duration::from_secs(30))?;
        if !output.ok() {
            missing.push(format!("{module} ({})", output.tail()));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Stop::skip(format!(
            "the environment lacks root, and so modprobe cannot load {}",
            missing.join(", ")
        )));
    }
    Err(Stop::fail(format!("the kernel does not load {}", missing.join(", "))))
}
