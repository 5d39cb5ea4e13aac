//! Probing of the environment's features, before any component is blamed.

use crate::broker::{self, Wish};
use crate::environment::{kvm, limits};
use crate::home::AgentHome;
use crate::launch::provided::Provided;
use crate::{process, system};
use model::arch::Arch;
use model::procfs::{self, Mount};
use protocol::facts::{self, EnvironmentFact, Facts};
use std::fs::{self, OpenOptions};
use std::path::Path;
use suites::catalogue::Need;
use suites::environment::{Effort, Environment, SMALL_MIB, firmware, hugepages};

/// Returns the features: evidence for the report, and the source of skips.
pub fn probe(home: &AgentHome) -> Facts {
    let volume = home.dir.as_path();
    let limited = limits::all().into_iter().map(|(name, limit)| (name, EnvironmentFact::Limited(limit)));
    let mut facts: Facts = limited.collect();
    let cpus = std::thread::available_parallelism().map_or_else(|e| e.to_string(), |n| n.to_string());
    for (name, text) in [
        ("cpus", cpus),
        ("shm-mib", free_mib(Path::new("/dev/shm"))),
        ("volume-mib", free_mib(volume)),
        ("volume-filesystem", system::filesystem_of(volume)),
        ("capabilities", status_line("CapEff")),
        (facts::SECCOMP, status_line("Seccomp")),
    ] {
        facts.note(name, EnvironmentFact::Told(text));
    }
    let when = |there: bool, otherwise: &str| {
        if there { EnvironmentFact::Has } else { EnvironmentFact::Lacks(otherwise.to_owned()) }
    };
    facts.note(facts::IO_URING, io_uring());
    facts.note(facts::MEMORY_POLICY, EnvironmentFact::of(process::bind_no_memory()));
    facts.note(facts::HUGEPAGES, EnvironmentFact::of(hugepages(home.kind)));
    facts.note(facts::FIRMWARE, firmware());
    facts.note(facts::FILE_HANDLES, EnvironmentFact::of(process::open_by_handle(volume)));
    facts.note(facts::KVM, EnvironmentFact::of(kvm::works()));
    let broker = broker::here();
    let driver = |path: &str, wish| broker.map_or_else(|| open(path), |broker| EnvironmentFact::of(broker.ask(wish)));
    let cid = broker.map_or(0, |broker| broker.first_cid + broker::CIDS - 1);
    facts.note(facts::VHOST_VSOCK, driver("/dev/vhost-vsock", Wish::VhostVsock { cid }));
    facts.note(facts::VHOST_NET, driver("/dev/vhost-net", Wish::VhostNet));
    facts.note(facts::TUN, driver("/dev/net/tun", Wish::Tap { queues: 1 }));
    facts.note(facts::NAMESPACES, when(rustix::process::geteuid().is_root(), "not root"));
    facts.note(facts::HYPERVISOR, when(system::is_under_a_hypervisor(), "no"));
    facts.note(facts::MKNOD, EnvironmentFact::of(mknod(volume)));
    facts.note(facts::SECURITY_ATTRIBUTES, EnvironmentFact::of(security_attribute(volume)));
    facts.note("syslog", when(Path::new("/dev/log").exists(), "no /dev/log"));
    facts
}

/// Returns the reason why the environment cannot fulfil a test's need; `None` if it can.
pub fn lacking(need: Need, effort: Effort, facts: &Facts) -> Option<String> {
    let names: &[&str] = match need {
        Need::VhostVsock => &[facts::VHOST_VSOCK],
        Need::VhostNet => &[facts::VHOST_NET, facts::TUN],
        Need::Mknod => &[facts::MKNOD],
        Need::FileHandles => &[facts::FILE_HANDLES],
        Need::SecurityAttributes => &[facts::SECURITY_ATTRIBUTES],
        Need::OpenFiles => &[facts::OPEN_FILES],
        Need::Processes => &[facts::PROCESSES],
        Need::Memory => &[facts::MEMORY],
        Need::Cpus => &[facts::CPUS],
        Need::Kvm => &[facts::KVM],
        Need::IoUring => &[facts::IO_URING],
        Need::MemoryPolicy => &[facts::MEMORY_POLICY],
        Need::Hugepages => &[facts::HUGEPAGES],
        Need::Firmware => &[facts::FIRMWARE],
    };
    names.iter().find_map(|name| match (facts.get(name), need.amount(effort)) {
        (Some(EnvironmentFact::Has), None) => None,
        (Some(EnvironmentFact::Limited(limit)), Some(minimum)) => limit
            .most
            .is_some_and(|most| most < minimum)
            .then(|| format!("the environment's {name} is {limit}, expected {minimum} or more")),
        (Some(other), _) => Some(format!("the environment lacks {name}: {other}")),
        (None, _) => Some(format!("the environment was not probed for {name}")),
    })
}

