//! `kata-qualify doctor`: what this machine can do for a qualification, what it lacks, and how to fix it.

use crate::cli::arguments::home;
use crate::cli::{Exit, UsageError, cache_folder, print, request};
use crate::environments::container;
use crate::environments::container::handed_in::{self, KvmWithheld};
use crate::environments::vm::outer::{MachineAccelerator, OuterError, OuterQemu, RELEASE};
use crate::environments::vm::pinned;
use crate::external::ExternalSuite;
use crate::level;
use crate::memory;
use crate::progress::tell;
use anyhow::Context as _;
use model::arch::Arch;
use model::diagnostic::error_chain;
use model::package_manager::PackageManager;
use model::words::{SizeUnit, size};
use operator::process::Invocation;
use root::Root;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A subject of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Root,
    Program(&'static str),
    Namespaces,
    Docker,
    Keyring,
    Accelerator,
    Machines,
    External(&'static str),
    Foreign(Arch),
    Memory,
}

impl Subject {
    fn name(self) -> Cow<'static, str> {
        let name = match self {
            Subject::Root => "root",
            Subject::Program(name) => name,
            Subject::Namespaces => "namespaces for packages' scripts",
            Subject::Docker => "Docker engine",
            Subject::Keyring => "keyring of the Debian archive",
            Subject::Accelerator => "accelerator",
            Subject::Machines => "virtual machines",
            Subject::External(name) => name,
            Subject::Foreign(arch) => return format!("machines of {arch}").into(),
            Subject::Memory => "memory",
        };
        name.into()
    }
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The result of checking one subject.
struct Finding {
    subject: Subject,
    ok: bool,
    /// The observed state.
    seen: String,
    /// Debian packages that fix it.
    packages: &'static [&'static str],
    /// Whether nothing can run without the subject.
    needed: bool,
}

/// Checks this machine, reports on standard output, and with `fix` installs what is missing.
///
/// Returns exit code 0 if releases can be qualified here, if only in virtual machines, else 3.
pub(super) fn doctor(fix: bool) -> anyhow::Result<Exit> {
    let mut findings = look();
    if fix {
        let mut missing: Vec<&str> =
            findings.iter().filter(|f| !f.ok).flat_map(|f| f.packages.iter().copied()).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            tell(format_args!("nothing to install"));
        } else {
            install(&missing)?;
            if !docker_answers(&findings) {
                start_engine();
            }
            findings = look();
        }
    }
    let mut out = String::new();
    let mut able = true;
    for finding in &findings {
        let mark = match (finding.ok, finding.needed) {
            (true, _) => "ok     ",
            (false, true) => "MISSING",
            (false, false) => "without",
        };
        writeln!(out, "{mark}  {:32} {}", finding.subject.name(), finding.seen)?;
        if !finding.ok && !finding.packages.is_empty() {
            writeln!(out, "         hint: `kata-qualify doctor --fix` installs {}", finding.packages.join(", "))?;
        }
        able &= finding.ok || !finding.needed;
    }
    writeln!(
        out,
        "\n{}",
        match (able, docker_answers(&findings)) {
            (true, true) => "this machine can qualify releases in containers and in virtual machines",
            (true, false) => "this machine can qualify releases in virtual machines",
            (false, _) => "this machine cannot qualify releases yet",
        }
    )?;
    print(&out)?;
    Ok(if able { Exit::AsRecorded } else { Exit::Infrastructure })
}

fn docker_answers(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.subject == Subject::Docker && finding.ok)
}

/// Checks whether packages' scripts can have their own ids on the filesystem where caches usually are.
fn namespaces() -> Finding {
    let home = home("HOME").unwrap_or_else(|| PathBuf::from("/"));
    let can = images::confines(&home);
    Finding {
        subject: Subject::Namespaces,
        ok: can.is_ok(),
        seen: match can {
            Ok(()) => format!("ids are mapped on the filesystem of {}", home.display()),
            Err(why) => why.to_string(),
        },
        packages: &[],
        needed: true,
    }
}

