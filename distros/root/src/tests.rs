use super::*;
use crate::glob::matches;
use rustix::fs::Mode;
use rustix::io::Errno;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

fn root() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("usr/lib/os-release"), "ID=inside\n").unwrap();
    let root = Root::new(dir.path()).unwrap();
    (dir, root)
}

#[test]
fn links_are_followed_inside_the_root() {
    let (dir, root) = root();
    symlink("/usr/lib/os-release", dir.path().join("etc/absolute")).unwrap();
    symlink("../../../../usr/lib/os-release", dir.path().join("etc/climbing")).unwrap();
    symlink("usr/lib", dir.path().join("lib")).unwrap();
    for path in ["/etc/absolute", "/etc/climbing", "/lib/os-release", "/etc/../lib/os-release"] {
        assert_eq!(root.read_text(Path::new(path), 100).unwrap(), "ID=inside\n", "{path}");
        assert_eq!(root.resolve(Path::new(path)).unwrap(), Path::new("/usr/lib/os-release"));
    }
}

#[test]
fn anything_but_a_small_regular_file_is_refused_without_blocking() {
    let (dir, root) = root();
    symlink("loop", dir.path().join("loop")).unwrap();
    let error = root.read(Path::new("/loop"), 10).unwrap_err();
    assert!(error.to_string().contains("symbolic links"), "{error}");
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    let error = root.read(Path::new("/fifo"), 10).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    assert!(root.read(Path::new("/etc"), 10).is_err());
    assert!(matches!(root.read(Path::new("/usr/lib/os-release"), 9).unwrap_err(), RootError::TooLarge { .. }));
    assert_eq!(root.read(Path::new("/usr/lib/os-release"), 10).unwrap().len(), 10);
    assert!(root.read(Path::new("/usr/none/x"), 10).unwrap_err().is_missing());
    // A regular file in the place of a directory.
    assert!(root.read(Path::new("/usr/lib/os-release/x"), 10).unwrap_err().is_missing());
    assert!(Root::new(Path::new("/etc/hostname-of-nobody")).is_err());
}

/// A directory outside the root, which links in the root lead to if they are followed by plain path.
fn outside() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "precious\n").unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

#[test]
fn no_link_leads_out_of_the_root_for_reading_or_writing() {
    let ((dir, root), (_outside_dir, victim)) = (root(), outside());
    let link = |to: &Path, name: &str| symlink(to, dir.path().join(name)).unwrap();
    link(&victim.join("file"), "file");
    link(&victim, "folder");
    link(Path::new("file"), "chain");
    let climbing = Path::new("../../../../../../../..").join(victim.strip_prefix("/").unwrap());
    link(&climbing, "etc/climbing");
    let paths = ["/file", "/chain", "/folder/file", "/etc/climbing/file", "/etc/../folder/file"];
    for path in paths.map(Path::new) {
        assert!(root.read(path, 100).unwrap_err().is_missing(), "{}", path.display());
        assert!(root.look(path).unwrap().is_none() && root.pin(path).unwrap().is_none(), "{}", path.display());
    }
    assert_eq!(root.list(Path::new("/folder")).unwrap(), Vec::<String>::new());
    for path in paths.map(Path::new) {
        root.write(path, b"ours").unwrap();
        assert_eq!(root.read(path, 100).unwrap(), b"ours", "{}", path.display());
    }
    // Links stay links, and lead to the same place inside.
    assert!(dir.path().join("file").is_symlink() && dir.path().join("chain").is_symlink());
    assert_eq!(std::fs::read(dir.path().join(victim.strip_prefix("/").unwrap()).join("file")).unwrap(), b"ours");
    root.remove_empty_folder(&victim.join("empty")).unwrap();
    root.remove_empty_folder(Path::new("/folder/empty")).unwrap();
    for name in ["/../../../x", "/folder"] {
        root.remove_empty_folder(Path::new(name)).unwrap();
    }
    assert!(victim.join("empty").is_dir());
    assert_eq!(std::fs::read_to_string(victim.join("file")).unwrap(), "precious\n");
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 2);
}

