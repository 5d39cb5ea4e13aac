//! Signatures that identify the same cause on any guest, distro, run or profile.
//!
//! A signature is the component at fault and the observation, on one line, without details that differ although the
//! cause is the same: paths become `PATH`, names of profiles `PROFILE`, and ids, addresses, times, sizes, versions and
//! other numbers `N`.
//! The place in Kata's source that requires the behaviour is not part of the signature: older runs and records have it
//! at the end of the observation, a different one for each profile.
//! Details that tell causes apart stay: names of errnos, numbers of signals, exit codes and errors, options, devices,
//! and the kernel's paths below `/dev`, `/proc` and `/sys`.

mod varying;

pub(crate) use varying::without_varying;

use crate::{digest, redact};
use model::profile::Runtime;
use model::test_id::TestId;
use model::verified::VerifiedCause;
use suites::outcome::{Component, Failure};

/// The longest observation that a signature holds in full, in bytes; a longer one is cut and followed by a digest.
const MAX_TEXT: usize = 200;
/// How much of a longer observation is kept, in bytes.
const BEGINNING: usize = 160;
/// Longest cause in a record, in bytes: people read a record, and the evidence is in the reports.
pub(crate) const MAX_CAUSE: usize = 240;
/// Words before a number that make the number significant for the cause.
const TELLING: &[&str] = &["signal", "code", "errno", "error", "status"];
/// Units after a number; the number is still replaced.
const UNITS: &[&str] = &[
    "ns", "us", "µs", "ms", "s", "min", "h", "d", "B", "k", "K", "M", "G", "T", "kB", "KB", "MB", "GB", "KiB", "MiB",
    "GiB", "TiB", "x", "th",
];
/// The kernel's paths, which are the same on every distro.
const OF_THE_KERNEL: &[&str] = &["/dev/", "/proc/", "/sys/"];

/// Recomputes the signature of a failure from its observation.
#[must_use]
pub fn signed(failure: Failure) -> Failure {
    Failure { signature: of(failure.component, &failure.observed), ..failure }
}

/// Returns the signature of an observation about a component.
pub fn of(component: Component, observed: &str) -> String {
    let text = normalised(without_citation(observed));
    if text.len() <= MAX_TEXT {
        return format!("{component}: {text}");
    }
    let end = (0..=BEGINNING).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{component}: {}… #{}", &text[..end], digest::short(&text))
}

/// Strips the citation of Kata's source from the end of an observation: ` (src/runtime/Makefile@3.32.0)`.
pub(crate) fn without_citation(observed: &str) -> &str {
    let split = observed.strip_suffix(')').and_then(|text| text.rsplit_once(" (src/"));
    match split {
        Some((text, place)) if place.contains('@') && !place.contains(char::is_whitespace) => text,
        Some(_) | None => observed,
    }
}

/// Returns a cause as it is recorded: on one line, with the middle left out if it is long.
pub(crate) fn recorded_cause(component: Component, observed: &str, test: &TestId) -> VerifiedCause {
    // The place of the cut depends on the lengths of the component's and the test's name: the text must be cut where
    // older harnesses cut it, when a cause was one text.
    let (before, after) = (format!("{component}: "), format!(" ({test})"));
    let whole = redact::one_line(&format!("{before}{observed}{after}"), MAX_CAUSE);
    let message = whole.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
    let message = message.map_or_else(|| redact::one_line(observed, MAX_CAUSE), str::to_owned);
    VerifiedCause::new(component, message).shown_by(test.clone())
}

/// Returns the signature of a recorded cause; `None` if it blames no component.
///
/// The signature of a cause that was cut for the record matches only causes that are cut alike ([`recorded_cause`]),
/// not whole ones.
pub(crate) fn of_recorded(cause: &VerifiedCause) -> Option<String> {
    Some(of(cause.component?, &cause.message))
}

/// Returns the signature that a failure has once it is recorded; it differs from the failure's own if the text is so
/// long that the record cuts it.
pub(crate) fn once_recorded(component: Component, observed: &str, test: &TestId) -> String {
    of(component, &recorded_cause(component, &without_varying(observed), test).message)
}

