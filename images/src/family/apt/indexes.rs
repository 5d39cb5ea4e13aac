//! The archives' signed indexes: their hashes tell whether an image is current, their dates whether the mirror is.

use super::fetch::Fetch;
use super::mirrors::Mirrors;
use crate::digest;
use crate::error::{Failure, ImageErrorKind};
use crate::manifest::Index;
use crate::runner::Runner;
use jiff::Timestamp;
use model::release::{Archive, PackageSuite, Release};
use operator::deb822;
use root::Root;
use std::panic::resume_unwind;
use std::path::Path;
use std::time::Duration;

/// Pauses before a mirror that did not respond is tried again: mirrors and proxies fail for seconds at a time, and an
/// index that cannot be fetched costs a whole cell.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];
/// Size limit of an index, in bytes, which is read before it is verified; the largest have some 300 KiB.
const MAX_INDEX: u64 = 16 << 20;

/// Fetches every suite's `InRelease` through apt's own helper, which knows the machine's proxies and certificates.
///
/// The files are only hashed and dated here; their signatures are verified by apt when packages are installed.
pub(crate) fn fetch(
    runner: &Runner<'_>,
    release: &Release,
    mirrors: &Mirrors,
    fetch: &Fetch,
    folder: &Path,
) -> Result<Vec<Index>, Failure> {
    // In parallel: sequential downloads would wait for the network once for each suite.
    std::thread::scope(|scope| {
        let running: Vec<_> = release
            .suites
            .iter()
            .enumerate()
            .map(|(n, suite)| {
                let name = format!("InRelease.{n}");
                scope.spawn(move || fetch_one(runner, suite, mirrors, fetch, folder, &name))
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn fetch_one(
    runner: &Runner<'_>,
    suite: &PackageSuite,
    mirrors: &Mirrors,
    fetch: &Fetch,
    folder: &Path,
    name: &str,
) -> Result<Index, Failure> {
    let unknown = || ImageErrorKind::NoMirror { suite: suite.name.clone(), archive: suite.archive };
    let mirror = mirrors.get(suite.archive).ok_or_else(unknown)?;
    let url = format!("{mirror}/dists/{}/InRelease", suite.name);
    let mut pauses = PAUSES.iter();
    while let Err(mut failure) = fetch.file(runner, &url, name) {
        match (&failure.cause, pauses.next()) {
            (ImageErrorKind::MirrorUnreachable { .. }, Some(pause)) => runner.pause(*pause)?,
            (ImageErrorKind::NoSuchRelease { .. }, _) => {
                failure.cause = ImageErrorKind::NoSuchRelease { what: format!("suite {}", suite.name) };
                return Err(failure);
            }
            _ => return Err(failure),
        }
    }
    let read = Root::new(folder).and_then(|root| root.read(&Path::new("/").join(name), MAX_INDEX));
    let text = read.map_err(|e| {
        let context = format!("reading the index of {}", suite.name);
        Failure::from(ImageErrorKind::Io { context, source: std::io::Error::other(e) })
    })?;
    Ok(describe(suite, &text))
}

fn describe(suite: &PackageSuite, text: &[u8]) -> Index {
    let head = String::from_utf8_lossy(text);
    // The signature makes stanzas of its own.
    let date = |name: &str| deb822::stanzas(&head).find_map(|stanza| stanza.value(name)).and_then(parse_date);
    Index {
        suite: suite.name.clone(),
        security: suite.archive == Archive::Security,
        sha256: digest::of_bytes(text),
        date: date("Date"),
        valid_until: date("Valid-Until"),
    }
}

/// Parses `Fri, 06 Nov 2026 08:08:01 UTC`: RFC 2822 with the zone's name.
fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim().replace("UTC", "+0000").replace("GMT", "+0000");
    jiff::fmt::rfc2822::parse(&text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> PackageSuite {
        PackageSuite { name: "sid".to_owned(), archive: Archive::Main, components: vec!["main".to_owned()] }
    }

    const HEAD: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nSuite: unstable\n\
        Date: Fri, 30 Oct 2026 08:08:01 UTC\nValid-Until: Fri, 06 Nov 2026 08:08:01 UTC\n";

    #[test]
    fn the_end_of_validity_is_read_from_the_index() {
        let index = describe(&suite(), HEAD);
        assert_eq!(index.suite, "sid");
        assert_eq!(index.valid_until, Some("2026-11-06T08:08:01Z".parse().unwrap()));
    }

    #[test]
    fn an_index_without_valid_until_never_expires() {
        let index = describe(&suite(), b"Suite: stable\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n");
        assert_eq!(index.valid_until, None);
        assert!(index.date.is_some());
    }
}