#[test]
fn stay_inside_distinguishes_links_that_leave_the_root_from_dangling_ones() {
    let (dir, root) = root();
    for (name, to) in [
        ("within", "../usr/lib/os-release"),
        ("absolute", "/usr/lib/os-release"),
        ("climbing", "../../usr/lib/os-release"),
        ("out", "../../nothing"),
        ("gone", "nothing"),
        ("circle", "circle"),
    ] {
        symlink(to, dir.path().join("etc").join(name)).unwrap();
    }
    let stay_inside = |path: &str| root.stay_inside(Path::new(path));
    for path in ["/", "/etc/within", "etc/within", "/etc/../usr"] {
        stay_inside(path).unwrap();
    }
    for path in ["/etc/absolute", "/etc/climbing", "/etc/out", "/etc/out/x", "../usr"] {
        assert!(stay_inside(path).unwrap_err().leads_out(), "{path}");
    }
    for path in ["/etc/gone", "/none", "/usr/lib/os-release/x"] {
        let error = stay_inside(path).unwrap_err();
        assert!(error.is_missing() && !error.leads_out(), "{path}: {error}");
    }
    let circle = stay_inside("/etc/circle").unwrap_err();
    assert!(!circle.is_missing() && !circle.leads_out(), "{circle}");
    for (path, expected) in [("a/../b", true), ("./a", true), ("a/../../b", false), ("..", false), ("/a", false)] {
        assert_eq!(never_climbs(Path::new(path)), expected, "{path}");
    }
}

#[test]
fn folder_below_follows_absolute_links_inside_the_root() {
    use std::os::unix::fs::MetadataExt;
    let (dir, root) = root();
    symlink("/usr/lib", dir.path().join("etc/lib")).unwrap();
    let top = root.folder(Path::new("/")).unwrap();
    let found = std::fs::File::from(folder_below(&top, Path::new("/etc/lib")).unwrap()).metadata().unwrap();
    assert_eq!(found.ino(), std::fs::metadata(dir.path().join("usr/lib")).unwrap().ino());
    for (path, errno) in [("/none", Errno::NOENT), ("/usr/lib/os-release", Errno::NOTDIR)] {
        assert_eq!(folder_below(&top, Path::new(path)).unwrap_err(), errno, "{path}");
    }
}

#[test]
fn only_empty_folders_on_paths_without_links_are_removed() {
    let (dir, root) = root();
    std::fs::create_dir(dir.path().join("etc/made")).unwrap();
    symlink("etc", dir.path().join("e")).unwrap();
    for name in ["/e/made", "/usr", "/none", "/none/at/all", "/usr/lib/os-release"] {
        root.remove_empty_folder(Path::new(name)).unwrap();
    }
    assert!(dir.path().join("etc/made").is_dir() && dir.path().join("usr/lib/os-release").is_file());
    root.remove_empty_folder(Path::new("/etc/made")).unwrap();
    assert!(!dir.path().join("etc/made").exists());
}

#[test]
#[cfg_attr(lacks = "nodes", ignore = "needs root that may make device nodes")]
fn devices_are_not_even_opened() {
    let (dir, root) = root();
    let device = |name: &str, major, minor| {
        let mode = Mode::from_raw_mode(0o666);
        let kind = rustix::fs::FileType::CharacterDevice;
        let path = dir.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, rustix::fs::makedev(major, minor))
    };
    device("zero", 1, 5).unwrap();
    symlink("zero", dir.path().join("link")).unwrap();
    for name in ["/zero", "/link"] {
        let error = root.read(Path::new(name), 10).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let error = root.write(Path::new(name), b"x").unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
    // No such driver: opening it would say so.
    device("odd", 4000, 1).unwrap();
    let error = root.read(Path::new("/odd"), 10).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_folder_with_too_many_names_is_refused_not_truncated() {
    let (dir, root) = root();
    for name in ["a", "b", "c"] {
        std::fs::write(dir.path().join("etc").join(name), "").unwrap();
    }
    let error = root.list_up_to(Path::new("/etc"), 2).unwrap_err();
    assert!(error.to_string().contains("etc has more than 2 names"), "{error}");
    assert!(error.is_unreadable(), "what has that many names is not told as empty");
    assert_eq!(root.list_up_to(Path::new("/etc"), 3).unwrap(), ["a", "b", "c"]);
}

/// Two names, a file and a link that leads out, are exchanged continuously while they are read and written.
fn race(rounds: usize) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::sync::atomic::{AtomicBool, Ordering};
    let ((dir, root), (_outside_dir, victim)) = (root(), outside());
    let decoy = dir.path().join(victim.strip_prefix("/").unwrap());
    std::fs::create_dir_all(&decoy).unwrap();
    std::fs::write(decoy.join("file"), "decoy").unwrap();
    std::fs::write(dir.path().join("etc/config"), "decoy").unwrap();
    symlink(victim.join("file"), dir.path().join("etc/other")).unwrap();
    std::fs::create_dir(dir.path().join("conf")).unwrap();
    symlink(&victim, dir.path().join("elsewhere")).unwrap();
    let done = AtomicBool::new(false);
    let mut written = 0;
    std::thread::scope(|scope| {
        let swap = |a: &str, b: &str| {
            let (a, b) = (dir.path().join(a), dir.path().join(b));
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
                }
            });
        };
        swap("etc/config", "etc/other");
        swap("conf", "elsewhere");
        for round in 0..rounds {
            let text = format!("ours {round}");
            for path in ["/etc/config", "/conf/file", "/etc/../conf/file"].map(Path::new) {
                assert!(!root.read(path, 100).is_ok_and(|b| b.starts_with(b"precious")), "round {round}");
                written += usize::from(root.write(path, text.as_bytes()).is_ok());
                let _ = root.pin(path).map(|p| p.map(|p| p.remove()));
                let _ = root.remove_empty_folder(Path::new("/conf/empty"));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_to_string(victim.join("file")).unwrap(), "precious\n");
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 2, "{written} were written");
    assert!(written > 0);
}

