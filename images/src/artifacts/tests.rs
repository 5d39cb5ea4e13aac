use super::guest::tests::elf;
use super::*;
use crate::boot::initrd;
use crate::external_file::Checksum;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

const GO: &[u8] = b"\x7fELF ... \xff Go buildinf: ...";
const RUST: &[u8] = b"\x7fELF ... rust ...";

fn tarball(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        // Written directly, because the builder checks the path.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn release(version: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("./opt/kata/VERSION", version.as_bytes().to_vec()),
        ("./opt/kata/bin/containerd-shim-kata-v2", GO.to_vec()),
        ("./opt/kata/bin/kata-runtime", b"x".to_vec()),
        ("./opt/kata/runtime-rs/bin/containerd-shim-kata-v2", RUST.to_vec()),
        ("./opt/kata/share/defaults/kata-containers/configuration-qemu.toml", b"go".to_vec()),
        ("./opt/kata/share/defaults/kata-containers/runtime-rs/configuration-qemu-runtime-rs.toml", b"rs".to_vec()),
        ("./opt/kata/share/kata-containers/vmlinux.container", b"k".to_vec()),
        ("./opt/kata/share/kata-containers/kata-containers-initrd.img", initrd(elf(None))),
    ]
}

fn initrd(agent: Vec<u8>) -> Vec<u8> {
    let (folder, file) = (0o040_755, 0o100_755);
    initrd::tests::gzip(&initrd::tests::archive(&[
        ("./sbin", folder, (1, 2), b""),
        ("./sbin/init", file, (2, 1), b"\x7fELF systemd"),
        ("./usr", folder, (3, 2), b""),
        ("./usr/bin", folder, (4, 2), b""),
        ("./usr/bin/kata-agent", file, (5, 1), &agent),
    ]))
}

fn archive(folder: &Path, entries: &[(&str, Vec<u8>)]) -> PathBuf {
    let borrowed: Vec<(&str, &[u8])> = entries.iter().map(|(path, content)| (*path, content.as_slice())).collect();
    let path = folder.join("kata-static.tar.zst");
    fs::write(&path, zstd::encode_all(&tarball(&borrowed)[..], 1).unwrap()).unwrap();
    path
}

fn open(path: &Path, scratch: &Path) -> Result<Artifacts, ArtifactsError> {
    Artifacts::open(&ExternalFile::parse(&path.to_string_lossy()).unwrap(), scratch)
}

#[test]
fn a_release_archive_is_verified_unpacked_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = archive(dir.path(), &release("4.0.0\n"));
    let sum = digest::of_bytes(&fs::read(&path).unwrap());
    let source = ExternalFile::parse(&format!("{}#{}", path.display(), sum.to_uppercase())).unwrap();
    let kata = Artifacts::open(&source, &dir.path().join("scratch")).unwrap();
    assert_eq!((kata.version, kata.sha256.as_deref()), (KataVersion::new(4, 0, 0), Some(sum.as_str())));
    let kinds: Vec<_> = kata.shims.iter().map(|shim| (shim.kind, shim.profile.as_str())).collect();
    assert_eq!(kinds, [(Runtime::Go, "go-3.32"), (Runtime::Rs, "rs-4.0")]);
    for (shim, content) in kata.shims.iter().zip(["go", "rs"]) {
        assert_eq!(shim.configuration.as_ref().unwrap().content().unwrap(), content.as_bytes());
        assert_eq!(fs::metadata(shim.program.path()).unwrap().permissions().mode() & 0o111, 0o111);
    }
    assert_eq!(kata.checkers.len(), 1);
    assert!(kata.kernel.is_some());
    assert_eq!(
        kata.agent().unwrap().alone().unwrap().content().unwrap(),
        elf(None),
        "the agent is in the initrd, systemd is not it"
    );
    let prefix = kata.folder.shown(&kata.prefix);
    drop(kata);
    assert!(!prefix.exists(), "what was unpacked goes with its value");
}

