//! Tells from apt's and mmdebstrap's output what went wrong.
//!
//! The phrases are those of apt 2.x and 3.x with `LC_ALL=C`; each stands in a test on captured output.

use crate::error::Cause;

/// The most telling cause among the lines, newest last.
pub(crate) fn cause(lines: &[String]) -> Cause {
    // A full disk produces all kinds of other errors after it, so it is looked for first.
    if lines.iter().any(|l| l.contains("No space left on device") || l.contains("You don't have enough free space")) {
        return Cause::DiskFull;
    }
    for line in lines {
        if let Some(cause) = expired(line).or_else(|| missing(line)) {
            return cause;
        }
    }
    if let Some(line) = lines.iter().find(|l| untrusted(l)) {
        return Cause::Untrusted { detail: line.clone() };
    }
    let absent = lines.iter().find(|l| {
        l.contains("does not have a Release file")
            || l.contains("404  Not Found") && (l.contains("InRelease") || l.contains("/Release"))
    });
    if let Some(line) = absent {
        // Where nothing answers, apt says both that it cannot connect and that there is no Release file.
        if let Some(detail) = lines.iter().find(|l| unreachable(l)) {
            return Cause::MirrorUnreachable { detail: detail.clone(), cached_age: None };
        }
        return Cause::NoSuchRelease { what: suite(line) };
    }
    if let Some(line) = lines.iter().find(|l| unreachable(l)) {
        return Cause::MirrorUnreachable { detail: line.clone(), cached_age: None };
    }
    Cause::CommandFailed
}

fn expired(line: &str) -> Option<Cause> {
    let (before, _) = line.split_once(" is expired (")?;
    let address = before.split_once("Release file for ")?.1;
    Some(Cause::Expired { suite: between_dists(address).unwrap_or_else(|| address.to_owned()) })
}

fn missing(line: &str) -> Option<Cause> {
    let package = match line.split_once("Unable to locate package ") {
        Some((_, name)) => name.trim(),
        None => {
            let (before, _) = line.split_once(" has no installation candidate")?;
            before.rsplit_once("Package ")?.1.trim_matches(['\'', '"'])
        }
    };
    Some(Cause::PackageMissing { package: package.to_owned() })
}

fn untrusted(line: &str) -> bool {
    [
        "NO_PUBKEY",
        "EXPKEYSIG",
        "BADSIG",
        "is not signed",
        "Hash Sum mismatch",
        "OpenPGP signature verification failed",
        "signatures were invalid",
    ]
    .iter()
    .any(|phrase| line.contains(phrase))
}

fn unreachable(line: &str) -> bool {
    // A package that the index promises and the mirror lacks: it answers, it is only inconsistent.
    if line.contains("404  Not Found") {
        return false;
    }
    [
        "Could not resolve",
        "Temporary failure resolving",
        "Could not connect",
        "Unable to connect",
        "Connection failed",
        "Connection timed out",
        "Connection refused",
        "Network is unreachable",
        "Cannot initiate the connection",
        "Could not wait for server fd",
        "Could not handshake",
        "403  Forbidden",
        "401  Unauthorized",
        "407  Proxy",
        "500  ",
        "502  ",
        "503  ",
        "504  ",
        "Failed to fetch",
    ]
    .iter()
    .any(|phrase| line.contains(phrase))
}

fn suite(line: &str) -> String {
    let dists = line.split_whitespace().find_map(|w| between_dists(w.trim_matches(['\'', '"'])));
    let quoted = || line.split('\'').nth(1).and_then(|q| q.split(' ').nth(1)).map(str::to_owned);
    match dists.or_else(quoted) {
        Some(suite) => format!("suite {suite}"),
        None => "the suite".to_owned(),
    }
}

/// `…/dists/trixie-security/InRelease` → `trixie-security`.
fn between_dists(address: &str) -> Option<String> {
    let rest = address.split_once("/dists/")?.1;
    let suite = rest.rsplit_once('/').map_or(rest, |(suite, _)| suite);
    (!suite.is_empty()).then(|| suite.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Cause {
        cause(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn mmdebstrap_on_a_stale_mirror() {
        let cause = of("I: running apt-get update...\n\
            Get:1 http://mirror.example/debian sid InRelease [193 kB]\n\
            Reading package lists...\n\
            E: Release file for http://mirror.example/debian/dists/sid/InRelease is expired (invalid since 14d 20h 25min 22s). Updates for this repository will not be applied.\n\
            E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed\n\
            E: mmdebstrap failed to run");
        assert!(matches!(cause, Cause::Expired { suite } if suite == "sid"));
    }

    #[test]
    fn apt_without_the_package() {
        let cause = of("Reading package lists...\nE: Unable to locate package virtiofsd");
        assert!(matches!(cause, Cause::PackageMissing { package } if package == "virtiofsd"));
        let cause = of("E: Package 'qemu-kvm' has no installation candidate");
        assert!(matches!(cause, Cause::PackageMissing { package } if package == "qemu-kvm"));
        let cause = of("E: Package qemu-kvm has no installation candidate");
        assert!(matches!(cause, Cause::PackageMissing { package } if package == "qemu-kvm"));
    }

    #[test]
    fn mirror_that_does_not_answer() {
        for text in [
            "E: Failed to fetch http://192.0.2.1:9/debian/dists/sid/InRelease  Could not connect to 192.0.2.1:9 (192.0.2.1). - connect (111: Connection refused)\nE: Download Failed",
            "E: Failed to fetch http://mirror.invalid/debian/dists/sid/InRelease  Could not resolve 'mirror.invalid'",
            "Err:1 http://mirror.example/debian sid InRelease\n  503  Service Unavailable\nE: Failed to fetch x",
            // apt-get update adds a second, misleading complaint.
            "W: Failed to fetch http://mirror.invalid/debian/dists/sid/InRelease  Temporary failure resolving 'mirror.invalid'\nE: The repository 'http://mirror.invalid/debian sid Release' does not have a Release file.",
        ] {
            assert!(matches!(of(text), Cause::MirrorUnreachable { .. }), "{text}");
        }
    }

    #[test]
    fn suite_that_is_not_there() {
        let cause = of(
            "Err:1 http://mirror.example/debian/dists/nosuch/InRelease\n  404  Not Found [IP: 192.0.2.80 80]\n\
            E: Failed to fetch http://mirror.example/debian/dists/nosuch/InRelease  404  Not Found [IP: 192.0.2.80 80]\n\
            E: Download Failed",
        );
        assert!(matches!(cause, Cause::NoSuchRelease { ref what } if what == "suite nosuch"), "{cause:?}");
        let cause = of("E: The repository 'http://mirror.example/debian nosuch Release' does not have a Release file.");
        assert!(matches!(cause, Cause::NoSuchRelease { ref what } if what == "suite nosuch"), "{cause:?}");
    }

    #[test]
    fn full_disk_wins_over_its_consequences() {
        let cause = of(
            "dpkg: error processing archive x.deb (--unpack):\n cannot copy extracted data: No space left on device\nE: Failed to fetch y",
        );
        assert!(matches!(cause, Cause::DiskFull));
    }

    #[test]
    fn missing_key() {
        let cause = of(
            "W: GPG error: http://mirror.example sid InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 0123456789ABCDEF\nE: The repository 'http://mirror.example sid InRelease' is not signed.",
        );
        assert!(matches!(cause, Cause::Untrusted { .. }));
    }

    #[test]
    fn anything_else() {
        assert!(matches!(of("dpkg: error processing package x (--configure):"), Cause::CommandFailed));
    }
}