#[test]
fn racing_renames_never_lead_out_of_the_root() {
    race(30);
}

#[test]
#[ignore = "minutes: the same, long enough to be lost by whoever opens by path"]
fn long_racing_renames_never_lead_out_of_the_root() {
    race(2_000);
}

/// Writes a file anew, with one name and with two, and calls `check` after each.
fn rewrite_twice(root: &Root, file: &Path, check: impl Fn(&Path)) {
    for links in [1, 2] {
        root.write(Path::new("/etc/config"), format!("new {links}").as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), format!("new {links}"));
        check(file);
        if links == 1 {
            std::fs::hard_link(file, file.with_file_name("hard")).unwrap();
        }
    }
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_rewritten_file_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (dir, root) = root();
    let file = dir.path().join("etc/config");
    std::fs::write(&file, "old").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(5678)).unwrap();
    // A change of the owner clears the setuid bit.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4640)).unwrap();
    rewrite_twice(&root, &file, |file| {
        let meta = std::fs::metadata(file).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1234, 5678, 0o4640));
    });
}

/// Not every filesystem keeps users' attributes, but all common ones keep those that only root may set.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_rewritten_file_keeps_its_attributes() {
    let (dir, root) = root();
    let file = dir.path().join("etc/config");
    std::fs::write(&file, "old").unwrap();
    rustix::fs::setxattr(&file, "trusted.note", b"a\0b", rustix::fs::XattrFlags::empty()).unwrap();
    rewrite_twice(&root, &file, |file| {
        let mut note = [0; 10];
        let length = rustix::fs::getxattr(file, "trusted.note", &mut note).unwrap();
        assert_eq!(note[..length], *b"a\0b");
    });
}

#[test]
fn a_rewritten_file_keeps_its_mode_and_links() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (dir, root) = root();
    let file = dir.path().join("etc/config");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4640)).unwrap();
    symlink("config", dir.path().join("etc/link")).unwrap();
    for links in [1, 2] {
        let before = std::fs::metadata(&file).unwrap();
        assert_eq!(before.nlink(), links);
        root.write(Path::new("/etc/link"), format!("new {links}").as_bytes()).unwrap();
        let meta = std::fs::metadata(&file).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode()), (before.uid(), before.gid(), before.mode()));
        assert_eq!(meta.mode() & 0o7777, 0o4640);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("new {links}"));
        // A second hard link stays linked to the first.
        assert_eq!(meta.ino() == before.ino(), links == 2);
        if links == 1 {
            std::fs::hard_link(&file, dir.path().join("etc/hard")).unwrap();
        }
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("etc/hard")).unwrap(), "new 2");
    assert_eq!(root.list(Path::new("/etc")).unwrap(), ["config", "hard", "link"]);
}

#[test]
fn a_file_with_hard_links_is_written_whole_at_any_length() {
    let (dir, root) = root();
    let (file, hard) = (dir.path().join("etc/config"), dir.path().join("etc/hard"));
    std::fs::write(&file, "old").unwrap();
    std::fs::hard_link(&file, &hard).unwrap();
    for length in [10_000, 3, 0, 5_000] {
        let text = "x".repeat(length);
        root.write(Path::new("/etc/config"), text.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(&hard).unwrap(), text, "{length}");
    }
}

#[test]
fn a_path_to_be_written_resolves_although_its_folders_are_missing() {
    let (dir, root) = root();
    symlink("/usr", dir.path().join("etc/up")).unwrap();
    assert_eq!(root.resolve_new(Path::new("/etc/up/none/file")).unwrap(), Path::new("/usr/none/file"));
    symlink("b", dir.path().join("a")).unwrap();
    symlink("a", dir.path().join("b")).unwrap();
    symlink("/gone/../far/away", dir.path().join("dangling")).unwrap();
    assert_eq!(root.resolve_new(Path::new("/dangling/file")).unwrap(), Path::new("/far/away/file"));
    assert!(!root.resolve_new(Path::new("/a/file")).unwrap_err().is_missing());
}

