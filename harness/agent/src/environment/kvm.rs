//! One vCPU of KVM's, run for a moment: it shows that KVM works, which /dev/kvm alone does not.
//!
//! On POWER and IBM Z the machine and its vCPU are made, and no program is run: nobody has written one.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod machine;
#[cfg_attr(target_arch = "x86_64", path = "kvm/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "kvm/aarch64.rs")]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), path = "kvm/others.rs")]
mod vcpu;

use std::io;
use suites::environment::VcpuError;
pub use vcpu::run_a_vcpu;

/// Whether the program runs to its end, where there is one.
///
/// # Errors
/// As [`run_a_vcpu`], or what the vCPU did instead.
pub fn works() -> Result<(), VcpuError> {
    let run = run_a_vcpu()?;
    let is_fine = run.has_halted() || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64")));
    is_fine.then_some(()).ok_or_else(|| VcpuError::Unfinished(run.seen()))
}

/// Why a call of KVM's failed.
fn failed<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> VcpuError {
    move |e| VcpuError::Call { call, source: e.into() }
}
