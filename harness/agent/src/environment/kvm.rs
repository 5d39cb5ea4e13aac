//! A vCPU of KVM, run for a moment: this shows that KVM works, which /dev/kvm alone does not.
//!
//! On POWER and IBM Z a machine and its vCPU are made, but no program is run, because none has been written.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod machine;
#[cfg_attr(target_arch = "x86_64", path = "kvm/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "kvm/aarch64.rs")]
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), path = "kvm/others.rs")]
mod vcpu;

use std::io;
use suites::environment::VcpuError;
pub use vcpu::run_a_vcpu;

/// Checks that the program, if there is one, runs to its end.
///
/// # Errors
/// As [`run_a_vcpu`], or the unexpected action of the vCPU.
pub fn works() -> Result<(), VcpuError> {
    let run = run_a_vcpu()?;
    let is_fine = run.has_halted() || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64")));
    is_fine.then_some(()).ok_or_else(|| VcpuError::Unfinished(run.seen()))
}

/// Returns a function that makes the error of a failed KVM call.
fn failed<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> VcpuError {
    move |e| VcpuError::Call { call, source: e.into() }
}