fn look() -> Vec<Finding> {
    let root = rustix::process::geteuid().is_root();
    let (docker, docker_seen) = docker();
    let outer = pinned_qemu();
    let mut all = vec![
        Finding {
            subject: Subject::Root,
            ok: root,
            seen: if root { "yes".into() } else { "no: needed to bootstrap releases and to chroot into them".into() },
            packages: &[],
            needed: true,
        },
        program("mmdebstrap", "bootstraps Debian and Ubuntu", &["mmdebstrap"]),
        namespaces(),
        program("apt-get", "reads mirrors and signed indexes", &[]),
        Finding { subject: Subject::Docker, ok: docker, seen: docker_seen, packages: &["docker.io"], needed: false },
        program("mke2fs", "makes disks of releases", &["e2fsprogs"]),
        Finding {
            subject: Subject::Keyring,
            ok: Path::new(KEYRING).exists(),
            seen: KEYRING.into(),
            packages: &["debian-archive-keyring"],
            needed: true,
        },
    ];
    all.extend(images::tools().iter().filter(|tool| !tool.managers.contains(&PackageManager::Apt)).map(tool));
    all.extend([
        kvm(handed_in::kvm(), outer.as_ref().ok().and_then(|found| found.as_ref()).map(|found| &found.accelerator)),
        machines(outer),
    ]);
    all.extend(crate::external::SUITES.iter().map(external));
    all.extend(Arch::ALL.iter().filter(|arch| Some(**arch) != Arch::of_machine()).map(|arch| foreign(*arch)));
    all.push(free_memory());
    all
}

/// Checks whether releases of another architecture can be brought up here. Most users run none, so `--fix` does not
/// install anything for it.
fn foreign(arch: Arch) -> Finding {
    let missing = request::lacks_for(arch);
    Finding {
        subject: Subject::Foreign(arch),
        ok: missing.is_empty(),
        seen: match missing.is_empty() {
            true => format!("`run --arch {arch} --in vm` emulates them"),
            false => missing.join("; "),
        },
        packages: &[],
        needed: false,
    }
}

/// Reports whether an external test suite is built in.
fn external(suite: &ExternalSuite) -> Finding {
    Finding {
        subject: Subject::External(suite.name),
        ok: suite.binary.is_some(),
        seen: match suite.binary {
            Some(bytes) => format!("built in, {}", size(bytes.len() as u64, SizeUnit::Kib)),
            None => "not included in this build: its tests are skipped".into(),
        },
        packages: &[],
        needed: false,
    }
}

/// Reports on a program that is needed for images of some other distros. Users who run none of those do not need it, so
/// `--fix` does not install it.
fn tool(tool: &images::Tool) -> Finding {
    let managers: Vec<&str> = tool.managers.iter().map(|manager| manager.name()).collect();
    let what = if tool.bootstraps_only { "bootstraps images" } else { "is needed for images" };
    let how = match (tool.package, tool.bootstraps_only) {
        (Some(package), _) => format!("install Debian's package `{package}`"),
        (None, true) => "not packaged in Debian; OCI and cloud images work without it".to_owned(),
        (None, false) => "not packaged in Debian".to_owned(),
    };
    let why = format!("{what} of releases with {}: {how}", managers.join(", "));
    Finding { needed: false, ..program(tool.program, &why, &[]) }
}

fn program(name: &'static str, why: &str, packages: &'static [&'static str]) -> Finding {
    // `PATH` is not used, because not every user's has the directories of administrators' programs.
    let (ok, seen) = match Root::default().which(name) {
        Ok(Some(path)) => (true, path.display().to_string()),
        Ok(None) => (false, format!("not found; it {why}")),
        Err(error) => (false, error.to_string()),
    };
    Finding { subject: Subject::Program(name), ok, seen, packages, needed: true }
}

fn docker() -> (bool, String) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return (false, "cannot start the runtime that would ask it".into());
    };
    runtime.block_on(async {
        match container::connect().await {
            Ok(docker) => match docker.version().await {
                Ok(version) => (true, format!("answers, version {}", version.version.unwrap_or_default())),
                Err(e) => (false, e.to_string()),
            },
            Err(e) => (false, error_chain(&e)),
        }
    })
}

