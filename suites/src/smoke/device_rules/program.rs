//! An eBPF program that decides about accesses to devices (`BPF_PROG_TYPE_CGROUP_DEVICE`, linux/bpf.h).
#![expect(unsafe_code, reason = "bpf(2) has no safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Commands of bpf(2).
const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
/// The type of the program, and the type of its attachment.
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u8,
    /// The destination register in the lower half, the source register in the upper one.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn instruction(code: u8, registers: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers, offset, value }
}

/// Reads a word of the program's context (`struct bpf_cgroup_dev_ctx`, to which register 1 points).
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

/// Skips this many instructions if a register has this value.
const fn skip_if(register: u8, value: i32, count: i16) -> Instruction {
    instruction(0x15, register, count, value)
}

/// Skips this many instructions unless a register has this value.
const fn skip_unless(register: u8, value: i32, count: i16) -> Instruction {
    instruction(0x55, register, count, value)
}

/// Ends the program with the verdict in register 0: 1 allows.
const END: Instruction = instruction(0x95, 0, 0, 0);

/// Character devices, by `BPF_DEVCG_DEV_CHAR`.
const CHARACTER: i32 = 2;
/// `BPF_DEVCG_ACC_MKNOD` and `BPF_DEVCG_ACC_WRITE`.
const MAKE_OR_WRITE: i32 = 1 | 4;

/// Allows every access to /dev/null (1:3), only reading of /dev/zero (1:5), and nothing else.
pub(super) const RULES: [Instruction; 15] = [
    // The access and the device's type in one word, then the two numbers.
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

/// Allows everything.
#[cfg(test)]
pub(super) const NO_RULES: [Instruction; 2] = [set(0, 1), END];

/// A program that the kernel has accepted; once attached it lives as long as the group.
pub(super) struct Program(OwnedFd);

/// The beginning of `union bpf_attr` for loading a program.
#[repr(C)]
struct Loading {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 3],
}

/// The beginning of `union bpf_attr` for attaching a program.
#[repr(C)]
struct Attaching {
    group: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

impl Program {
    /// Makes the kernel check and accept a program.
    ///
    /// # Errors
    /// The kernel's error: a kernel without such programs does not know the call, or the type.
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

    /// Attaches the program, which the kernel then asks about each device that a process of the group opens or creates.
    ///
    /// # Errors
    /// The kernel's error.
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