/// Returns a text on one line, without details that differ although the cause is the same.
fn normalised(text: &str) -> String {
    let text = without_varying(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if begins_a_path(&out, rest) => push_path(&mut out, rest),
            _ if is_of_a_word(first) => push_word(&mut out, rest),
            _ => {
                // A line feed becomes a blank, too.
                match first.is_whitespace() {
                    true if out.is_empty() || out.ends_with(' ') => {}
                    true => out.push(' '),
                    false => out.push(first),
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out.truncate(out.trim_end().len());
    out
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || "-_.+~".contains(c)
}

/// Checks whether a slash begins an absolute path: neither the slash in `read/write` nor a lone one.
fn begins_a_path(before: &str, rest: &str) -> bool {
    !before.ends_with(is_of_a_word) && rest[1..].starts_with(|c: char| is_of_a_word(c) || c == '/')
}

/// Pushes the path at the start of a text, and returns its length in the text.
fn push_path(out: &mut String, text: &str) -> usize {
    let end = text.find(|c: char| !is_of_a_word(c) && !"/@%".contains(c)).unwrap_or(text.len());
    let path = text[..end].trim_end_matches('.');
    match OF_THE_KERNEL.iter().any(|below| path.starts_with(below)) && !path.starts_with("/dev/shm/") {
        true => out.push_str(path),
        false => out.push_str("PATH"),
    }
    path.len()
}

/// Pushes the word at the start of a text, and returns its length in the text.
fn push_word(out: &mut String, text: &str) -> usize {
    let word = word(text);
    let bare = word.trim_start_matches('-');
    let number = bare.bytes().take_while(u8::is_ascii_digit).count();
    let after = &bare[number..];
    let is_number = number > 0 && after.is_empty() || is_hexadecimal(bare);
    let first_two = (after.chars().next(), after.chars().nth(1));
    if is_profile(bare) {
        out.push_str("PROFILE");
    } else if is_number && is_significant_after(out) {
        out.push_str(word);
    } else if is_number || is_id(bare) {
        out.push('N');
    } else if number == 0 {
        out.push_str(word);
    } else if let (Some('.' | ':' | '-' | '+' | '~' | '_'), Some('0'..='9')) = first_two {
        // A version, a time, a date, an address.
        out.push('N');
    } else if first_two.0.is_some_and(|c| !c.is_alphabetic()) || UNITS.contains(&after) {
        out.push('N');
        out.push_str(after);
    } else {
        // A name that starts with digits: `9p`.
        out.push_str(word);
    }
    word.len()
}

/// Returns the word at the start of a text. In an address or a time, colons belong to the word; a full stop at its end
/// does not.
fn word(text: &str) -> &str {
    let is_hex = |c: char| c.is_ascii_hexdigit() || c == ':';
    let (mut end, mut all_hex) = (0, true);
    for (at, c) in text.char_indices() {
        let joins = c == ':' && all_hex && text[at + 1..].starts_with(is_hex);
        if !is_of_a_word(c) && !joins {
            break;
        }
        all_hex &= is_hex(c);
        end = at + c.len_utf8();
    }
    match text[..end].trim_end_matches('.') {
        "" => &text[..end],
        word => word,
    }
}

/// Checks for a profile's name: `go-3.32`, or `rs-main`, which no release has yet.
fn is_profile(word: &str) -> bool {
    let since = word.split_once('-').map_or("", |(_, since)| since);
    let is_version = since.starts_with(|c: char| c.is_ascii_digit()) && !since.contains(|c: char| c.is_alphabetic());
    Runtime::of_profile(word).is_some() && (is_version || since == "main")
}

/// Checks for a hexadecimal number: `0x7f00`.
fn is_hexadecimal(word: &str) -> bool {
    word.strip_prefix("0x").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Checks whether a word is an address with colons or a random id: a UUID, a container's id.
fn is_id(word: &str) -> bool {
    let all = |also: u8| word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == also);
    let is_address = word.bytes().filter(|byte| *byte == b':').count() > 1 && all(b':');
    let is_long = word.split('-').next().is_some_and(|first| first.len() >= 8);
    is_address || is_long && all(b'-') && word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Checks whether the text before a number makes the number significant: `signal `, `errno=`, `exited with `.
fn is_significant_after(before: &str) -> bool {
    let before = before.trim_end_matches(|c: char| !c.is_alphanumeric());
    let last = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    TELLING.iter().any(|word| last.eq_ignore_ascii_case(word)) || before.ends_with("exited with")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varying_parts_are_replaced_by_placeholders() {
        for (text, expected) in [
            // Paths, including the harness's.
            ("no executable file is at /usr/libexec/virtiofsd.", "no executable file is at PATH."),
            ("--shared-dir=/kata-qualify/slot0: busy", "--shared-dir=PATH: busy"),
            ("'/run/kq/12/qmp', (/tmp/.tmpAb3dE9/x)", "'PATH', (PATH)"),
            ("/dev/shm/kq12 is full", "PATH is full"),
            // Ids and addresses.
            ("container 4f2a9c0b1d3e5f60 is gone", "container N is gone"),
            ("uuid 9f1c2d3e-4b5a-6978-8899-aabbccddeeff", "uuid N"),
            ("at 0x7ffd1234 (rip: 0010:0xffffffff81)", "at N (rip: N)"),
            ("52:54:00:12:34:56 and fe80::1 and 10.0.2.15", "N and N and N"),
            ("left: process 4711 (virtiofsd)", "left: process N (virtiofsd)"),
            // Times and sizes.
            ("at 2026-07-25T17:20:00Z, 17:20:00", "at N:N, N"),
            ("nothing was heard for 20 s, waited 12.5 s or 300ms", "nothing was heard for N s, waited N s or Nms"),
            ("the guest sees 201 MiB of 512MiB", "the guest sees N MiB of NMiB"),
            ("2 of 398 tests differ", "N of N tests differ"),
            ("[    3.200000] Kernel panic", "[N] Kernel panic"),
            // Versions and profiles.
            ("kernel 6.12.48+deb13-amd64 has no fuse", "kernel N has no fuse"),
            ("qemu 1:10.0.3+ds-0+deb13u1, expected 5.0 or later", "qemu N, expected N or later"),
            ("profile go-3.29 and rs-4.1: a 64-bit guest", "profile PROFILE and PROFILE: a N-bit guest"),
            // Lines.
            ("  one\n two\t\tthree\n", "one two three"),
            ("", ""),
        ] {
            assert_eq!(normalised(text), expected, "{text}");
        }
    }

    #[test]
    fn parts_that_distinguish_causes_are_kept() {
        for text in [
            "write: EIO (os error 5)",
            "QEMU crashed with signal 11",
            "QEMU exited with 1: -object tdx-guest: invalid",
            "exit code -1, errno=22, Status: 126, error 0x80004005",
            "--no-posix-lock: unknown option, -machine q35, -device virtio-9p-pci",
            "virtio-fs on vda1, 9p2000.L, ext4, x86_64, e1000e, pc-q35-7.2, add:bad",
            "/dev/vhost-vsock, /dev/kvm and /proc/sys/kernel/x: EACCES",
            "read/write / and ... and -- and \u{2026}",
            "CONFIG_SECCOMP=n, SIGSEGV",
        ] {
            assert_eq!(normalised(text), text);
        }
    }

    #[test]
    fn a_signature_names_the_component_and_is_shared_by_distros() {
        let debian = of(Component::Qemu, "/usr/bin/qemu-system-x86_64 does not offer -object tdx-guest");
        assert_eq!(debian, "qemu: PATH does not offer -object tdx-guest");
        assert_eq!(of(Component::Qemu, "/usr/libexec/qemu-kvm does not offer -object tdx-guest"), debian);
        assert_ne!(of(Component::Qemu, "/usr/bin/qemu-kvm does not offer -object sev-snp-guest"), debian);
        assert_ne!(of(Component::Kernel, "/usr/bin/qemu-kvm does not offer -object tdx-guest"), debian);
        let failure = signed(Failure::new(Component::Qemu, "no q35"));
        assert_eq!(failure.signature, "qemu: no q35");
        // Older records name the place in Kata's source, a different one for each profile.
        let place = "src/runtime/virtcontainers/qemu_amd64.go@3.29.0";
        let observed = format!("/usr/bin/qemu-system-x86_64 does not offer -object tdx-guest ({place})");
        assert_eq!(of_recorded(&VerifiedCause::new(Component::Qemu, observed)), Some(debian));
        for no_place in ["no file (src/a)", "no file (src/a b@1)", "no file (a@1)"] {
            assert_eq!(without_citation(no_place), no_place);
        }
    }

    #[test]
    fn a_long_failure_has_another_signature_once_recorded() {
        let of = |observed: &str| {
            let failure = signed(Failure::new(Component::Qemu, observed));
            let known = once_recorded(failure.component, &failure.observed, &"smoke::x".parse().unwrap());
            (known == failure.signature, known)
        };
        assert!(of("no q35").0);
        let long = |process: &str| of(&format!("{}process {process} ended", "a long reason ".repeat(40)));
        assert!(!long("1").0);
        assert_eq!(long("1"), long("2345"), "what varies does not move where it is cut");
    }

    /// Records of older harnesses hold such a cause, cut as one text of at most 240 bytes.
    #[test]
    fn a_long_cause_is_cut_as_in_older_records() {
        let observed = "a long reason ".repeat(40);
        let cause = recorded_cause(Component::Qemu, &observed, &"smoke::guest_boots".parse().unwrap());
        let text = redact::one_line(&format!("qemu: {observed} (smoke::guest_boots)"), 240);
        assert_eq!(cause.to_string(), text);
        assert!(cause.message.contains(" […] "), "{cause}");
        // A name that is longer than the part kept at the end.
        let cause = recorded_cause(Component::Qemu, &observed, &"long_name".repeat(20).parse().unwrap());
        assert_eq!((cause.message.len() <= 250, cause.test.map(|test| test.len())), (true, Some(180)));
    }

    #[test]
    fn long_observations_are_cut_and_remain_distinguishable() {
        let long = |end: &str| of(Component::Kernel, &format!("{}{end}", "words and ".repeat(40)));
        assert!(long("a").len() < MAX_TEXT + 20, "{}", long("a"));
        assert_ne!(long("a"), long("b"));
        assert_eq!(long("at 5 s"), long("at 6 s"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_short_signature_on_one_line(text in "\\PC*|[ -~\n]*|[0-9a-f:./x-]*") {
            let signature = of(Component::Qemu, &text);
            proptest::prop_assert!(signature.len() < MAX_TEXT + 20);
            proptest::prop_assert!(!signature.contains('\n'));
        }
    }
}
