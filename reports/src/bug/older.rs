//! Details of failures in older journals.
//!
//! Such a journal has no details ([`FailureDetail::NotSet`]): they are parsed from the words that the tests used then,
//! and nowhere but here. [`FailureDetail::Other`] stays as it is, even if the snapshot that wrote it did not know the
//! kind that the failure has now.

use suites::outcome::{Failure, FailureDetail, ListedName};

/// Adds the detail to a failure.
pub(super) fn with_detail(failure: Failure) -> Failure {
    let detail = match &failure.detail {
        FailureDetail::NotSet => Some(of_words(&failure.observed)),
        // Earlier snapshots had no kind of its own for an argument that the daemon does not know.
        FailureDetail::DaemonEnded { said } => FailureDetail::of_daemon(said),
        _ => None,
    };
    match detail {
        Some(detail) => Failure { detail, ..failure },
        None => failure,
    }
}

fn of_words(observed: &str) -> FailureDetail {
    let ways: [fn(&str) -> Option<FailureDetail>; 8] = [
        not_listed,
        lacks_options,
        qmp_refusal,
        FailureDetail::of_daemon,
        daemon_ended,
        no_file_handles,
        FailureDetail::of_qemu,
        system_call,
    ];
    ways.into_iter().find_map(|of| of(observed)).unwrap_or(FailureDetail::Other)
}

/// Parses `/usr/bin/qemu-kvm does not offer -object tdx-guest, -device x`.
fn not_listed(observed: &str) -> Option<FailureDetail> {
    let (_, missing) = observed.split_once(" does not offer ")?;
    let listed = |pair: &str| {
        let (flag, name) = pair.split_once(' ')?;
        Some(ListedName { flag: flag.to_owned(), name: name.to_owned() })
    };
    let names: Option<Vec<ListedName>> = missing.trim().split(", ").map(listed).collect();
    Some(FailureDetail::NotListed { names: names? })
}

/// Parses `… lacks, built in or as modules: IOMMUFD`, or
/// `… lacks, as built in: agent: EPOLL is only a module, UNIX is not set and 3 more; without it, …`.
fn lacks_options(observed: &str) -> Option<FailureDetail> {
    let either = observed.split_once(" lacks, built in or as modules: ").map(|(_, list)| (false, list));
    let (built_in, list) = either.or_else(|| Some((true, observed.split_once(" lacks, as built in: ")?.1)))?;
    let clauses = list.split("; ").filter(|clause| !clause.starts_with("without it"));
    let list = clauses.flat_map(|clause| clause.split_once(": ").map_or(clause, |(_, list)| list).split(", "));
    let options = list.filter_map(|option| option.split_whitespace().next()).map(str::to_owned).collect();
    Some(FailureDetail::LacksOptions { built_in, options })
}

/// Parses `QMP device_add: device_add was refused (GenericError): words`.
fn qmp_refusal(observed: &str) -> Option<FailureDetail> {
    let of_plugging = observed.split_once("device_add was refused (").map(|(_, rest)| ("device_add", rest));
    let (command, rest) = of_plugging.or_else(|| {
        let (before, rest) = observed.rsplit_once(" was refused (")?;
        Some((before.rsplit(char::is_whitespace).next()?, rest))
    })?;
    let (class, description) = rest.split_once("): ")?;
    let [command, class, description] = [command, class, description].map(str::to_owned);
    Some(FailureDetail::QmpRefusal { command, class, description })
}

/// Parses `virtiofsd ended at once (exit code 1): fuse: unknown option`.
fn daemon_ended(observed: &str) -> Option<FailureDetail> {
    let (_, output) = observed.strip_prefix("virtiofsd ended")?.split_once("): ")?;
    Some(FailureDetail::DaemonEnded { said: output.to_owned() })
}

/// Parses `making a fifo: No such device or address (os error 6)`.
fn system_call(observed: &str) -> Option<FailureDetail> {
    let (_, rest) = observed.split_once(" (os error ")?;
    Some(FailureDetail::SystemCall { errno: rest.split_once(')')?.0.parse().ok()? })
}

