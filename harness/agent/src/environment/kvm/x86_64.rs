//! A vCPU on x86_64.

use super::failed;
use super::machine::{Machine, run};
use kvm_ioctls::VcpuExit;
use suites::environment::{VcpuError, VcpuExit as Exit, VcpuRun};

/// Address of the program in the machine's memory.
const START: u64 = 0x1000;
/// `mov $0x2a, %al; out %al, $0xe9; hlt` in real mode.
const PROGRAM: [u8; 5] = [0xb0, 0x2a, 0xe6, 0xe9, 0xf4];

/// Runs a program of three instructions on a machine of its own.
///
/// # Errors
/// The failed KVM call, and the reason.
pub fn run_a_vcpu() -> Result<VcpuRun, VcpuError> {
    let machine = Machine::with(&PROGRAM, START)?;
    let mut vcpu = machine.vm.create_vcpu(0).map_err(failed("KVM_CREATE_VCPU"))?;
    let mut special = vcpu.get_sregs().map_err(failed("KVM_GET_SREGS"))?;
    (special.cs.base, special.cs.selector) = (0, 0);
    vcpu.set_sregs(&special).map_err(failed("KVM_SET_SREGS"))?;
    let mut registers = vcpu.get_regs().map_err(failed("KVM_GET_REGS"))?;
    (registers.rip, registers.rflags) = (START, 2);
    vcpu.set_regs(&registers).map_err(failed("KVM_SET_REGS"))?;
    let exits = run(&mut vcpu, |exit| match exit {
        VcpuExit::IoOut(0xe9, data) => Exit::Wrote(data.first().copied().unwrap_or(0)),
        VcpuExit::Hlt => Exit::Halted,
        other => Exit::Other(format!("{other:?}")),
    })?;
    Ok(VcpuRun { api: machine.api, exits })
}
