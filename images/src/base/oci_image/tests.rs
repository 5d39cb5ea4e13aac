use super::*;
use crate::base::from_files;
use crate::digest;
use model::arch::Arch;
use serde_json::{Value, json};
use std::io::Write as _;

const TRIXIE: &str = "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"Debian 13\"\n";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Builds a layer with these files; a name that ends with `/` is a directory.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_size(content.len() as u64);
        let kind = if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        header.set_entry_type(kind);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files of an image under construction.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Made {
        let made = Made { dir: tempfile::tempdir().unwrap() };
        made.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        made
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Adds a blob; returns its descriptor.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let sha256 = digest::of_bytes(bytes);
        self.write(&format!("blobs/sha256/{sha256}"), bytes);
        json!({"mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": bytes.len()})
    }

    fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// Adds an image of layers, each given as media type, stored bytes and unpacked bytes; returns its descriptor.
    fn image(&self, architecture: &str, layers: &[(&str, &[u8], &[u8])]) -> Value {
        let ids: Vec<String> =
            layers.iter().map(|(_, _, unpacked)| format!("sha256:{}", digest::of_bytes(unpacked))).collect();
        let configuration =
            json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = self.document(CONFIGURATION, &configuration);
        let layers: Vec<Value> = layers.iter().map(|(media_type, stored, _)| self.blob(media_type, stored)).collect();
        self.document(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        self.write("index.json", index.to_string().as_bytes());
    }

    /// Adds an image of one plain layer.
    fn plain(&self, architecture: &str) -> Value {
        let bytes = layer(&[("etc/", ""), ("etc/os-release", TRIXIE)]);
        self.image(architecture, &[(LAYER, &bytes, &bytes)])
    }

    /// Writes the files that `docker save` writes for an image of two layers, without an OCI layout.
    fn saved(&self) {
        std::fs::remove_file(self.dir.path().join("oci-layout")).unwrap();
        let layers = two_layers();
        let ids: Vec<String> = layers.iter().map(|bytes| format!("sha256:{}", digest::of_bytes(bytes))).collect();
        let configuration = json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ids}}).to_string();
        let name = format!("{}.json", digest::of_bytes(configuration.as_bytes()));
        self.write(&name, configuration.as_bytes());
        self.write("a/layer.tar", &layers[0]);
        self.write("b/layer.tar", &layers[1]);
        let entry = json!([{"Config": name, "RepoTags": ["debian:13"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
        self.write("manifest.json", entry.to_string().as_bytes());
    }

    fn path(&self, inside: &Value) -> PathBuf {
        self.dir.path().join("blobs/sha256").join(inside["digest"].as_str().unwrap().trim_start_matches("sha256:"))
    }

    /// Returns all files in an archive.
    fn archive(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all(".", self.dir.path()).unwrap();
        tar.into_inner().unwrap()
    }

    /// Reads the image as a base of debian:13; returns the tree, or the reason for the refusal.
    fn tree(&self) -> Result<tempfile::TempDir, String> {
        tree_of(self.dir.path().to_str().unwrap())
    }

    fn refused(&self) -> String {
        self.tree().err().unwrap()
    }
}

/// Returns a layer, and a second layer that replaces one of its files and removes another.
fn two_layers() -> [Vec<u8>; 2] {
    [
        layer(&[("etc/", ""), ("etc/os-release", "ID=other\n"), ("etc/gone", "x")]),
        layer(&[("etc/os-release", TRIXIE), ("etc/.wh.gone", "")]),
    ]
}

fn opened(source: &str) -> Result<OciImage, OciImageError> {
    let database = Database::embedded();
    let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
    OciImage::open(ExternalFile::parse(source).unwrap(), &release, &database, Arc::default())
}

fn tree_of(source: &str) -> Result<tempfile::TempDir, String> {
    let image = opened(source).map_err(|e| e.to_string())?;
    let dir = tempfile::tempdir().unwrap();
    let cancel = AtomicBool::new(false);
    let runner = crate::fixtures::runner(&cancel, 60);
    from_files::read(&runner, &image, dir.path(), &dir.path().join("tree")).map_err(|f| f.cause.to_string())?;
    Ok(dir)
}

fn os_release(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("tree/etc/os-release")).unwrap()
}

#[test]
fn oci_layouts_and_docker_save_archives_give_the_same_tree() {
    let [below, above] = two_layers();
    let layout = Made::new();
    let zstd = zstd::encode_all(above.as_slice(), 1).unwrap();
    let image = layout.image(
        "amd64",
        &[
            ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&below).as_slice(), below.as_slice()),
            ("application/vnd.oci.image.layer.v1.tar+zstd", zstd.as_slice(), above.as_slice()),
        ],
    );
    // An index nested in the index, with an image of another architecture and an attestation next to the image.
    let mut other = layout.plain("arm64");
    other["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let mut attestation = layout.plain("amd64");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let inner = layout.document(INDEX, &json!({"manifests": [other, attestation, image]}));
    layout.index(&[inner]);
    let saved = Made::new();
    saved.saved();
    let archives = tempfile::tempdir().unwrap();
    let archived = |name: &str, bytes: &[u8]| {
        let path = archives.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sources = [
        layout.dir.path().to_str().unwrap().to_owned(),
        archived("layout.tar", &layout.archive()),
        archived("saved.tar", &saved.archive()),
        archived("saved.tar.gz", &gzip(&saved.archive())),
    ];
    for source in sources {
        let dir = tree_of(&source).unwrap_or_else(|why| panic!("{source}: {why}"));
        assert_eq!(os_release(&dir), TRIXIE, "{source}");
        assert!(!dir.path().join("tree/etc/gone").exists(), "{source}");
        let identity = opened(&source).unwrap().identity();
        // The source can be pinned by the base's identity.
        assert!(opened(&format!("{source}#{identity}")).is_ok(), "{source}");
        let wrong = opened(&format!("{source}#{}", "0".repeat(64))).err().unwrap().to_string();
        assert!(wrong.contains("has the checksum sha256:"), "{wrong}");
    }
}

#[test]
fn damaged_or_missing_blobs_are_refused() {
    // For each kind of blob: other content of the same length, another length, missing.
    for (which, what) in [(0, "layer"), (1, "configuration"), (2, "manifest")] {
        for damage in ["changed", "longer", "gone"] {
            let made = Made::new();
            let image = made.plain("amd64");
            made.index(std::slice::from_ref(&image));
            let manifest: Value = serde_json::from_slice(&std::fs::read(made.path(&image)).unwrap()).unwrap();
            let path = made.path([&manifest["layers"][0], &manifest["config"], &image][which]);
            let mut bytes = std::fs::read(&path).unwrap();
            match damage {
                "changed" => bytes[0] ^= 1,
                "longer" => bytes.push(b' '),
                _ => std::fs::remove_file(&path).unwrap(),
            }
            if damage != "gone" {
                std::fs::write(&path, bytes).unwrap();
            }
            let expected = match damage {
                "changed" => "it was changed or damaged",
                "longer" => "bytes, expected",
                _ => " is missing",
            };
            let why = made.refused();
            assert!(why.contains(expected), "{what} {damage}: {why}");
            assert!(damage != "gone" || why.contains(": /blobs/sha256/"), "{what} {damage}: {why}");
        }
    }
    // The unpacked layer has a digest of its own.
    let made = Made::new();
    let (unpacked, stored) = (layer(&[("a", "1")]), layer(&[("a", "2")]));
    made.index(&[made.image("amd64", &[(LAYER, &stored, &unpacked)])]);
    assert!(made.refused().contains("it was changed or damaged"));
    let made = Made::new();
    made.saved();
    made.write("b/layer.tar", &layer(&[("etc/os-release", "ID=evil\n")]));
    assert!(made.refused().contains("it was changed or damaged"));
    let made = Made::new();
    made.saved();
    std::fs::remove_file(made.dir.path().join("b/layer.tar")).unwrap();
    assert!(made.refused().contains("/b/layer.tar is missing"));
}

#[test]
fn exactly_one_image_for_the_architecture_is_required() {
    let made = Made::new();
    made.index(&[made.plain("arm64"), made.plain("s390x")]);
    let why = made.refused();
    assert!(why.ends_with("it is for linux/arm64, linux/s390x, expected linux/amd64"), "{why}");
    // An index that names another platform than the image itself.
    let mut lying = made.plain("arm64");
    lying["platform"] = json!({"os": "linux", "architecture": "amd64"});
    made.index(&[lying]);
    assert!(made.refused().ends_with("it is for linux/arm64, expected linux/amd64"));
    // The same image listed twice counts as one; two different images are refused.
    let bytes = layer(&[("etc/", ""), ("etc/os-release", TRIXIE), ("a", "")]);
    let (one, two) = (made.plain("amd64"), made.image("amd64", &[(LAYER, &bytes, &bytes)]));
    made.index(&[one.clone(), one.clone()]);
    assert!(made.tree().is_ok());
    made.index(&[one, two]);
    let why = made.refused();
    assert!(why.contains("it has 2 images for linux/amd64 (sha256:"), "{why}");
    made.index(&[]);
    assert!(made.refused().ends_with("it is for nothing, expected linux/amd64"));
    let made = Made::new();
    made.saved();
    let saved: Value = serde_json::from_slice(&std::fs::read(made.dir.path().join("manifest.json")).unwrap()).unwrap();
    made.write("manifest.json", json!([saved[0], saved[0]]).to_string().as_bytes());
    assert!(made.refused().contains("it has 2 images, expected one"));
}

#[test]
fn unknown_media_types_and_external_layers_are_refused() {
    let bytes = layer(&[("a", "")]);
    let refusal = |media_type: &str| {
        let made = Made::new();
        made.index(&[made.image("amd64", &[(media_type, &bytes, &bytes)])]);
        made.refused()
    };
    let unknown = refusal("application/vnd.oci.image.layer.v1.squashfs");
    assert!(unknown.contains("unknown media type `application/vnd.oci.image.layer.v1.squashfs`"), "{unknown}");
    for foreign in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let why = refusal(foreign);
        assert!(why.contains("is not included"), "{why}");
    }
    let made = Made::new();
    let mut described = made.blob(LAYER, &bytes);
    described["urls"] = json!(["https://elsewhere.example/layer"]);
    let id = digest::of_bytes(&bytes);
    let configuration =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [format!("sha256:{id}")]}});
    let config = made.document(CONFIGURATION, &configuration);
    made.index(&[made.document(MANIFEST, &json!({"config": config, "layers": [described]}))]);
    assert!(made.refused().contains("is not included"));
    made.index(&[made.document("application/vnd.example.chart", &json!({}))]);
    assert!(made.refused().contains("unknown media type `application/vnd.example.chart`"));
    // A path in the place of a digest is refused.
    made.index(&[json!({"mediaType": MANIFEST, "digest": "sha256:../../../etc/passwd", "size": 1})]);
    assert!(made.refused().contains("is not a digest"));
    made.write("index.json", b"[]");
    assert!(made.refused().contains("index.json is not as expected"));
}

