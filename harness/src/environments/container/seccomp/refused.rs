//! The system calls that are refused on purpose.

use super::Group;

/// Calls that are refused (EPERM). They are listed to show that none was forgotten.
pub(super) const REFUSED: &[Group] = &[
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
