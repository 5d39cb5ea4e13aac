//! The rules of Kata's own checks of a host, applied here whether or not Kata is installed.

use super::kvm::Cpu;
use super::modules::{is_loaded, load};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::outcome::Component;
use crate::row::{Row, row};
use model::arch::Arch;

const SOURCE: &str = include_str!("check.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(rules_of_kata_runtime_check_hold), &[Capability::HostCheck], Kernel)
        .blocked_by(&["host::cpu_can_virtualize"]),
    row!(Environment(rules_of_kata_ctl_check_hold), &[Capability::HostCheck], Kernel)
        .blocked_by(&["host::cpu_can_virtualize"]),
];

/// The requirements of `kata-runtime check` are met: CPU flags, `kvm`, the module of the CPU's vendor, on x86_64 and
/// Arm `vhost` and `vhost_net`, and a machine that KVM creates.
///
/// For the Go runtime's check (src/runtime/cmd/kata-runtime/kata-check.go@3.29.0, and the file of each architecture
/// beside it) a missing `vhost_vsock` is a warning only, which is noted.
fn rules_of_kata_runtime_check_hold(env: &dyn EnvironmentSide) -> Check {
    let cpu = Cpu::of(env)?;
    let required = cpu.virtualization().ok_or_else(|| Stop::skip("the environment's processor is unknown to Kata"))?;
    let missing: Vec<&str> = required.flags.iter().copied().filter(|f| !cpu.has(f)).collect();
    ensure!(missing.is_empty(), "the CPU lacks {}", missing.join(", "));
    load(env, &[required.modules, required.vhost].concat())?;
    if load(env, &["vhost_vsock"]).is_err() {
        env.note("kata-runtime check would warn: vhost_vsock is missing".to_owned());
    }
    env.run_a_vcpu().map(drop).map_err(|e| Stop::fail(format!("kata-runtime check makes a machine of KVM's: {e}")))
}

/// The requirements of `kata-ctl check` are met: KVM's API has version 12, KVM creates a machine, and the parameters of
/// loaded modules that it reads exist and are `Y`.
///
/// kata-ctl (src/tools/kata-ctl/src/arch/x86_64/mod.rs@4.0.0) wants `kvm.kvmclock_periodic_sync=Y`, and on Intel
/// `kvm_intel.unrestricted_guest=Y` unless it runs in a virtual machine itself; a missing module is a warning. Kata
/// takes it for granted that the kernel has the parameter at all, which no kernel promises: a missing parameter
/// blames Kata, and a parameter with another value the kernel.
fn rules_of_kata_ctl_check_hold(env: &dyn EnvironmentSide) -> Check {
    let run = env.run_a_vcpu().map_err(|e| Stop::fail(format!("kata-ctl check makes a machine of KVM's: {e}")))?;
    ensure!(run.api == 12, "KVM's API has version {}, kata-ctl wants 12", run.api);
    let cpu = Cpu::of(env)?;
    let (mut wrong, mut absent) = (Vec::new(), Vec::new());
    let mut parameters = Vec::new();
    // The check requires no parameter on other architectures (their `mod.rs`).
    if env.claims().release.arch == Arch::X86_64 {
        parameters.push(("kvm", "kvmclock_periodic_sync"));
        if !cpu.has("hypervisor") {
            parameters.push(("kvm_intel", "unrestricted_guest"));
        }
    }
    for (module, parameter) in parameters.into_iter().filter(|(module, _)| is_loaded(module)) {
        let value = env.read(&format!("/sys/module/{module}/parameters/{parameter}"));
        match value.as_deref().map(str::trim) {
            Ok("Y") => {}
            Ok(other) => wrong.push(format!("{module}.{parameter} is {other}")),
            Err(_) => absent.push(format!("{module} has no parameter {parameter}")),
        }
    }
    parameters_are_right(&wrong, &absent)?;
    for module in ["vhost", "vhost_net", "vhost_vsock"].into_iter().filter(|module| !is_loaded(module)) {
        env.note(format!("kata-ctl check would warn: {module} is not loaded"));
    }
    for tool in ["/sbin/modinfo", "/sbin/modprobe"].into_iter().filter(|tool| !std::path::Path::new(tool).exists()) {
        env.note(format!("kata-ctl check wants {tool}, which is not there"));
    }
    Ok(())
}

/// Blames the kernel for parameters with another value; if parameters are only missing, Kata is at fault.
fn parameters_are_right(wrong: &[String], absent: &[String]) -> Check {
    let all = [wrong, absent].concat();
    let component = if wrong.is_empty() { Component::Kata } else { Component::Kernel };
    match all.is_empty() {
        true => Ok(()),
        false => Err(Stop::blame(component, format!("kata-ctl wants Y: {}", all.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_kvm_parameter_blames_kata_and_a_wrong_one_the_kernel() {
        let [none, clock] = ["", "kvm has no parameter kvmclock_periodic_sync"].map(str::to_owned);
        let guest = "kvm_intel.unrestricted_guest is N".to_owned();
        let list = |text: &String| if *text == none { Vec::new() } else { vec![text.clone()] };
        for (wrong, absent, expected) in [
            (&none, &none, Ok(())),
            (&none, &clock, Err(Stop::blame(Component::Kata, format!("kata-ctl wants Y: {clock}")))),
            (&guest, &none, Err(Stop::blame(Component::Kernel, format!("kata-ctl wants Y: {guest}")))),
            (&guest, &clock, Err(Stop::blame(Component::Kernel, format!("kata-ctl wants Y: {guest}, {clock}")))),
        ] {
            assert_eq!(parameters_are_right(&list(wrong), &list(absent)), expected);
        }
    }
}
