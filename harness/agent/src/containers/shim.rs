//! Messages of Kata's shims, and the components that they blame; no other module reads these messages.
//!
//! The phrases were seen with Kata 3.30, 4.0 and 3.1.2. An error without any of them blames the component that the
//! catalogue names. An unavailable device blames the kernel only if the kernel lacks it: a device that the environment
//! withholds, or that its processor cannot provide, is a skip.

use super::ctr;
use model::foreign::qemu::{found_no_listener, lacks_kvm};
use model::foreign::runtimes::says_file_is_missing;
use model::procfs::cpu_flags;
use std::fs;
use suites::check::Stop;
use suites::outcome::{Component, FailureDetail};

/// Number of Kata's lines in a message.
const LINES: usize = 3;

/// Returns the last errors and warnings of Kata about a sandbox in containerd's log.
///
/// The Go shim writes `name=containerd-shim-v2 … sandbox=ID` as logfmt, the Rust shim writes JSON with the id in it.
pub(super) fn words_about(log: &str, sandbox: &str) -> String {
    let about =
        |line: &&str| line.contains(sandbox) && (line.contains("source=virtcontainers") || line.contains("\"source\""));
    // This line appears for every mounted file, and explains nothing.
    let lines: Vec<&str> = log.lines().filter(about).filter(|l| !l.contains("Block device not supported")).collect();
    let message = |line: &&str| {
        let rest = line.split_once("msg=").map_or(*line, |(_, rest)| rest);
        rest.chars().take(400).collect::<String>()
    };
    lines[lines.len().saturating_sub(LINES)..].iter().map(message).collect::<Vec<_>>().join(" | ")
}

/// A device of the host's kernel that a sandbox needs, and lower-case phrases for its absence.
#[derive(Debug, PartialEq, Eq)]
struct Device {
    /// Name in `/proc/misc`, and of the node in `/dev`.
    name: &'static str,
    words: &'static [&'static str],
}

/// The device whose absence QEMU also reports.
const KVM: &str = "kvm";

static DEVICES: [Device; 3] = [
    Device { name: "vhost-vsock", words: &["host system doesn't support vsock", "/dev/vhost-vsock"] },
    Device { name: KVM, words: &["/dev/kvm"] },
    Device { name: "vhost-net", words: &["/dev/vhost-net"] },
];

impl Device {
    /// Returns the reason why the environment, not the kernel, is responsible for a missing device: the processor has
    /// no virtualization, or the kernel has the device, but `/dev` or the control group withholds it. A kernel without
    /// the device lacks the module.
    fn withheld(&self, misc: &str, cpuinfo: &str) -> Option<String> {
        if misc.lines().any(|line| line.split_whitespace().nth(1) == Some(self.name)) {
            return Some(format!("the environment gives no access to /dev/{}, which its kernel has", self.name));
        }
        let virtualizes = cpu_flags(cpuinfo)?.iter().any(|flag| ["vmx", "svm"].contains(flag));
        (self.name == KVM && !virtualizes).then(|| "the environment's processor has neither vmx nor svm".to_owned())
    }
}

/// Causes of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// `ctr` itself does not know an option.
    UnknownOption,
    /// Kata's own agent accepted the connection and closed it: the guest had booted far enough for the agent to listen.
    AgentHungUp,
    /// The Go shim requires a syslog.
    NoSyslog,
    /// The agent was built without seccomp.
    NoSeccomp,
    /// These paths from the record do not exist.
    RecordIsWrong(Vec<String>),
    /// A path that is only in the configuration, which the harness made, does not exist.
    ConfigurationIsWrong,
    /// This device of the host is unavailable.
    NoDevice(&'static Device),
    /// The message points to this component.
    Blames(Component),
    /// The message has no known phrase.
    Unknown,
}

/// Turns an error of `ctr` into a failed check that blames the component in its message; an option unknown to `ctr`,
/// and a failure of Kata's own agent, blame no component.
///
/// Under Kata, `record` are the paths in the shipped record.
pub(super) fn refusal(complaint: &str, record: Option<&[String]>) -> Stop {
    let message = complaint.to_owned();
    let stop = match read(complaint, record) {
        Refusal::UnknownOption => {
            Stop::error(format!("the release's ctr does not know an option that it was given: {complaint}"))
        }
        Refusal::AgentHungUp => Stop::error(format!(
            "the agent of the Kata that was given took the connection and closed it (Kata 2.3.1 to 3.13.0 has agents that \
             no kernel since January 2025 lets listen, because vsock has no SO_REUSEPORT): {complaint}"
        )),
        Refusal::NoSyslog => Stop::skip("the environment has no /dev/log, which Kata's Go shim writes to"),
        Refusal::NoSeccomp => Stop::skip("the Kata given has an agent that was built without seccomp"),
        Refusal::RecordIsWrong(paths) => Stop::blame_record(&paths, message),
        Refusal::ConfigurationIsWrong => Stop::error(format!("the configuration names what is not there: {complaint}")),
        Refusal::NoDevice(device) => {
            let text = |path| fs::read_to_string(path).unwrap_or_default();
            match device.withheld(&text("/proc/misc"), &text("/proc/cpuinfo")) {
                Some(why) => Stop::skip(format!("{why}: {complaint}")),
                None => Stop::blame(Component::Kernel, message),
            }
        }
        Refusal::Blames(component) => Stop::blame(component, message),
        Refusal::Unknown => Stop::fail(message),
    };
    stop.showing(shown(complaint))
}

