//! Whom a refusal of Kata's blames, by the words that it is known for.

use suites::check::Stop;
use suites::outcome::Component;

/// Turns a runtime's refusal into a failed check, laid at the component that its words point to.
///
/// The words were seen with Kata 3.30, 4.0 and 3.1.2; what has none of them is laid at whom the catalogue names, and what
/// `ctr` itself does not understand or Kata's own agent brings about at nobody.
pub fn refusal(text: &str) -> Stop {
    if text.starts_with("ctr: flag provided but not defined") {
        return Stop::error(format!("the release's ctr does not know an option that it was given: {text}"));
    }
    // The guest came up far enough for Kata's agent to listen, and the agent is none of the distro's.
    if text.to_lowercase().contains("failed to check if grpc server is working: ttrpc: closed") {
        return Stop::error(format!(
            "the agent of the Kata that was given took the connection and closed it (Kata 2.3.1 to 3.13.0 has agents that \
             no kernel since January 2025 lets listen, for want of SO_REUSEPORT on vsock): {text}"
        ));
    }
    match blamed(text) {
        Some(component) => Stop::blame(component, text.to_owned()),
        None => Stop::fail(text.to_owned()),
    }
}

fn blamed(text: &str) -> Option<Component> {
    let text = text.to_lowercase();
    let has = |words: &str| text.contains(words);
    if has("host system doesn't support vsock") || has("/dev/vhost-vsock") || has("/dev/kvm") || has("/dev/vhost-net") {
        return Some(Component::Kernel);
    }
    if has("virtiofsd") || has("virtio-fs daemon") || has("failed to read msg header") {
        return Some(Component::Virtiofsd);
    }
    if has("qemu-system") || has("qmp") || has("error running command: exit status 1") {
        return Some(Component::Qemu);
    }
    // The guest came up under QEMU, and its agent was never heard: kernel, initrd or its modules.
    if has("timed out connecting to vsock") || has("dial timeout") || has("failed to connect to agent") {
        return Some(Component::Kernel);
    }
    None
}

/// What a refusal means beside what the record says: `record` are the paths that the shipped record names.
///
/// A path that is not there is the record's fault where the record names it, and ours where only the configuration does,
/// which the harness has made; without a syslog, which the Go shim insists on, the environment cannot show anything.
pub fn settle(stop: Stop, record: &[String]) -> Stop {
    let Stop::Fail { message, .. } = &stop else { return stop };
    if !message.starts_with("ctr: ") {
        return stop;
    }
    if message.contains("Unix syslog delivery error") {
        return Stop::skip("the environment has no /dev/log, which Kata's Go shim writes to");
    }
    if message.contains("agent does not support seccomp") {
        return Stop::skip("the Kata given has an agent that was built without seccomp");
    }
    let absent = message.contains("does not exist") || message.contains("no such file or directory");
    let named: Vec<&String> = record.iter().filter(|path| message.contains(path.as_str())).collect();
    if absent && !named.is_empty() {
        return Stop::blame_record(named, message.clone());
    }
    if message.contains(".toml: file ") && absent {
        return Stop::error(format!("the configuration names what is not there: {message}"));
    }
    stop
}

