//! KVM on the release's kernel: the processor, the modules, and a vCPU that runs.

use super::modules::{is_loaded, load};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, VcpuExit};
use crate::procfs::cpu_flags;
use crate::row::{Row, row};
use crate::test::Place;

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

/// The processor that a host presents: the flags of its first CPU.
pub(super) struct Cpu {
    pub(super) vendor: String,
    pub(super) flags: Vec<String>,
}

impl Cpu {
    /// Reads /proc/cpuinfo.
    pub(super) fn of(env: &dyn EnvironmentSide) -> Result<Cpu, Stop> {
        Ok(Cpu::parse(&env.read("/proc/cpuinfo")?))
    }

    fn parse(cpuinfo: &str) -> Cpu {
        let field = |key: &str| {
            let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let flags = cpu_flags(cpuinfo).unwrap_or_default().into_iter().map(str::to_owned).collect();
        Cpu { vendor: field("vendor_id"), flags }
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// The flag and the module of this vendor's virtualization, if Kata knows the vendor.
    pub(super) fn virtualization(&self) -> Option<(&'static str, &'static str)> {
        match self.vendor.as_str() {
            "GenuineIntel" => Some(("vmx", "kvm_intel")),
            "AuthenticAMD" => Some(("svm", "kvm_amd")),
            _ => None,
        }
    }
}

/// The host's processor virtualizes: `vmx` or `svm`, and `lm` and `sse4_1` beside it.
///
/// They are the CPU flags that `kata-runtime check` asks for (src/runtime/cmd/kata-runtime/kata-check_amd64.go@3.29.0).
/// What is missing here is the machine's fault, never the distro's.
fn cpu_can_virtualize(env: &dyn EnvironmentSide) -> Check {
    let cpu = Cpu::of(env)?;
    let Some((flag, _)) = cpu.virtualization() else {
        return Err(Stop::skip(format!(
            "the environment's processor is of {:?}, which Kata does not know",
            cpu.vendor
        )));
    };
    let missing: Vec<&str> = [flag, "lm", "sse4_1"].into_iter().filter(|f| !cpu.has(f)).collect();
    if !missing.is_empty() {
        return Err(Stop::skip(format!("the environment's processor lacks {}", missing.join(", "))));
    }
    Ok(())
}

/// `kvm` and the vendor's half of it are in the kernel or load from its own modules.
///
/// `kata-runtime check` fails without them; a distro's kernel package may leave them to another package.
fn kvm_modules_are_loaded(env: &dyn EnvironmentSide) -> Check {
    let cpu = Cpu::of(env)?;
    let Some((_, vendor)) = cpu.virtualization() else {
        return Err(Stop::skip(format!("the environment's processor is of {:?}", cpu.vendor)));
    };
    let by_itself = is_loaded(vendor);
    load(env, &["kvm", vendor])?;
    if !by_itself {
        env.note(format!("{vendor} was not loaded by itself; modprobe loaded it"));
    }
    Ok(())
}

/// KVM makes a machine with one vCPU, which runs instructions, exits for output and halts.
///
/// /dev/kvm can exist, open and answer its version, and still be unable to run anything; only running tells.
fn a_vcpu_runs(env: &dyn EnvironmentSide) -> Check {
    let run = env.run_a_vcpu().map_err(|e| Stop::fail(e.to_string()))?;
    ensure!(run.api == 12, "KVM's API has version {}, 12 was expected", run.api);
    let expected = [VcpuExit::Wrote(0x2a), VcpuExit::Halted];
    ensure!(run.exits == expected, "expected the vCPU to write 0x2a and to halt, saw: {}", run.seen());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cpu_is_read_whatever_the_spacing() {
        let cpu = Cpu::parse("processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm lm\n\nprocessor : 1\n");
        assert_eq!(cpu.virtualization(), Some(("svm", "kvm_amd")));
        assert!(cpu.has("lm") && !cpu.has("l") && !cpu.has("vmx"));
        assert!(Cpu::parse("").virtualization().is_none());
    }
}