/// Returns what guests may be given: in a container without KVM nothing of its host's, and in no container namespaces
/// or file handles.
pub fn provided(kind: Environment, facts: &Facts) -> Provided {
    let is_container = kind == Environment::Container;
    if is_container && !facts.has(facts::KVM) {
        return Provided::default();
    }
    // Taps are made in namespaces; the broker makes those of a container's guests.
    let taps = facts.has(facts::TUN) && (is_container || facts.has(facts::NAMESPACES));
    Provided {
        kvm: facts.has(facts::KVM),
        vsock: facts.has(facts::VHOST_VSOCK),
        network: facts.has(facts::VHOST_NET) && taps,
        namespaces: facts.has(facts::NAMESPACES) && !is_container,
        handles: facts.has(facts::FILE_HANDLES) && !is_container,
        nested: facts.has(facts::HYPERVISOR),
        terse: facts.has(facts::HYPERVISOR),
        peer: None,
    }
}

fn open(path: &str) -> EnvironmentFact {
    EnvironmentFact::of(OpenOptions::new().read(true).write(true).open(path).map_err(|e| format!("{path}: {e}")))
}

fn free_mib(path: &Path) -> String {
    rustix::fs::statvfs(path).map_or_else(|e| e.to_string(), |s| (s.f_bavail * s.f_frsize / (1 << 20)).to_string())
}

fn status_line(key: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    procfs::status(&status, key).unwrap_or("unknown").to_owned()
}

/// Calls io_uring_setup without memory to write to: EFAULT means that it is available, EPERM or ENOSYS that it is not.
fn io_uring() -> EnvironmentFact {
    match process::io_uring_setup_errno() {
        libc::EFAULT | libc::EINVAL => EnvironmentFact::Has,
        errno => EnvironmentFact::Lacks(std::io::Error::from_raw_os_error(errno).to_string()),
    }
}

/// Reasons why a small guest's memory does not fit into huge pages.
#[derive(Debug, thiserror::Error)]
enum NoHugepages {
    #[error("nothing is mounted at {}", hugepages::MOUNT)]
    NotMounted,
    #[error("/proc/meminfo: {0}")]
    Unread(#[from] std::io::Error),
    #[error("the kernel has no huge pages")]
    NotInKernel,
    #[error("{free} MiB of huge pages are free, expected {expected} or more")]
    TooFew { free: u64, expected: u64 },
}

/// Checks that a small guest's memory fits into huge pages: free ones, or, in a virtual machine of the harness, which a
/// test may change, those that there is memory for.
fn hugepages(kind: Environment) -> Result<(), NoHugepages> {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounted = Mount::all(&mounts).any(|mount| mount.at == Path::new(hugepages::MOUNT));
    if !mounted {
        return Err(NoHugepages::NotMounted);
    }
    let memory = fs::read_to_string("/proc/meminfo")?;
    let free = hugepages::Free::of(&memory).ok_or(NoHugepages::NotInKernel)?;
    let available = if kind == Environment::Vm { free.available_mib } else { 0 };
    let expected = u64::from(SMALL_MIB);
    match free.mib() >= expected || available >= 2 * expected {
        true => Ok(()),
        false => Err(NoHugepages::TooFew { free: free.mib(), expected }),
    }
}

fn firmware() -> EnvironmentFact {
    let files = Arch::of_machine().map(firmware::files).unwrap_or_default();
    match files.iter().any(|file| Path::new(file).is_file()) {
        true => EnvironmentFact::Has,
        false if files.is_empty() => EnvironmentFact::Lacks("its processor has no UEFI".to_owned()),
        false => EnvironmentFact::Lacks(format!("none of {} is there", files.join(", "))),
    }
}

fn mknod(dir: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let path = dir.join(".probe-node");
    let _ = fs::remove_file(&path);
    mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3))?;
    let _ = fs::remove_file(&path);
    Ok(())
}

