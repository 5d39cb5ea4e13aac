//! A signed archive of .debs, made by this machine's `dpkg-deb` and served on the loopback interface.

use crate::key::Key;
use crate::shape::{Content, run};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package to build.
pub(crate) struct Deb {
    /// `Package`, `Version`, `Depends` and other fields, with their continuation lines.
    pub(crate) fields: BTreeMap<String, String>,
    /// The maintainer scripts and other files of the control archive, by name.
    pub(crate) control: BTreeMap<String, String>,
    /// Contents by path.
    pub(crate) files: BTreeMap<String, Content>,
    /// The archive's component: `main`, `universe`.
    pub(crate) component: &'static str,
    /// Suites that contain the package.
    pub(crate) suites: &'static [&'static str],
}

impl Deb {
    /// Returns a field, which must exist.
    pub(crate) fn field(&mut self, key: &str) -> &mut String {
        self.fields.get_mut(key).unwrap_or_else(|| panic!("a package has no {key}"))
    }

    /// Returns the text of the control file.
    fn text(&self) -> String {
        let line = |(key, value): (&String, &String)| format!("{key}: {value}\n");
        let (first, others): (Vec<_>, Vec<_>) = self.fields.iter().partition(|(key, _)| *key == "Package");
        first.into_iter().chain(others).map(line).collect()
    }

    /// Returns the package's path in the archive: `pool/main/q/qemu/qemu-system-x86_10.0_amd64.deb`, with the version
    /// without its epoch.
    fn pool_path(&self) -> String {
        let [name, version, arch] = ["Package", "Version", "Architecture"].map(|key| self.fields[key].as_str());
        let source = self.fields.get("Source").and_then(|source| source.split(' ').next()).unwrap_or(name);
        let letters = if source.starts_with("lib") { &source[..4] } else { &source[..1] };
        let version = version.split_once(':').map_or(version, |(_, version)| version);
        format!("pool/{}/{letters}/{source}/{name}_{version}_{arch}.deb", self.component)
    }
}

/// Builds the packages and their archive in a directory; `suites` are the names of the suites and the first lines of
/// their `Release`.
pub(crate) fn archive(debs: &[Deb], suites: &[(&str, String)], components: &[&str], key: &Key, folder: &Path) {
    let root = folder.join(".root");
    let listed: Vec<String> = debs.iter().map(|deb| build(deb, &root, folder)).collect();
    for (suite, head) in suites {
        let place = folder.join("dists").join(suite);
        let mut release = format!(
            "{head}Date: {}\nArchitectures: amd64\nComponents: {}\nAcquire-By-Hash: yes\nSHA256:\n",
            jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC"),
            components.join(" ")
        );
        for component in components {
            let has = |deb: &Deb| deb.component == *component && deb.suites.contains(suite);
            let stanzas = debs.iter().zip(&listed).filter(|(deb, _)| has(deb)).map(|(_, stanza)| stanza.as_str());
            let stanzas: Vec<&str> = stanzas.collect();
            release.push_str(&index(&stanzas.join("\n"), &place, &format!("{component}/binary-amd64")));
        }
        let text = place.join("Release");
        std::fs::write(&text, release).unwrap();
        key.sign_text(&text, &place.join("InRelease"));
    }
}

/// Builds a package and returns its stanza of an index.
fn build(deb: &Deb, root: &Path, folder: &Path) -> String {
    let control = root.join("DEBIAN");
    std::fs::create_dir_all(&control).unwrap();
    let put_control = |name: &str, text: &str, mode: u32| {
        Content::File(mode, text.to_owned()).put(&control.join(name));
    };
    put_control("control", &deb.text(), 0o644);
    for (name, text) in &deb.control {
        put_control(name, text, if text.starts_with("#!") { 0o755 } else { 0o644 });
    }
    // A directory precedes its contents.
    for (path, content) in &deb.files {
        put(content, &root.join(path.trim_start_matches('/')));
    }
    let place = deb.pool_path();
    let file = folder.join(&place);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    // Ubuntu's packages use this compression, at a higher level.
    run(Command::new("dpkg-deb").args(["-Zzstd", "-z1", "--build"]).arg(root).arg(&file));
    std::fs::remove_dir_all(root).unwrap();
    let (size, digest) = size_and_digest(&file);
    format!("{}Filename: {place}\nSize: {size}\nSHA256: {digest}\n", deb.text())
}

/// Puts a file, link or directory at a path. Owners are kept if their ids are the same on every Debian; all others are
/// set by the maintainer scripts.
fn put(content: &Content, destination: &Path) {
    content.put(destination);
    let Content::Of(path) = content else { return };
    let meta = path.symlink_metadata().unwrap();
    let [user, group] = [meta.uid(), meta.gid()].map(|id| if id < 100 { id } else { 0 });
    if (user, group) != (0, 0) {
        lchown(destination, Some(user), Some(group)).unwrap();
        // Changing the owner clears setuid and setgid.
        if !meta.is_symlink() {
            std::fs::set_permissions(destination, std::fs::Permissions::from_mode(meta.mode() & 0o7777)).unwrap();
        }
    }
}

/// Writes an index of packages and returns its lines of the `Release`, which also lists the uncompressed index that is
/// not served.
fn index(text: &str, place: &Path, folder: &str) -> String {
    let within = place.join(folder);
    std::fs::create_dir_all(&within).unwrap();
    let (plain, packed) = (within.join("Packages"), within.join("Packages.gz"));
    std::fs::write(&plain, text).unwrap();
    run(Command::new("gzip").args(["--no-name", "--keep"]).arg(&plain));
    let line = |file: &Path| {
        let (size, digest) = size_and_digest(file);
        (format!(" {digest} {size} {folder}/{}\n", file.file_name().unwrap().display()), digest)
    };
    let ((of_plain, _), (of_packed, digest)) = (line(&plain), line(&packed));
    std::fs::remove_file(&plain).unwrap();
    let by_hash = within.join("by-hash/SHA256");
    std::fs::create_dir_all(&by_hash).unwrap();
    std::fs::hard_link(&packed, by_hash.join(digest)).unwrap();
    of_plain + &of_packed
}

/// Returns a file's size and SHA-256.
fn size_and_digest(file: &Path) -> (u64, String) {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    assert!(output.status.success(), "sha256sum {}", file.display());
    let text = String::from_utf8(output.stdout).unwrap();
    (file.metadata().unwrap().len(), text.split(' ').next().unwrap().to_owned())
}

/// Serves a directory until this process ends and returns its address. With the directory itself as a `file:` mirror,
/// apt copies no packages, and mmdebstrap has none to install.
pub(crate) fn serve(folder: &Path) -> String {
    let (listener, folder) = (TcpListener::bind("127.0.0.1:0").unwrap(), folder.to_owned());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder: PathBuf = folder.clone();
            std::thread::spawn(move || answer(&stream, &folder));
        }
    });
    format!("http://{address}")
}

/// Answers all requests of a connection.
fn answer(mut stream: &TcpStream, folder: &Path) {
    let mut requests = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if requests.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = decode(head.split(' ').nth(1).unwrap_or_default());
        let found = std::fs::read(folder.join(path.trim_start_matches('/')));
        let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
        let body = found.unwrap_or_default();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

/// Decodes a URL's path: `a%2bb` is `a+b`.
fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (code, rest) = part.split_at(2);
        text + &char::from(u8::from_str_radix(code, 16).unwrap()).to_string() + rest
    })
}
