//! Architectures by Kata's names.

use serde::{Deserialize, Serialize};

/// An architecture that Kata supports, by Kata's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Arch {
    /// 64-bit Intel and AMD.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// Little-endian POWER.
    #[serde(rename = "ppc64le")]
    Ppc64le,
    /// IBM Z.
    #[serde(rename = "s390x")]
    S390x,
}

impl Arch {
    /// All of them.
    pub const ALL: &'static [Arch] = &[Arch::X86_64, Arch::Aarch64, Arch::Ppc64le, Arch::S390x];

    /// This machine's own; none where Kata does not support it.
    pub fn of_machine() -> Option<Arch> {
        of_target(std::env::consts::ARCH, cfg!(target_endian = "little"))
    }

    /// Kata's name.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Ppc64le => "ppc64le",
            Arch::S390x => "s390x",
        }
    }

    /// Debian's and Ubuntu's name (`dpkg --print-architecture`).
    pub fn debian_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
            Arch::Ppc64le => "ppc64el",
            Arch::S390x => "s390x",
        }
    }

    /// The name in OCI images, which is Go's.
    pub fn oci_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
            Arch::Ppc64le => "ppc64le",
            Arch::S390x => "s390x",
        }
    }

    /// What the ELF header of its programs says: whether they are little-endian, and `e_machine` (`linux/elf-em.h`).
    pub fn elf(self) -> (bool, u16) {
        match self {
            Arch::X86_64 => (true, 62),
            Arch::Aarch64 => (true, 183),
            Arch::Ppc64le => (true, 21),
            Arch::S390x => (false, 22),
        }
    }
}

/// That of a program which Rust calls `name`: POWER's name is the same in both byte orders, of which Kata supports one.
fn of_target(name: &str, little_endian: bool) -> Option<Arch> {
    match (name, little_endian) {
        ("powerpc64", true) => Some(Arch::Ppc64le),
        (name, _) => Arch::ALL.iter().copied().find(|arch| arch.name() == name),
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_is_told_by_rusts_names() {
        assert_eq!(of_target("x86_64", true), Some(Arch::X86_64));
        assert_eq!(of_target("s390x", false), Some(Arch::S390x));
        assert_eq!(of_target("powerpc64", true), Some(Arch::Ppc64le), "Rust does not call it ppc64le");
        assert_eq!(of_target("powerpc64", false), None, "Kata has no big-endian POWER");
        assert_eq!(of_target("riscv64", true), None);
    }
}
