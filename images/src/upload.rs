//! Packages of an upload: those that a `.changes` names, those next to a `.dsc`, or package files themselves.
//!
//! Only the names and checksums of packages are read from a `.changes`; it is the caller's own, so its signature is not
//! checked. Names refer to files next to it, and are never paths. Debug symbols, sources and packages for Debian's
//! installer (`.udeb`) are left out, because no guest runs them.

use crate::digest;
use crate::family;
use crate::packed::is_plain_file;
use operator::deb822::{self, Field};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Size limit of a `.changes` or `.dsc`, in bytes; Debian's largest have some 100 KB.
const MAX_CONTROL: u64 = 4 << 20;

/// Reasons why an upload's packages cannot be determined.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A file cannot be read.
    #[error("{path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file does not match the checksum in its upload.
    #[error("{path} has the SHA-256 {found}, but {upload} says {expected}", path = .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Name of the upload file.
        upload: String,
        /// Checksum in the upload.
        expected: String,
        /// Checksum of the file.
        found: String,
    },
    /// The file has another form than expected.
    #[error("{path}: {reason}", path = .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Expected form.
        reason: String,
    },
}

/// Returns the package files in these uploads and among these files, each once, in order.
///
/// # Errors
/// If a file cannot be read, does not match its upload, or names no package.
pub fn packages(files: &[PathBuf]) -> Result<Vec<PathBuf>, UploadError> {
    let mut all = Vec::new();
    for file in files {
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("changes") => of_changes(file)?,
            Some("dsc") => of_source(file)?,
            _ => of_package(file)?,
        };
        for path in found {
            if !all.contains(&path) {
                all.push(path);
            }
        }
    }
    Ok(all)
}

/// Returns a package file that was named directly; debug symbols and sources are skipped silently, because a shell
/// pattern matches them, too.
fn of_package(file: &Path) -> Result<Vec<PathBuf>, UploadError> {
    if !file.is_file() {
        return Err(UploadError::Read { path: file.to_owned(), source: io::ErrorKind::NotFound.into() });
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Ok(if family::is_left_out(&name) { Vec::new() } else { vec![file.to_owned()] })
}

fn of_changes(file: &Path) -> Result<Vec<PathBuf>, UploadError> {
    let form = |reason: &str| UploadError::Form { path: file.to_owned(), reason: reason.to_owned() };
    let text = text(file)?;
    let listed = field(&text, "Checksums-Sha256").ok_or_else(|| form("expected the field Checksums-Sha256"))?;
    let mut found = Vec::new();
    for line in listed.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [sha256, _, name] = words[..] else {
            return Err(form("expected a checksum, a size and a name in each line of Checksums-Sha256"));
        };
        if !is_plain_file(name) {
            return Err(form(&format!("`{name}` is not the name of a file in the same folder")));
        }
        if !name.ends_with(".deb") || family::is_left_out(name) {
            continue;
        }
        let path = file.with_file_name(name);
        let read = |source| UploadError::Read { path: path.clone(), source };
        let sum = File::open(&path).and_then(|mut file| digest::of_reader(&mut file)).map_err(read)?;
        if !sum.eq_ignore_ascii_case(sha256) {
            let upload = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(UploadError::Checksum { path, upload, expected: sha256.to_owned(), found: sum });
        }
        found.push(path);
    }
    match found.is_empty() {
        true => Err(form("it lists no package (.deb): use the .changes of a build with binary packages")),
        false => Ok(found),
    }
}

/// Returns the packages that were built from a source package and are next to its `.dsc`.
fn of_source(file: &Path) -> Result<Vec<PathBuf>, UploadError> {
    let form = |reason: String| UploadError::Form { path: file.to_owned(), reason };
    let text = text(file)?;
    let lacks = |name: &str| form(format!("expected the field {name}"));
    let version = field(&text, "Version").ok_or_else(|| lacks("Version"))?.first_line();
    // File names have no epoch.
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let binaries = field(&text, "Binary").ok_or_else(|| lacks("Binary"))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let read = |source| UploadError::Read { path: folder.to_owned(), source };
    let mut beside = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        beside.extend(entry.map_err(read)?.file_name().into_string().ok());
    }
    beside.sort();
    let names: Vec<&str> =
        binaries.lines().flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect();
    let is_of = |file: &&String| {
        let parts = file.strip_suffix(".deb").map(|stem| stem.splitn(3, '_').collect::<Vec<_>>()).unwrap_or_default();
        matches!(parts[..], [name, file_version, _] if file_version == version && names.contains(&name))
    };
    let found: Vec<PathBuf> = beside
        .iter()
        .filter(is_of)
        .filter(|name| !family::is_left_out(name))
        .map(|name| file.with_file_name(name))
        .collect();
    match found.is_empty() {
        true => Err(form(format!("none of its packages (.deb) of version {version} is in the same folder"))),
        false => Ok(found),
    }
}