#[test]
fn xz_archives_and_unpacked_folders_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let entries = release("3.5.0");
    let borrowed: Vec<(&str, &[u8])> =
        entries.iter().filter(|(path, _)| !path.contains("runtime-rs")).map(|(p, c)| (*p, c.as_slice())).collect();
    let path = dir.path().join("kata-static.tar.xz");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tarball(&borrowed)).unwrap();
    fs::write(&path, xz.finish().unwrap()).unwrap();
    let kata = open(&path, dir.path()).unwrap();
    assert_eq!(kata.shims.len(), 1);
    assert_eq!(*kata.shims[0].profile, "go-3.2");
    // Both the unpacked tree and its prefix can be opened as directories.
    let (tree, prefix) = (kata.folder.shown(Path::new("/")), kata.folder.shown(&kata.prefix));
    for folder in [&tree, &prefix] {
        let again = open(folder, dir.path()).unwrap();
        assert_eq!((again.version, again.sha256), (KataVersion::new(3, 5, 0), None));
    }
    assert!(prefix.exists(), "a folder that was only used stays");
}

/// Makes an unpacked release with the Go runtime and an empty `share/kata-containers`.
fn unpacked(version: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, content: &[u8]| {
        let path = dir.path().join("opt/kata").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put("bin/containerd-shim-kata-v2", GO);
    put("share/defaults/kata-containers/configuration-qemu.toml", b"go");
    fs::create_dir(dir.path().join("opt/kata/share/kata-containers")).unwrap();
    if let Some(version) = version {
        put("VERSION", version.as_bytes());
    }
    dir
}

fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Returns the error of opening a directory; the timeout reports a read that blocks on a FIFO instead of blocking the
/// tests.
fn refusal(folder: &Path) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = folder.to_owned();
    std::thread::spawn(move || {
        sender.send(open(&path, Path::new("/nonexistent")).map(|_| ()).map_err(|e| e.to_string()))
    });
    receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("a FIFO is waited for").unwrap_err()
}

#[test]
fn fifos_in_a_folder_are_refused_without_blocking() {
    for (place, version) in [
        ("VERSION", None),
        ("share/kata-containers/vmlinux.container", Some("3.30.0")),
        ("share/kata-containers/kata-containers-initrd.img", Some("3.30.0")),
        ("share/defaults/kata-containers/configuration-qemu.toml", Some("3.30.0")),
        ("runtime-rs/bin/containerd-shim-kata-v2", Some("3.30.0")),
        ("bin/kata-runtime", Some("3.30.0")),
    ] {
        let dir = unpacked(version);
        let path = dir.path().join("opt/kata").join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fifo(&path);
        let error = refusal(dir.path());
        assert!(error.ends_with(&format!("{place}: not a regular file")), "{place}: {error}");
    }
    let dir = unpacked(Some("3.30.0"));
    let kata = open(dir.path(), dir.path()).unwrap();
    fifo(&dir.path().join("opt/kata/bin/kata-agent"));
    let error = kata.agent().unwrap_err().to_string();
    assert!(error.ends_with("bin/kata-agent: not a regular file"), "{error}");
}

#[test]
fn links_out_of_a_folder_are_refused() {
    use std::os::unix::fs::symlink;
    let share = "share/kata-containers";
    let climbs = format!("{}etc/passwd", "../".repeat(40));
    let chain: [(&str, &str); 3] = [
        ("1/2/top", "../../../.."),
        ("initrd.img", "1/2/top/../../../../../../../../../etc/passwd"),
        ("x", "initrd.img"),
    ];
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("agent"), elf(None)).unwrap();
    let agent = outside.path().join("agent").to_string_lossy().into_owned();
    let cases: [(&str, &str); 6] = [
        ("VERSION", "/etc/hostname"),
        ("share/kata-containers/vmlinux.container", "/etc/passwd"),
        ("share/kata-containers/vmlinux.container", climbs.as_str()),
        ("share/kata-containers/kata-containers-initrd.img", "x"),
        ("runtime-rs/bin/containerd-shim-kata-v2", "/bin/sh"),
        ("share/defaults/kata-containers/configuration-qemu.toml", "/proc/self/environ"),
    ];
    for (name, target) in cases {
        let dir = unpacked(Some("3.30.0"));
        let top = dir.path().join("opt/kata");
        fs::create_dir_all(top.join(share).join("1/2")).unwrap();
        for (name, target) in chain {
            symlink(target, top.join(share).join(name)).unwrap();
        }
        fs::create_dir_all(top.join(name).parent().unwrap()).unwrap();
        let _ = fs::remove_file(top.join(name));
        symlink(target, top.join(name)).unwrap();
        let error = refusal(dir.path());
        let expected = format!("{name}: the link points out of the folder");
        assert!(error.ends_with(&expected), "{name} -> {target}: {error}");
    }
    let dir = unpacked(Some("3.30.0"));
    symlink(&agent, dir.path().join("opt/kata/bin/kata-agent")).unwrap();
    let error = open(dir.path(), dir.path()).unwrap().agent().unwrap_err().to_string();
    assert!(error.ends_with("kata-agent: the link points out of the folder"), "{error}");
}

