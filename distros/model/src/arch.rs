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
    /// All architectures.
    pub const ALL: &'static [Arch] = &[Arch::X86_64, Arch::Aarch64, Arch::Ppc64le, Arch::S390x];

    /// Returns this machine's own architecture, or `None` if Kata does not support it.
    pub fn of_machine() -> Option<Arch> {
        of_target(std::env::consts::ARCH, cfg!(target_endian = "little"))
    }

    /// Returns Kata's name of the architecture.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Ppc64le => "ppc64le",
            Arch::S390x => "s390x",
        }
    }

    /// Returns the name that Debian and Ubuntu use (`dpkg --print-architecture`).
    pub fn debian_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
            Arch::Ppc64le => "ppc64el",
            Arch::S390x => "s390x",
        }
    }

    /// Returns the name in OCI images, which is Go's.
    pub fn oci_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
            Arch::Ppc64le => "ppc64le",
            Arch::S390x => "s390x",
        }
    }

    /// Returns the architecture in the name of QEMU's program: `qemu-system-ppc64` emulates both byte orders of POWER.
    pub fn qemu_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Ppc64le => "ppc64",
            Arch::S390x => "s390x",
        }
    }

    /// Returns the machine type that Kata requests from QEMU since 2.2: `src/runtime/arch/*-options.mk@4.1.0`,
    /// `src/runtime-rs/arch/*-options.mk@4.1.0`.
    pub fn machine_type(self) -> &'static str {
        match self {
            Arch::X86_64 => "q35",
            Arch::Aarch64 => "virt",
            Arch::Ppc64le => "pseries",
            Arch::S390x => "s390-ccw-virtio",
        }
    }

    /// Whether guests have their devices on channels (ccw) instead of PCI.
    pub fn has_channels(self) -> bool {
        self == Arch::S390x
    }

    /// Returns the suffix of QEMU's virtio device names: `virtio-blk-pci`, `virtio-blk-ccw`.
    pub fn virtio_bus(self) -> &'static str {
        if self.has_channels() { "ccw" } else { "pci" }
    }

    /// Returns Linux's name of the first serial line of [`machine_type`](Arch::machine_type).
    pub fn serial_console(self) -> &'static str {
        match self {
            Arch::X86_64 => "ttyS0",
            // A PL011.
            Arch::Aarch64 => "ttyAMA0",
            // The hypervisor's own console, which precedes virtio consoles.
            Arch::Ppc64le => "hvc0",
            Arch::S390x => "ttysclp0",
        }
    }

    /// Returns Linux's name of a second serial line of the same kind; on IBM Z, Kata gives guests not even a first one.
    pub fn second_serial_console(self) -> Option<&'static str> {
        match self {
            Arch::X86_64 => Some("ttyS1"),
            // QEMU's `virt` machine has a second PL011 since 9.1.
            Arch::Aarch64 => Some("ttyAMA1"),
            Arch::Ppc64le => Some("hvc1"),
            Arch::S390x => None,
        }
    }

    /// Returns the GNU triplet of Linux on this architecture, which Debian uses as the name of the library directory.
    pub fn gnu_triplet(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-linux-gnu",
            Arch::Aarch64 => "aarch64-linux-gnu",
            Arch::Ppc64le => "powerpc64le-linux-gnu",
            Arch::S390x => "s390x-linux-gnu",
        }
    }

    /// Returns the path of the ABI's dynamic loader, relative to `/`.
    pub fn loader(self) -> &'static str {
        match self {
            Arch::X86_64 => "lib64/ld-linux-x86-64.so.2",
            Arch::Aarch64 => "lib/ld-linux-aarch64.so.1",
            Arch::Ppc64le => "lib64/ld64.so.2",
            Arch::S390x => "lib/ld64.so.1",
        }
    }

    /// Returns two fields of the ELF header of its programs: whether they are little-endian, and `e_machine`
    /// (`linux/elf-em.h`).
    pub fn elf(self) -> (bool, u16) {
        match self {
            Arch::X86_64 => (true, 62),
            Arch::Aarch64 => (true, 183),
            Arch::Ppc64le => (true, 21),
            Arch::S390x => (false, 22),
        }
    }
}

/// Returns the architecture that Rust calls `name`; Rust has one name for both byte orders of POWER, and Kata supports
/// only the little-endian one.
fn of_target(name: &str, little_endian: bool) -> Option<Arch> {
    match (name, little_endian) {
        ("powerpc64", true) => Some(Arch::Ppc64le),
        (name, _) => Arch::ALL.iter().copied().find(|arch| arch.name() == name),
    }
}

/// Error for a text that is not the name of an architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture {name:?}, known are {}", names())]
pub struct UnknownArch {
    /// The rejected text.
    pub name: String,
}

fn names() -> String {
    Arch::ALL.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ")
}

impl std::str::FromStr for Arch {
    type Err = UnknownArch;

    /// Accepts only Kata's names.
    fn from_str(text: &str) -> Result<Arch, UnknownArch> {
        let found = Arch::ALL.iter().copied().find(|arch| arch.name() == text);
        found.ok_or_else(|| UnknownArch { name: text.to_owned() })
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
    fn each_arch_has_a_machine_type_and_only_s390x_has_channels() {
        let machines: Vec<&str> = Arch::ALL.iter().map(|arch| arch.machine_type()).collect();
        assert_eq!(machines, ["q35", "virt", "pseries", "s390-ccw-virtio"]);
        let with_channels: Vec<Arch> = Arch::ALL.iter().copied().filter(|arch| arch.has_channels()).collect();
        assert_eq!(with_channels, [Arch::S390x]);
    }

    #[test]
    fn arch_names_are_parsed_as_kata_spells_them() {
        assert_eq!("s390x".parse::<Arch>(), Ok(Arch::S390x));
        let error = "arm64".parse::<Arch>().unwrap_err();
        assert_eq!(error.to_string(), "unknown architecture \"arm64\", known are x86_64, aarch64, ppc64le, s390x");
    }

    #[test]
    fn rust_target_names_map_to_kata_architectures() {
        assert_eq!(of_target("x86_64", true), Some(Arch::X86_64));
        assert_eq!(of_target("s390x", false), Some(Arch::S390x));
        assert_eq!(of_target("powerpc64", true), Some(Arch::Ppc64le), "Rust does not call it ppc64le");
        assert_eq!(of_target("powerpc64", false), None, "Kata has no big-endian POWER");
        assert_eq!(of_target("riscv64", true), None);
    }
}