fn text(path: &Path) -> Result<String, UploadError> {
    let read = |source| UploadError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_CONTROL + 1).read_to_end(&mut bytes)).map_err(read)?;
    if bytes.len() as u64 > MAX_CONTROL {
        let reason = format!("it has more than {MAX_CONTROL} bytes");
        return Err(UploadError::Form { path: path.to_owned(), reason });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the first field of a name; the file's signature makes stanzas of its own.
fn field<'t>(text: &'t str, name: &str) -> Option<Field<'t>> {
    deb822::stanzas(text).find_map(|stanza| stanza.field(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::diagnostic::error_chain;
    use std::fs;

    /// Makes a directory with files of these names, each with its name as its content.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
        }
        dir
    }

    fn changes(names: &[&str]) -> String {
        let line = |name: &&str| format!(" {} {} {name}\n", digest::of_bytes(name.as_bytes()), name.len());
        let lines: String = names.iter().map(line).collect();
        format!("Format: 1.8\nSource: qemu\nChecksums-Sha256:\n{lines}Files:\n 0123 1 misc optional other.deb\n")
    }

    fn names(found: &[PathBuf]) -> Vec<&str> {
        found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    const BUILT: [&str; 5] = [
        "qemu_9.0-1.dsc",
        "qemu-system-x86_9.0-1_amd64.deb",
        "qemu-system-x86-dbgsym_9.0-1_amd64.deb",
        "qemu-system-data_9.0-1_all.deb",
        "qemu-udeb_9.0-1_amd64.udeb",
    ];

    #[test]
    fn a_changes_file_selects_its_packages_without_debug_symbols() {
        let dir = folder(&BUILT);
        let upload = dir.path().join("qemu_9.0-1_amd64.changes");
        // A signed `.changes` has additional lines around its fields.
        fs::write(&upload, format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}", changes(&BUILT))).unwrap();
        let deb = dir.path().join(BUILT[1]);
        let found = packages(&[upload, deb]).unwrap();
        assert_eq!(names(&found), [BUILT[1], BUILT[3]], "each once");
    }

    #[test]
    fn an_incomplete_or_damaged_upload_is_refused() {
        let dir = folder(&BUILT);
        let upload = dir.path().join("x.changes");
        let refused = |text: &str| {
            fs::write(&upload, text).unwrap();
            error_chain(&packages(std::slice::from_ref(&upload)).unwrap_err())
        };
        let text = changes(&BUILT);
        let sum = digest::of_bytes(BUILT[1].as_bytes());
        assert!(refused(&text.replace(&sum, "00")).contains("has the SHA-256"));
        assert!(refused(&text.replace(BUILT[1], "../x.deb")).contains("`../x.deb` is not the name of a file"));
        assert!(refused(&text.replace(BUILT[1], "gone_1_all.deb")).contains("gone_1_all.deb"));
        assert!(refused(&changes(&BUILT[..1])).contains("lists no package"));
        assert!(refused("Source: qemu\n").contains("expected the field Checksums-Sha256"));
    }

    #[test]
    fn a_source_package_selects_the_packages_built_from_it() {
        let dir = folder(&[BUILT[1], BUILT[2], BUILT[3], "qemu-system-x86_8.0-1_amd64.deb", "other_9.0-1_all.deb"]);
        let dsc = dir.path().join(BUILT[0]);
        fs::write(&dsc, "Source: qemu\nBinary: qemu-system-x86,\n qemu-system-data\nVersion: 1:9.0-1\n").unwrap();
        assert_eq!(names(&packages(std::slice::from_ref(&dsc)).unwrap()), [BUILT[3], BUILT[1]]);
        fs::write(&dsc, "Source: qemu\nBinary: qemu-user\nVersion: 1:9.0-1\n").unwrap();
        let error = packages(&[dsc]).unwrap_err().to_string();
        assert!(error.ends_with("none of its packages (.deb) of version 9.0-1 is in the same folder"), "{error}");
    }

    #[test]
    fn debug_symbols_of_every_family_are_left_out() {
        let expected = ["qemu-kvm-9.0-1.x86_64.rpm", "qemu-9.0-1-x86_64.pkg.tar.zst", "qemu-9.0-r1.apk"];
        let skipped = [
            "qemu-kvm-debuginfo-9.0-1.x86_64.rpm",
            "qemu-9.0-1.src.rpm",
            "qemu-debug-9.0-1-x86_64.pkg.tar.zst",
            "qemu-dbg-9.0-r1.apk",
            "qemu-system-x86-dbgsym_9.0_amd64.ddeb",
        ];
        let dir = folder(&[&expected[..], &skipped[..]].concat());
        let all: Vec<PathBuf> = expected.iter().chain(&skipped).map(|name| dir.path().join(name)).collect();
        assert_eq!(names(&packages(&all).unwrap()), expected);
        assert!(packages(&[dir.path().join("none.deb")]).is_err());
    }
}
