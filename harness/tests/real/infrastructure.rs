//! A failure of the infrastructure is reported with its phase and cause and with exit code 3, and does not change the
//! record.
//!
//! Needs root, mmdebstrap, Docker and a mirror.

use crate::command::{SmallDisk, cell, errors, kata_qualify, outcomes, results, run_to_end};
use jiff::civil::date;
use model::arch::Arch;
use model::package::{PackageName, PackageVersion};
use model::verified::{self, Basis, Verdict, VerifiedCapability, VerifiedEntry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const DEBIAN: &str = include_str!("../../../distros/records/debian.yaml");
/// An address at which nothing listens.
const NO_MIRROR: &str = "http://127.0.0.1:1/debian";

/// A distro whose only release uses a suite that the mirror does not have.
const NOWHERE: &str = "\
apiVersion: v1
distro: nowhere
package-manager: apt
arch: [x86_64]
vmm:
  name: qemu
  packages: qemu-system-x86
  path: /usr/bin/qemu-system-x86_64
fs:
  - name: virtio-fs
    packages: virtiofsd
    path: /usr/libexec/virtiofsd
kernel:
  packages: linux-image-amd64
  image: /boot/vmlinuz-*
releases:
  - version: 1
    codename: erewhon
    suites: erewhon
";

/// A directory with its own cache, and with records that have an earlier run's verdicts for each release.
struct TestFolder {
    dir: TempDir,
    records: PathBuf,
}

impl TestFolder {
    fn new() -> TestFolder {
        let dir = tempfile::tempdir().unwrap();
        let records = dir.path().join("records");
        std::fs::create_dir_all(records.join("verified")).unwrap();
        for (name, text, release) in [("debian", DEBIAN, "13"), ("nowhere", NOWHERE, "1")] {
            std::fs::write(records.join(format!("{name}.yaml")), text).unwrap();
            let verdicts =
                verified::apply(None, &name.parse().unwrap(), &[&release.parse().unwrap()], &[earlier_entry(release)])
                    .unwrap();
            std::fs::write(records.join(format!("verified/{name}.yaml")), verdicts).unwrap();
        }
        TestFolder { dir, records }
    }

    /// Returns the text of a distro's verdicts.
    fn verdicts(&self, distro: &str) -> String {
        std::fs::read_to_string(self.records.join(format!("verified/{distro}.yaml"))).unwrap()
    }

    /// Returns `kata-qualify run` with these records and the output directory `out`.
    fn run(&self, cache: &Path, arguments: &[&str]) -> Command {
        let mut command = kata_qualify(self.dir.path());
        command.arg("run").args(["--out", "out", "--records", "records", "--cache"]).arg(cache).args(arguments);
        command
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }
}

fn versioned(package: &str, version: &str) -> (PackageName, PackageVersion) {
    (package.parse().unwrap(), version.parse().unwrap())
}

/// Returns an earlier run's entry, which an error must not change.
fn earlier_entry(release: &str) -> VerifiedEntry {
    let supported = VerifiedCapability::plain(Verdict::Supported);
    VerifiedEntry {
        release: release.parse().unwrap(),
        arch: Arch::X86_64,
        profile: "go-3.29".parse().unwrap(),
        environment: model::environment::Environment::Container,
        basis: Basis::Emulated,
        tested: date(2026, 1, 2),
        harness: "0.0.1".to_owned(),
        test_set: "d3dcb968b1d5".to_owned(),
        shaped: false,
        kata: None,
        versions: BTreeMap::from([versioned("qemu-system-x86", "1:1.0")]),
        capabilities: BTreeMap::from([(model::capability::Capability::VmmBoot, supported)]),
    }
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn a_release_missing_on_the_mirror_is_an_error_and_other_cells_run() {
    let folder = TestFolder::new();
    let test = "smoke::qemu_has_the_machine_type";
    let output = run_to_end(&mut folder.run(
        &crate::command::cache(),
        &["nowhere:1", "debian:13", "--source", "bootstrap", "--profile", "go-3.29", "--test", test],
    ));
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let results = results(&folder.out());
    let errors = errors(cell(&results, "nowhere:1/"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("image: ") && errors[0].contains("suite erewhon is not on the mirror"), "{errors:?}");
    let outcomes = outcomes(cell(&results, "debian:13/"));
    assert_eq!(outcomes.get(&format!("go-3.29 {test}")).map(String::as_str), Some("pass"), "{outcomes:?}");
    let matrix = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(matrix.contains("suite erewhon is not on the mirror"), "the matrix hides the cause:\n{}", output.stdout);
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn a_release_that_ends_in_error_keeps_its_recorded_entries() {
    let folder = TestFolder::new();
    let before = folder.verdicts("nowhere");
    assert!(before.contains("verified:"), "the file to be kept has nothing to keep");
    let cache = folder.dir.path().join("cache");
    let output = run_to_end(&mut folder.run(&cache, &["nowhere:1", "--source", "bootstrap", "--write-back"]));
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert_eq!(folder.verdicts("nowhere"), before);
    assert!(output.stderr.contains("not written back: nowhere:1/x86_64/container: image: "), "{}", output.stderr);
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn an_unreachable_mirror_is_reported_and_nothing_is_written_back() {
    let folder = TestFolder::new();
    let before = folder.verdicts("debian");
    let cache = folder.dir.path().join("cache");
    let output = run_to_end(&mut folder.run(&cache, &["debian:13", "--mirror", NO_MIRROR, "--write-back"]));
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let errors = errors(cell(&results(&folder.out()), "debian:13/"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("image: ") && errors[0].contains("the mirror cannot be reached"), "{errors:?}");
    assert_eq!(folder.verdicts("debian"), before);
    assert_no_image(&cache);
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn offline_without_an_image_is_an_error_with_a_hint() {
    let folder = TestFolder::new();
    let before = folder.verdicts("debian");
    let cache = folder.dir.path().join("cache");
    let output = run_to_end(&mut folder.run(&cache, &["debian:13", "--offline", "--write-back"]));
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(
        output.stderr.contains("not in the cache") && output.stderr.contains("without --offline"),
        "{}",
        output.stderr
    );
    assert!(!folder.out().exists(), "nothing is written");
    assert_eq!(folder.verdicts("debian"), before);
}

/// A mount that is not undone is what a killed test leaves.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_small_disk_vanishes_with_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let killed = || {
        std::mem::forget(SmallDisk::mount(path.clone(), "64k").unwrap());
        std::fs::write(path.join("file"), "").unwrap();
        Command::new("test").arg("-e").arg(path.join("file")).status().unwrap().success()
    };
    assert!(std::thread::scope(|scope| scope.spawn(killed).join().unwrap()), "a program does not see the disk");
    assert!(!path.join("file").exists(), "the disk is still mounted");
}

#[test]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
fn a_full_disk_is_reported_and_leaves_no_incomplete_image() {
    let folder = TestFolder::new();
    let before = folder.verdicts("debian");
    let disk = SmallDisk::mount(folder.dir.path().join("disk"), "64m").unwrap();
    let output = run_to_end(&mut folder.run(&disk.0, &["debian:13", "--write-back"]));
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let errors = errors(cell(&results(&folder.out()), "debian:13/"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("image: ") && errors[0].contains("the disk is full"), "{errors:?}");
    assert_eq!(folder.verdicts("debian"), before);
    assert_no_image(&disk.0);
}

/// Asserts that the cache has neither a complete nor an incomplete image.
fn assert_no_image(cache: &Path) {
    let images = cache.join("images");
    let names_in = |dir: &Path| -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let finished: Vec<String> = names_in(&images).into_iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!((finished, names_in(&images.join(".tmp"))), (Vec::new(), Vec::new()), "left in {}", images.display());
}
