//! The system calls of a container: the harness's own allow list, each entry with its reason.
//!
//! Everything else is answered with EPERM, including calls of future kernels. Only the machine's native ABI is allowed:
//! a call of another one (x32, i386) ends the caller. The list is sent to the engine as text, so that it is the same
//! whatever the engine and its configuration.
//!
//! Each call is allowed, allowed by its arguments, absent or refused, with the reason; the refused ones are in a table
//! of the tests, because a profile does not name them.
//!
//! Together, `CAP_DAC_READ_SEARCH` and `open_by_handle_at` open every file of each filesystem of which something is
//! mounted in the container, including the host's. Docker's own filter allows the call with the capability, and refuses
//! `unshare(CLONE_FS)`, which the C virtiofsd needs. So `open_by_handle_at`, mounts, `setns`, io_uring, `bpf`,
//! `keyctl`, `userfaultfd` and `perf_event_open` are refused; `clone` and `unshare` make no namespace; `clone3`, whose
//! flags no filter sees, is absent; sockets are local, of the container's interfaces or netlink; other ABIs of the
//! machine end the caller. `ptrace` stays, because the tests of this harness make components fail by strace; a tracer
//! reaches nothing outside its own container.
//!
//! A user namespace would be no substitute, because the filesystem tests need the machine's own owners. Neither would a
//! volume on a separate filesystem, because Docker's `/etc/hosts` is on the host's filesystem. Every engine from
//! 20.10.10 on applies the same profile; a container whose agent can open a file by its handle is an error and runs
//! nothing.

mod allowed;
#[cfg(test)]
mod refused;

pub use allowed::ALLOWED;

use serde_json::{Value, json};

/// System calls that share a reason.
pub struct Group {
    /// The reason why they are allowed or not.
    pub why: &'static str,
    /// The names of the calls in libseccomp.
    pub calls: &'static [&'static str],
}

/// All flags of clone(2) that make a namespace: a user namespace gives capabilities and exposes much more of the
/// kernel.
pub const NEW_NAMESPACE: u64 = 0x7e02_0000;
/// `CLONE_NEWTIME`, for unshare(2) only; in clone(2) the bit is part of the signal that is sent when the child ends.
pub const NEW_TIME_NAMESPACE: u64 = 0x80;
/// Allowed kinds of sockets: local ones, the container's own interfaces, and the kernel's answers about those. AF_VSOCK
/// reaches the host past every network namespace; AF_ALG and the rest reach parts of the kernel that no test needs.
pub const SOCKETS: &[(&str, u64)] = &[("AF_UNIX", 1), ("AF_INET", 2), ("AF_INET6", 10), ("AF_NETLINK", 16)];
/// Allowed execution domains: the query of the current one, Linux's own, and those of `uname26` and of `setarch` for 32
/// bits.
pub const PERSONALITIES: &[u64] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls allowed from this kernel version on: before Linux 4.8 a tracer could change a call after it had passed the
/// filter.
pub const TRACING: (&str, Group) = (
    "4.8",
    Group {
        why: "strace, with which a component is made to fail on purpose, and debuggers: of processes of the same container \
              that can do no more than the tracer; the filter judges a call after the tracer has changed it",
        calls: &["process_vm_readv", "process_vm_writev", "ptrace"],
    },
);

/// Calls that are answered with ENOSYS, as by a kernel that does not know them.
pub const ABSENT: &[Group] = &[Group {
    why: "its flags lie in memory, where no filter sees them; libraries then call clone",
    calls: &["clone3"],
}];

/// Returns the profile in the form that Docker's API takes after `seccomp=`.
pub fn profile() -> Value {
    let allowed: Vec<&str> = ALLOWED.iter().flat_map(|group| group.calls).copied().collect();
    let absent: Vec<&str> = ABSENT.iter().flat_map(|group| group.calls).copied().collect();
    let (kernel, tracing) = TRACING;
    let mut rules = vec![
        json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": tracing.calls, "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": kernel}}),
        // Without a flag of a new namespace, these calls start a process, or give a process its own root, working
        // directory and umask, which the C virtiofsd asks for. s390x swaps the first two arguments of clone.
        without("clone", 0, NEW_NAMESPACE, "excludes"),
        without("clone", 1, NEW_NAMESPACE, "includes"),
        json!({"names": ["unshare"], "action": "SCMP_ACT_ALLOW", "args": [none_of(0, NEW_NAMESPACE | NEW_TIME_NAMESPACE)]}),
        json!({"names": absent, "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}),
    ];
    rules.extend(SOCKETS.iter().map(|(_, family)| first_is("socket", *family)));
    rules.extend(PERSONALITIES.iter().map(|domain| first_is("personality", *domain)));
    // There are no sub-architectures: engines add x32 and i386 only if a profile names them.
    let native = |architecture: &str| json!({"architecture": architecture, "subArchitectures": []});
    let architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390X"].map(native);
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": architectures,
        "syscalls": rules,
    })
}

const ENOSYS: u32 = 38;

fn without(call: &str, index: u32, mask: u64, on_s390x: &str) -> Value {
    json!({
        "names": [call], "action": "SCMP_ACT_ALLOW", "args": [none_of(index, mask)], on_s390x: {"arches": ["s390x"]},
    })
}

/// Returns the condition that an argument has none of these bits.
fn none_of(index: u32, mask: u64) -> Value {
    json!({"index": index, "value": mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"})
}

fn first_is(call: &str, value: u64) -> Value {
    json!({"names": [call], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
}

#[cfg(test)]
mod tests;
