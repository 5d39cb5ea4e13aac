//! The repositories' indexes, fetched and verified by dnf: `repomd.xml` has the hashes of all others.

use crate::digest;
use crate::error::{Failure, ImageErrorKind};
use crate::family::offered::Offered;
use crate::manifest::Index;
use crate::tree;
use jiff::Timestamp;
use model::package::PackageVersion;
use root::Root;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Size limit of a `repomd.xml`, in bytes; real ones have some 10 KiB.
const MAX_INDEX: u64 = 16 << 20;
/// Size limit of an unpacked package list, in bytes; Fedora's has some 200 MB.
const MAX_LIST: u64 = 4 << 30;
/// Maximum distance to the next `>` in a list, in bytes.
const MAX_TAG: u64 = 16 << 20;

/// Reads the indexes of these repositories in dnf's cache.
pub(super) fn read(cache: &Path, ids: &[String]) -> Result<Vec<Index>, Failure> {
    let root = tree::open(cache)?;
    ids.iter().map(|id| Ok(describe(id, &index(&root, id)?.1))).collect()
}

/// Returns a repository's directory in the cache, and its index.
fn index(root: &Root, id: &str) -> Result<(PathBuf, Vec<u8>), Failure> {
    // Exactly a hash must follow, as in `fedora-2d95c80a1fa0a67d`: the name may be a prefix of another repository's
    // name.
    let is_its = |name: &&String| {
        let hash = name.strip_prefix(id).and_then(|rest| rest.strip_prefix('-'));
        hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let names = root.list(Path::new("/")).map_err(tree::failed)?;
    let Some(name) = names.iter().find(is_its) else {
        return Err(ImageErrorKind::NotInTree { what: format!("dnf's index of the repository {id}") }.into());
    };
    let folder = Path::new("/").join(name).join("repodata");
    let text = root.read(&folder.join("repomd.xml"), MAX_INDEX).map_err(tree::failed)?;
    Ok((folder, text))
}

fn describe(id: &str, index: &[u8]) -> Index {
    let text = String::from_utf8_lossy(index);
    // Each part has a `<timestamp>1795932906</timestamp>`; older tools write fractions of seconds.
    let seconds =
        text.split("<timestamp>").skip(1).filter_map(|rest| rest.split(['<', '.']).next()?.trim().parse::<i64>().ok());
    let date = seconds.max().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let security = id.to_ascii_lowercase().contains("security");
    Index { suite: id.to_owned(), security, sha256: digest::of_bytes(index), date, valid_until: None }
}

/// Returns the versions of the named packages that each repository in dnf's cache offers, sorted by repository.
pub(super) fn offered(cache: &Path, names: &BTreeSet<&str>) -> Result<Vec<Offered>, Failure> {
    let root = tree::open(cache)?;
    let mut all = Vec::new();
    for folder in root.list(Path::new("/")).map_err(tree::failed)? {
        let Some((id, _)) = folder.rsplit_once('-') else { continue };
        if !matches!(root.look(&Path::new("/").join(&folder)), Ok(Some(meta)) if meta.is_dir()) {
            continue;
        }
        let (folder, index) = index(&root, id)?;
        let Some(list) = list_in(&String::from_utf8_lossy(&index)) else { continue };
        let path = folder.join(&list);
        let file = root.file(&path).map_err(tree::failed)?;
        let read = unpacked(&list, file).and_then(|list| versions(BufReader::new(list), names));
        let failed =
            |source| Failure::from(ImageErrorKind::Io { context: format!("reading the packages of {id}"), source });
        let offer = |(name, version)| Offered { repository: id.to_owned(), name, version };
        all.extend(read.map_err(failed)?.into_iter().map(offer));
    }
    all.sort_by(|a: &Offered, b| a.repository.cmp(&b.repository));
    Ok(all)
}

/// Returns the name of the package list in an index: `<data type="primary">…<location
/// href="repodata/X-primary.xml.gz"/>`.
fn list_in(index: &str) -> Option<String> {
    let data = index.split("<data ").find(|data| data.starts_with("type=\"primary\""))?;
    let href = attribute(data.split_once("<location ")?.1, "href")?;
    href.rsplit('/').next().map(str::to_owned)
}

fn unpacked(name: &str, file: std::fs::File) -> io::Result<Box<dyn Read>> {
    let list: Box<dyn Read> = match name.rsplit('.').next() {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(file)?),
        _ => Box::new(file),
    };
    Ok(Box::new(list.take(MAX_LIST)))
}

