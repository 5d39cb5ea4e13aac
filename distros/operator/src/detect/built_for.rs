//! Finds a system's architecture from the ELF header of its shell or another common program.

use model::arch::Arch;
use root::{Root, RootError};
use std::fmt;
use std::path::Path;

/// The architecture of a root's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltFor {
    /// An architecture that Kata supports.
    Kata(Arch),
    /// An architecture that Kata does not support: no record, package or verdict applies to the system.
    Foreign(ForeignArch),
    /// No program reveals it.
    Unknown,
}

impl BuiltFor {
    /// Returns the architecture, if Kata supports it.
    pub fn arch(self) -> Option<Arch> {
        match self {
            BuiltFor::Kata(arch) => Some(arch),
            BuiltFor::Foreign(_) | BuiltFor::Unknown => None,
        }
    }
}

/// An architecture that Kata does not support, as stated in an ELF header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignArch {
    is_32_bit: bool,
    is_little_endian: bool,
    /// `e_machine`.
    machine: u16,
}

impl fmt::Display for ForeignArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.is_32_bit { 32 } else { 64 };
        let order = if self.is_little_endian { "" } else { "big-endian " };
        // `linux/elf-em.h`.
        let name = match self.machine {
            3 | 62 => "x86",
            8 => "MIPS",
            20 | 21 => "POWER",
            22 => "IBM Z",
            40 | 183 => "Arm",
            243 => "RISC-V",
            258 => "LoongArch",
            other => return write!(f, "{bits}-bit {order}machine {other} of ELF"),
        };
        write!(f, "{bits}-bit {order}{name}")
    }
}

/// Programs of which most systems have at least one.
const PROGRAMS: [&str; 9] = [
    "/bin/sh",
    "/usr/bin/env",
    "/sbin/init",
    "/usr/bin/rpm",
    "/run/current-system/sw/bin/sh",
    "/usr/lib/systemd/systemd",
    "/usr/bin/dpkg",
    "/usr/bin/pacman",
    "/sbin/apk",
];

/// Returns the architecture of the root's first program in the list that is an ELF file.
///
/// # Errors
///
/// Fails if a program cannot be read and no other program is an ELF file.
pub fn built_for(root: &Root) -> Result<BuiltFor, RootError> {
    let mut unreadable = None;
    for program in PROGRAMS {
        match root.head(Path::new(program), 20) {
            Ok(header) => {
                if let Some(found) = of_header(&header) {
                    return Ok(found);
                }
            }
            Err(error) => unreadable = unreadable.or(Some(error).filter(RootError::is_unreadable)),
        }
    }
    unreadable.map_or(Ok(BuiltFor::Unknown), Err)
}

/// Returns the architecture from the first bytes of an ELF file.
fn of_header(header: &[u8]) -> Option<BuiltFor> {
    let [0x7f, b'E', b'L', b'F', class, data, .., first, second] = <[u8; 20]>::try_from(header).ok()? else {
        return None;
    };
    // e_ident[EI_CLASS]: 1 for 32 bits, 2 for 64 bits.
    let is_32_bit = match class {
        1 => true,
        2 => false,
        _ => return None,
    };
    // e_ident[EI_DATA]: 1 is little-endian, 2 big-endian.
    let (is_little_endian, machine) = match data {
        1 => (true, u16::from_le_bytes([first, second])),
        2 => (false, u16::from_be_bytes([first, second])),
        _ => return None,
    };
    let is_it = |arch: &Arch| !is_32_bit && arch.elf() == (is_little_endian, machine);
    let foreign = || BuiltFor::Foreign(ForeignArch { is_32_bit, is_little_endian, machine });
    Some(Arch::ALL.iter().copied().find(is_it).map_or_else(foreign, BuiltFor::Kata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_read_from_a_programs_header() {
        if let Some(here) = Arch::of_machine() {
            assert_eq!(built_for(&Root::default()).unwrap(), BuiltFor::Kata(here));
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let root = Root::new(dir.path()).unwrap();
        assert_eq!(built_for(&root).unwrap(), BuiltFor::Unknown);
        for (class, data, machine, expected) in [
            (2, 1, [62, 0], "x86_64"),
            (2, 1, [183, 0], "aarch64"),
            (2, 1, [21, 0], "ppc64le"),
            (2, 2, [0, 22], "s390x"),
            (2, 2, [0, 21], "64-bit big-endian POWER"),
            (2, 1, [243, 0], "64-bit RISC-V"),
            (1, 1, [3, 0], "32-bit x86"),
            // x32.
            (1, 1, [62, 0], "32-bit x86"),
            (1, 1, [40, 0], "32-bit Arm"),
            (2, 1, [2, 1], "64-bit LoongArch"),
            (2, 1, [9, 9], "64-bit machine 2313 of ELF"),
            // Invalid values of EI_DATA and EI_CLASS.
            (2, 3, [62, 0], "unknown"),
            (0, 1, [62, 0], "unknown"),
        ] {
            let mut header = vec![0x7f, b'E', b'L', b'F', class, data, 1, 0];
            header.resize(18, 0);
            header.extend(machine);
            std::fs::write(dir.path().join("bin/sh"), &header).unwrap();
            let found = match built_for(&root).unwrap() {
                BuiltFor::Kata(arch) => arch.to_string(),
                BuiltFor::Foreign(foreign) => foreign.to_string(),
                BuiltFor::Unknown => "unknown".to_owned(),
            };
            assert_eq!(found, expected);
            // A truncated file.
            std::fs::write(dir.path().join("bin/sh"), &header[..19]).unwrap();
            assert_eq!(built_for(&root).unwrap(), BuiltFor::Unknown);
        }
        std::fs::write(dir.path().join("bin/sh"), "#!/bin/x").unwrap();
        assert_eq!(built_for(&root).unwrap(), BuiltFor::Unknown);
    }
}
