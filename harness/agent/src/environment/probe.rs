//! What the environment provides, found out before anything is blamed.

use crate::environment::{kvm, limits};
use crate::home::AgentHome;
use crate::launch::provided::Provided;
use crate::{process, system};
use protocol::facts::{self, EnvironmentFact, Facts};
use std::fs::{self, OpenOptions};
use std::path::Path;
use suites::catalogue::Need;
use suites::environment::{Effort, Environment};

/// What there is: the evidence for the report and the source of skips.
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
    facts.note("io-uring", io_uring());
    facts.note(facts::FILE_HANDLES, EnvironmentFact::of(process::open_by_handle(volume)));
    facts.note(
        facts::KVM,
        if home.kind == Environment::Container { open("/dev/kvm") } else { EnvironmentFact::of(kvm::works()) },
    );
    facts.note(facts::VHOST_VSOCK, open("/dev/vhost-vsock"));
    facts.note(facts::VHOST_NET, open("/dev/vhost-net"));
    facts.note(facts::TUN, open("/dev/net/tun"));
    facts.note(facts::NAMESPACES, when(rustix::process::geteuid().is_root(), "not root"));
    facts.note(facts::HYPERVISOR, when(system::is_under_a_hypervisor(), "no"));
    facts.note(facts::MKNOD, EnvironmentFact::of(mknod(volume)));
    facts.note(facts::SECURITY_ATTRIBUTES, EnvironmentFact::of(security_attribute(volume)));
    facts.note("syslog", when(Path::new("/dev/log").exists(), "no /dev/log"));
    facts
}

/// Why the environment cannot give a test what it needs; `None` if it can.
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
    };
    names.iter().find_map(|name| match (facts.get(name), need.amount(effort)) {
        (Some(EnvironmentFact::Has), None) => None,
        (Some(EnvironmentFact::Limited(limit)), Some(wanted)) => limit
            .most
            .is_some_and(|most| most < wanted)
            .then(|| format!("the environment's {name} is {limit}, expected {wanted} or more")),
        (Some(other), _) => Some(format!("the environment lacks {name}: {other}")),
        (None, _) => Some(format!("the environment was not probed for {name}")),
    })
}

/// What guests may be given: in a container nothing that needs its host's drivers, whatever it happens to have.
pub fn provided(kind: Environment, facts: &Facts) -> Provided {
    if kind == Environment::Container {
        return Provided::default();
    }
    Provided {
        kvm: facts.has(facts::KVM),
        vsock: facts.has(facts::VHOST_VSOCK),
        network: facts.has(facts::VHOST_NET) && facts.has(facts::TUN) && facts.has(facts::NAMESPACES),
        namespaces: facts.has(facts::NAMESPACES),
        handles: facts.has(facts::FILE_HANDLES),
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
    let value = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).unwrap_or("unknown");
    value.trim().to_owned()
}

/// io_uring_setup with no memory to write to: EFAULT means that it is there, EPERM or ENOSYS that it is not.
fn io_uring() -> EnvironmentFact {
    match process::io_uring_setup_errno() {
        libc::EFAULT | libc::EINVAL => EnvironmentFact::Has,
        errno => EnvironmentFact::Lacks(std::io::Error::from_raw_os_error(errno).to_string()),
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

/// Sets an attribute as SELinux does, which asks for CAP_SYS_ADMIN of who has no SELinux.
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
    fn what_is_lacking_is_named() {
        let facts: Facts =
            [(facts::VHOST_VSOCK, EnvironmentFact::Lacks("no such device".to_owned()))].into_iter().collect();
        assert!(lacking(Need::VhostVsock, Effort::default(), &facts).unwrap().contains("no such device"));
        assert!(lacking(Need::Mknod, Effort::default(), &facts).unwrap().contains("not probed"));
        let facts: Facts = [(facts::MKNOD, EnvironmentFact::Has)].into_iter().collect();
        assert_eq!(lacking(Need::Mknod, Effort::default(), &facts), None);
        // A text that happens to say yes is none.
        let told: Facts = [(facts::MKNOD, EnvironmentFact::Told("yes".to_owned()))].into_iter().collect();
        assert!(lacking(Need::Mknod, Effort::default(), &told).is_some());
        assert!(!told.has(facts::MKNOD));
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
