//! Faulty apt archives, for real: this machine's mmdebstrap and apt, and a signed archive that the tests make.
//!
//! The archive has one index and no package: nothing in it is ever installed. `real.rs` tests whole images, stale
//! mirrors and mirrors that do not respond, `harness/tests/shaped` a whole archive with a key of its own.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use images::{ImageError, ImageErrorKind, ImagePhase};
use model::package_manager::PackageManager;
use model::release::{Archive, PackageSuite, Release};
use signed::{Signed, left_overs, release, run};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

#[expect(dead_code, reason = "other tests make whole images")]
mod signed;

const SUITE: &str = "trixie";
/// Path of the index that the archive's Release file lists.
const INDEX: &str = "main/binary-amd64/Packages";
const PACKAGES: &str = "Package: kq-hello\nArchitecture: amd64\nVersion: 1.0\nMaintainer: A <a@b.example>\n\
    Description: x\nFilename: pool/kq-hello.deb\nSize: 1\n\
    SHA256: 0000000000000000000000000000000000000000000000000000000000000000\n";

/// An archive, and the keys that sign it.
struct Mirror {
    keys: Signed,
}

impl Mirror {
    /// Makes an archive with one index, signed by the key `right`.
    fn new() -> Mirror {
        let mirror = Mirror { keys: Signed::new() };
        let index = mirror.index();
        std::fs::create_dir_all(index.parent().unwrap()).unwrap();
        std::fs::write(&index, PACKAGES).unwrap();
        let release = mirror.suite().join("Release");
        let text = format!(
            "Suite: stable\nCodename: {SUITE}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: amd64\n\
             Components: main\nSHA256:\n {} {} {INDEX}\n",
            images::artifacts::sha256(&index).unwrap(),
            PACKAGES.len()
        );
        std::fs::write(&release, text).unwrap();
        let mut sign = mirror.keys.command("gpg");
        sign.args(["--batch", "--yes", "--local-user", "right@b.example", "--output"]);
        run(sign.arg(mirror.suite().join("InRelease")).arg("--clearsign").arg(release));
        mirror
    }

    fn folder(&self) -> PathBuf {
        self.keys.path().join("debian")
    }

    fn suite(&self) -> PathBuf {
        self.folder().join("dists").join(SUITE)
    }

    fn index(&self) -> PathBuf {
        self.suite().join(INDEX)
    }

    /// Serves the archive; returns its address.
    fn serve(&self) -> String {
        let (listener, folder) = (TcpListener::bind("127.0.0.1:0").unwrap(), self.keys.path().to_owned());
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                std::thread::spawn(move || answer(stream, &folder));
            }
        });
        format!("http://{address}/debian")
    }

    /// Returns the error of making an image of the release with a key; checks that nothing is left.
    fn failure(&self, key: &str) -> ImageError {
        let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut release: Release = release("debian", "13", PackageManager::Apt);
        let components = vec!["main".to_owned()];
        release.suites = vec![PackageSuite { name: SUITE.to_owned(), archive: Archive::Main, components }];
        let address = self.serve();
        let result = self.keys.prepared(&release, &self.folder(), cache.path(), key, |options| {
            options.mirror = Some(address);
        });
        let error = result.unwrap_err();
        assert_eq!(error.phase, ImagePhase::Bootstrap, "{error}");
        assert!(!error.to_string().contains("127.0.0.1"), "the mirror's address shows: {error}");
        assert_eq!(left_overs(cache.path()), 0);
        assert!(images::cache::list(cache.path()).is_empty());
        error
    }
}

/// Answers requests with files of the directory until the connection ends.
fn answer(mut stream: TcpStream, folder: &Path) {
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..n]);
        while let Some(end) = pending.windows(4).position(|w| w == b"\r\n\r\n") {
            let request = String::from_utf8_lossy(&pending[..end]).into_owned();
            pending.drain(..end + 4);
            let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let found = std::fs::read(folder.join(path));
            let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
            let body = found.unwrap_or_default();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    }
}

#[test]
#[cfg_attr(lacks = "apt-images", ignore = "needs root, x86_64, mmdebstrap and gnupg")]
fn an_index_signed_with_the_wrong_key_is_refused() {
    let mirror = Mirror::new();
    let error = mirror.failure("wrong");
    let ImageErrorKind::Untrusted { detail } = &*error.cause else { panic!("{error}") };
    assert!(detail.to_lowercase().contains("key"), "{detail}");
    // With the right key it gets further, to a package that the archive lacks.
    let error = mirror.failure("right");
    assert!(!matches!(*error.cause, ImageErrorKind::Untrusted { .. }), "{error}");
}

#[test]
#[cfg_attr(lacks = "apt-images", ignore = "needs root, x86_64, mmdebstrap and gnupg")]
fn a_partially_updated_mirror_is_refused() {
    // The new Release file and the old index, of another size or of the same.
    for (old, expected) in [("Package: old\n".to_owned(), "unexpected size"), (PACKAGES.replace('x', "y"), "mismatch")]
    {
        let mirror = Mirror::new();
        std::fs::write(mirror.index(), &old).unwrap();
        let error = mirror.failure("right");
        let ImageErrorKind::Untrusted { detail } = &*error.cause else { panic!("{error}") };
        assert!(detail.to_lowercase().contains(expected), "{detail}");
    }
    // The new Release file, but no index yet.
    let mirror = Mirror::new();
    std::fs::remove_file(mirror.index()).unwrap();
    let error = mirror.failure("right");
    let expected = format!("index {SUITE}/{INDEX}");
    assert!(matches!(&*error.cause, ImageErrorKind::NoSuchRelease { what } if *what == expected), "{error}");
}
