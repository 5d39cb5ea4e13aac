//! A KVM machine with a vCPU, by the calls that are the same on every processor.

use super::failed;
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use std::ffi::c_void;
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd};
use suites::environment::{VcpuError, VcpuRun};

/// `KVMIO` of linux/kvm.h.
const GROUP: u8 = 0xae;
const GET_API_VERSION: u8 = 0x00;
const CREATE_VM: u8 = 0x01;
const CREATE_VCPU: u8 = 0x41;

/// Makes a machine and a vCPU, but runs nothing, so that there are no exits.
///
/// # Errors
/// The failed KVM call, and the reason.
pub fn run_a_vcpu() -> Result<VcpuRun, VcpuError> {
    let kvm = rustix::fs::open("/dev/kvm", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let kvm = kvm.map_err(failed("opening /dev/kvm"))?;
    let api = call(&kvm, GET_API_VERSION).map_err(failed("KVM_GET_API_VERSION"))?;
    let vm = descriptor(&kvm, CREATE_VM).map_err(failed("KVM_CREATE_VM"))?;
    descriptor(&vm, CREATE_VCPU).map_err(failed("KVM_CREATE_VCPU"))?;
    Ok(VcpuRun { api, exits: Vec::new() })
}

/// A call with the argument 0: the default kind of machine, the first vCPU.
struct Call(u8);

#[expect(unsafe_code, reason = "KVM's calls return numbers, for which there is no safe interface")]
// SAFETY: these calls take a number and no pointer, and return one.
unsafe impl Ioctl for Call {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::none(GROUP, self.0)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<IoctlOutput> {
        Ok(out)
    }
}

#[expect(unsafe_code, reason = "KVM's calls return numbers, for which there is no safe interface")]
fn call(of: impl AsFd, number: u8) -> rustix::io::Result<i32> {
    // SAFETY: the call takes no pointer.
    unsafe { rustix::ioctl::ioctl(of, Call(number)) }
}

#[expect(unsafe_code, reason = "KVM's calls return numbers, for which there is no safe interface")]
fn descriptor(of: impl AsFd, number: u8) -> rustix::io::Result<OwnedFd> {
    let number = call(of, number)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
