//! What the environment provides, found out before anything is blamed.

use crate::fact::{self, Fact, Facts};
use crate::home::Home;
use crate::provided::Provided;
use std::fs::{self, OpenOptions};
use std::path::Path;
use suites::catalogue::Need;
use suites::environment::Kind;

/// What there is: the evidence for the report and the source of skips.
pub fn probe(home: &Home) -> Facts {
    let volume = home.dir.as_path();
    let mut facts: Facts = crate::limits::all().into_iter().map(|(name, limit)| (name, Fact::Limited(limit))).collect();
    let cpus = std::thread::available_parallelism().map_or_else(|e| e.to_string(), |n| n.to_string());
    for (name, text) in [
        ("cpus", cpus),
        ("shm-mib", free_mib(Path::new("/dev/shm"))),
        ("volume-mib", free_mib(volume)),
        ("volume-filesystem", filesystem_of(volume)),
        ("capabilities", status_line("CapEff")),
        (fact::SECCOMP, status_line("Seccomp")),
    ] {
        facts.note(name, Fact::Told(text));
    }
    let when = |there: bool, otherwise: &str| if there { Fact::Has } else { Fact::Lacks(otherwise.to_owned()) };
    facts.note("io-uring", io_uring());
    facts.note(fact::FILE_HANDLES, Fact::of(crate::process::open_by_handle(volume)));
    facts.note(fact::KVM, if home.kind == Kind::Container { open("/dev/kvm") } else { Fact::of(vcpu()) });
    facts.note(fact::VHOST_VSOCK, open("/dev/vhost-vsock"));
    facts.note(fact::VHOST_NET, open("/dev/vhost-net"));
    facts.note(fact::TUN, open("/dev/net/tun"));
    facts.note(fact::NAMESPACES, when(rustix::process::geteuid().is_root(), "not root"));
    facts.note(fact::HYPERVISOR, when(under_a_hypervisor(), "no"));
    facts.note(fact::MKNOD, Fact::of(mknod(volume)));
    facts.note("syslog", when(Path::new("/dev/log").exists(), "no /dev/log"));
    facts
}

/// Why the environment cannot give a test what it needs; `None` if it can.
pub fn lacking(need: Need, facts: &Facts) -> Option<String> {
    let names: &[&str] = match need {
        Need::VhostVsock => &[fact::VHOST_VSOCK],
        Need::VhostNet => &[fact::VHOST_NET, fact::TUN],
        Need::Mknod => &[fact::MKNOD],
        Need::FileHandles => &[fact::FILE_HANDLES],
        Need::OpenFiles => &[fact::OPEN_FILES],
        Need::Processes => &[fact::PROCESSES],
        Need::Memory => &[fact::MEMORY],
    };
    names.iter().find_map(|name| match (facts.get(name), need.amount()) {
        (Some(Fact::Has), None) => None,
        (Some(Fact::Limited(limit)), Some(wanted)) => limit
            .most
            .is_some_and(|most| most < wanted)
            .then(|| format!("the environment's {name} is {limit}, expected {wanted} or more")),
        (Some(other), _) => Some(format!("the environment lacks {name}: {other}")),
        (None, _) => Some(format!("the environment was not probed for {name}")),
    })
}

/// What guests may be given: in a container nothing that needs its host's drivers, whatever it happens to have.
pub fn provided(kind: Kind, facts: &Facts) -> Provided {
    if kind == Kind::Container {
        return Provided::default();
    }
    Provided {
        kvm: facts.has(fact::KVM),
        vsock: facts.has(fact::VHOST_VSOCK),
        network: facts.has(fact::VHOST_NET) && facts.has(fact::TUN) && facts.has(fact::NAMESPACES),
        namespaces: facts.has(fact::NAMESPACES),
        handles: facts.has(fact::FILE_HANDLES),
        nested: facts.has(fact::HYPERVISOR),
        terse: facts.has(fact::HYPERVISOR),
        peer: None,
    }
}

/// Whether a vCPU runs under KVM, or why not.
fn vcpu() -> Result<(), String> {
    let run = crate::kvm::run_a_vcpu()?;
    let ended = run.exits.ends_with("hlt");
    ended.then_some(()).ok_or_else(|| format!("a vCPU did not come to its end: {}", run.exits))
}

/// Whether this machine is a virtual one by its own processor: what Kata looks for before it asks for transitional
/// virtio devices.
fn under_a_hypervisor() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn open(path: &str) -> Fact {
    Fact::of(OpenOptions::new().read(true).write(true).open(path).map_err(|e| format!("{path}: {e}")))
}

fn free_mib(path: &Path) -> String {
    rustix::fs::statvfs(path).map_or_else(|e| e.to_string(), |s| (s.f_bavail * s.f_frsize / (1 << 20)).to_string())
}

/// The type of the filesystem mounted nearest above `path`.
pub(crate) fn filesystem_of(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut best = (0, "unknown".to_owned());
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let dash = fields.iter().position(|f| *f == "-").unwrap_or(usize::MAX - 1);
        if let (Some(target), Some(kind)) = (fields.get(4), fields.get(dash + 1))
            && path.starts_with(target)
            && target.len() >= best.0
        {
            best = (target.len(), (*kind).to_owned());
        }
    }
    best.1
}

fn status_line(key: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).unwrap_or("unknown");
    value.trim().to_owned()
}

/// io_uring_setup with no memory to write to: EFAULT means that it is there, EPERM or ENOSYS that it is not.
fn io_uring() -> Fact {
    match crate::process::io_uring_setup_errno() {
        libc::EFAULT | libc::EINVAL => Fact::Has,
        errno => Fact::Lacks(std::io::Error::from_raw_os_error(errno).to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Limit;

    #[test]
    fn what_is_lacking_is_named() {
        let facts: Facts = [(fact::VHOST_VSOCK, Fact::Lacks("no such device".to_owned()))].into_iter().collect();
        assert!(lacking(Need::VhostVsock, &facts).unwrap().contains("no such device"));
        assert!(lacking(Need::Mknod, &facts).unwrap().contains("not probed"));
        let facts: Facts = [(fact::MKNOD, Fact::Has)].into_iter().collect();
        assert_eq!(lacking(Need::Mknod, &facts), None);
        // A text that happens to say yes is none.
        let told: Facts = [(fact::MKNOD, Fact::Told("yes".to_owned()))].into_iter().collect();
        assert!(lacking(Need::Mknod, &told).is_some());
        assert!(!told.has(fact::MKNOD));
    }

    #[test]
    fn a_limit_that_is_too_low_is_named_with_its_value() {
        let facts = |most: Option<u64>| -> Facts {
            let limit = Limit { most, by: "RLIMIT_NOFILE".to_owned() };
            [(fact::OPEN_FILES, Fact::Limited(limit))].into_iter().collect()
        };
        let why = lacking(Need::OpenFiles, &facts(Some(4096)));
        let expected = "the environment's limit-open-files is 4096 (RLIMIT_NOFILE), expected 12000 or more";
        assert_eq!(why.as_deref(), Some(expected));
        assert_eq!(lacking(Need::OpenFiles, &facts(Some(12000))), None);
        assert_eq!(lacking(Need::OpenFiles, &facts(None)), None);
        assert!(lacking(Need::Processes, &facts(None)).unwrap().contains("not probed for limit-processes"));
    }
}