/// Returns what Kata's words show as data: the words of QEMU or virtiofsd that they quote, or that a file is missing.
fn shown(words: &str) -> FailureDetail {
    let missing = || says_file_is_missing(words).then_some(FailureDetail::FileMissing);
    let quoted = FailureDetail::of_qemu(words).or_else(|| FailureDetail::of_daemon(words));
    quoted.or_else(missing).unwrap_or(FailureDetail::Other)
}

fn read(complaint: &str, record: Option<&[String]>) -> Refusal {
    let text = complaint.to_lowercase();
    let has = |words: &str| text.contains(words);
    if ctr::knows_no_option(complaint) {
        return Refusal::UnknownOption;
    }
    if has("failed to check if grpc server is working: ttrpc: closed") {
        return Refusal::AgentHungUp;
    }
    if let Some(record) = record {
        let absent = has("does not exist") || has("no such file or directory");
        if has("unix syslog delivery error") {
            return Refusal::NoSyslog;
        }
        if has("agent does not support seccomp") {
            return Refusal::NoSeccomp;
        }
        let named: Vec<String> = record.iter().filter(|path| complaint.contains(path.as_str())).cloned().collect();
        if absent && !named.is_empty() {
            return Refusal::RecordIsWrong(named);
        }
        if absent && has(".toml: file ") {
            return Refusal::ConfigurationIsWrong;
        }
    }
    let is_absent =
        |device: &&Device| device.words.iter().any(|words| has(words)) || device.name == KVM && lacks_kvm(complaint);
    if let Some(device) = DEVICES.iter().find(is_absent) {
        return Refusal::NoDevice(device);
    }
    if has("virtiofsd") || has("virtio-fs daemon") || has("failed to read msg header") {
        return Refusal::Blames(Component::Virtiofsd);
    }
    if has("qemu-system") || has("qmp") || has("error running command: exit status 1") {
        return Refusal::Blames(Component::Qemu);
    }
    // The guest came up under QEMU, but its agent was never reached: the kernel, the initrd or its modules.
    if has("timed out connecting to vsock") || has("dial timeout") || has("failed to connect to agent") {
        return Refusal::Blames(Component::Kernel);
    }
    Refusal::Unknown
}

/// State of a sandbox as seen from its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether its QEMU runs.
    pub(super) vmm: bool,
    /// Whether its virtiofsd runs.
    pub(super) daemon: bool,
    /// Whether QEMU maps the guest's memory privately.
    pub(super) private: bool,
}

