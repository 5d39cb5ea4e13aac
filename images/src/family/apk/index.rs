//! Packages that repositories offer, read from their indexes: one paragraph per package, one letter per field.

use super::{KEPT, sources};
use crate::error::{Context as _, Failure};
use crate::family::offered::{Offered, OfferedFile};
use crate::unpack;
use model::package::PackageVersion;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Size limit of an unpacked index, in bytes; Alpine's have some 10 MB.
const MAX_INDEX: u64 = 1 << 30;

/// Lists all packages of the indexes that an image's directory keeps.
pub(super) fn offered(folder: &Path) -> Result<Vec<OfferedFile>, Failure> {
    let mut all = Vec::new();
    for (id, _) in sources::written(folder)? {
        let path = folder.join(KEPT).join(format!("{id}.tar.gz"));
        let read = File::open(&path).and_then(unpack::decompressed).and_then(|index| of_index(index, &id));
        all.extend(read.context("reading the index", &path)?);
    }
    Ok(all)
}

fn of_index(index: impl Read, repository: &str) -> io::Result<Vec<OfferedFile>> {
    let mut all = Vec::new();
    // The signature precedes the index, as a separate archive without end blocks.
    for entry in tar::Archive::new(index.take(MAX_INDEX)).entries()? {
        let mut entry = entry?;
        if *entry.path()? != *Path::new("APKINDEX") {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
            let value = |field: &str| paragraph.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
            let (name, version) = (value("P:"), value("V:"));
            // Both become parts of a file name here and of an address.
            let is_sound = |text: &str| {
                text.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
            };
            let sound = version.parse::<PackageVersion>().ok().filter(|_| is_sound(name) && is_sound(version));
            let Some(known) = sound else {
                return Err(io::Error::other(format!("expected name and version of a package, found {name:?}")));
            };
            let offered = Offered { repository: repository.to_owned(), name: name.to_owned(), version: known };
            all.push(OfferedFile { offered, name: format!("{name}-{version}.apk"), sha256: None });
        }
    }
    Ok(all)
}

/// Returns the files of the packages that apk would install, from its lines `(1/2) Installing NAME (VERSION)`.
///
/// A package that is in no index is left out: it is the caller's.
pub(super) fn to_fetch(printed: &str, offered: &[OfferedFile]) -> Vec<OfferedFile> {
    let mut all: Vec<OfferedFile> = Vec::new();
    for (name, version) in printed.lines().filter_map(change) {
        let found = offered.iter().find(|one| one.offered.name == name && one.offered.version == version);
        all.extend(found.filter(|one| !all.contains(one)).cloned());
    }
    all
}

/// Returns the package and its version after the change: `(2/3) Upgrading musl (1.2.5-r0 -> 1.2.5-r1)`.
fn change(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.trim().strip_prefix('(')?.split_once(") ")?;
    let (verb, rest) = rest.split_once(' ')?;
    if !["Installing", "Upgrading", "Downgrading", "Reinstalling", "Replacing"].contains(&verb) {
        return None;
    }
    let (name, versions) = rest.split_once(" (")?;
    let versions = versions.split(')').next()?;
    Some((name, versions.rsplit(" -> ").next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in [(".SIGN.RSA.a.rsa.pub", "signature"), ("DESCRIPTION", "v3.22"), ("APKINDEX", text)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn an_index_names_packages_and_their_versions() {
        let text = "C:Q1x=\nP:qemu\nV:9.2.2-r1\nA:x86_64\nS:1\n\nC:Q1y=\nP:libstdc++\nV:14.2.0-r6\n\n";
        let found = of_index(index(text).as_slice(), "community").unwrap();
        let files: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(files, ["qemu-9.2.2-r1.apk", "libstdc++-14.2.0-r6.apk"]);
        assert!(of_index(index("P:../x\nV:1\n\n").as_slice(), "main").is_err());
        assert!(of_index(index("P:x\n\n").as_slice(), "main").is_err());
    }

    /// The output of apk-tools 2.14, according to its source: `src/commit.c`.
    #[test]
    fn the_packages_to_fetch_are_read_from_apks_simulation() {
        let one = |name: &str, version: &str| {
            let version: PackageVersion = version.parse().unwrap();
            let file = format!("{name}-{version}.apk");
            let offered = Offered { repository: "main".to_owned(), name: name.to_owned(), version };
            OfferedFile { offered, name: file, sha256: None }
        };
        let offered = [one("qemu", "9.2.2-r1"), one("musl", "1.2.5-r1"), one("old", "1-r0")];
        let printed = "(1/4) Installing qemu (9.2.2-r1)\n(2/4) Upgrading musl (1.2.5-r0 -> 1.2.5-r1)\n\
            (3/4) Installing candidate (2-r0)\n(4/4) Purging old (1-r0)\nOK: 8 MiB in 15 packages\n";
        assert_eq!(to_fetch(printed, &offered), offered[..2]);
        assert!(to_fetch("OK: 8 MiB in 15 packages\n", &offered).is_empty());
    }
}