/// Relative links are as in upstream's archives; an absolute link, as in an unpacked package, is resolved inside.
#[test]
fn links_inside_a_folder_are_followed() {
    use std::os::unix::fs::symlink;
    let dir = unpacked(Some("3.30.0"));
    let share = dir.path().join("opt/kata/share/kata-containers");
    fs::write(share.join("vmlinux-6.12.47-163"), "kernel").unwrap();
    fs::write(share.join("kata-alpine-3.22.initrd"), initrd(elf(None))).unwrap();
    symlink("vmlinux-6.12.47-163", share.join("vmlinux.container")).unwrap();
    symlink("kata-alpine-3.22.initrd", share.join("kata-alpine.initrd")).unwrap();
    fs::write(share.join("kata-ubuntu-noble.image"), "image").unwrap();
    symlink("kata-ubuntu-noble.image", share.join("kata-containers.img")).unwrap();
    symlink("/opt/kata/share/kata-containers/kata-alpine.initrd", share.join("kata-containers-initrd.img")).unwrap();
    // A dangling link inside, as in a release of several archives.
    symlink("../share/not-in-this-archive", dir.path().join("opt/kata/bin/kata-runtime")).unwrap();
    let kata = open(dir.path(), dir.path()).unwrap();
    assert_eq!(kata.kernel.as_ref().unwrap().content().unwrap(), b"kernel");
    assert_eq!(kata.image.as_ref().unwrap().content().unwrap(), b"image");
    assert_eq!(kata.agent().unwrap().alone().unwrap().content().unwrap(), elf(None));
    assert!(kata.checker(Runtime::Go).is_none());
    // The opened file is the one that is read, even if its name now leads elsewhere.
    fs::remove_file(share.join("vmlinux.container")).unwrap();
    symlink("/etc/passwd", share.join("vmlinux.container")).unwrap();
    assert_eq!(kata.kernel.as_ref().unwrap().content().unwrap(), b"kernel");
}

#[test]
fn an_oversized_version_file_is_refused() {
    let dir = unpacked(Some(&format!("3.30.0{}", " ".repeat(300))));
    let error = open(dir.path(), dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("VERSION: it is too large, more than 256 bytes"), "{error}");
}

#[test]
fn a_wrong_checksum_unpacks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = archive(dir.path(), &release("4.0.0"));
    let source =
        ExternalFile { place: path.to_string_lossy().into_owned(), checksum: Some(Checksum::Sha256("0".repeat(64))) };
    let scratch = dir.path().join("scratch");
    let error = Artifacts::open(&source, &scratch).unwrap_err();
    assert!(matches!(error, ArtifactsError::File(ExternalFileError::Mismatch { .. })), "{error}");
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert!(matches!(ExternalFile::parse("x#123"), Err(ExternalFileError::Checksum { .. })));
    let folder = ExternalFile {
        place: dir.path().to_string_lossy().into_owned(),
        checksum: Some(Checksum::Sha256("0".repeat(64))),
    };
    assert!(matches!(Artifacts::open(&folder, &scratch), Err(ArtifactsError::FolderChecksum { .. })));
}

#[test]
fn nothing_is_written_outside_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    for evil in ["../evil", "opt/../../evil", "/evil"] {
        let mut entries = release("4.0.0");
        entries.insert(0, (evil, b"x".to_vec()));
        let error = open(&archive(dir.path(), &entries), &dir.path().join("scratch")).unwrap_err();
        assert!(matches!(&error, ArtifactsError::Entry { .. }), "{evil}: {error}");
    }
    for (kind, name, target) in [
        (tar::EntryType::Symlink, "opt/link", "../../outside"),
        (tar::EntryType::Symlink, "link", "/etc"),
        (tar::EntryType::Link, "hard", "../outside"),
        (tar::EntryType::Fifo, "fifo", ""),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        match target {
            "" => tar.append_data(&mut header, name, io::empty()).unwrap(),
            _ => tar.append_link(&mut header, name, target).unwrap(),
        }
        let path = dir.path().join("links.tar");
        fs::write(&path, tar.into_inner().unwrap()).unwrap();
        let error = open(&path, &dir.path().join("scratch")).unwrap_err();
        assert!(matches!(&error, ArtifactsError::Entry { .. }), "{name}: {error}");
    }
    assert!(!dir.path().join("evil").exists() && !dir.path().join("outside").exists());
}