/// Returns the names and versions of the named packages in a package list.
fn versions(mut list: impl BufRead, names: &BTreeSet<&str>) -> io::Result<Vec<(String, PackageVersion)>> {
    let (mut all, mut name, mut bytes) = (Vec::new(), None, Vec::new());
    loop {
        bytes.clear();
        if (&mut list).take(MAX_TAG).read_until(b'>', &mut bytes)? == 0 {
            return Ok(all);
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((before, tag)) = text.rsplit_once('<') else { continue };
        if tag == "/name>" {
            name = names.get(before.trim()).map(|name| (*name).to_owned());
        } else if let Some(version) = tag.strip_prefix("version ")
            && let Some(name) = name.take()
        {
            let value = |key| attribute(version, key).unwrap_or_default();
            let epoch =
                Some(value("epoch")).filter(|epoch| !["", "0"].contains(epoch)).map(|epoch| format!("{epoch}:"));
            // A version that does not parse is skipped: no installed package has such a version.
            let version = format!("{}{}-{}", epoch.unwrap_or_default(), value("ver"), value("rel"));
            all.extend(version.parse::<PackageVersion>().ok().map(|version| (name, version)));
        }
    }
}

/// Returns `x` of `key="x"` in a tag.
fn attribute<'t>(tag: &'t str, key: &str) -> Option<&'t str> {
    tag.split_once(&format!("{key}=\""))?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// The output of `createrepo_c` 0.20.
    const REPOMD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n  \
        <revision>1795932906</revision>\n  <data type=\"filelists\">\n    <location href=\"repodata/02b-filelists.xml.gz\"/>\n    \
        <timestamp>1795932900</timestamp>\n  </data>\n  <data type=\"primary\">\n    <checksum type=\"sha256\">e8</checksum>\n    \
        <location href=\"repodata/e8-primary.xml.gz\"/>\n    <timestamp>1795932906.21</timestamp>\n  </data>\n</repomd>\n";
    const PRIMARY: &str = "<metadata packages=\"2\">\n<package type=\"rpm\">\n  <name>qemu-kvm</name>\n  <arch>x86_64</arch>\n  \
        <version epoch=\"17\" ver=\"9.1.0\" rel=\"15.el9\"/>\n  <description>a &lt;name&gt; > all</description>\n  <format>\n    \
        <rpm:provides>\n      <rpm:entry name=\"hello\" flags=\"EQ\" epoch=\"0\" ver=\"9\" rel=\"9\"/>\n    </rpm:provides>\n  \
        </format>\n</package>\n<package type=\"rpm\"><name>hello</name><arch>noarch</arch><version epoch=\"0\" ver=\"1.0\" rel=\"1\"/>\
        </package>\n<package type=\"rpm\"><name>other</name><version epoch=\"0\" ver=\"2\" rel=\"1\"/></package></metadata>";

    #[test]
    fn an_index_is_hashed_as_a_whole_and_dated_by_its_newest_part() {
        let index = describe("fedora", REPOMD.as_bytes());
        assert_eq!(index.sha256, digest::of_bytes(REPOMD.as_bytes()));
        assert_eq!(index.date, Timestamp::from_second(1_795_932_906).ok());
        assert!(!index.security && describe("security", b"").security);
        assert_eq!(list_in(REPOMD).as_deref(), Some("e8-primary.xml.gz"));
    }

    #[test]
    fn offered_versions_are_read_from_package_entries() {
        let dir = tempfile::tempdir().unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(PRIMARY.as_bytes()).unwrap();
        let list = gz.finish().unwrap();
        for id in ["base", "base-updates"] {
            let folder = dir.path().join(format!("{id}-c3309d09412a67d2/repodata"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("repomd.xml"), REPOMD).unwrap();
            std::fs::write(folder.join("e8-primary.xml.gz"), &list).unwrap();
        }
        std::fs::write(dir.path().join("base-filenames.solvx"), "").unwrap();
        let found = offered(dir.path(), &BTreeSet::from(["hello", "qemu-kvm"])).unwrap();
        let found: Vec<String> =
            found.iter().map(|one| format!("{} {} {}", one.name, one.version, one.repository)).collect();
        assert_eq!(
            found,
            [
                "qemu-kvm 17:9.1.0-15.el9 base",
                "hello 1.0-1 base",
                "qemu-kvm 17:9.1.0-15.el9 base-updates",
                "hello 1.0-1 base-updates"
            ]
        );
        let indexes = read(dir.path(), &["base".to_owned()]).unwrap();
        assert_eq!(indexes[0].suite, "base");
        assert!(read(dir.path(), &["bas".to_owned()]).is_err(), "another's index passed for it");
    }
}
