//! What the environment provides, found out before anything is blamed.

use crate::compose::Provided;
use crate::home::Home;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;
use suites::catalogue::Need;
use suites::environment::Kind;

/// The probes' results, by name; evidence for the report and the source of skips.
pub fn probe(home: &Home) -> BTreeMap<String, String> {
    let volume = home.dir.as_path();
    let mut facts = BTreeMap::new();
    let mut say = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
    crate::limits::facts().into_iter().for_each(|(name, limit)| say(name, limit));
    say("cpus", std::thread::available_parallelism().map_or_else(|e| e.to_string(), |n| n.to_string()));
    say("shm-mib", free_mib(Path::new("/dev/shm")));
    say("volume-mib", free_mib(volume));
    say("volume-filesystem", filesystem_of(volume));
    say("capabilities", status_line("CapEff"));
    say("seccomp", status_line("Seccomp"));
    say("io-uring", io_uring());
    say("file-handles", crate::process::open_by_handle(volume).map_or_else(|e| e.to_string(), |()| "yes".to_owned()));
    say("kvm", if home.kind == Kind::Container { open("/dev/kvm") } else { vcpu() });
    say("vhost-vsock", open("/dev/vhost-vsock"));
    say("vhost-net", open("/dev/vhost-net"));
    say("tun", open("/dev/net/tun"));
    say("namespaces", if rustix::process::geteuid().is_root() { "yes".into() } else { "not root".into() });
    say("hypervisor", if under_a_hypervisor() { "yes".into() } else { "no".into() });
    say("mknod", mknod(volume));
    say("syslog", if Path::new("/dev/log").exists() { "yes".into() } else { "no /dev/log".into() });
    facts
}

/// Why the environment cannot give a test what it needs; `None` if it can.
pub fn lacking(need: Need, facts: &BTreeMap<String, String>) -> Option<String> {
    let names: &[&str] = match need {
        Need::VhostVsock => &["vhost-vsock"],
        Need::VhostNet => &["vhost-net", "tun"],
        Need::Mknod => &["mknod"],
        Need::FileHandles => &["file-handles"],
        Need::OpenFiles => return too_few("limit-open-files", need.amount(), facts),
        Need::Processes => return too_few("limit-processes", need.amount(), facts),
        Need::Memory => return too_few("limit-memory-mib", need.amount(), facts),
    };
    names.iter().find_map(|name| match facts.get(*name).map(String::as_str) {
        Some("yes") => None,
        Some(other) => Some(format!("the environment lacks {name}: {other}")),
        None => Some(format!("the environment was not probed for {name}")),
    })
}

/// Why a limit is too low for an amount; `None` if it is not, or if there is none.
fn too_few(name: &str, wanted: Option<u64>, facts: &BTreeMap<String, String>) -> Option<String> {
    let Some(limit) = facts.get(name) else { return Some(format!("the environment was not probed for {name}")) };
    match (crate::limits::amount(limit), wanted) {
        (Ok(Some(has)), Some(wanted)) if has < wanted => {
            Some(format!("the environment's {name} is {limit}, expected {wanted} or more"))
        }
        (Ok(_), _) => None,
        (Err(other), _) => Some(format!("the environment's {name} could not be read: {other}")),
    }
}

/// What guests may be given: in a container nothing that needs its host's drivers, whatever it happens to have.
pub fn provided(kind: Kind, facts: &BTreeMap<String, String>) -> Provided {
    if kind == Kind::Container {
        return Provided::default();
    }
    let has = |name: &str| facts.get(name).is_some_and(|value| value == "yes");
    Provided {
        kvm: has("kvm"),
        vsock: has("vhost-vsock"),
        network: has("vhost-net") && has("tun") && has("namespaces"),
        namespaces: has("namespaces"),
        handles: has("file-handles"),
        nested: has("hypervisor"),
        terse: has("hypervisor"),
        peer: None,
    }
}

/// Whether a vCPU runs under KVM: `yes`, or why not.
fn vcpu() -> String {
    match crate::kvm::run_a_vcpu() {
        Ok(run) if run.exits.ends_with("hlt") => "yes".to_owned(),
        Ok(run) => format!("a vCPU did not come to its end: {}", run.exits),
        Err(e) => e,
    }
}

/// Whether this machine is a virtual one by its own processor: what Kata looks for before it asks for transitional
/// virtio devices.
fn under_a_hypervisor() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn open(path: &str) -> String {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => "yes".to_owned(),
        Err(e) => format!("{path}: {e}"),
    }
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
fn io_uring() -> String {
    match crate::process::io_uring_setup_errno() {
        libc::EFAULT | libc::EINVAL => "yes".to_owned(),
        errno => std::io::Error::from_raw_os_error(errno).to_string(),
    }
}

fn mknod(dir: &Path) -> String {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let path = dir.join(".probe-node");
    let _ = fs::remove_file(&path);
    match mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)) {
        Ok(()) => {
            let _ = fs::remove_file(&path);
            "yes".to_owned()
        }
        Err(e) => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named() {
        let facts = BTreeMap::from([("vhost-vsock".to_owned(), "no such device".to_owned())]);
        assert!(lacking(Need::VhostVsock, &facts).unwrap().contains("no such device"));
        assert!(lacking(Need::Mknod, &facts).unwrap().contains("not probed"));
        let facts = BTreeMap::from([("mknod".to_owned(), "yes".to_owned())]);
        assert_eq!(lacking(Need::Mknod, &facts), None);
    }

    #[test]
    fn a_limit_that_is_too_low_is_named_with_its_value() {
        let facts = |limit: &str| BTreeMap::from([("limit-open-files".to_owned(), limit.to_owned())]);
        let why = lacking(Need::OpenFiles, &facts("4096 (RLIMIT_NOFILE)"));
        let expected = "the environment's limit-open-files is 4096 (RLIMIT_NOFILE), expected 12000 or more";
        assert_eq!(why.as_deref(), Some(expected));
        assert_eq!(lacking(Need::OpenFiles, &facts("12000 (fs.nr_open)")), None);
        assert_eq!(lacking(Need::OpenFiles, &facts("unlimited")), None);
        assert!(lacking(Need::Processes, &facts("unlimited")).unwrap().contains("not probed for limit-processes"));
    }
}
