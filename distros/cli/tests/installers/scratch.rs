//! A root and a repository in one temporary directory, and the checks that every package manager has to pass.

use crate::mounts;
use crate::situations::Situation;
use model::package_manager::PackageManager;
use operator::installer::{
    self, FailureKind, InstallError, InstallFailure, InstallOptions, InstallPlan, InstallRequest, Installation,
    InstallerLocation,
};
use operator::packages::Packages;
use root::Root;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Program of `kq-vmm`. Every repository has the packages `kq-vmm`, which needs `kq-lib` and provides `kq-virtual`, and
/// `kq-big` with 16 MiB.
pub(crate) const VMM: &str = "/usr/bin/kq-vmm";

pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    manager: PackageManager,
    mounted: bool,
}

impl Scratch {
    /// Creates an empty root and an empty repository.
    pub(crate) fn new(manager: PackageManager) -> Scratch {
        // In /var/tmp, because dnf has a private `/tmp`.
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        // Readable, because apt's helper user reads the repository.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("readable");
        let scratch = Scratch { folder, manager, mounted: false };
        std::fs::create_dir_all(scratch.repository()).expect("made");
        std::fs::create_dir_all(scratch.root_path()).expect("made");
        scratch.write("etc/os-release", "ID=scratch\nVERSION_ID=1\n");
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path().join("repository")
    }

    pub(crate) fn root_path(&self) -> PathBuf {
        self.path().join("root")
    }

    pub(crate) fn root(&self) -> Root {
        Root::new(&self.root_path()).expect("a root")
    }

