//! KVM on the release's kernel: the processor, the modules, and a vCPU that runs.

use super::modules::{is_loaded, load};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, VcpuExit};
use crate::row::{Row, row};
use crate::test::Place;
use model::arch::Arch;
use model::procfs;

const SOURCE: &str = include_str!("kvm.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(cpu_can_virtualize), &[Capability::HostKvm, Capability::HostCheck], Kernel),
    row!(
        Environment(kvm_modules_are_loaded),
        &[Capability::HostKvm, Capability::KernelHost, Capability::HostCheck],
        Kernel
    )
    .blocked_by(&["host::cpu_can_virtualize"]),
    row!(Environment(a_vcpu_runs), &[Capability::HostKvm, Capability::KernelHost], Kernel)
        .places(&[Place::Vcpu])
        .blocked_by(&["host::kvm_modules_are_loaded"]),
];

/// The processor of a host: the flags of its first CPU.
pub(super) struct Cpu {
    pub(super) vendor: String,
    pub(super) flags: Vec<String>,
    arch: Arch,
}

/// KVM's requirements for a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Virtualization {
    /// The required CPU flags.
    pub(super) flags: &'static [&'static str],
    /// The required modules; Arm's is built in without parameters and therefore in no list.
    pub(super) modules: &'static [&'static str],
    /// The vhost modules that `kata-runtime check` also requires.
    pub(super) vhost: &'static [&'static str],
}

impl Cpu {
    /// Reads /proc/cpuinfo.
    pub(super) fn of(env: &dyn EnvironmentSide) -> Result<Cpu, Stop> {
        Ok(Cpu::parse(&env.read("/proc/cpuinfo")?, env.claims().release.arch))
    }

    fn parse(cpuinfo: &str, arch: Arch) -> Cpu {
        let field = |key: &str| procfs::cpu(cpuinfo, key).unwrap_or_default();
        // On IBM Z the line has another name.
        let flags = procfs::cpu_flags(cpuinfo).unwrap_or_else(|| field("features").split_whitespace().collect());
        Cpu { vendor: field("vendor_id").to_owned(), flags: flags.into_iter().map(str::to_owned).collect(), arch }
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// Returns Kata's requirements for KVM on this processor, if Kata knows the vendor.
    ///
    /// `archRequiredCPUFlags` and `archRequiredKernelModules` in src/runtime/cmd/kata-runtime/kata-check_*.go@3.29.0;
    /// IBM Z's flag is kata-ctl's (src/tools/kata-ctl/src/arch/s390x/mod.rs@4.0.0).
    pub(super) fn virtualization(&self) -> Option<Virtualization> {
        type Names = &'static [&'static str];
        let of = |flags: Names, modules: Names, vhost: Names| Some(Virtualization { flags, modules, vhost });
        let vhost: Names = &["vhost", "vhost_net"];
        match (self.arch, self.vendor.as_str()) {
            (Arch::X86_64, "GenuineIntel") => of(&["vmx", "lm", "sse4_1"], &["kvm", "kvm_intel"], vhost),
            (Arch::X86_64, "AuthenticAMD") => of(&["svm", "lm", "sse4_1"], &["kvm", "kvm_amd"], vhost),
            (Arch::X86_64, _) => None,
            (Arch::Aarch64, _) => of(&[], &["kvm"], vhost),
            (Arch::Ppc64le, _) => of(&[], &["kvm", "kvm_hv"], &[]),
            (Arch::S390x, _) => of(&["sie"], &["kvm"], &[]),
        }
    }
}

/// The host's processor supports virtualization: on x86_64 it has `vmx` or `svm`, and also `lm` and `sse4_1`; on IBM Z
/// `sie`.
///
/// `kata-runtime check` requires these CPU flags (src/runtime/cmd/kata-runtime/kata-check_amd64.go@3.29.0). A missing
/// flag is the machine's fault, never the distro's.
fn cpu_can_virtualize(env: &dyn EnvironmentSide) -> Check {
    let cpu = Cpu::of(env)?;
    let Some(required) = cpu.virtualization() else {
        return Err(Stop::skip(format!(
            "the environment's processor is of {:?}, which Kata does not know",
            cpu.vendor
        )));
    };
    let missing: Vec<&str> = required.flags.iter().copied().filter(|f| !cpu.has(f)).collect();
    if !missing.is_empty() {
        return Err(Stop::skip(format!("the environment's processor lacks {}", missing.join(", "))));
    }
    Ok(())
}

/// `kvm` and the vendor's module are built into the kernel or load from the kernel's own modules.
///
/// `kata-runtime check` fails without them; a distro's kernel package may leave them to another package. Its list is
/// `archRequiredKernelModules` in src/runtime/cmd/kata-runtime/kata-check_amd64.go@4.1.0.
fn kvm_modules_are_loaded(env: &dyn EnvironmentSide) -> Check {
    let cpu = Cpu::of(env)?;
    let Some(required) = cpu.virtualization() else {
        return Err(Stop::skip(format!("the environment's processor is of {:?}", cpu.vendor)));
    };
    let later: Vec<&str> = required.modules.iter().copied().filter(|module| !is_loaded(module)).collect();
    load(env, required.modules)?;
    if !later.is_empty() {
        env.note(format!("{} was not loaded by itself; modprobe loaded it", later.join(", ")));
    }
    Ok(())
}

/// KVM makes a machine with one vCPU, which runs instructions, exits for output and halts.
///
/// /dev/kvm can exist, open and answer its version, and still be unable to run anything; only a test run shows that.
/// Kata's own check makes a machine, but no vCPU (`genericKvmIsUsable` in
/// src/runtime/cmd/kata-runtime/kata-check.go@4.1.0).
fn a_vcpu_runs(env: &dyn EnvironmentSide) -> Check {
    let run = env.run_a_vcpu().map_err(|e| Stop::fail(e.to_string()))?;
    ensure!(run.api == 12, "KVM's API has version {}, 12 was expected", run.api);
    if run.exits.is_empty() {
        let arch = env.claims().release.arch;
        return Err(Stop::skip(format!(
            "KVM makes a machine with a vCPU, and nobody has written a program for {arch}"
        )));
    }
    let expected = [VcpuExit::Wrote(0x2a), VcpuExit::Halted];
    ensure!(run.exits == expected, "expected the vCPU to write 0x2a and to halt, saw: {}", run.seen());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cpu_is_read_whatever_the_spacing() {
        let of = |text: &str| Cpu::parse(text, Arch::X86_64);
        let cpu = of("processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm lm\n\nprocessor : 1\n");
        assert_eq!(cpu.virtualization().map(|required| required.modules), Some(&["kvm", "kvm_amd"][..]));
        assert!(cpu.has("lm") && !cpu.has("l") && !cpu.has("vmx"));
        assert!(of("").virtualization().is_none());
    }

    #[test]
    fn other_processors_are_known_by_their_architecture() {
        let cpu = Cpu::parse("vendor_id       : IBM/S390\nfeatures\t: esan3 zarch sie \n", Arch::S390x);
        assert!(cpu.has("sie"));
        assert_eq!(cpu.virtualization().map(|required| required.flags), Some(&["sie"][..]));
        let power = Cpu::parse("cpu\t\t: POWER9\n", Arch::Ppc64le).virtualization();
        assert_eq!(power.map(|required| required.modules), Some(&["kvm", "kvm_hv"][..]));
        assert!(Cpu::parse("", Arch::Aarch64).virtualization().is_some());
    }
}
