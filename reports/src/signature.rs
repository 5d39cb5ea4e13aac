//! By what the same cause is known again, whatever guest, distro, run or profile shows it.
//!
//! A signature is the component at fault and what was seen of it, on one line, without what differs though the cause is
//! the same: paths become `PATH`, names of profiles `PROFILE`, and ids, addresses, times, sizes, versions and other
//! numbers `N`. Where Kata's source asks for it is no part of it: older runs and records have that at the end of what was
//! seen, another one for each profile.
//! What tells causes apart stays: names of errnos, numbers of signals, exit codes and errors, options, devices, and what
//! the kernel shows below `/dev`, `/proc` and `/sys`.

mod varying;

pub(crate) use varying::without_varying;

use crate::{digest, redact};
use model::profile::Runtime;
use model::verified::VerifiedCause;
use suites::outcome::{Component, Failure};

/// The longest observation that a signature has in full, in bytes; of a longer one it has a beginning and a digest.
const MAX_TEXT: usize = 200;
/// How much of a longer one.
const BEGINNING: usize = 160;
/// Longest cause in a record, in bytes: people read a record, and the evidence is in the reports.
pub(crate) const MAX_CAUSE: usize = 240;
/// Words before a number that tells causes apart.
const TELLING: &[&str] = &["signal", "code", "errno", "error", "status"];
/// Units behind a number, which make no other name of it.
const UNITS: &[&str] = &[
    "ns", "us", "µs", "ms", "s", "min", "h", "d", "B", "k", "K", "M", "G", "T", "kB", "KB", "MB", "GB", "KiB", "MiB",
    "GiB", "TiB", "x", "th",
];
/// What the kernel shows, which is called alike on every distro.
const OF_THE_KERNEL: &[&str] = &["/dev/", "/proc/", "/sys/"];

/// A failure with the signature of what it now says.
#[must_use]
pub fn signed(failure: Failure) -> Failure {
    Failure { signature: of(failure.component, &failure.observed), ..failure }
}

/// The signature of what was seen of a component.
pub fn of(component: Component, observed: &str) -> String {
    let text = normalised(without_citation(observed));
    if text.len() <= MAX_TEXT {
        return format!("{component}: {text}");
    }
    let end = (0..=BEGINNING).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{component}: {}… #{}", &text[..end], digest::short(&text))
}

/// What was seen, without the place in Kata's source that stands at its end: ` (src/runtime/Makefile@3.32.0)`.
pub(crate) fn without_citation(observed: &str) -> &str {
    let split = observed.strip_suffix(')').and_then(|text| text.rsplit_once(" (src/"));
    match split {
        Some((seen, place)) if place.contains('@') && !place.contains(char::is_whitespace) => seen,
        Some(_) | None => observed,
    }
}

/// A cause as a record has it: on one line, its middle left out where it is long.
pub(crate) fn recorded_cause(component: Component, observed: &str, test: &str) -> VerifiedCause {
    // Where it is cut hangs on the lengths of the names beside it: what older harnesses cut, when a cause was one text, is
    // to be cut alike.
    let (before, after) = (format!("{component}: "), format!(" ({test})"));
    let whole = redact::one_line(&format!("{before}{observed}{after}"), MAX_CAUSE);
    let message = whole.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
    let message = message.map_or_else(|| redact::one_line(observed, MAX_CAUSE), str::to_owned);
    VerifiedCause::new(component, message).shown_by(test)
}

/// The signature of a cause as a record has it; none where it blames nobody.
///
/// One that was cut to be recorded has the signature of what is cut alike ([`recorded_cause`]), and of nothing that is whole.
pub(crate) fn of_recorded(cause: &VerifiedCause) -> Option<String> {
    Some(of(cause.component?, &cause.message))
}

/// The signature that a failure has in a record that is made of it; another one than its own, where it is so long that it
/// is cut there.
pub(crate) fn once_recorded(component: Component, observed: &str, test: &str) -> String {
    of(component, &recorded_cause(component, &without_varying(observed), test).message)
}

