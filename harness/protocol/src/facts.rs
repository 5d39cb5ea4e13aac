//! Facts about an environment.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One fact about an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvironmentFact {
    /// The thing exists or works.
    Has,
    /// The thing is missing or does not work, for this reason.
    Lacks(String),
    /// The thing is limited to this amount.
    Limited(Limit),
    /// A description, for people.
    Told(String),
}

/// The smallest of the limits on one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limit {
    /// The maximum, `None` if unlimited.
    pub most: Option<u64>,
    /// The source of the limit: `RLIMIT_NOFILE`.
    pub by: String,
}

impl Limit {
    /// No limit.
    pub const NONE: Limit = Limit { most: None, by: String::new() };

    /// Returns the smaller limit, or `self` if both are equal.
    #[must_use]
    pub fn or(self, most: Option<u64>, by: &str) -> Limit {
        match (self.most, most) {
            (Some(mine), Some(other)) if mine <= other => self,
            (_, None) => self,
            (_, Some(_)) => Limit { most, by: by.to_owned() },
        }
    }

    /// Returns the limit in units of this size, rounded down.
    #[must_use]
    pub fn in_units_of(self, unit: u64) -> Limit {
        Limit { most: self.most.map(|most| most / unit), ..self }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.most {
            Some(most) => write!(f, "{most} ({})", self.by),
            None => f.write_str("unlimited"),
        }
    }
}

impl fmt::Display for EnvironmentFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvironmentFact::Has => f.write_str("yes"),
            EnvironmentFact::Lacks(text) | EnvironmentFact::Told(text) => f.write_str(text),
            EnvironmentFact::Limited(limit) => limit.fmt(f),
        }
    }
}

impl EnvironmentFact {
    /// Converts the result of an attempt: it works, or the reason why not.
    pub fn of<T, E: fmt::Display>(tried: Result<T, E>) -> EnvironmentFact {
        tried.map_or_else(|why| EnvironmentFact::Lacks(why.to_string()), |_| EnvironmentFact::Has)
    }
}

/// All facts, by the names below and by others that are for people only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, EnvironmentFact>);

/// A vCPU runs under KVM.
pub const KVM: &str = "kvm";
/// `/dev/vhost-vsock` can be opened.
pub const VHOST_VSOCK: &str = "vhost-vsock";
/// `/dev/vhost-net` can be opened.
pub const VHOST_NET: &str = "vhost-net";
/// `/dev/net/tun` can be opened.
pub const TUN: &str = "tun";
/// Namespaces can be made.
pub const NAMESPACES: &str = "namespaces";
/// The processor is a virtual one.
pub const HYPERVISOR: &str = "hypervisor";
/// Device nodes can be made.
pub const MKNOD: &str = "mknod";
/// Files can be opened by their handles.
pub const FILE_HANDLES: &str = "file-handles";
/// io_uring is there and permitted.
pub const IO_URING: &str = "io-uring";
/// Memory can be bound to nodes of the host.
pub const MEMORY_POLICY: &str = "memory-policy";
/// There are huge pages for a small guest, or can be.
pub const HUGEPAGES: &str = "hugepages";
/// A UEFI firmware for guests is there.
pub const FIRMWARE: &str = "firmware";
/// `security.*` attributes of files can be set.
pub const SECURITY_ATTRIBUTES: &str = "security-attributes";
/// The mode of seccomp, as in `/proc/self/status`.
pub const SECCOMP: &str = "seccomp";
/// The limit of open files.
pub const OPEN_FILES: &str = "limit-open-files";
/// The limit of processes.
pub const PROCESSES: &str = "limit-processes";
/// The limit of memory, in MiB.
pub const MEMORY: &str = "limit-memory-mib";
/// How many CPUs this process may run on.
pub const CPUS: &str = "limit-cpus";

impl Facts {
    /// Adds or replaces a fact.
    pub fn note(&mut self, name: &str, fact: EnvironmentFact) {
        self.0.insert(name.to_owned(), fact);
    }

    /// Returns a fact, `None` if it was not probed.
    pub fn get(&self, name: &str) -> Option<&EnvironmentFact> {
        self.0.get(name)
    }

    /// Returns whether the thing exists or works.
    pub fn has(&self, name: &str) -> bool {
        self.get(name) == Some(&EnvironmentFact::Has)
    }

    /// Iterates over all facts, for the evidence.
    pub fn all(&self) -> impl Iterator<Item = (&String, &EnvironmentFact)> {
        self.0.iter()
    }
}

impl FromIterator<(&'static str, EnvironmentFact)> for Facts {
    fn from_iter<I: IntoIterator<Item = (&'static str, EnvironmentFact)>>(facts: I) -> Facts {
        Facts(facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect())
    }
}