#[test]
fn link_chains_that_lead_out_and_link_loops_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "3.30.0").unwrap();
    let deep = "opt/kata/1/2/3/4/5/6/7/8/9/10";
    let up = "../".repeat(12);
    // The text of the path does not climb out, but the link in it, which leads to the top, does.
    let through = format!(
        "1/2/3/4/5/6/7/8/9/10/top/{}{}",
        "../".repeat(10),
        secret.display().to_string().trim_start_matches('/')
    );
    // A link that would climb out is accepted as long as its target does not exist.
    let nowhere = format!("1/2/3/4/5/6/7/8/9/10/top/{}nothing-of-this-name", "../".repeat(10));
    let links =
        [("opt/kata/VERSION", through.as_str()), ("opt/kata/bin/loop", "loop"), ("opt/kata/gone", nowhere.as_str())];
    for (name, target) in links {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, target: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, name, target).unwrap();
        };
        add(&format!("{deep}/top"), &up);
        add(name, target);
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(GO.len() as u64);
        tar.append_data(&mut header, "opt/kata/bin/containerd-shim-kata-v2", GO).unwrap();
        let path = dir.path().join("kata-static-3.30.0-amd64.tar");
        fs::write(&path, tar.into_inner().unwrap()).unwrap();
        let error = open(&path, &dir.path().join("a/b/c/scratch")).unwrap_err();
        assert!(matches!(&error, ArtifactsError::Entry { entry, .. } if entry == name), "{error}");
    }
}

#[test]
fn the_version_is_found_without_running_the_shim() {
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let shim = format!("#!/bin/sh\n: >{}\necho version: 3.30.0, commit: x\n", ran.display());
    let entries = [("opt/kata/bin/containerd-shim-kata-v2", shim.into_bytes())];
    let unnamed = archive(dir.path(), &entries);
    fs::rename(&unnamed, dir.path().join("kata.tar.zst")).unwrap();
    let error = open(&dir.path().join("kata.tar.zst"), dir.path()).unwrap_err().to_string();
    assert!(error.starts_with("no version in "), "{error}");
    assert!(!ran.exists(), "the shim was run");
    for (name, version) in [
        ("kata-static-4.0.0-amd64.tar.zst", "4.0.0"),
        ("kata-static-4.1.0.tar.zst", "4.1.0"),
        ("kata-go-static-4.1.0-amd64.tar.zst", "4.1.0"),
        ("kata-tools-static-4.1.0-amd64.tar.zst", "4.1.0"),
        ("kata-containers-4.0.0", "4.0.0"),
    ] {
        fs::copy(dir.path().join("kata.tar.zst"), dir.path().join(name)).unwrap();
        assert_eq!(open(&dir.path().join(name), dir.path()).unwrap().version.to_string(), version, "{name}");
    }
    assert_eq!(version::of_name("4.0.0-rc1-x86_64.tar.zst"), "4.0.0-rc1");
    for bad in ["\u{1b}[31m3.30.0", "x", "3.30.0 and more", "3.x.0"] {
        let mut entries = entries.to_vec();
        entries.push(("opt/kata/VERSION", bad.as_bytes().to_vec()));
        let error = open(&archive(dir.path(), &entries), dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("no version in "), "{bad}: {error}");
    }
    assert!(!ran.exists(), "the shim was run");
}