/// A text on one line, without what differs though the cause is the same.
fn normalised(text: &str) -> String {
    let text = without_varying(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if begins_a_path(&out, rest) => push_path(&mut out, rest),
            _ if is_of_a_word(first) => push_word(&mut out, rest),
            _ => {
                // Also a line feed is one blank.
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

/// Whether a slash is the first of an absolute path: not that of `read/write`, nor one alone.
fn begins_a_path(before: &str, rest: &str) -> bool {
    !before.ends_with(is_of_a_word) && rest[1..].starts_with(|c: char| is_of_a_word(c) || c == '/')
}

/// Pushes the path that a text begins with, and returns its length.
fn push_path(out: &mut String, text: &str) -> usize {
    let end = text.find(|c: char| !is_of_a_word(c) && !"/@%".contains(c)).unwrap_or(text.len());
    let path = text[..end].trim_end_matches('.');
    match OF_THE_KERNEL.iter().any(|below| path.starts_with(below)) && !path.starts_with("/dev/shm/") {
        true => out.push_str(path),
        false => out.push_str("PATH"),
    }
    path.len()
}

/// Pushes the word that a text begins with, and returns its length.
fn push_word(out: &mut String, text: &str) -> usize {
    let word = word(text);
    let bare = word.trim_start_matches('-');
    let number = bare.bytes().take_while(u8::is_ascii_digit).count();
    let after = &bare[number..];
    let is_number = number > 0 && after.is_empty() || is_hexadecimal(bare);
    let first_two = (after.chars().next(), after.chars().nth(1));
    if is_profile(bare) {
        out.push_str("PROFILE");
    } else if is_number && tells_apart(out) {
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
        // A name that begins with digits: `9p`.
        out.push_str(word);
    }
    word.len()
}

/// The word that a text begins with. In what looks like an address or a time a colon is of it, and a full stop behind it
/// is not.
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

/// `go-3.32`, and what no release has yet: `rs-main`.
fn is_profile(word: &str) -> bool {
    let since = word.split_once('-').map_or("", |(_, since)| since);
    let is_version = since.starts_with(|c: char| c.is_ascii_digit()) && !since.contains(|c: char| c.is_alphabetic());
    Runtime::of_profile(word).is_some() && (is_version || since == "main")
}

/// `0x7f00`.
fn is_hexadecimal(word: &str) -> bool {
    word.strip_prefix("0x").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a word is an address with colons, or what something was called by chance: a UUID, a container's id.
fn is_id(word: &str) -> bool {
    let all = |also: u8| word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == also);
    let is_address = word.bytes().filter(|byte| *byte == b':').count() > 1 && all(b':');
    let is_long = word.split('-').next().is_some_and(|first| first.len() >= 8);
    is_address || is_long && all(b'-') && word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a number after this text tells causes apart: `signal `, `errno=`, `exited with `.
fn tells_apart(before: &str) -> bool {
    let before = before.trim_end_matches(|c: char| !c.is_alphanumeric());
    let last = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    TELLING.iter().any(|word| last.eq_ignore_ascii_case(word)) || before.ends_with("exited with")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_though_the_cause_is_the_same_goes() {
        for (text, expected) in [
            // Paths, also ours.
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
    fn what_tells_causes_apart_stays() {
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
    fn a_signature_names_the_component_and_distros_share_it() {
        let debian = of(Component::Qemu, "/usr/bin/qemu-system-x86_64 does not offer -object tdx-guest");
        assert_eq!(debian, "qemu: PATH does not offer -object tdx-guest");
        assert_eq!(of(Component::Qemu, "/usr/libexec/qemu-kvm does not offer -object tdx-guest"), debian);
        assert_ne!(of(Component::Qemu, "/usr/bin/qemu-kvm does not offer -object sev-snp-guest"), debian);
        assert_ne!(of(Component::Kernel, "/usr/bin/qemu-kvm does not offer -object tdx-guest"), debian);
        let failure = signed(Failure::new(Component::Qemu, "no q35"));
        assert_eq!(failure.signature, "qemu: no q35");
        // Older records say where Kata asks for it, each profile in another place.
        let place = "src/runtime/virtcontainers/qemu_amd64.go@3.29.0";
        let seen = format!("/usr/bin/qemu-system-x86_64 does not offer -object tdx-guest ({place})");
        assert_eq!(of_recorded(&VerifiedCause::new(Component::Qemu, seen)), Some(debian));
        for no_place in ["no file (src/a)", "no file (src/a b@1)", "no file (a@1)"] {
            assert_eq!(without_citation(no_place), no_place);
        }
    }

    #[test]
    fn a_long_failure_has_another_signature_once_it_is_recorded() {
        let of = |observed: &str| {
            let failure = signed(Failure::new(Component::Qemu, observed));
            let known = once_recorded(failure.component, &failure.observed, "smoke::x");
            (known == failure.signature, known)
        };
        assert!(of("no q35").0);
        let long = |process: &str| of(&format!("{}process {process} ended", "a long reason ".repeat(40)));
        assert!(!long("1").0);
        assert_eq!(long("1"), long("2345"), "what varies does not move where it is cut");
    }

    /// Records of older harnesses have such a cause, cut as one text of at most 240 bytes.
    #[test]
    fn a_long_cause_is_cut_where_it_was_when_it_was_one_text() {
        let observed = "a long reason ".repeat(40);
        let cause = recorded_cause(Component::Qemu, &observed, "smoke::guest_boots");
        let text = redact::one_line(&format!("qemu: {observed} (smoke::guest_boots)"), 240);
        assert_eq!(cause.to_string(), text);
        assert!(cause.message.contains(" […] "), "{cause}");
        // A name that is longer than what is kept at the end.
        let cause = recorded_cause(Component::Qemu, &observed, &"long_name".repeat(20));
        assert_eq!((cause.message.len() <= 250, cause.test.map(|test| test.len())), (true, Some(180)));
    }

    #[test]
    fn long_observations_are_cut_and_still_told_apart() {
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
