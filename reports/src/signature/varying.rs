//! Text that differs in the same message from guest to guest, and would split one cause into many: numbers in the
//! harness's own names, process ids, the kernel's clock.

/// Replaces each such number by `N`; text that a distro chose (versions, paths) stays unchanged.
pub(crate) fn without_varying(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut before, mut rest) = ("", text);
    while let Some(start) = rest.find(is_of_a_name) {
        let (gap, named) = rest.split_at(start);
        let (name, after) = named.split_at(named.find(|c| !is_of_a_name(c)).unwrap_or(named.len()));
        let clock = gap.trim_end().ends_with('[') && after.starts_with(']') && is_clock(name);
        if clock {
            // The clock is padded to a width.
            out.push_str(gap.trim_end());
            out.push('N');
        } else {
            out.push_str(gap);
            match made_up(name) {
                Some(stem) => out.extend([stem, "N"]),
                None if varies(before, gap, name) => push_without_digits(&mut out, name),
                None => out.push_str(name),
            }
        }
        (before, rest) = (name, after);
    }
    out.push_str(rest);
    out
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.+".contains(c)
}

/// Checks for seconds since the kernel's boot, as it prints them: `3.200000`.
fn is_clock(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('.').is_some_and(|(seconds, rest)| digits(seconds) && rest.len() == 6 && digits(rest))
}

/// Returns the stem of a random name from the tempfile library: `.tmpAbC123`.
fn made_up(name: &str) -> Option<&'static str> {
    const STEM: &str = ".tmp";
    (name.len() == STEM.len() + 6 && name.starts_with(STEM)).then_some(STEM)
}

/// Checks by the preceding text whether the digits in a name belong to one guest, process or container.
fn varies(before: &str, gap: &str, name: &str) -> bool {
    let numbered =
        |stem: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_number = name.trim_end_matches('.').bytes().all(|byte| byte.is_ascii_digit());
    match gap {
        _ if ["kq", "kq-", "bindkq"].into_iter().any(numbered) => true,
        _ if ["kata-qualify-", "outside-of-the-share-"].into_iter().any(|stem| name.starts_with(stem)) => true,
        // `Home` in the agent creates these paths.
        "/" if is_number => before == "proc" || before == "kq" || before.starts_with("kq-"),
        "/" if numbered("g") => before == "artifacts",
        "/" if numbered("slot") || numbered("disk") => before.starts_with("kata-qualify"),
        " " if is_number => before == "process" || before == "pid",
        _ => false,
    }
}

/// Pushes a name with `N` for each of its numbers.
fn push_without_digits(out: &mut String, name: &str) {
    let mut last = ' ';
    for c in name.chars() {
        match (c.is_ascii_digit(), last.is_ascii_digit()) {
            (false, _) => out.push(c),
            (true, false) => out.push('N'),
            (true, true) => {}
        }
        last = c;
    }
}

#[cfg(test)]
mod tests {
    use super::without_varying;

    #[test]
    fn numbers_of_guests_processes_and_containers_are_replaced() {
        for (text, expected) in [
            ("no space for /var/tmp/kata-qualify-image-4711-12", "no space for /var/tmp/kata-qualify-image-N-N"),
            ("--shared-dir=/kata-qualify/slot0 | --x", "--shared-dir=/kata-qualify/slotN | --x"),
            ("/kata-qualify/disk12.img: busy", "/kata-qualify/diskN.img: busy"),
            ("see /kata-qualify/artifacts/g7/serial.log.", "see /kata-qualify/artifacts/gN/serial.log."),
            ("'/run/kq/12/qmp', '/run/kq-99/3/qmp'", "'/run/kq/N/qmp', '/run/kq-N/N/qmp'"),
            ("left: process 4711 (virtiofsd), /proc/12/fd", "left: process N (virtiofsd), /proc/N/fd"),
            ("mount /run/kata/kq77x0k-5/rootfs", "mount /run/kata/kqNxNk-N/rootfs"),
            ("in /tmp/.tmpAb3dE9/x", "in /tmp/.tmpN/x"),
            ("[    3.200000] Kernel panic", "[N] Kernel panic"),
            ("[   13.200001] Kernel panic", "[N] Kernel panic"),
            ("…kq1x2r-3…", "…kqNxNr-N…"),
        ] {
            assert_eq!(without_varying(text), expected);
        }
    }

    #[test]
    fn distro_versions_and_measured_values_are_kept() {
        for text in [
            "/boot/vmlinuz-6.12.48+deb13-amd64 in /usr/lib/modules/6.12.48+deb13-amd64",
            "qemu 1:10.0.3+ds-0+deb13u1, expected 5.0 or later",
            "virtiofsd ended at once (exit code 1), 300 of 512 bytes, waited 12.5 s",
            "virtio-9p on /dev/vda1, slot 3, [1], [17] and [10.0]",
            "/kata-qualify/kernel/vmlinuz-6.1.0-39-amd64",
            "kq, kqemu and g12",
            "",
        ] {
            assert_eq!(without_varying(text), text);
        }
    }
}