/// Sets an attribute as SELinux does, which without SELinux takes CAP_SYS_ADMIN.
fn security_attribute(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(".probe-attribute");
    fs::write(&path, "")?;
    let set = rustix::fs::setxattr(&path, "security.selinux", b"probe", rustix::fs::XattrFlags::empty());
    let _ = fs::remove_file(&path);
    Ok(set?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::facts::Limit;

    #[test]
    fn a_lacking_feature_is_reported_with_its_reason() {
        let facts: Facts =
            [(facts::VHOST_VSOCK, EnvironmentFact::Lacks("no such device".to_owned()))].into_iter().collect();
        assert!(lacking(Need::VhostVsock, Effort::default(), &facts).unwrap().contains("no such device"));
        assert!(lacking(Need::Mknod, Effort::default(), &facts).unwrap().contains("not probed"));
        let facts: Facts = [(facts::MKNOD, EnvironmentFact::Has)].into_iter().collect();
        assert_eq!(lacking(Need::Mknod, Effort::default(), &facts), None);
        // A text that happens to be "yes" does not count as a feature.
        let text_fact: Facts = [(facts::MKNOD, EnvironmentFact::Told("yes".to_owned()))].into_iter().collect();
        assert!(lacking(Need::Mknod, Effort::default(), &text_fact).is_some());
        assert!(!text_fact.has(facts::MKNOD));
    }

    #[test]
    fn a_container_provides_no_namespaces_and_nothing_without_kvm() {
        let all =
            [facts::KVM, facts::VHOST_VSOCK, facts::VHOST_NET, facts::TUN, facts::NAMESPACES, facts::FILE_HANDLES];
        let with = |lacking: &[&str]| -> Facts {
            all.into_iter().filter(|name| !lacking.contains(name)).map(|name| (name, EnvironmentFact::Has)).collect()
        };
        let whole = Provided { kvm: true, vsock: true, network: true, ..Provided::default() };
        let in_container = |lacking: &[&str]| provided(Environment::Container, &with(lacking));
        assert_eq!(in_container(&[]), whole);
        assert_eq!(in_container(&[facts::KVM]), Provided::default());
        assert_eq!(in_container(&[facts::VHOST_VSOCK]), Provided { vsock: false, ..whole });
        assert_eq!(in_container(&[facts::TUN]), Provided { network: false, ..whole });
        let on_host = |lacking: &[&str]| provided(Environment::Host, &with(lacking));
        assert_eq!(on_host(&[]), Provided { namespaces: true, handles: true, ..whole });
        assert!(!on_host(&[facts::NAMESPACES]).network);
        let nested: Facts =
            [(facts::KVM, EnvironmentFact::Has), (facts::HYPERVISOR, EnvironmentFact::Has)].into_iter().collect();
        assert!(provided(Environment::Container, &nested).nested);
    }

    #[test]
    fn a_limit_that_is_too_low_is_named_with_its_value() {
        let facts = |most: Option<u64>| -> Facts {
            let limit = Limit { most, by: "RLIMIT_NOFILE".to_owned() };
            [(facts::OPEN_FILES, EnvironmentFact::Limited(limit))].into_iter().collect()
        };
        let why = lacking(Need::OpenFiles, Effort::default(), &facts(Some(4096)));
        let expected = "the environment's limit-open-files is 4096 (RLIMIT_NOFILE), expected 12000 or more";
        assert_eq!(why.as_deref(), Some(expected));
        assert_eq!(lacking(Need::OpenFiles, Effort::default(), &facts(Some(12000))), None);
        let thorough = Effort { thorough: true, ..Effort::default() };
        assert!(lacking(Need::OpenFiles, thorough, &facts(Some(12000))).is_some_and(|why| why.contains("120000")));
        assert_eq!(lacking(Need::OpenFiles, Effort::default(), &facts(None)), None);
        assert!(
            lacking(Need::Processes, Effort::default(), &facts(None))
                .unwrap()
                .contains("not probed for limit-processes")
        );
    }
}
