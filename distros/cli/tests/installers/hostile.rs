//! Roots and packages that try to affect this machine, and cannot.

use crate::scratch::{Scratch, run, tree};
use crate::{apt, dnf, mounts, rpm};
use model::package_manager::PackageManager;
use operator::installer::{InstallError, InstallPlan};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A directory of this machine that everybody may write to, according to its mode.
struct Victim(tempfile::TempDir);

impl Victim {
    fn new() -> Victim {
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        std::fs::write(folder.path().join("keep"), "precious").expect("written");
        std::fs::create_dir(folder.path().join("partial")).expect("made");
        for path in ["", "keep", "partial"] {
            std::fs::set_permissions(folder.path().join(path), PermissionsExt::from_mode(0o777)).expect("set");
        }
        Victim(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn assert_unharmed(&self, after: &str) {
        let mut names: Vec<_> =
            std::fs::read_dir(self.path()).expect("listed").flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["keep", "partial"], "{after}");
        assert_eq!(std::fs::read_to_string(self.path().join("keep")).expect("read"), "precious", "{after}");
        assert_eq!(std::fs::read_dir(self.path().join("partial")).expect("listed").count(), 0, "{after}");
    }
}

/// Replaces a path of the root by a link.
fn link(scratch: &Scratch, name: &str, to: &Path) {
    let path = scratch.root_path().join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    symlink(to, path).expect("linked");
}

/// Checks that the package manager was run in a sandbox, or that it was refused for what is in the root. Whether it can
/// work with a link there is its own matter.
fn assert_was_tried(result: Result<InstallPlan, InstallError>, after: &str) {
    use InstallError::{Failed, NoSandbox, NotThere, Query, Settings};
    match result {
        Ok(plan) => assert!(plan.guarded, "{after}: {plan:?}"),
        Err(Failed(_) | NotThere { .. } | NoSandbox { .. } | Query(_) | Settings(_)) => {}
        Err(error) => panic!("{after}: {error}"),
    }
}

fn assert_link_is_not_followed(scratch: fn() -> Scratch, name: &str) {
    for refreshed in [false, true] {
        let (scratch, victim) = (scratch(), Victim::new());
        if refreshed {
            // With indexes and a database.
            scratch.install("kq-lib", Duration::ZERO).expect("installed");
        }
        link(&scratch, name, victim.path());
        let after = format!("{name}: a dry run");
        assert_was_tried(scratch.dry_run("kq-vmm"), &after);
        victim.assert_unharmed(&after);
        let after = format!("{name}: an installation");
        assert_was_tried(scratch.install("kq-vmm", Duration::ZERO).map(|done| done.plan), &after);
        victim.assert_unharmed(&after);
    }
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn apt_does_not_write_through_links_of_the_root() {
    for name in ["var/lib/apt/lists", "var/lib/dpkg", "var/cache/apt", "usr/share", "var/log"] {
        assert_link_is_not_followed(apt::scratch, name);
    }
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn dnf_does_not_write_through_links_of_the_root() {
    for name in ["var/cache", "var/lib"] {
        assert_link_is_not_followed(dnf::scratch, name);
    }
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn files_readable_only_by_host_root_are_not_read() {
    let text = "secretly no source\n";
    // What apt reads from such a list is noticed.
    let control = apt::scratch();
    control.write("etc/apt/sources.list.d/b.list", text);
    control.install("kq-vmm", Duration::ZERO).expect_err("the list is none");
    let (scratch, victim) = (apt::scratch(), Victim::new());
    let secret = victim.path().join("keep");
    std::fs::write(&secret, text).expect("written");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("set");
    symlink(&secret, scratch.root_path().join("etc/apt/sources.list.d/b.list")).expect("linked");
    for message in [
        scratch.dry_run("kq-vmm").map(|plan| plan.description()).unwrap_or_else(|error| error.to_string()),
        scratch
            .install("kq-vmm", Duration::ZERO)
            .map(|done| done.plan.description())
            .unwrap_or_else(|error| error.to_string()),
    ] {
        assert!(!message.contains("secretly") && !message.contains("Malformed"), "{message}");
    }
}

/// Copies Perl with its libraries into a root, because a line of Perl can leave a bare chroot.
fn copy_perl(root: &Path) {
    let loaded = Command::new("ldd").arg("/usr/bin/perl").output().expect("ldd");
    let loaded = String::from_utf8(loaded.stdout).expect("text");
    let paths = loaded.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain(["/usr/bin/perl", "/bin/sh"]) {
        let to = root.join(&path[1..]);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(path, to).expect("copied");
    }
}

/// Returns a script that tries to leave its root (which works in a bare chroot), writes its findings into the root's
/// `/report`, tries to write to `victim`, and runs `then`.
fn escape(victim: &Path, then: &str) -> String {
    let path = victim.display();
    format!(
        r#"#!/usr/bin/perl
open(my $report, ">>", "/report");
mkdir "/x", 0755;
opendir(my $top, "/");
chroot "/x";
chdir $top;
chdir ".." for 1 .. 64;
chroot ".";
print $report (-e "{path}/keep" ? "out\n" : "in\n");
print $report "wrote\n" if open(my $new, ">>", "{path}/new");
print $report "removed\n" if unlink "{path}/keep";
print $report "read\n" if open(my $shadow, "<", "/etc/shadow");
print $report "signalled\n" if kill(0, {pid});
{then}
close $report;
"#,
        pid = std::process::id()
    )
}

/// Adds a package with this script.
fn with_postinst(scratch: &Scratch, package: &str, script: &str) {
    let tree = tree(scratch.path(), package);
    std::fs::create_dir_all(tree.join("DEBIAN")).expect("made");
    std::fs::write(tree.join("DEBIAN/postinst"), script).expect("written");
    std::fs::set_permissions(tree.join("DEBIAN/postinst"), PermissionsExt::from_mode(0o755)).expect("set");
    apt::package_of(scratch, package, &tree, "");
    apt::index(scratch);
}

/// Serves a directory by HTTP while the test runs, and returns the port.
fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || {
                let mut request = vec![0; 8192];
                let Ok(count) = stream.read(&mut request) else { return };
                let text = String::from_utf8_lossy(&request[..count]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().trim_start_matches("/./").trim_start_matches('/');
                // apt encodes `:` as `%3a`, while dpkg-deb does not put it into file names.
                let (status, body) = match std::fs::read(folder.join(path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            });
        }
    });
    port
}

#[test]
#[cfg_attr(any(lacks = "apt", lacks = "ldd"), ignore = "needs root, apt, dpkg and dpkg-dev, and ldd")]
fn package_scripts_have_no_host_privileges_and_no_network() {
    let (scratch, victim) = (apt::scratch(), Victim::new());
    let port = serve(scratch.repository());
    scratch.write("etc/apt/sources.list", &format!("deb [trusted=yes] http://127.0.0.1:{port} ./\n"));
    copy_perl(&scratch.root_path());
    std::fs::create_dir(scratch.root_path().join("dev")).expect("made");
    let dial = format!(
        r#"socket(my $line, 2, 1, 0);
print $report "dialled\n" if connect($line, pack("S n a4 x8", 2, {port}, "\x7f\0\0\1"));
chroot "/root/target";
print $report "null\n" if open(my $null, ">", "/dev/null") && -c "/dev/null";"#
    );
    with_postinst(&scratch, "kq-vmm", &escape(victim.path(), &dial));
    scratch.install("kq-vmm", Duration::ZERO).expect("installed");
    let report = std::fs::read_to_string(scratch.root_path().join("report")).expect("the script ran");
    // The script left its root, but did not reach the machine.
    assert_eq!(report, "out\nnull\n");
    victim.assert_unharmed("a package's script");
    // The file that the script created belongs to root.
    assert_eq!(std::fs::metadata(scratch.root_path().join("report")).expect("there").uid(), 0);
}

#[test]
#[cfg_attr(any(lacks = "apt", lacks = "ldd"), ignore = "needs root, apt, dpkg and dpkg-dev, and ldd")]
fn the_roots_own_package_manager_has_no_host_privileges() {
    let (scratch, victim) = (apt::scratch(), Victim::new());
    copy_perl(&scratch.root_path());
    for folder in ["dev", "proc", "tmp"] {
        std::fs::create_dir(scratch.root_path().join(folder)).expect("made");
    }
    let program = scratch.root_path().join("usr/bin/apt-get");
    std::fs::write(&program, escape(victim.path(), "exit 100;")).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("set");
    let plan = scratch.dry_run("kq-vmm").expect("a plan");
    assert!(plan.guarded && plan.changes.is_none(), "{plan:?}");
    assert!(!scratch.root_path().join("report").exists(), "a dry run changes nothing");
    assert!(!scratch.root_path().join("x").exists(), "a dry run changes nothing");
    scratch.install("kq-vmm", Duration::ZERO).expect_err("it refuses");
    let report = std::fs::read_to_string(scratch.root_path().join("report")).expect("it ran");
    assert_eq!(report, "in\n");
    victim.assert_unharmed("a root's own package manager");
}

/// Returns the processes whose command line contains this word.
fn running(word: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(word)).collect()
}

/// Returns the processes in whose mount namespace the directory is a mount: those of its sandbox, and all that they
/// started.
fn processes_working_on(folder: &Path) -> Vec<String> {
    let name = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.path());
    let work = |path: &PathBuf| {
        std::fs::read_to_string(path.join("mountinfo")).is_ok_and(|mounts| mounts.contains(&format!("{name} ")))
    };
    processes.filter(work).map(|path| std::fs::read_to_string(path.join("comm")).unwrap_or_default()).collect()
}

