//! The system calls of a container: an allow list of our own, each entry with its reason.
//!
//! Whatever is not allowed here answers EPERM, what the kernel will learn next included.
//! Only the machine's own ABI is allowed: a call of another one (x32, i386) ends the caller.
//! The list is sent to the engine as text, so that it is the same whatever engine there is and however it is set up.

use serde_json::{Value, json};

/// System calls that share a reason.
pub struct Group {
    /// Why they are allowed, or why not.
    pub why: &'static str,
    /// Their names, as libseccomp has them.
    pub calls: &'static [&'static str],
}

/// Every flag of clone(2) that makes a namespace: a user namespace gives capabilities and much more of the kernel.
pub const NEW_NAMESPACE: u64 = 0x7e02_0000;
/// `CLONE_NEWTIME`: for unshare(2) alone; in clone(2) the bit belongs to the signal at the child's end.
pub const NEW_TIME_NAMESPACE: u64 = 0x80;
/// Kinds of sockets: local ones, the container's own interfaces, and the kernel's answers about those.
/// AF_VSOCK reaches the host past every network namespace, AF_ALG and the rest reach parts of the kernel that no test needs.
pub const SOCKETS: &[(&str, u64)] = &[("AF_UNIX", 1), ("AF_INET", 2), ("AF_INET6", 10), ("AF_NETLINK", 16)];
/// Execution domains: asking for the present one, Linux', and the two that `uname26` and `setarch` of 32 bits stand for.
pub const PERSONALITIES: &[u64] = &[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Allowed whatever their arguments.
pub const ALLOWED: &[Group] = &[
    Group {
        why: "files and folders of the container and of shares, which is what is under test",
        calls: &[
            "access",
            "chdir",
            "chmod",
            "chown",
            "close",
            "close_range",
            "copy_file_range",
            "creat",
            "dup",
            "dup2",
            "dup3",
            "faccessat",
            "faccessat2",
            "fadvise64",
            "fallocate",
            "fchdir",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "fchown",
            "fchownat",
            "fcntl",
            "fdatasync",
            "fgetxattr",
            "flistxattr",
            "flock",
            "fremovexattr",
            "fsetxattr",
            "fstat",
            "fstatfs",
            "fsync",
            "ftruncate",
            "futimesat",
            "getcwd",
            "getdents",
            "getdents64",
            "getxattr",
            "getxattrat",
            "ioctl",
            "lchown",
            "lgetxattr",
            "link",
            "linkat",
            "listxattr",
            "listxattrat",
            "llistxattr",
            "lremovexattr",
            "lseek",
            "lsetxattr",
            "lstat",
            "mkdir",
            "mkdirat",
            "mknod",
            "mknodat",
            "newfstatat",
            "open",
            "openat",
            "openat2",
            "pread64",
            "preadv",
            "preadv2",
            "pwrite64",
            "pwritev",
            "pwritev2",
            "read",
            "readahead",
            "readlink",
            "readlinkat",
            "readv",
            "removexattr",
            "removexattrat",
            "rename",
            "renameat",
            "renameat2",
            "rmdir",
            "sendfile",
            "setxattr",
            "setxattrat",
            "splice",
            "stat",
            "statfs",
            "statx",
            "symlink",
            "symlinkat",
            "sync",
            "sync_file_range",
            "syncfs",
            "tee",
            "truncate",
            "umask",
            "unlink",
            "unlinkat",
            "utime",
            "utimensat",
            "utimes",
            "vmsplice",
            "write",
            "writev",
        ],
    },
    Group {
        why: "makes a handle of a file that is open to the caller anyway, and opens nothing; filesystem tests compare them",
        calls: &["name_to_handle_at"],
    },
    Group {
        why: "says what is mounted in the caller's own mount namespace, as /proc/self/mountinfo does",
        calls: &["listmount", "statmount"],
    },
    Group {
        why: "news of files that the caller can reach",
        calls: &["inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch"],
    },
    Group {
        why: "virtiofsd's sandbox in a container is a chroot, and so is that of package managers; needs CAP_SYS_CHROOT",
        calls: &["chroot"],
    },
    Group {
        why: "memory of the caller's own: guests' memory is mapped, shared by memfd and locked within its limit",
        calls: &[
            "brk",
            "cachestat",
            "madvise",
            "map_shadow_stack",
            "membarrier",
            "memfd_create",
            "mincore",
            "mlock",
            "mlock2",
            "mlockall",
            "mmap",
            "mprotect",
            "mremap",
            "mseal",
            "msync",
            "munlock",
            "munlockall",
            "munmap",
            "pkey_alloc",
            "pkey_free",
            "pkey_mprotect",
            "remap_file_pages",
        ],
    },
    Group {
        why: "processes and threads; those that could make namespaces have rules of their own",
        calls: &[
            "execve",
            "execveat",
            "exit",
            "exit_group",
            "fork",
            "futex",
            "futex_requeue",
            "futex_wait",
            "futex_waitv",
            "futex_wake",
            "get_robust_list",
            "get_thread_area",
            "getcpu",
            "getpgid",
            "getpgrp",
            "getpid",
            "getppid",
            "getpriority",
            "getrlimit",
            "getrusage",
            "getsid",
            "gettid",
            "ioprio_get",
            "ioprio_set",
            "kill",
            "pidfd_open",
            "pidfd_send_signal",
            "prctl",
            "prlimit64",
            "process_mrelease",
            "restart_syscall",
            "rseq",
            "sched_get_priority_max",
            "sched_get_priority_min",
            "sched_getaffinity",
            "sched_getattr",
            "sched_getparam",
            "sched_getscheduler",
            "sched_rr_get_interval",
            "sched_setaffinity",
            "sched_setattr",
            "sched_setparam",
            "sched_setscheduler",
            "sched_yield",
            "set_robust_list",
            "set_thread_area",
            "set_tid_address",
            "setpgid",
            "setpriority",
            "setrlimit",
            "setsid",
            "sysinfo",
            "tgkill",
            "times",
            "tkill",
            "uname",
            "vfork",
            "wait4",
            "waitid",
        ],
    },
    Group {
        why: "identities and capabilities: virtiofsd acts as the guest's users; nothing is gained that was not given",
        calls: &[
            "capget",
            "capset",
            "getegid",
            "geteuid",
            "getgid",
            "getgroups",
            "getresgid",
            "getresuid",
            "getuid",
            "setfsgid",
            "setfsuid",
            "setgid",
            "setgroups",
            "setregid",
            "setresgid",
            "setresuid",
            "setreuid",
            "setuid",
        ],
    },
    Group {
        why: "takes from the caller and gives nothing: QEMU's and virtiofsd's own filters, apt's and xz's sandboxes",
        calls: &["landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"],
    },
    Group {
        why: "signals",
        calls: &[
            "pause",
            "rt_sigaction",
            "rt_sigpending",
            "rt_sigprocmask",
            "rt_sigqueueinfo",
            "rt_sigreturn",
            "rt_sigsuspend",
            "rt_sigtimedwait",
            "rt_tgsigqueueinfo",
            "sigaltstack",
            "signalfd",
            "signalfd4",
        ],
    },
    Group {
        why: "waiting for events",
        calls: &[
            "epoll_create",
            "epoll_create1",
            "epoll_ctl",
            "epoll_pwait",
            "epoll_pwait2",
            "epoll_wait",
            "eventfd",
            "eventfd2",
            "pipe",
            "pipe2",
            "poll",
            "ppoll",
            "pselect6",
            "select",
        ],
    },
    Group {
        why: "clocks and timers; setting the clock needs CAP_SYS_TIME, which no container has, and asking goes the same way",
        calls: &[
            "adjtimex",
            "alarm",
            "clock_adjtime",
            "clock_getres",
            "clock_gettime",
            "clock_nanosleep",
            "getitimer",
            "gettimeofday",
            "nanosleep",
            "setitimer",
            "time",
            "timer_create",
            "timer_delete",
            "timer_getoverrun",
            "timer_gettime",
            "timer_settime",
            "timerfd_create",
            "timerfd_gettime",
            "timerfd_settime",
        ],
    },
    Group {
        why: "use of sockets; which kinds can be made, a rule of its own says",
        calls: &[
            "accept",
            "accept4",
            "bind",
            "connect",
            "getpeername",
            "getsockname",
            "getsockopt",
            "listen",
            "recvfrom",
            "recvmmsg",
            "recvmsg",
            "sendmmsg",
            "sendmsg",
            "sendto",
            "setsockopt",
            "shutdown",
            "socketpair",
        ],
    },
    Group {
        why: "Linux' native asynchronous I/O, QEMU's `aio=native`: reads and writes of open files and nothing else",
        calls: &["io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit"],
    },
    Group {
        why: "queues, semaphores and memory of the container's own IPC namespace",
        calls: &[
            "mq_getsetattr",
            "mq_notify",
            "mq_open",
            "mq_timedreceive",
            "mq_timedsend",
            "mq_unlink",
            "msgctl",
            "msgget",
            "msgrcv",
            "msgsnd",
            "semctl",
            "semget",
            "semop",
            "semtimedop",
            "shmat",
            "shmctl",
            "shmdt",
            "shmget",
        ],
    },
    Group { why: "randomness", calls: &["getrandom"] },
    Group {
        why: "what programs of one architecture cannot do without; elsewhere the names mean nothing",
        calls: &[
            // x86_64
            "arch_prctl",
            "uretprobe",
            // ppc64le, s390x
            "_llseek",
            "_newselect",
            "ipc",
            "recv",
            "s390_runtime_instr",
            "send",
            "sigaction",
            "sigpending",
            "sigprocmask",
            "sigreturn",
            "sigsuspend",
            "swapcontext",
            "sync_file_range2",
            "ugetrlimit",
            "waitpid",
        ],
    },
];

/// Allowed where the kernel is not older than the one named: before Linux 4.8 a tracer could change a call after it had
/// passed the filter.
pub const TRACING: (&str, Group) = (
    "4.8",
    Group {
        why: "strace, with which a component is made to fail on purpose, and debuggers: of processes of the same container \
              that can do no more than the tracer; the filter judges a call after the tracer has changed it",
        calls: &["process_vm_readv", "process_vm_writev", "ptrace"],
    },
);

/// Allowed by some of their arguments only; see [`profile`].
pub const BY_ARGUMENT: &[Group] = &[
    Group {
        why: "without a flag of a new namespace they start a process, and give one a root, a working folder and a umask of \
              its own, which the C virtiofsd asks for",
        calls: &["clone", "unshare"],
    },
    Group { why: "only of the kinds in `SOCKETS`", calls: &["socket"] },
    Group { why: "only those in `PERSONALITIES`", calls: &["personality"] },
];

/// Not there, as on a kernel that does not know it (ENOSYS).
pub const ABSENT: &[Group] = &[Group {
    why: "its flags lie in memory, where no filter sees them; libraries then call clone",
    calls: &["clone3"],
}];

/// Refused (EPERM) on purpose, so that nobody takes one for forgotten.
pub const REFUSED: &[Group] = &[
    Group {
        why: "with CAP_DAC_READ_SEARCH, which virtiofsd 1.14 does not start without, it opens every file of each filesystem \
              of which something is mounted in the container, and Docker's /etc/hosts lies on the host's",
        calls: &["open_by_handle_at"],
    },
    Group {
        why: "mounts are the engine's; what a container could do here it could only do in a namespace of its own",
        calls: &[
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "pivot_root",
            "setns",
            "umount2",
        ],
    },
    Group {
        why: "a second way to open, read, write and connect, which filters see nothing of, and much of the kernel; no guest of \
              a container's has a disk with aio=io_uring, QEMU's main loop goes on with epoll, and virtual machines test it",
        calls: &["io_uring_enter", "io_uring_register", "io_uring_setup"],
    },
    Group {
        why: "programs and counters in the kernel: nothing under test loads any",
        calls: &["bpf", "perf_event_open"],
    },
    Group { why: "keyrings know no container", calls: &["add_key", "keyctl", "request_key"] },
    Group {
        why: "lets a fault in the kernel wait for as long as the caller likes, the tool of most exploits; QEMU asks for it to \
              migrate, which Kata does not",
        calls: &["userfaultfd"],
    },
    Group {
        why: "reach into other processes, which no program under test does",
        calls: &["kcmp", "pidfd_getfd", "process_madvise"],
    },
    Group { why: "watches whole filesystems, the host's among them", calls: &["fanotify_init", "fanotify_mark"] },
    Group {
        why: "the machine's, not the container's: clock, names, modules, restart, swap, accounting, quotas, terminals, logs",
        calls: &[
            "acct",
            "clock_settime",
            "delete_module",
            "finit_module",
            "init_module",
            "ioperm",
            "iopl",
            "kexec_file_load",
            "kexec_load",
            "quotactl",
            "quotactl_fd",
            "reboot",
            "setdomainname",
            "sethostname",
            "settimeofday",
            "swapoff",
            "swapon",
            "syslog",
            "vhangup",
        ],
    },
    Group {
        why: "where memory lies on the machine's nodes is none of a container's business",
        calls: &["get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node"],
    },
    Group {
        why: "memory that nobody else can read, not even a dump that is to explain a crash",
        calls: &["memfd_secret"],
    },
    Group { why: "descriptors of 16-bit and 32-bit segments, for programs of another age", calls: &["modify_ldt"] },
    Group {
        why: "gone from the kernel, or never there",
        calls: &[
            "_sysctl",
            "afs_syscall",
            "create_module",
            "epoll_ctl_old",
            "epoll_wait_old",
            "get_kernel_syms",
            "getpmsg",
            "lookup_dcookie",
            "nfsservctl",
            "putpmsg",
            "query_module",
            "security",
            "sysfs",
            "tuxcall",
            "uselib",
            "ustat",
            "vserver",
        ],
    },
];

/// The profile as Docker's API takes it after `seccomp=`.
pub fn profile() -> Value {
    let allowed: Vec<&str> = ALLOWED.iter().flat_map(|group| group.calls).copied().collect();
    let absent: Vec<&str> = ABSENT.iter().flat_map(|group| group.calls).copied().collect();
    let (kernel, tracing) = TRACING;
    let mut rules = vec![
        json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": tracing.calls, "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": kernel}}),
        // s390x has clone's first two arguments the other way round.
        without("clone", 0, NEW_NAMESPACE, "excludes"),
        without("clone", 1, NEW_NAMESPACE, "includes"),
        json!({"names": ["unshare"], "action": "SCMP_ACT_ALLOW", "args": [none_of(0, NEW_NAMESPACE | NEW_TIME_NAMESPACE)]}),
        json!({"names": absent, "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}),
    ];
    rules.extend(SOCKETS.iter().map(|(_, family)| first_is("socket", *family)));
    rules.extend(PERSONALITIES.iter().map(|domain| first_is("personality", *domain)));
    // Without sub-architectures: engines add x32 and i386 only where a profile names them.
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

/// The condition that an argument has none of these bits.
fn none_of(index: u32, mask: u64) -> Value {
    json!({"index": index, "value": mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"})
}

fn first_is(call: &str, value: u64) -> Value {
    json!({"names": [call], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
}

#[cfg(test)]
mod tests;