#[test]
fn only_missing_rights_io_errors_and_oversize_count_as_unreadable() {
    let (dir, root) = root();
    symlink("circle", dir.path().join("circle")).unwrap();
    for other in ["/etc", "/none", "/circle", "/usr/lib/os-release/x"] {
        let error = root.read(Path::new(other), 100).unwrap_err();
        assert!(!error.is_unreadable(), "{error}");
    }
    let long = format!("/{}", "x".repeat(300));
    for nowhere in ["/none", "/circle", "/usr/lib/os-release/x", "/a\0b", long.as_str()] {
        assert!(root.look(Path::new(nowhere)).unwrap().is_none(), "{nowhere}");
    }
    for no_folder in ["/none", "/circle", "/usr/lib/os-release", "/usr/lib/os-release/x"] {
        assert_eq!(root.list_if_any(Path::new(no_folder)).unwrap(), Vec::<String>::new(), "{no_folder}");
    }
    assert!(root.list(Path::new("/usr/lib/os-release")).is_err());
    assert_eq!(root.list_if_any(Path::new("/usr")).unwrap(), ["lib"]);
    for errno in [Errno::ACCESS, Errno::PERM, Errno::IO, Errno::STALE] {
        assert!(RootError::Read { path: "/x".into(), source: errno.into() }.is_unreadable(), "{errno}");
    }
    let huge = std::fs::File::create(dir.path().join("huge")).unwrap();
    huge.set_len(MAX_CONFIGURATION + 1).unwrap();
    let error = root.text_if_any(Path::new("/huge")).unwrap_err();
    assert!(error.is_unreadable() && !error.is_missing(), "{error}");
    huge.set_len(MAX_CONFIGURATION).unwrap();
    assert!(root.text_if_any(Path::new("/huge")).unwrap().is_some());
}

#[test]
fn configuration_is_read_byte_for_byte_or_refused() {
    let (dir, root) = root();
    std::fs::write(dir.path().join("junk"), [0xff, 0xfe]).unwrap();
    assert!(root.utf8(Path::new("/junk")).unwrap_err().to_string().contains("UTF-8"));
    assert_eq!(root.utf8_if_any(Path::new("/none")).unwrap(), None);
    assert_eq!(root.utf8_if_any(Path::new("/usr/lib/os-release")).unwrap().as_deref(), Some("ID=inside\n"));
    let has_file = |path: &str| root.has_file(Path::new(path)).unwrap();
    assert!(has_file("/usr/lib/os-release") && !has_file("/usr/lib"));
    assert_eq!(root.list(Path::new("/none")).unwrap(), Vec::<String>::new());
    assert_eq!(root.list(Path::new("/")).unwrap(), ["etc", "junk", "usr"]);
}

#[test]
fn which_finds_the_program_a_root_login_would_run() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, root) = root();
    assert_eq!(root.which("x").unwrap(), None);
    // Programs that the admin installed come first.
    assert!(PATH.starts_with("/usr/local/sbin:/usr/local/bin:"));
    for folder in PATH.split(':').rev() {
        let program = Path::new(folder).join("x");
        let file = dir.path().join(program.strip_prefix("/").unwrap());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_ne!(root.which("x").unwrap().as_ref(), Some(&program), "it cannot be run");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(root.which("x").unwrap(), Some(program));
    }
}

#[test]
fn globs_match_within_components() {
    let (dir, root) = root();
    for (version, name) in [("6.1", "vmlinuz"), ("6.2", "vmlinuz"), (".x", "vmlinuz")] {
        let folder = dir.path().join("usr/lib/modules").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), "").unwrap();
    }
    let found = root.glob("/usr/lib/modules/*/vmlinuz").unwrap();
    let expected = ["/usr/lib/modules/6.1/vmlinuz", "/usr/lib/modules/6.2/vmlinuz"];
    assert_eq!(found, expected.map(PathBuf::from));
    assert!(root.glob("/boot/vmlinuz-*").unwrap().is_empty());
    symlink("circle", dir.path().join("usr/lib/circle")).unwrap();
    assert!(root.glob("/usr/lib/circl*").unwrap().is_empty());
    assert!(root.glob("/usr/lib/os-release/*").unwrap().is_empty());
    assert!(matches("a*b*c", "a1b2c") && matches("*", "x") && !matches("a*b", "ac") && !matches("ab*b", "ab"));
}
