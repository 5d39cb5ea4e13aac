//! A vCPU on Arm.

use super::failed;
use super::machine::{Machine, run};
use kvm_bindings::{KVM_ARM_VCPU_PSCI_0_2, KVM_SYSTEM_EVENT_SHUTDOWN, kvm_vcpu_init};
use kvm_ioctls::VcpuExit;
use suites::environment::{VcpuError, VcpuExit as Exit, VcpuRun};

/// Address of the program in the machine's memory.
const START: u64 = 0x1_0000;
/// `KVM_REG_ARM_CORE_REG(regs.pc)` of asm/kvm.h.
const PROGRAM_COUNTER: u64 = 0x6030_0000_0010_0040;
/// `mov w0, #0x2a; strb w0, [x1]`, where x1 is 0, an address without memory; then PSCI's SYSTEM_OFF:
/// `mov w0, #0x84000008; hvc #0`.
const PROGRAM: [u32; 5] = [0x5280_0540, 0x3900_0020, 0x52b0_8000, 0x7280_0100, 0xd400_0002];

/// Runs a program of five instructions on a machine of its own.
///
/// # Errors
/// The failed KVM call, and the reason.
pub fn run_a_vcpu() -> Result<VcpuRun, VcpuError> {
    let program: Vec<u8> = PROGRAM.into_iter().flat_map(u32::to_le_bytes).collect();
    let machine = Machine::with(&program, START)?;
    let mut vcpu = machine.vm.create_vcpu(0).map_err(failed("KVM_CREATE_VCPU"))?;
    let mut target = kvm_vcpu_init::default();
    machine.vm.get_preferred_target(&mut target).map_err(failed("KVM_ARM_PREFERRED_TARGET"))?;
    target.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
    vcpu.vcpu_init(&target).map_err(failed("KVM_ARM_VCPU_INIT"))?;
    vcpu.set_one_reg(PROGRAM_COUNTER, &START.to_le_bytes()).map_err(failed("KVM_SET_ONE_REG"))?;
    let exits = run(&mut vcpu, |exit| match exit {
        VcpuExit::MmioWrite(0, data) => Exit::Wrote(data.first().copied().unwrap_or(0)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => Exit::Halted,
        other => Exit::Other(format!("{other:?}")),
    })?;
    Ok(VcpuRun { api: machine.api, exits })
}