/// Returns the directories of settings in the machine's `/tmp`.
fn folders_in_tmp() -> Vec<std::ffi::OsString> {
    let names = std::fs::read_dir("/tmp").expect("listed").flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("kata-osinfo-")).collect()
}

#[test]
#[cfg_attr(any(lacks = "apt", lacks = "ldd"), ignore = "needs root, apt, dpkg and dpkg-dev, and ldd")]
fn no_process_or_folder_outlives_a_killed_install() {
    let scratch = apt::scratch();
    copy_perl(&scratch.root_path());
    scratch.record("kq-vmm");
    // As a daemon that the script has started, and the script itself.
    let word = format!("kq-sleeper-{}", std::process::id());
    let sleeps = format!("#!/usr/bin/perl\n$0 = '{word}';\nif (!fork) {{ fork; sleep 600 }}\nsleep 600;\n");
    with_postinst(&scratch, "kq-vmm", &sleeps);
    let before = folders_in_tmp();
    let mut program = Command::new(env!("CARGO_BIN_EXE_kata-osinfo"))
        .arg("--root")
        .arg(scratch.root_path())
        .args(["install", "vmm"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let until = Instant::now() + Duration::from_secs(120);
    while running(&word).len() < 3 {
        if let Some(status) = program.try_wait().expect("asked") {
            let mut stderr = String::new();
            let _ = program.stderr.take().expect("piped").read_to_string(&mut stderr);
            panic!("it ended with {status}: {stderr}");
        }
        assert!(Instant::now() < until, "the package's script does not run");
        std::thread::sleep(Duration::from_millis(50));
    }
    // PID 1, apt, dpkg, the script, and the processes that it started.
    assert!(processes_working_on(&scratch.root_path()).len() >= 6);
    program.kill().expect("killed");
    program.wait().expect("ended");
    // The directory of its settings is among these; those of concurrent tests disappear when these end.
    let made: Vec<std::ffi::OsString> = folders_in_tmp().into_iter().filter(|name| !before.contains(name)).collect();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let remaining = [running(&word), processes_working_on(&scratch.root_path())].concat();
        if remaining.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "they live on: {remaining:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let until = Instant::now() + Duration::from_secs(120);
    while folders_in_tmp().iter().any(|name| made.contains(name)) {
        assert!(Instant::now() < until, "settings stay in /tmp");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn owners_and_modes_are_installed_as_packaged() {
    let scratch = apt::scratch();
    let tree = tree(scratch.path(), "kq-vmm");
    let file = tree.join("usr/bin/kq-vmm");
    std::os::unix::fs::chown(&file, Some(1234), Some(5678)).expect("given");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o6751)).expect("set");
    apt::package_of(&scratch, "kq-vmm", &tree, "");
    apt::index(&scratch);
    scratch.install("kq-vmm", Duration::ZERO).expect("installed");
    let of = |path: &str| {
        let meta = std::fs::metadata(scratch.root_path().join(path)).expect("there");
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(of("usr/bin/kq-vmm"), (1234, 5678, 0o6751));
    assert_eq!(of("usr/bin"), (0, 0, 0o755));
    assert_eq!(of("var/lib/dpkg/status"), (0, 0, 0o644));
}

#[test]
#[cfg_attr(lacks = "dnf", ignore = "needs root, dnf, rpm and createrepo-c")]
fn file_capabilities_are_installed_as_packaged() {
    let scratch = dnf::scratch();
    rpm::rpm_with(
        &scratch,
        "kq-big",
        "2.0",
        &tree(scratch.path(), "kq-vmm"),
        "",
        "%caps(cap_net_raw=ep) /usr/bin/kq-vmm",
    );
    rpm::index(&scratch);
    scratch.install("kq-big", Duration::ZERO).expect("installed");
    let mut value = [0; 64];
    let size = rustix::fs::getxattr(scratch.root_path().join("usr/bin/kq-vmm"), "security.capability", &mut value);
    // VFS_CAP_REVISION_2, effective; CAP_NET_RAW permitted, nothing inheritable: valid for this machine's root, not
    // only in a user namespace.
    let expected = [0x0200_0001_u32, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    assert_eq!(&value[..size.expect("it has some")], expected);
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn a_disk_mounted_in_the_root_is_used_but_a_bind_mount_is_refused() {
    let scratch = apt::scratch();
    let mount_point = scratch.root_path().join("usr");
    std::fs::create_dir_all(&mount_point).expect("made");
    let tmpfs = |mount_point: &Path| run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(mount_point));
    let unmount = |mount_point: &Path| run(Command::new("umount").arg("--lazy").arg(mount_point));
    mounts::own();
    tmpfs(&mount_point);
    let done = scratch.install("kq-vmm", Duration::ZERO);
    let there = mount_point.join("bin/kq-vmm").exists();
    unmount(&mount_point);
    assert!(there, "{done:?}");
    // A directory that is also mounted elsewhere may be any of the machine's.
    run(Command::new("mount").arg("--bind").args([scratch.repository(), mount_point.clone()]));
    let refused = scratch.install("kq-big", Duration::ZERO);
    unmount(&mount_point);
    let message = refused.expect_err("it cannot be told whose that is").to_string();
    assert!(message.contains("/root/usr is also mounted at "), "{message}");
}

/// A mount that is not undone is what a killed test leaves.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_root_of_its_own_vanishes_with_its_test() {
    let folder = std::thread::scope(|scope| {
        let killed = scope.spawn(|| {
            let mut scratch = Scratch::new(PackageManager::Apt);
            scratch.shrink(1);
            scratch.write("file", "");
            let folder = scratch.path().to_owned();
            std::mem::forget(scratch);
            folder
        });
        killed.join().expect("it is mounted")
    });
    let is_mounted = folder.join("root/file").exists();
    // What the test leaves is removed, except what would still be mounted.
    let _ = std::fs::remove_dir_all(&folder);
    assert!(!is_mounted, "{} is still mounted", folder.display());
}

#[test]
#[cfg_attr(lacks = "apt", ignore = "needs root, apt, dpkg and dpkg-dev")]
fn nothing_is_run_without_a_sandbox() {
    let mut scratch = apt::scratch();
    // ramfs cannot map ids.
    scratch.move_to("ramfs", "mode=755");
    let refused = [scratch.dry_run("kq-vmm").map(drop), scratch.install("kq-vmm", Duration::ZERO).map(drop)];
    for refused in refused {
        let Err(InstallError::NoSandbox { .. }) = &refused else { panic!("expected no sandbox, got {refused:?}") };
        let message = refused.expect_err("as above").to_string();
        assert!(message.contains("ids cannot be mapped on the filesystem of"), "{message}");
        assert!(message.contains("run `apt-get ") && message.contains("install -- kq-vmm` in it"), "{message}");
    }
}