/// Returns the verdict on a sandbox that did not come up within its deadline, from its running processes and shared
/// memory.
///
/// An emulated machine by itself may crash a guest, or be too slow for it. There, silence can only be blamed on the
/// daemon, which is an ordinary process, and on a QEMU whose memory no daemon can read.
pub(super) fn silence(seen: Seen, seconds: u64, log: &str, emulated: bool) -> Stop {
    let note = if log.is_empty() { String::new() } else { format!("; Kata said: {log}") };
    let Seen { vmm, daemon, private } = seen;
    let stop = match (vmm, daemon) {
        (true, true) if private => Stop::blame(
            Component::Qemu,
            format!(
                "no answer from the sandbox within {seconds} s: QEMU was given share=on and maps the guest's memory for \
                 itself alone, so that no request reaches virtiofsd{note}"
            ),
        ),
        (false, false) if found_no_listener(log, "vhost-fs.sock") => Stop::blame(
            Component::Virtiofsd,
            format!("no answer from the sandbox within {seconds} s: its virtiofsd had exited before QEMU came{note}"),
        ),
        (_, true) | (false, false) if emulated => Stop::Unanswered {
            message: format!(
                "no answer from the sandbox within {seconds} s, its QEMU {} and its virtiofsd {}, which emulation may \
                 cause by itself{note}",
                if vmm { "runs" } else { "is gone" },
                if daemon { "runs" } else { "is gone" },
            ),
        },
        // One's end caused the other's, but the order was not observed: the catalogue's component is blamed.
        (false, false) => Stop::fail(format!(
            "no answer from the sandbox within {seconds} s, and neither its QEMU nor its virtiofsd runs{note}"
        )),
        (true, false) => Stop::blame(
            Component::Virtiofsd,
            format!("no answer from the sandbox within {seconds} s, and its virtiofsd is gone: it has exited{note}"),
        ),
        (false, true) => Stop::blame(
            Component::Qemu,
            format!("no answer from the sandbox within {seconds} s, and its QEMU is gone: it has exited{note}"),
        ),
        (true, true) => Stop::blame(
            Component::Kernel,
            format!("QEMU and virtiofsd run, and the agent in the guest did not answer within {seconds} s{note}"),
        ),
    };
    stop.showing(shown(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_error_messages_blame_their_component() {
        for (text, component) in [
            ("ctr: fork/exec /usr/libexec/virtiofsd: no such file or directory", Some(Component::Virtiofsd)),
            ("ctr: timed out connecting to vsock 77:1024", Some(Component::Kernel)),
            ("ctr: failed to launch qemu: /usr/bin/qemu-system-x86_64: -foo", Some(Component::Qemu)),
            ("ctr: something else", None),
        ] {
            assert_eq!(read(text, None), component.map_or(Refusal::Unknown, Refusal::Blames), "{text}");
        }
    }

    #[test]
    fn a_missing_device_blames_the_kernel_only_if_the_kernel_lacks_it() {
        let of = |text: &str| match read(text, None) {
            Refusal::NoDevice(device) => device,
            other => panic!("{text}: {other:?}"),
        };
        let vsock = of("ctr: host system doesn't support vsock: stat /dev/vhost-vsock: no such file or directory");
        let kvm = of("ctr: failed to launch qemu: Could not access KVM kernel module: No such file or directory");
        assert_eq!((vsock.name, kvm.name), ("vhost-vsock", "kvm"));
        assert_eq!(of("ctr: open /dev/kvm: permission denied"), kvm);
        assert_eq!(of("ctr: open /dev/vhost-net: no such file or directory").name, "vhost-net");
        let (with, without) = ("flags\t\t: fpu svm lm\n", "flags\t\t: fpu lm\n");
        let withheld = |device: &Device, misc, cpuinfo| device.withheld(misc, cpuinfo).unwrap_or_default();
        let misc = "232 kvm\n241 vhost-vsock\n";
        assert!(withheld(vsock, misc, with).contains("/dev/vhost-vsock, which its kernel has"));
        assert!(withheld(kvm, misc, with).contains("/dev/kvm, which its kernel has"));
        assert!(withheld(kvm, "", without).contains("neither vmx nor svm"));
        let module_is_missing = [(vsock, "232 kvm\n", without), (kvm, "241 vhost-vsock\n", with), (kvm, "", "")];
        for (device, misc, cpuinfo) in module_is_missing {
            assert_eq!(device.withheld(misc, cpuinfo), None, "{}: {misc:?}, {cpuinfo:?}", device.name);
        }
    }

    #[test]
    fn a_missing_path_blames_the_record_or_configuration_that_names_it() {
        let record = ["/usr/bin/qemu-system-x86_64".to_owned(), "/usr/libexec/virtiofsd".to_owned()];
        let of = |text: &str| read(text, Some(&record));
        let missing = "ctr: failed to create shim task: /etc/kata/configuration.toml: file";
        let wrong_initrd = format!("{missing} /opt/kata/initrd.img does not exist: not found");
        assert_eq!(
            of(&format!("{missing} /usr/bin/qemu-system-x86_64 does not exist: not found")),
            Refusal::RecordIsWrong(vec![record[0].clone()])
        );
        assert_eq!(of(&wrong_initrd), Refusal::ConfigurationIsWrong);
        let fork = "ctr: failed to create shim task: fork/exec /usr/libexec/virtiofsd: no such file or directory";
        assert_eq!(of(fork), Refusal::RecordIsWrong(vec![record[1].clone()]));
        let vsock = "ctr: host system doesn't support vsock: stat /dev/vhost-vsock: no such file or directory";
        assert!(matches!(of(vsock), Refusal::NoDevice(_)));
        let syslog = "ctr: failed to create shim task: Unix syslog delivery error: unknown";
        assert_eq!(of(syslog), Refusal::NoSyslog);
        assert!(matches!(refusal(syslog, Some(&record)), Stop::Skip { .. }));
        assert_eq!(read(syslog, None), Refusal::Unknown, "runc writes to no syslog");
        let seccomp =
            "ctr: Seccomp profiles are passed to the virtual machine, but the Kata agent does not support seccomp";
        assert_eq!(of(seccomp), Refusal::NoSeccomp);
        let stop = refusal(&wrong_initrd, Some(&record));
        assert!(matches!(&stop, Stop::Error { message } if message.contains("initrd.img")), "{stop:?}");
    }

    #[test]
    fn quoted_words_and_missing_files_are_in_the_detail() {
        let [flag, value, words] = ["-device", "x", "no such bus"].map(str::to_owned);
        let of_qemu = FailureDetail::QemuRefusal { flag, value, words };
        assert_eq!(shown("ctr: failed to launch qemu: qemu-system-x86_64: -device x: no such bus"), of_qemu);
        let said = "fuse: unknown option(s): `-x'".to_owned();
        let of_daemon = FailureDetail::DaemonLacksFlag { said };
        assert_eq!(shown("ctr: virtiofsd: fuse: unknown option(s): `-x'"), of_daemon);
        let missing = "ctr: exec failed: stat /no/such/program: no such file or directory";
        assert_eq!(refusal(missing, None), Stop::fail(missing).showing(FailureDetail::FileMissing));
        assert_eq!(shown("ctr: something else"), FailureDetail::Other);
    }

    #[test]
    fn an_option_unknown_to_an_old_ctr_is_an_error() {
        let stop = refusal("ctr: flag provided but not defined: -annotation", None);
        assert!(matches!(&stop, Stop::Error { message } if message.contains("-annotation")), "{stop:?}");
    }

    #[test]
    fn a_kata_agent_that_hangs_up_is_an_error() {
        let words = "ctr: failed to create shim task: Failed to Check if grpc server is working: ttrpc: closed";
        let stop = refusal(words, Some(&[]));
        assert!(matches!(&stop, Stop::Error { message } if message.contains("agent of the Kata")), "{stop:?}");
    }

    #[test]
    fn katas_messages_about_a_sandbox_are_found_in_the_log() {
        let log = "level=info msg=\"loading plugin\"\n\
                   level=error msg=\"QEMU exited\" name=containerd-shim-v2 sandbox=kq1k-5 source=virtcontainers\n\
                   level=warning msg=\"Block device not supported\" sandbox=kq1k-5 source=virtcontainers\n\
                   level=error msg=\"other\" sandbox=kq1k-6 source=virtcontainers\n";
        let words = words_about(log, "kq1k-5");
        assert!(words.starts_with("\"QEMU exited\"") && !words.contains("other") && !words.contains('|'), "{words}");
    }

    #[test]
    fn silence_blames_the_process_that_is_missing_or_the_kernel() {
        let blames = |vmm, daemon| match silence(Seen { vmm, daemon, private: false }, 100, "", false) {
            Stop::Fail { blames, .. } => blames,
            other => panic!("{other:?}"),
        };
        assert_eq!(blames(true, false), Some(Component::Virtiofsd));
        let words = "qemu-system-x86_64: -chardev socket,path=/run/vc/vm/x/vhost-fs.sock: Failed to connect to \
                     '/run/vc/vm/x/vhost-fs.sock': Connection refused";
        for emulated in [false, true] {
            match silence(Seen { vmm: false, daemon: false, private: false }, 100, words, emulated) {
                Stop::Fail { blames, .. } => assert_eq!(blames, Some(Component::Virtiofsd)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(blames(false, true), Some(Component::Qemu));
        assert_eq!(blames(false, false), None);
        assert_eq!(blames(true, true), Some(Component::Kernel));
    }

    #[test]
    fn under_emulation_silence_blames_only_a_missing_virtiofsd() {
        for (vmm, daemon) in [(true, true), (false, true), (false, false)] {
            let stop = silence(Seen { vmm, daemon, private: false }, 100, "", true);
            assert!(matches!(&stop, Stop::Unanswered { message } if message.contains("emulation")), "{stop:?}");
        }
        let without_daemon = silence(Seen { vmm: true, daemon: false, private: false }, 100, "", true);
        assert!(matches!(without_daemon, Stop::Fail { blames: Some(Component::Virtiofsd), .. }), "{without_daemon:?}");
    }

    /// Emulation does not make a mapping private.
    #[test]
    fn silence_blames_qemu_if_guest_memory_is_private() {
        for emulated in [false, true] {
            let stop = silence(Seen { vmm: true, daemon: true, private: true }, 100, "", emulated);
            assert!(
                matches!(&stop, Stop::Fail { blames: Some(Component::Qemu), message, .. } if message.contains("share=on")),
                "{stop:?}"
            );
        }
    }
}
