//! Closes what a foreign program can reach in spite of its namespaces: some system calls, and the caller's keys.
#![expect(unsafe_code, reason = "keyctl has no safe interface")]

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

/// System calls that neither package scripts nor `--version` need.
const REFUSED: [libc::c_long; 14] = [
    // Keys belong to users and sessions, which namespaces do not separate.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Reads any file on the filesystem of a descriptor, even outside the root.
    libc::SYS_open_by_handle_at,
    // Kernel interfaces available to root in a user namespace, through which programs have escaped before.
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
];

/// The permitted socket families. The others, such as vsock, reach past network namespaces or expose more of the
/// kernel.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// On x86_64, a call's number with this bit is the same call of the x32 interface: `__X32_SYSCALL_BIT`.
const X32: libc::c_long = 0x4000_0000;

/// `KEYCTL_JOIN_SESSION_KEYRING` of `linux/keyctl.h`.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// A seccomp filter for foreign programs; made before a fork, applied after it.
#[derive(Debug, Clone)]
pub struct Filter(Option<BpfProgram>);

impl Filter {
    /// Refuses the listed calls and other socket families with EPERM, and kills programs of another architecture.
    ///
    /// The filter is empty on ppc64le and s390x, which the library does not support.
    ///
    /// # Errors
    ///
    /// None known: the filter is made of constants.
    pub fn of_strangers() -> io::Result<Filter> {
        let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(Filter(None)) };
        let other = |family: &libc::c_int| {
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))
        };
        let families = FAMILIES.iter().map(other).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        let other_family = SeccompRule::new(families).map_err(io::Error::other)?;
        let mut rules = BTreeMap::new();
        for interface in if arch == TargetArch::x86_64 { &[0, X32][..] } else { &[0] } {
            rules.extend(REFUSED.iter().map(|number| (number | interface, Vec::new())));
            for number in [libc::SYS_socket, libc::SYS_socketpair] {
                rules.insert(number | interface, vec![other_family.clone()]);
            }
        }
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).map_err(io::Error::other)?;
        Ok(Filter(Some(BpfProgram::try_from(filter).map_err(io::Error::other)?)))
    }

    /// Applies the filter to this thread permanently, together with `no_new_privs`; only makes system calls.
    ///
    /// # Errors
    ///
    /// Fails if the kernel refuses the filter.
    pub fn apply(&self) -> io::Result<()> {
        let Some(program) = &self.0 else { return Ok(rustix::thread::set_no_new_privs(true)?) };
        seccompiler::apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
            _ => rustix::io::Errno::INVAL.into(),
        })
    }
}

/// Gives this process an empty session keyring: a process may read and change the keys that it possesses, even after a
/// change of user.
///
/// Makes a single system call. If keys are refused, as in containers, or not built in, there is no keyring to leave.
///
/// # Errors
///
/// Fails if the kernel has no room for a keyring.
pub fn leave_session_keyring() -> io::Result<()> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: the name is none, and no memory of this process is read or written.
    if unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) } >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// Returns the output of a Python script under the filter.
    fn under_the_filter(script: &str) -> String {
        let filter = Filter::of_strangers().unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", script]);
        // SAFETY: system calls only.
        unsafe { command.pre_exec(move || leave_session_keyring().and_then(|()| filter.apply())) };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), ignore = "there is no filter here")]
    #[cfg_attr(all(lacks = "python3", any(target_arch = "x86_64", target_arch = "aarch64")), ignore = "needs python3")]
    fn vsock_packet_sockets_and_keys_are_refused_and_the_rest_is_not() {
        let script = "import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number):
    libc.syscall(number, 0, 0, 0, 0, 0)
    return os.strerror(ctypes.get_errno())
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 40, 17):
    try:
        socket.socket(family, socket.SOCK_DGRAM if family != 17 else socket.SOCK_RAW).close()
        print(family, 'made')
    except OSError as error:
        print(family, error.strerror)
print([call(int(number)) for number in sys.argv[1:]])
";
        let numbers: Vec<String> = REFUSED.iter().map(ToString::to_string).collect();
        let script = script.replace("sys.argv[1:]", &format!("{numbers:?}"));
        let refused = vec!["Operation not permitted"; REFUSED.len()];
        let expected = format!(
            "1 made\n2 made\n10 made\n16 made\n40 Operation not permitted\n17 Operation not permitted\n{}\n",
            format!("{refused:?}").replace('"', "'")
        );
        assert_eq!(under_the_filter(&script), expected);
    }

    #[test]
    #[cfg_attr(lacks = "python3", ignore = "needs python3")]
    fn the_callers_session_keyring_is_left_behind() {
        // Joins a new session keyring first, adds a key to it, and looks for the key with and without leaving that
        // keyring.
        let script = |leave: bool| {
            let filter = "import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(KEYCTL, 10, -3, b'user', b'kata-osinfo-test', 0) > 0)"
                .replace("KEYCTL", &libc::SYS_keyctl.to_string());
            let mut command = Command::new("python3");
            command.args(["-c", &filter]);
            let add = move || {
                leave_session_keyring()?;
                // SAFETY: the strings end in NUL and are read only.
                let key = unsafe {
                    libc::syscall(
                        libc::SYS_add_key,
                        c"user".as_ptr(),
                        c"kata-osinfo-test".as_ptr(),
                        c"secret".as_ptr(),
                        6,
                        -3,
                    )
                };
                if key < 0 {
                    return Err(io::Error::last_os_error());
                }
                if leave { leave_session_keyring() } else { Ok(()) }
            };
            // SAFETY: system calls only.
            unsafe { command.pre_exec(add) };
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        assert_eq!((script(false).as_str(), script(true).as_str()), ("True\n", "False\n"));
    }
}