    /// Writes a file in the root.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.root_path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, text).expect("written");
    }

    /// Gives the root a record of its own, in which this package is QEMU's.
    pub(crate) fn record(&self, vmm: &str) {
        let manager = self.manager.name();
        self.write(
            "etc/kata-osinfo/scratch.yaml",
            &format!(
                "distro: scratch
package-manager: {manager}
arch: [x86_64, aarch64, ppc64le, s390x]
confidence: documented
vmm: {{name: qemu, packages: {vmm}, path: {VMM}}}
releases: [{{version: 1}}]
"
            ),
        );
    }

    /// Turns the root into a file system of this many MiB.
    pub(crate) fn shrink(&mut self, mebibytes: u32) {
        self.move_to("tmpfs", &format!("size={mebibytes}m"));
    }

    /// Turns the root into a file system of its own, which only the calling thread and what it starts see.
    pub(crate) fn move_to(&mut self, filesystem: &str, options: &str) {
        let copy = self.path().join("kept");
        run(Command::new("cp").arg("-a").arg(self.root_path()).arg(&copy));
        mounts::own();
        run(Command::new("mount").args(["-t", filesystem, "-o", options, filesystem]).arg(self.root_path()));
        self.mounted = true;
        run(Command::new("cp").arg("-a").arg(copy.join(".")).arg(self.root_path()));
    }

    pub(crate) fn install(&self, package: &str, lock_timeout: Duration) -> Result<Installation, InstallError> {
        self.install_request(&alone(package), lock_timeout)
    }

    /// Makes a dry run for a package, which installs nothing.
    pub(crate) fn dry_run(&self, package: &str) -> Result<InstallPlan, InstallError> {
        let root = self.root();
        let chosen = installer::choose(&root, self.manager).expect("settings");
        let options = InstallOptions { timeout: Duration::from_secs(120), ..InstallOptions::default() };
        installer::plan(&chosen, &root, &alone(package), &options)
    }

    pub(crate) fn install_request(
        &self,
        request: &InstallRequest,
        lock_timeout: Duration,
    ) -> Result<Installation, InstallError> {
        let root = self.root();
        let chosen = installer::choose(&root, self.manager).expect("settings");
        let has_own_installer = self.root().which("apt-get").expect("looked").is_some();
        assert_eq!(
            chosen.place,
            if has_own_installer { InstallerLocation::Inside } else { InstallerLocation::Outside }
        );
        let options = InstallOptions { lock_timeout, timeout: Duration::from_secs(120), ..InstallOptions::default() };
        installer::install(&chosen, &root, request, &options)
    }

    /// Checks that `kq-extra` is found only after its repository or module is enabled, and that enabling is reported.
    pub(crate) fn assert_enabled_first(&self, repositories: &[&str], modules: &[&str]) {
        let request = |repositories: &[&str], modules: &[&str]| InstallRequest {
            packages: vec!["kq-extra".parse().expect("a name")],
            repositories: repositories.iter().map(|r| (*r).to_owned()).collect(),
            modules: modules.iter().map(|m| (*m).to_owned()).collect(),
        };
        let mut short = vec![request(&[], &[])];
        if !modules.is_empty() {
            short.push(request(repositories, &[]));
        }
        for request in short {
            match self.install_request(&request, Duration::ZERO) {
                Err(InstallError::Failed(failure)) => {
                    assert_eq!(failure.kind, FailureKind::MissingPackage, "{request:?}: {}", failure.message);
                }
                other => panic!("{request:?}: expected a missing package, got {other:?}"),
            }
        }
        let done = self.install_request(&request(repositories, modules), Duration::ZERO).expect("installed");
        assert_eq!(done.plan.enables, [repositories, modules].concat());
        let found =
            Packages::read(&self.root(), Some(self.manager)).expect("packages").installed("kq-extra").expect("asked");
        assert_eq!(found.len(), 1, "{found:?}");
    }

    /// Returns a command that records its execution, for a configuration of the root; see
    /// [`Scratch::assert_runs_no_planted_program`].
    pub(crate) fn planted_program(&self) -> String {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.path().join("strangers");
        std::fs::create_dir_all(&folder).expect("made");
        // Writable for any user that may run it, including apt's helper user.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).expect("set");
        let program = self.path().join("stranger");
        std::fs::write(&program, format!("#!/bin/sh\necho \"$0 $*\" >>{}/ran\nexit 1\n", folder.display()))
            .expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        program.display().to_string()
    }

    /// Checks that a dry run and an installation succeed without running anything that the root's configuration names.
    pub(crate) fn assert_runs_no_planted_program(&self) {
        let root = self.root();
        let chosen = installer::choose(&root, self.manager).expect("settings");
        let request = alone("kq-vmm");
        let options = InstallOptions { timeout: Duration::from_secs(120), ..InstallOptions::default() };
        let programs_run = || std::fs::read_to_string(self.path().join("strangers/ran")).unwrap_or_default();
        // The dry run may fail, because no lists have been fetched.
        let _ = installer::plan(&chosen, &root, &request, &options);
        assert_eq!(programs_run(), "", "in a dry run");
        let done = installer::install(&chosen, &root, &request, &options);
        assert_eq!(programs_run(), "", "while installing");
        let done = done.expect("installed");
        assert_eq!(done.installed.len(), 1);
        // Pasting the reported commands into a shell runs nothing of the root's, either.
        let pasted: Vec<String> =
            done.plan.description().lines().map(|l| l.strip_prefix("runs ").unwrap_or(l).to_owned()).collect();
        let _ = Command::new("sh").arg("-c").arg(pasted.join("\n")).output().expect("it runs");
        assert!(done.plan.guarded && !done.plan.commands.is_empty());
        assert_eq!(programs_run(), "", "when pasted");
    }

    fn failure(&self, package: &str) -> InstallFailure {
        match self.install(package, Duration::ZERO) {
            Err(InstallError::Failed(failure)) => failure,
            other => panic!("expected a failure of the package manager, got {other:?}"),
        }
    }

    pub(crate) fn assert_fails(&self, situation: Situation, package: &str, kind: FailureKind) {
        let failure = self.failure(package);
        assert_eq!(failure.kind, kind, "{situation:?}: {}", failure.message);
        let installed = Packages::read(&self.root(), Some(self.manager)).map(|p| p.installed(package).expect("asked"));
        assert!(installed.is_err() || installed.is_ok_and(|i| i.is_empty()), "it must not be there");
    }

    /// Checks that a dry run reports the changes and makes none, that an installation is found by name, by a provided
    /// name and by its file, and that a second one does nothing.
    pub(crate) fn assert_installs_and_queries(&self, version: &str) {
        let root = self.root();
        let chosen = installer::choose(&root, self.manager).expect("settings");
        let request = alone("kq-vmm");
        let options = InstallOptions { timeout: Duration::from_secs(120), ..InstallOptions::default() };

        let done = self.install("kq-vmm", Duration::ZERO).expect("installed");
        let names: Vec<(&str, &str)> =
            done.installed.iter().map(|i| (i.package.as_str(), i.version.as_str())).collect();
        assert_eq!(names, [("kq-vmm", version)]);
        let changes: Vec<&str> = done.plan.changes.iter().flatten().map(|c| c.package.as_str()).collect();
        assert!(changes.contains(&"kq-vmm") && changes.contains(&"kq-lib"), "{changes:?}");
        assert!(root.is_program(Path::new(VMM)).expect("looked"));

        let packages = Packages::read(&root, Some(self.manager)).expect("packages");
        for name in ["kq-vmm", "kq-virtual"] {
            let found = packages.installed(name).expect("asked");
            assert_eq!(found.first().map(|i| i.package.as_str()), Some("kq-vmm"), "{name}");
        }
        let owner = packages.owner(Path::new(VMM)).expect("asked").expect("owned");
        assert_eq!((owner.package.as_str(), owner.version.as_str()), ("kq-vmm", version));
        assert_eq!(packages.owner(Path::new("/etc/os-release")).expect("asked"), None);

        let again = installer::install(&chosen, &root, &request, &options).expect("nothing to do");
        assert!(again.plan.commands.is_empty());

        let big = alone("kq-big");
        let plan = installer::plan(&chosen, &root, &big, &options).expect("a plan");
        let changes: Vec<&str> = plan.changes.iter().flatten().map(|c| c.package.as_str()).collect();
        assert_eq!(changes, ["kq-big"]);
        assert!(
            Packages::read(&root, Some(self.manager)).expect("packages").installed("kq-big").expect("asked").is_empty()
        );
    }

    /// Checks that an installation fails while the lock is held, after the given wait, and continues if `release`
    /// releases it in time.
    pub(crate) fn assert_waits_for_lock(&self, package: &str, kind: FailureKind, release: impl FnOnce() + Send) {
        let started = Instant::now();
        match self.install(package, Duration::from_secs(2)) {
            Err(InstallError::Failed(failure)) => assert_eq!(failure.kind, kind, "{}", failure.message),
            other => panic!("expected a lock, got {other:?}"),
        }
        let reached = started.elapsed();
        assert!(reached >= Duration::from_secs(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Long enough for the installation to reach the lock, even on a slow machine.
                std::thread::sleep(reached + Duration::from_secs(2));
                release();
            });
            let done = self.install(package, Duration::from_secs(60)).expect("installed after the lock");
            assert!(done.waited >= 1, "{done:?}");
        });
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            // A program that another test has just started may hold a descriptor in it for a moment.
            run(Command::new("umount").arg("--lazy").arg(self.root_path()));
        }
    }
}