fn no_file_handles(observed: &str) -> Option<FailureDetail> {
    observed.contains("it keeps one for each instead of a file handle").then_some(FailureDetail::NoFileHandles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use suites::outcome::Component;

    fn parsed_detail(observed: &str) -> FailureDetail {
        with_detail(Failure::new(Component::Qemu, observed)).detail
    }

    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|&one| one.to_owned()).collect()
    }

    #[test]
    fn an_argument_that_the_daemon_refused_is_read_from_its_last_words() {
        let ended = |said: &str| {
            let detail = FailureDetail::DaemonEnded { said: said.to_owned() };
            with_detail(Failure { detail, ..Failure::new(Component::Virtiofsd, "it ended") }).detail
        };
        let said = "fuse: unknown option(s): `--announce-submounts'";
        assert_eq!(ended(said), FailureDetail::DaemonLacksFlag { said: said.to_owned() });
        let crash = "thread 'main' panicked";
        assert_eq!(ended(crash), FailureDetail::DaemonEnded { said: crash.to_owned() });
    }

    #[test]
    fn older_messages_are_parsed_if_no_failure_detail_is_given() {
        let built_in = "/boot/config-6.12 lacks, as built in: agent: EPOLL is only a module, UNIX is not set and 3 more; \
                        without it, Kata's agent does not run, or has no sockets; seccomp: SECCOMP is not set; without it, \
                        no container starts";
        let options = strings(&["EPOLL", "UNIX", "SECCOMP"]);
        assert_eq!(parsed_detail(built_in), FailureDetail::LacksOptions { built_in: true, options });
        let either = "/boot/config-6.12 lacks, built in or as modules: IOMMUFD";
        assert_eq!(
            parsed_detail(either),
            FailureDetail::LacksOptions { built_in: false, options: strings(&["IOMMUFD"]) }
        );
        let name = |flag: &str, name: &str| ListedName { flag: flag.to_owned(), name: name.to_owned() };
        let names = vec![name("-object", "tdx-guest"), name("-device", "x")];
        assert_eq!(parsed_detail("/q does not offer -object tdx-guest, -device x"), FailureDetail::NotListed { names });
        for (observed, command, description) in [
            ("QMP device_add: device_add was refused (GenericError): no bus; Kata", "device_add", "no bus; Kata"),
            ("plugging: QMP netdev_add: netdev_add was refused (GenericError): no", "netdev_add", "no"),
        ] {
            let [command, class, description] = [command, "GenericError", description].map(str::to_owned);
            assert_eq!(parsed_detail(observed), FailureDetail::QmpRefusal { command, class, description });
        }
        let output = "fuse: unknown option(s): `x'".to_owned();
        for ended in ["virtiofsd ended at once (exit code 1)", "starting virtiofsd: virtiofsd ended: exit code 1"] {
            let detail = FailureDetail::DaemonLacksFlag { said: output.clone() };
            assert_eq!(parsed_detail(&format!("{ended}: {output}")), detail);
        }
        let ended = "virtiofsd ended at once (exit code 1): no socket";
        assert_eq!(parsed_detail(ended), FailureDetail::DaemonEnded { said: "no socket".to_owned() });
        let [flag, value, words] =
            ["-device", "virtio-blk-pci,scsi=off", "Property 'virtio-blk-pci.scsi' not found"].map(str::to_owned);
        let refused = format!("starting QEMU: QEMU exited with 1: qemu-system-x86_64: {flag} {value}: {words}");
        assert_eq!(parsed_detail(&refused), FailureDetail::QemuRefusal { flag, value, words });
        let fifo = "making a fifo: No such device or address (os error 6)";
        assert_eq!(parsed_detail(fifo), FailureDetail::SystemCall { errno: 6 });
        let handles = "12, then 212: it keeps one for each instead of a file handle";
        assert_eq!(parsed_detail(handles), FailureDetail::NoFileHandles);
        for nothing in ["no q35", "", "it does not offer much", "it was refused (", "virtiofsd ended"] {
            assert_eq!(parsed_detail(nothing), FailureDetail::Other, "{nothing}");
        }
    }

    #[test]
    fn a_given_failure_detail_is_not_parsed_from_the_message() {
        let words = "virtiofsd ended at once (exit code 1): fuse: unknown option";
        for detail in [FailureDetail::Other, FailureDetail::NoFileHandles] {
            let failure = Failure { detail, ..Failure::new(Component::Virtiofsd, words) };
            assert_eq!(with_detail(failure.clone()), failure);
        }
    }
}