#[test]
fn a_go_shims_version_takes_precedence_over_the_archive_name() {
    let shim = go::tests::program("3.29.0", &["-pie"]);
    let dir = tempfile::tempdir().unwrap();
    let entries = [("opt/kata/bin/containerd-shim-kata-v2", shim)];
    let path = archive(dir.path(), &entries);
    // The version in the program has precedence over the archive's name.
    for name in ["kata.tar.zst", "kata-static-4.1.0-amd64.tar.zst"] {
        fs::copy(&path, dir.path().join(name)).unwrap();
        let found = open(&dir.path().join(name), dir.path()).unwrap();
        assert_eq!((found.version, found.shims[0].profile.as_str()), (KataVersion::new(3, 29, 0), "go-3.29"), "{name}");
    }
}

/// Each of the two versions would choose another profile, and so other arguments by which a distro is judged.
#[test]
fn a_version_file_that_contradicts_the_go_shim_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open_with = |version: &str| {
        let entries = [
            ("opt/kata/VERSION", version.as_bytes().to_vec()),
            ("opt/kata/bin/containerd-shim-kata-v2", go::tests::program("3.29.0", &["-pie"])),
        ];
        open(&archive(dir.path(), &entries), dir.path())
    };
    let error = open_with("3.32.0\n").unwrap_err();
    assert!(matches!(error, ArtifactsError::TwoVersions { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("opt/kata/VERSION says 3.32.0, but ") && error.contains(" says \"3.29.0\""), "{error}");
    // A package's revision does not change the release.
    for same in ["3.29.0\n", "3.29.0-1"] {
        assert_eq!(open_with(same).unwrap().version, KataVersion::new(3, 29, 0), "{same:?}");
    }
    assert!(open_with("3.29.0-rc0").is_err(), "a candidate is not the release");
}

#[test]
fn without_an_initrd_the_agent_must_be_a_static_program() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("containerd-shim-kata-v2"), GO).unwrap();
    fs::write(dir.path().join("VERSION"), "3.30.0").unwrap();
    let kata = open(dir.path(), dir.path()).unwrap();
    let error = kata.agent().unwrap_err().to_string();
    assert!(error.contains("no kata-agent"), "{error}");
    fs::write(bin.join("kata-agent"), elf(None)).unwrap();
    assert_eq!(kata.agent().unwrap().alone().unwrap().content().unwrap(), elf(None));
    fs::write(bin.join("kata-agent"), elf(Some("/lib64/ld.so"))).unwrap();
    assert!(matches!(kata.agent(), Err(ArtifactsError::DynamicAgent { .. })));
}

/// The nearest profile is not used instead: its arguments would be taken for those of this Kata.
#[test]
fn a_version_that_is_newer_than_every_profile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(&archive(dir.path(), &release("4.2.0")), &dir.path().join("scratch")).unwrap_err();
    assert!(matches!(error, ArtifactsError::Version { source: NoProfileError::Newer { .. }, .. }), "{error}");
}

#[test]
fn an_empty_folder_is_an_error_and_errors_hide_url_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path(), dir.path()).unwrap_err().to_string();
    assert!(error.starts_with("no part of Kata in ") && error.contains("bin/containerd-shim-kata-v2"), "{error}");
    let place = "http://user:secret@127.0.0.1:1/kata.tar.xz";
    let open = |text: &str| Artifacts::open(&ExternalFile::parse(text).unwrap(), dir.path()).unwrap_err();
    let error = open(&format!("{place}#{}", "0".repeat(64))).to_string();
    assert!(error.starts_with("fetching ") && !error.contains("secret"), "{error}");
    let error = open(place);
    assert!(matches!(&error, ArtifactsError::File(ExternalFileError::Unpinned { .. })), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn a_tools_archive_has_a_checker_and_no_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [("./opt/kata/VERSION", b"4.1.0\n".to_vec()), ("./opt/kata/bin/kata-ctl", b"x".to_vec())];
    let tools = open(&archive(dir.path(), &entries), dir.path()).unwrap();
    assert_eq!((tools.version, tools.shims.len()), (KataVersion::new(4, 1, 0), 0));
    assert!(tools.checker(Runtime::Rs).is_some() && tools.checker(Runtime::Go).is_none());
}

#[test]
fn a_too_old_rust_runtime_is_skipped_next_to_a_go_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let found = open(&archive(dir.path(), &release("3.30.0")), dir.path()).unwrap();
    let shims: Vec<(Runtime, &str)> = found.shims.iter().map(|s| (s.kind, s.profile.as_str())).collect();
    assert_eq!(shims, [(Runtime::Go, "go-3.29")]);
}