/// Why a sandbox may not have come up within its deadline, by which of its processes are there.
///
/// An emulated machine ends a guest, or is too slow for it, by itself; there only the daemon, which is a process like
/// any other, can be blamed for silence.
pub fn silence(vmm: bool, daemon: bool, seconds: u64, log: &str, emulated: bool) -> Stop {
    let said = if log.is_empty() { String::new() } else { format!("; Kata said: {log}") };
    match (vmm, daemon) {
        // QEMU found the daemon's socket and nobody behind it.
        (false, false) if log.contains("vhost-fs.sock': Connection refused") => Stop::blame(
            Component::Virtiofsd,
            format!("no answer from the sandbox within {seconds} s: its virtiofsd had exited before QEMU came{said}"),
        ),
        (_, true) | (false, false) if emulated => Stop::Unanswered {
            message: format!(
                "no answer from the sandbox within {seconds} s, its QEMU {} and its virtiofsd {}, which emulation may \
                 bring about by itself{said}",
                if vmm { "runs" } else { "is gone" },
                if daemon { "runs" } else { "is gone" },
            ),
        },
        // One took the other along, and nobody has seen which was first: the catalogue's word stands.
        (false, false) => Stop::fail(format!(
            "no answer from the sandbox within {seconds} s, and neither its QEMU nor its virtiofsd runs{said}"
        )),
        (true, false) => Stop::blame(
            Component::Virtiofsd,
            format!("no answer from the sandbox within {seconds} s, and its virtiofsd is gone: it has exited{said}"),
        ),
        (false, true) => Stop::blame(
            Component::Qemu,
            format!("no answer from the sandbox within {seconds} s, and its QEMU is gone: it has exited{said}"),
        ),
        (true, true) => Stop::blame(
            Component::Kernel,
            format!("QEMU and virtiofsd run, and the agent in the guest did not answer within {seconds} s{said}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_point_to_their_component() {
        for (text, component) in [
            ("ctr: host system doesn't support vsock: stat /dev/vhost-vsock: no such file", Some(Component::Kernel)),
            ("ctr: fork/exec /usr/libexec/virtiofsd: no such file or directory", Some(Component::Virtiofsd)),
            ("ctr: timed out connecting to vsock 77:1024", Some(Component::Kernel)),
            ("ctr: failed to launch qemu: /usr/bin/qemu-system-x86_64: -foo", Some(Component::Qemu)),
            ("ctr: something else", None),
        ] {
            assert_eq!(blamed(text), component, "{text}");
        }
    }

    #[test]
    fn a_path_that_is_not_there_blames_who_names_it() {
        let record = ["/usr/bin/qemu-system-x86_64".to_owned(), "/usr/libexec/virtiofsd".to_owned()];
        let refused = |text: &str| settle(refusal(text), &record);
        let blamed = |stop| match stop {
            Stop::Fail { blames, .. } => blames,
            other => panic!("{other:?}"),
        };
        let missing = "ctr: failed to create shim task: /etc/kata/configuration.toml: file";
        assert_eq!(
            blamed(refused(&format!("{missing} /usr/bin/qemu-system-x86_64 does not exist: not found"))),
            Some(Component::Record)
        );
        let ours = refused(&format!("{missing} /opt/kata/initrd.img does not exist: not found"));
        assert!(matches!(&ours, Stop::Error { message } if message.contains("initrd.img")), "{ours:?}");
        let fork = "ctr: failed to create shim task: fork/exec /usr/libexec/virtiofsd: no such file or directory";
        assert_eq!(blamed(refused(fork)), Some(Component::Record));
        let vsock = "ctr: host system doesn't support vsock: stat /dev/vhost-vsock: no such file or directory";
        assert_eq!(blamed(refused(vsock)), Some(Component::Kernel));
        let syslog = refused("ctr: failed to create shim task: Unix syslog delivery error: unknown");
        assert!(matches!(syslog, Stop::Skip { .. }), "{syslog:?}");
        let words =
            "ctr: Seccomp profiles are passed to the virtual machine, but the Kata agent does not support seccomp";
        let seccomp = refused(words);
        assert!(matches!(seccomp, Stop::Skip { .. }), "{seccomp:?}");
        assert_eq!(blamed(settle(Stop::fail("/usr/libexec/virtiofsd does not exist"), &record)), None);
    }

    #[test]
    fn an_option_that_an_old_ctr_does_not_know_is_our_fault() {
        let stop = refusal("ctr: flag provided but not defined: -annotation");
        assert!(matches!(&stop, Stop::Error { message } if message.contains("-annotation")), "{stop:?}");
    }

    #[test]
    fn an_agent_that_hangs_up_is_none_of_the_distros() {
        let stop = refusal("ctr: failed to create shim task: Failed to Check if grpc server is working: ttrpc: closed");
        assert!(matches!(&stop, Stop::Error { message } if message.contains("agent of the Kata")), "{stop:?}");
    }

    #[test]
    fn silence_blames_the_one_that_is_missing() {
        let blames = |vmm, daemon| match silence(vmm, daemon, 100, "", false) {
            Stop::Fail { blames, .. } => blames,
            other => panic!("{other:?}"),
        };
        assert_eq!(blames(true, false), Some(Component::Virtiofsd));
        let words = "qemu-system-x86_64: -chardev socket,path=/run/vc/vm/x/vhost-fs.sock: Failed to connect to \
                     '/run/vc/vm/x/vhost-fs.sock': Connection refused";
        for emulated in [false, true] {
            match silence(false, false, 100, words, emulated) {
                Stop::Fail { blames, .. } => assert_eq!(blames, Some(Component::Virtiofsd)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(blames(false, true), Some(Component::Qemu));
        assert_eq!(blames(false, false), None);
        assert_eq!(blames(true, true), Some(Component::Kernel));
    }

    #[test]
    fn under_emulation_silence_blames_nobody_but_a_daemon_that_is_gone() {
        for (vmm, daemon) in [(true, true), (false, true), (false, false)] {
            let stop = silence(vmm, daemon, 100, "", true);
            assert!(matches!(&stop, Stop::Unanswered { message } if message.contains("emulation")), "{stop:?}");
        }
        let gone = silence(true, false, 100, "", true);
        assert!(matches!(gone, Stop::Fail { blames: Some(Component::Virtiofsd), .. }), "{gone:?}");
    }
}
