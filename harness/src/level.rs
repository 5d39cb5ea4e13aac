//! Detection whether this machine's processor is hardware, as far as the levels below it reveal.
//!
//! A guest under KVM depends on the levels below this machine, too: if one is emulated, so is the guest. A processor
//! that is not virtual is hardware. A virtual one names its hypervisor in CPUID, from leaf 0x4000_0000 on: QEMU's
//! emulation has its own name, and most other hypervisors need hardware themselves. A level hides those below it; so a
//! machine that the harness knows to be emulated gets a mark on its chassis, for which a harness inside it looks.
//! Nesting by other means is not detected. An unknown level counts as emulated, because `hardware` is the claim that
//! needs proof.

use model::verified::Basis;
use std::path::Path;

/// The mark of the harness's machines whose processor is emulated, at whatever level: the chassis's asset tag (SMBIOS
/// type 3).
pub const EMULATED_MARK: &str = "kata-qualify-emulated";
/// The file in which a machine sees the mark.
const ASSET_TAG: &str = "/sys/class/dmi/id/chassis_asset_tag";

/// The CPUID name of QEMU's emulation (target/i386/cpu.c@10.0.0).
const EMULATION: &str = "TCGTCGTCGTCG";
/// The CPUID names of hypervisors that always need hardware virtualization.
const ON_HARDWARE: [&str; 7] =
    ["KVMKVMKVM", "Microsoft Hv", "VMwareVMware", "XenVMMXenVMM", "bhyve bhyve ", "ACRNACRNACRN", "prl hyperv  "];

/// Knowledge about the levels that this machine runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The basis of a guest under KVM on this machine.
    pub basis: Basis,
    /// The reason for this conclusion, for people.
    pub why: String,
}

/// Examines the levels below this machine.
pub fn here() -> Level {
    let mark = std::fs::read_to_string(Path::new(ASSET_TAG)).unwrap_or_default();
    of(processor(), mark.trim())
}

/// The processor's own description.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Processor {
    /// The processor is not virtual.
    Real,
    /// The processor is virtual, with the names of these hypervisors, one of which may pose as another.
    Virtual(Vec<String>),
}

/// Draws the conclusion; `processor` is `None` if it cannot be examined.
fn of(processor: Option<Processor>, mark: &str) -> Level {
    let level = |basis, why: String| Level { basis, why };
    if mark == EMULATED_MARK {
        return level(Basis::Emulated, "this is a virtual machine of kata-qualify's, which is emulated".to_owned());
    }
    let names = match processor {
        Some(Processor::Real) => return level(Basis::Hardware, "the processor is no virtual one".to_owned()),
        None => {
            return level(Basis::Emulated, "nothing tells whether the processor is emulated".to_owned());
        }
        Some(Processor::Virtual(names)) => names,
    };
    let is_named = |known: &str| names.iter().any(|name| name == known);
    if is_named(EMULATION) {
        return level(Basis::Emulated, "the processor is emulated by QEMU".to_owned());
    }
    match ON_HARDWARE.into_iter().find(|known| is_named(known)) {
        Some(known) => level(Basis::Hardware, format!("the processor is a virtual one of `{known}`")),
        None => {
            level(Basis::Emulated, format!("the processor is a virtual one of unknown make: `{}`", names.join("`, `")))
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn processor() -> Option<Processor> {
    use std::arch::x86_64::__cpuid;
    /// Leaf 1, ECX: the processor runs under a hypervisor.
    const HYPERVISOR: u32 = 1 << 31;
    if __cpuid(1).ecx & HYPERVISOR == 0 {
        return Some(Processor::Real);
    }
    let name = |leaf: u32| {
        let registers = __cpuid(leaf);
        let bytes = [registers.ebx, registers.ecx, registers.edx].map(u32::to_le_bytes).concat();
        bytes.iter().map(|byte| char::from(*byte)).filter(|c| matches!(c, ' '..='~')).collect::<String>()
    };
    // Linux searches the same leaves (`hypervisor_cpuid_base`).
    let mut names: Vec<String> = (0..0x100).map(|block| name(0x4000_0000 + block * 0x100)).collect();
    names.retain(|name| !name.is_empty());
    names.dedup();
    Some(Processor::Virtual(names))
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Option<Processor> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn virtual_of(names: &[&str]) -> Option<Processor> {
        Some(Processor::Virtual(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn hardware_is_claimed_only_if_no_level_is_emulated_or_unknown() {
        use Basis::{Emulated, Hardware};
        for (processor, mark, basis, why) in [
            (Some(Processor::Real), "", Hardware, "no virtual one"),
            (None, "", Emulated, "nothing tells"),
            (virtual_of(&["KVMKVMKVM"]), "", Hardware, "`KVMKVMKVM`"),
            (virtual_of(&["KVMKVMKVM"]), "rack 7", Hardware, "`KVMKVMKVM`"),
            // A runner of GitHub, and KVM that poses as Hyper-V.
            (virtual_of(&["Microsoft Hv"]), "", Hardware, "`Microsoft Hv`"),
            (virtual_of(&["Microsoft Hv", "KVMKVMKVM"]), "", Hardware, "`KVMKVMKVM`"),
            (virtual_of(&["TCGTCGTCGTCG"]), "", Emulated, "emulated by QEMU"),
            (virtual_of(&["Microsoft Hv", "TCGTCGTCGTCG"]), "", Emulated, "emulated by QEMU"),
            // KVM hides the levels below it, but the mark reveals them.
            (virtual_of(&["KVMKVMKVM"]), EMULATED_MARK, Emulated, "of kata-qualify's"),
            (Some(Processor::Real), EMULATED_MARK, Emulated, "of kata-qualify's"),
            (virtual_of(&["SomethingNew"]), "", Emulated, "unknown make: `SomethingNew`"),
            (virtual_of(&[]), "", Emulated, "unknown make"),
        ] {
            let level = of(processor.clone(), mark);
            assert_eq!(level.basis, basis, "{processor:?} {mark}");
            assert!(level.why.contains(why), "{processor:?} {mark}: {}", level.why);
            // The code that folds a journal distinguishes the two by these words.
            assert_eq!(reports::run::is_said_of_hardware(&level.why), basis == Hardware, "{}", level.why);
        }
    }

    #[test]
    fn processor_and_kernel_agree_about_virtualization() {
        let is_virtual = agent::system::is_under_a_hypervisor();
        match processor() {
            Some(Processor::Real) => assert!(!is_virtual),
            Some(Processor::Virtual(_)) => assert!(is_virtual),
            None => assert_ne!(std::env::consts::ARCH, "x86_64"),
        }
    }
}