/// Runs a tool that a test needs; shows its output if it fails.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the tool starts");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns incompressible bytes, the same each time.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(step).collect()
}

/// Returns a request for this package alone.
fn alone(package: &str) -> InstallRequest {
    InstallRequest { packages: vec![package.parse().expect("a name")], ..InstallRequest::default() }
}

/// Creates a directory with a package's files.
pub(crate) fn tree(parent: &Path, package: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let folder = parent.join(format!("tree-{package}"));
    let (path, bytes) = match package {
        "kq-vmm" => ("usr/bin/kq-vmm", b"#!/bin/sh\n".to_vec()),
        "kq-lib" => ("usr/share/kq-lib", b"x".to_vec()),
        _ => ("usr/share/kq-big", noise(16 << 20)),
    };
    let file = folder.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    std::fs::write(&file, bytes).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("set");
    folder
}

/// Changes a byte in the middle of a file.
pub(crate) fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(file, bytes).expect("written");
}

/// Returns the only file of the repository whose name has this prefix.
pub(crate) fn package_file(scratch: &Scratch, start: &str) -> PathBuf {
    let files = std::fs::read_dir(scratch.repository()).expect("listed");
    let mut files = files.map(|e| e.expect("an entry").path());
    let named = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start));
    files.find(named).expect("the package")
}
