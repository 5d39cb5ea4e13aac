//! One vCPU of KVM's, run for a moment: it shows that KVM works, which /dev/kvm alone does not.

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};
use std::io;
use suites::environment::{VcpuError, VcpuExit as Exit, VcpuRun};

/// Where the program lies in the machine's memory.
const START: u64 = 0x1000;
/// `mov $0x2a, %al; out %al, $0xe9; hlt` in real mode.
const PROGRAM: [u8; 5] = [0xb0, 0x2a, 0xe6, 0xe9, 0xf4];

/// Runs a program of three instructions on a machine of its own.
///
/// # Errors
/// The name of KVM's call that failed, and why.
pub fn run_a_vcpu() -> Result<VcpuRun, VcpuError> {
    let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
    let api = kvm.get_api_version();
    let vm = kvm.create_vm().map_err(failed("KVM_CREATE_VM"))?;
    let mut memory = Page::new().map_err(failed("making guest memory"))?;
    memory.put(&PROGRAM);
    let region = kvm_userspace_memory_region {
        slot: 0,
        guest_phys_addr: START,
        memory_size: Page::SIZE as u64,
        userspace_addr: memory.address(),
        flags: 0,
    };
    map(&vm, region).map_err(failed("KVM_SET_USER_MEMORY_REGION"))?;
    let mut vcpu = vm.create_vcpu(0).map_err(failed("KVM_CREATE_VCPU"))?;
    let mut special = vcpu.get_sregs().map_err(failed("KVM_GET_SREGS"))?;
    (special.cs.base, special.cs.selector) = (0, 0);
    vcpu.set_sregs(&special).map_err(failed("KVM_SET_SREGS"))?;
    let mut registers = vcpu.get_regs().map_err(failed("KVM_GET_REGS"))?;
    (registers.rip, registers.rflags) = (START, 2);
    vcpu.set_regs(&registers).map_err(failed("KVM_SET_REGS"))?;
    let mut exits = Vec::new();
    // Two are expected; a processor that exits for something else is not asked forever.
    for _ in 0..8 {
        match vcpu.run().map_err(failed("KVM_RUN"))? {
            VcpuExit::IoOut(0xe9, data) => exits.push(Exit::Wrote(data.first().copied().unwrap_or(0))),
            VcpuExit::Hlt => {
                exits.push(Exit::Halted);
                break;
            }
            other => {
                exits.push(Exit::Other(format!("{other:?}")));
                break;
            }
        }
    }
    Ok(VcpuRun { api, exits })
}

/// Whether the program runs to its end.
///
/// # Errors
/// As [`run_a_vcpu`], or what the vCPU did instead.
pub fn works() -> Result<(), VcpuError> {
    let run = run_a_vcpu()?;
    run.has_halted().then_some(()).ok_or_else(|| VcpuError::Unfinished(run.seen()))
}

fn failed<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> VcpuError {
    move |e| VcpuError::Call { call, source: e.into() }
}

/// One page of anonymous memory.
struct Page(*mut u8);

#[expect(unsafe_code, reason = "a guest's memory is a mapping that KVM is told the address of")]
impl Page {
    const SIZE: usize = 4096;

    fn new() -> io::Result<Page> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        // SAFETY: a new private mapping at an address of the kernel's choice touches no other memory.
        let address = unsafe {
            mmap_anonymous(std::ptr::null_mut(), Page::SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        Ok(Page(address.cast()))
    }

    fn put(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= Page::SIZE, "a program is at most a page");
        // SAFETY: the mapping is at least as large as `bytes`, writable, and nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len()) }
    }

    fn address(&self) -> u64 {
        self.0 as u64
    }
}

#[expect(unsafe_code, reason = "a guest's memory is a mapping that KVM is told the address of")]
impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size and is used by nobody after this.
        let _ = unsafe { rustix::mm::munmap(self.0.cast(), Page::SIZE) };
    }
}

#[expect(unsafe_code, reason = "a guest's memory is a mapping that KVM is told the address of")]
fn map(vm: &kvm_ioctls::VmFd, region: kvm_userspace_memory_region) -> Result<(), kvm_ioctls::Error> {
    // SAFETY: the region is a whole mapping of this process, which outlives the machine.
    unsafe { vm.set_user_memory_region(region) }
}
