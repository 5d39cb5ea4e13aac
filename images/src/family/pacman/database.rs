//! Packages that repositories offer, read from their databases: archives with a description of each package.

use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family::offered::{Offered, OfferedFile};
use crate::tree;
use crate::unpack;
use model::package::{NativeName, PackageVersion};
use operator::packages::pacman::field;
use std::io::{self, Read};
use std::path::Path;

/// Size limits of a description, and of a whole unpacked database, in bytes; Arch's have some 100 MB.
const MAX_DESCRIPTION: u64 = 1 << 20;
const MAX_DATABASE: u64 = 4 << 30;

/// Lists all packages of the databases in a directory.
pub(super) fn offered(sync: &Path) -> Result<Vec<OfferedFile>, Failure> {
    let root = tree::open(sync)?;
    let mut all = Vec::new();
    for name in root.list(Path::new("/")).map_err(tree::failed)? {
        let Some(repository) = name.strip_suffix(".db") else { continue };
        let file = root.file(&Path::new("/").join(&name)).map_err(tree::failed)?;
        let read = unpack::decompressed(file).and_then(|database| of_database(database, repository));
        all.extend(read.context("reading the database", &sync.join(&name))?);
    }
    Ok(all)
}

fn of_database(database: impl Read, repository: &str) -> io::Result<Vec<OfferedFile>> {
    let mut all = Vec::new();
    for entry in tar::Archive::new(database.take(MAX_DATABASE)).entries()? {
        let entry = entry?;
        if !entry.path()?.ends_with("desc") {
            continue;
        }
        let mut text = String::new();
        entry.take(MAX_DESCRIPTION).read_to_string(&mut text)?;
        let value = |key: &str| field(&text, key).into_iter().next().unwrap_or_default();
        let (name, version, file) = (value("NAME"), value("VERSION"), value("FILENAME"));
        // The name becomes a file name here, and the end of an address.
        let is_sound =
            !file.starts_with(['.', '-']) && file.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._:@~".contains(&b));
        let sound = version
            .parse::<PackageVersion>()
            .ok()
            .filter(|_| !name.is_empty() && file.contains(".pkg.tar") && is_sound);
        let Some(version) = sound else {
            return Err(io::Error::other(format!("expected name, version and file of a package, found {file:?}")));
        };
        let sha256 = field(&text, "SHA256SUM").into_iter().next();
        let offered = Offered { repository: repository.to_owned(), name, version };
        all.push(OfferedFile { offered, name: file, sha256 });
    }
    Ok(all)
}

/// Returns the files of the packages that pacman wants to install, from its lines `REPOSITORY NAME VERSION`; other
/// output is ignored.
///
/// # Errors
/// If pacman wants a package that no database has.
pub(super) fn to_fetch(printed: &str, offered: &[OfferedFile]) -> Result<Vec<OfferedFile>, Failure> {
    let mut all: Vec<OfferedFile> = Vec::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let &[repository, name, version] = &words[..] else { continue };
        let Ok(name) = name.parse::<NativeName>() else { continue };
        if !offered.iter().any(|one| one.offered.repository == repository) {
            continue;
        }
        let is_it = |one: &&OfferedFile| {
            let one = &one.offered;
            one.repository == repository && one.name == name.as_str() && one.version == version
        };
        match offered.iter().find(is_it) {
            Some(one) if all.contains(one) => {}
            Some(one) => all.push(one.clone()),
            None => return Err(ImageErrorKind::PackageMissing { package: name }.into()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a database as `repo-add` 6.0 does.
    fn database(packages: &[(&str, &str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, version, file) in packages {
            let desc = format!("%FILENAME%\n{file}\n\n%NAME%\n{name}\n\n%VERSION%\n{version}\n\n%SHA256SUM%\n00ff\n\n");
            let mut header = tar::Header::new_gnu();
            header.set_size(desc.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, format!("{name}-{version}/desc"), desc.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn the_packages_to_fetch_are_found_in_pacmans_database() {
        let dir = tempfile::tempdir().unwrap();
        let qemu = ("qemu", "1:10.1-1", "qemu-1:10.1-1-x86_64.pkg.tar.zst");
        std::fs::write(dir.path().join("core.db"), database(&[("bash", "5-1", "bash-5-1-any.pkg.tar.zst")])).unwrap();
        std::fs::write(dir.path().join("extra.db"), database(&[qemu])).unwrap();
        std::fs::write(dir.path().join("core.db.sig"), "no database").unwrap();
        let all = offered(dir.path()).unwrap();
        let found =
            to_fetch("loading packages...\nextra qemu 1:10.1-1\nextra qemu 1:10.1-1\nlocal x 1-1\n", &all).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].sha256.as_deref()), (qemu.2, Some("00ff")));
        let error = to_fetch("core bash 6-1\n", &all).unwrap_err();
        assert!(matches!(error.cause, ImageErrorKind::PackageMissing { package } if package == "bash"));
    }

    #[test]
    fn invalid_package_file_names_in_a_database_are_refused() {
        for file in ["../x.pkg.tar.zst", "a/x.pkg.tar.zst", "-x.pkg.tar.zst", "x y.pkg.tar.zst", "x"] {
            let read = of_database(unpacked(&database(&[("x", "1-1", file)])), "core");
            assert!(read.is_err(), "{file}");
        }
    }

    fn unpacked(gz: &[u8]) -> impl Read {
        flate2::read::MultiGzDecoder::new(io::Cursor::new(gz.to_vec()))
    }
}
