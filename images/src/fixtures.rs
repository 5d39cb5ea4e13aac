//! A release, a runner and a tree for the tests of several modules.

use crate::family;
use crate::runner::Runner;
use model::arch::Arch;
use model::package_manager::PackageManager;
use model::redact::Redactor;
use model::release::{Archive, FilesystemDriver, Kernel, PackageSuite, Release, Vmm};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Returns a release of Debian.
pub(crate) fn release(version: &str, codename: &str) -> Release {
    let suite = |name: String, archive| PackageSuite { name, archive, components: vec!["main".to_owned()] };
    Release {
        distro: "debian".parse().unwrap(),
        version: version.parse().unwrap(),
        codename: Some(codename.to_owned()),
        aliases: vec![],
        based_on: vec![],
        arch: Arch::X86_64,
        package_manager: PackageManager::Apt,
        suites: vec![
            suite(codename.to_owned(), Archive::Main),
            suite(format!("{codename}-security"), Archive::Security),
        ],
        repositories: vec![],
        modules: vec![],
        module_platform: None,
        oci_image: None,
        image_lacks: None,
        vmms: vec![Vmm {
            name: "qemu".into(),
            packages: vec!["qemu-system-x86".parse().unwrap()],
            path: "/usr/bin/qemu-system-x86_64".parse().unwrap(),
        }],
        filesystems: vec![FilesystemDriver {
            name: "virtio-fs".into(),
            packages: vec!["virtiofsd".parse().unwrap()],
            path: Some("/usr/libexec/virtiofsd".parse().unwrap()),
        }],
        kernel: Some(Kernel {
            packages: vec!["linux-image-amd64".parse().unwrap()],
            image: "/boot/vmlinuz-*".parse().unwrap(),
        }),
        container_manager: None,
        docker: None,
        firmware: Vec::new(),
    }
}

/// Returns a runner for commands of that release, with a time limit in seconds.
pub(crate) fn runner(cancel: &AtomicBool, seconds: u64) -> Runner<'_> {
    let (release, limit) = (release("13", "trixie"), Duration::from_secs(seconds));
    Runner {
        release: release.target(),
        cancel,
        until: Instant::now() + limit,
        limit,
        redact: Redactor::knowing(["http://mirror.example/debian"]),
        progress: &|_| {},
        read_cause: family::of(&release).unwrap().cause_reader(),
    }
}

/// Makes a tree in which programs can run: this machine's shell and a few of its tools, and these scripts.
pub(crate) fn tree_with(scripts: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let place = |inside: &Path| {
        let path = dir.path().join(inside.strip_prefix("/").unwrap_or(inside));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for name in ["sh", "ln", "mkfifo", "rm", "truncate"] {
        let program = Path::new("/usr/bin").join(name);
        copy(&program, &place(&Path::new("/bin").join(name)));
        let output = Command::new("ldd").arg(&program).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`
        for library in output.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
            copy(library, &place(library));
        }
    }
    for (path, script) in scripts {
        let written = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(written.path(), script).unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(written.path(), permissions).unwrap();
        copy(written.path(), &place(Path::new(path)));
    }
    dir
}

/// Copies a program with another process: a file that this process writes may also be open in a process that another
/// test starts, and is then "text file busy".
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("--").arg(from).arg(to).status().unwrap().success(), "{}", to.display());
}
