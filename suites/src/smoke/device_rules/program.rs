//! A program in eBPF that decides about devices (`BPF_PROG_TYPE_CGROUP_DEVICE`, linux/bpf.h).
#![expect(unsafe_code, reason = "bpf(2) has no safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Commands of bpf(2).
const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
/// The type of such a program, and what it is attached as.
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u8,
    /// The register that is written in the lower half, the one that is read in the upper.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn instruction(code: u8, registers: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers, offset, value }
}

/// Reads a word of what the program is given (`struct bpf_cgroup_dev_ctx`, which register 1 points to).
const fn read(register: u8, at: i16) -> Instruction {
    instruction(0x61, register | (1 << 4), at, 0)
}

/// Writes a number to a register.
const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb7, register, 0, value)
}

const fn and(register: u8, value: i32) -> Instruction {
    instruction(0x57, register, 0, value)
}

const fn shift_right(register: u8, bits: i32) -> Instruction {
    instruction(0x77, register, 0, bits)
}

/// Leaves out so many instructions where a register has that value.
const fn skip_if(register: u8, value: i32, count: i16) -> Instruction {
    instruction(0x15, register, count, value)
}

/// The same where it has another one.
const fn skip_unless(register: u8, value: i32, count: i16) -> Instruction {
    instruction(0x55, register, count, value)
}

/// Ends with what register 0 says: 1 allows.
const END: Instruction = instruction(0x95, 0, 0, 0);

/// Character devices, by `BPF_DEVCG_DEV_CHAR`.
const CHARACTER: i32 = 2;
/// `BPF_DEVCG_ACC_MKNOD` and `BPF_DEVCG_ACC_WRITE`.
const MAKE_OR_WRITE: i32 = 1 | 4;

/// All is allowed with /dev/null (1:3), reading alone with /dev/zero (1:5), nothing else.
pub(super) const RULES: [Instruction; 15] = [
    // What is done with which kind of device, and its two numbers.
    read(2, 0),
    read(3, 4),
    read(4, 8),
    read(5, 0),
    and(2, 0xffff),
    shift_right(5, 16),
    set(0, 0),
    skip_unless(2, CHARACTER, 6),
    skip_unless(3, 1, 5),
    skip_if(4, 3, 3),
    skip_unless(4, 5, 3),
    and(5, MAKE_OR_WRITE),
    skip_unless(5, 0, 1),
    set(0, 1),
    END,
];

/// Everything is allowed.
#[cfg(test)]
pub(super) const NO_RULES: [Instruction; 2] = [set(0, 1), END];

/// A program that the kernel has taken; once it is attached it lives as long as the group.
pub(super) struct Program(OwnedFd);

/// What bpf(2) is told of a program, as far as it is told (`union bpf_attr`).
#[repr(C)]
struct Loading {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 3],
}

/// The same of an attachment.
#[repr(C)]
struct Attaching {
    group: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

impl Program {
    /// Has the kernel check and take a program.
    ///
    /// # Errors
    /// What the kernel says: a kernel without such programs does not know the call, or the type.
    pub(super) fn load(instructions: &[Instruction]) -> io::Result<Program> {
        let loading = Loading {
            kind: CGROUP_DEVICE_PROGRAM,
            count: instructions.len() as u32,
            instructions: instructions.as_ptr().expose_provenance() as u64,
            license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
            log: [0; 3],
        };
        // SAFETY: the structure and what it points to live until the call returns, and have the sizes that are told.
        let answer = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const loading, size_of::<Loading>()) };
        let Some(descriptor) = i32::try_from(answer).ok().filter(|number| *number >= 0) else {
            return Err(io::Error::last_os_error());
        };
        // SAFETY: the kernel has just made it for this caller.
        Ok(Program(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Has the kernel ask it about each device that a process of a group opens or makes.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn attach(&self, group: &File) -> io::Result<()> {
        let attaching = Attaching {
            group: group.as_raw_fd().unsigned_abs(),
            program: self.0.as_raw_fd().unsigned_abs(),
            kind: CGROUP_DEVICE,
            flags: 0,
        };
        // SAFETY: the structure lives until the call returns, and has the size that is told.
        match unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const attaching, size_of::<Attaching>()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