/// Reason why it is not known whether virtual machines can be booted.
#[derive(Debug, thiserror::Error)]
enum PinnedQemuError {
    /// There is no cache that could contain the pinned QEMU.
    #[error(transparent)]
    Cache(#[from] UsageError),
    /// The pinned QEMU cannot be used.
    #[error(transparent)]
    Outer(#[from] OuterError),
}

/// Returns the pinned QEMU with the accelerator that works here, or the reason why it cannot be used; `None` while its
/// image is not in the cache.
fn pinned_qemu() -> Result<Option<OuterQemu>, PinnedQemuError> {
    let cache = cache_folder()?;
    let Some(image) = pinned::cached(&cache) else { return Ok(None) };
    Ok(Some(pinned::try_cached(&image)?))
}

/// Reports on virtual machines, which a pinned QEMU boots, under KVM if a guest boots under it.
fn machines(outer: Result<Option<OuterQemu>, PinnedQemuError>) -> Finding {
    let finding = |ok, seen| Finding { subject: Subject::Machines, ok, seen, packages: &[], needed: false };
    match outer {
        Ok(None) => {
            finding(true, format!("not tried: they use the QEMU of {RELEASE}, whose image is not in the cache yet"))
        }
        Ok(Some(outer)) => {
            let how = match &outer.accelerator {
                MachineAccelerator::Kvm => {
                    format!("KVM boots guests and nests: verdicts say `{}`", level::here().basis)
                }
                MachineAccelerator::Tcg { why, .. } => {
                    format!("`{}`, verdicts say `emulated`; KVM is not used: {why}", outer.processor().join(" "))
                }
            };
            finding(true, format!("QEMU {} of {RELEASE}; {how}", outer.version))
        }
        Err(why) => finding(false, error_chain(&why)),
    }
}

/// Reports whether containers get KVM; only the containers can find out whether their guests boot under it, each with
/// its own QEMU.
///
/// `outer` is the pinned QEMU's result, if it was tried: if its guest does not boot, those of other QEMUs hardly will.
fn kvm(availability: Result<(), KvmWithheld>, outer: Option<&MachineAccelerator>) -> Finding {
    let seen = match availability {
        Ok(()) if matches!(outer, Some(MachineAccelerator::Tcg { dead_kvm: true, .. })) => {
            "a vCPU runs, but no guest boots under KVM (see virtual machines): guests in containers use TCG, unless \
             their own QEMU can use KVM; with TCG verdicts say `emulated`"
                .to_owned()
        }
        Ok(()) => {
            let level = level::here();
            format!(
                "a vCPU runs: guests in containers have KVM if they boot under it; then verdicts say `{}`: {}",
                level.basis, level.why
            )
        }
        Err(why) => format!("{why}: guests in containers use TCG, and verdicts say `emulated`"),
    };
    Finding { subject: Subject::Accelerator, ok: true, seen, packages: &[], needed: false }
}

fn free_memory() -> Finding {
    let available = memory::available_kib().unwrap_or(0) << 10;
    Finding {
        subject: Subject::Memory,
        ok: available >= 4 << 30,
        seen: format!(
            "{} available; a guest is given 2 GiB and touches about a quarter of it",
            size(available, SizeUnit::Gib)
        ),
        packages: &[],
        needed: false,
    }
}

/// Starts the newly installed engine and waits until it answers; the findings report whether it does.
fn start_engine() {
    tell(format_args!("running: service docker start"));
    let call = Invocation::new(Path::new("service"), &["docker", "start"]);
    let failure = match call.run(Duration::from_secs(120), None) {
        Ok(finished) if finished.is_ok() => None,
        Ok(finished) => Some(finished.last_words()),
        Err(e) => Some(e.to_string()),
    };
    if let Some(why) = failure {
        tell(format_args!("warning: `service docker start` failed ({why}): start the Docker engine yourself"));
        return;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while !docker().0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Runs apt-get, which shows its progress. It has no deadline and stays in this process's group, because the admin who
/// asked for it decides how long it may run.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("installing {} needs root: run `kata-qualify doctor --fix` as root", packages.join(", "));
    }
    for arguments in
        [vec!["update"], [vec!["install", "--yes", "--no-install-recommends", "--"], packages.to_vec()].concat()]
    {
        tell(format_args!("running: apt-get {}", arguments.join(" ")));
        let status = Command::new("apt-get")
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::io::stderr())
            .status()
            .context("running apt-get (--fix supports only apt)")?;
        anyhow::ensure!(status.success(), "apt-get {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_that_boots_no_guest_is_reported() {
        let tcg = |dead_kvm| MachineAccelerator::Tcg { why: "why".to_owned(), dead_kvm };
        let dead = kvm(Ok(()), Some(&tcg(true))).seen;
        assert!(dead.contains("no guest boots under KVM") && dead.ends_with("verdicts say `emulated`"), "{dead}");
        // KVM that does not nest still boots guests, and untested KVM is not reported as broken.
        for outer in [Some(&tcg(false)), Some(&MachineAccelerator::Kvm), None] {
            let seen = kvm(Ok(()), outer).seen;
            assert!(seen.starts_with("a vCPU runs: guests in containers have KVM"), "{seen}");
        }
        let without = kvm(Err(KvmWithheld::Late), None).seen;
        assert!(without.starts_with("a vCPU did not run within 5 s: guests in containers use TCG"), "{without}");
    }
}