#[test]
fn path_escapes_duplicates_and_fifos_in_archives_are_refused() {
    let made = Made::new();
    made.index(&[made.plain("amd64")]);
    let dir = tempfile::tempdir().unwrap();
    let with_member = |kind: tar::EntryType, name: &str| {
        let mut bytes = made.archive();
        // Without the archive's end blocks.
        bytes.truncate(bytes.len() - 1024);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend([0; 1024]);
        let path = dir.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        tree_of(path.to_str().unwrap()).map(drop)
    };
    assert_eq!(with_member(tar::EntryType::Regular, "other"), Ok(()));
    for (kind, name, expected) in [
        (tar::EntryType::Regular, "../escaped", "its path leads out of the folder"),
        (tar::EntryType::Regular, "index.json", "the archive contains it twice"),
        (tar::EntryType::Regular, "././index.json", "the archive contains it twice"),
        (tar::EntryType::Fifo, "fifo", "it is not a file"),
    ] {
        let why = with_member(kind, name).unwrap_err();
        assert!(why.contains(expected), "{name}: {why}");
    }
}

#[test]
fn layers_larger_than_the_limit_when_unpacked_are_refused() {
    let made = Made::new();
    let bytes = layer(&[("zeros", &"\0".repeat(1 << 20))]);
    made.index(&[made.image("amd64", &[(LAYER, &gzip(&bytes), &bytes)])]);
    let layout = Layout::open(made.dir.path(), "made").unwrap();
    let image = layout.image(Arch::X86_64).unwrap();
    let unpacked = |limit: u64| {
        let folder = tempfile::tempdir().unwrap();
        let task = BaseTask { folder: folder.path(), go_on: &|| true, tell: &|_| {} };
        layout.layers(&image, &task, limit).map(|layers| layers.len())
    };
    assert_eq!(unpacked(bytes.len() as u64).unwrap(), 1);
    let why = unpacked(bytes.len() as u64 - 1).unwrap_err().to_string();
    assert_eq!(why, "made: its unpacked layers are too large for the image of a release");
}

#[test]
fn missing_invalid_and_unpinned_images_are_refused_on_open() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "junk".repeat(1000)).unwrap();
    let why = |source: &str| opened(source).err().unwrap().to_string();
    assert!(why("/nonexistent/image.tar").starts_with("/nonexistent/image.tar does not exist"));
    assert!(why(junk.to_str().unwrap()).contains("it is not a tar archive"));
    assert!(why(dir.path().to_str().unwrap()).contains("neither index.json nor manifest.json"));
    assert!(why("https://images.example/debian.tar").contains("has no checksum"));
}

#[test]
fn an_image_of_another_release_is_refused() {
    let made = Made::new();
    let bytes = layer(&[("etc/", ""), ("etc/os-release", &TRIXIE.replace("13", "12").replace("trixie", "bookworm"))]);
    made.index(&[made.image("amd64", &[(LAYER, &bytes, &bytes)])]);
    let why = made.refused();
    assert!(why.starts_with("the OCI image: ") && why.contains("debian:13 was requested"), "{why}");
}
