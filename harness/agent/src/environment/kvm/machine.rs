//! A machine with a program in its memory, and how to run it; common to all processors with such a program.

use super::failed;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::io;
use suites::environment::{VcpuError, VcpuExit as Exit};

/// A KVM machine; its vCPU must be dropped before it.
pub(super) struct Machine {
    /// KVM_GET_API_VERSION.
    pub(super) api: i32,
    pub(super) vm: VmFd,
    // Fields are dropped in order: the memory after the machine that uses it.
    _memory: Memory,
}

impl Machine {
    /// Makes a machine with memory at this address, and the program at its beginning.
    ///
    /// # Errors
    /// The failed call, and the reason.
    pub(super) fn with(program: &[u8], start: u64) -> Result<Machine, VcpuError> {
        let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
        let api = kvm.get_api_version();
        let vm = kvm.create_vm().map_err(failed("KVM_CREATE_VM"))?;
        let memory = Memory::at(start, program, &vm)?;
        Ok(Machine { api, vm, _memory: memory })
    }
}

/// Runs a vCPU until it does something other than writing; `read` interprets an exit.
///
/// # Errors
/// The reason why KVM did not run it.
pub(super) fn run(vcpu: &mut VcpuFd, read: impl Fn(VcpuExit<'_>) -> Exit) -> Result<Vec<Exit>, VcpuError> {
    let mut exits = Vec::new();
    // Two exits are expected; other exits of a processor must not cause an endless loop.
    for _ in 0..8 {
        let exit = read(vcpu.run().map_err(failed("KVM_RUN"))?);
        let is_last = !matches!(exit, Exit::Wrote(_));
        exits.push(exit);
        if is_last {
            break;
        }
    }
    Ok(exits)
}

/// Anonymous memory.
struct Memory(*mut u8);

#[expect(unsafe_code, reason = "a guest's memory is a mapping that KVM is told the address of")]
impl Memory {
    /// At least one page, even with pages of 64 KiB.
    const SIZE: usize = 64 << 10;

    /// Gives a machine memory at this address, with the program at its beginning; the memory must outlive the machine.
    fn at(start: u64, program: &[u8], vm: &VmFd) -> Result<Memory, VcpuError> {
        let mut memory = Memory::new().map_err(failed("making guest memory"))?;
        memory.put(program);
        let region = kvm_userspace_memory_region {
            slot: 0,
            guest_phys_addr: start,
            memory_size: Memory::SIZE as u64,
            userspace_addr: memory.0 as u64,
            flags: 0,
        };
        // SAFETY: the region is a whole mapping of this process, which `Machine` keeps longer than the machine.
        unsafe { vm.set_user_memory_region(region) }.map_err(failed("KVM_SET_USER_MEMORY_REGION"))?;
        Ok(memory)
    }

    fn new() -> io::Result<Memory> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        // SAFETY: a new private mapping at an address of the kernel's choice touches no other memory.
        let address = unsafe {
            mmap_anonymous(std::ptr::null_mut(), Memory::SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        Ok(Memory(address.cast()))
    }

    fn put(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= Memory::SIZE, "a program is at most a page");
        // SAFETY: the mapping is at least as large as `bytes`, writable, and nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len()) }
    }
}

#[expect(unsafe_code, reason = "a guest's memory is a mapping that KVM is told the address of")]
impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size and is used by nobody after this.
        let _ = unsafe { rustix::mm::munmap(self.0.cast(), Memory::SIZE) };
    }
}
