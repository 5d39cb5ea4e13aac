//! The shipped records and the proposal's examples, read through the public library.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

#[path = "records/corrections.rs"]
mod corrections;
#[path = "records/shipped.rs"]
mod shipped;

use model::arch::Arch;
use model::database::Database;
use model::lint;
use model::package_manager::PackageManager;
use model::record::{ComponentKind, Confidence, Record};
use model::release::{Archive, Release};
use model::share::Share;
use model::sources::{self, Sources};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proposal").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).expect("fixture")
}

fn debian(release: &str, arch: Arch) -> Release {
    let database = Database::embedded();
    let record = database.record("debian").expect("debian");
    record.release(release, arch).expect("release")
}

#[test]
fn the_corrected_examples_of_the_proposal_load() {
    let load = |name: &str| Record::read(&fixture(name)).expect(name);
    let centos = load("as-meant/centos.yaml");
    let release = centos.release("8.2.2004", Arch::Ppc64le).expect("centos");
    assert_eq!(release.package_manager, PackageManager::Dnf);
    assert_eq!(release.vmms[0].packages, ["qemu-kvm-core"]);
    assert_eq!(release.vmms[0].path, "/usr/bin/qemu-kvm");

    let debian = load("as-meant/debian.yaml");
    let release = debian.release("testing", Arch::X86_64).expect("debian");
    let names: Vec<&str> = release.filesystems.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["virtio-fs", "virtio-9p"]);
    assert_eq!(release.filesystems[1].path, None);
    assert!(debian.release("testing", Arch::S390x).is_err());

    let fedora = load("as-meant/fedora.yaml");
    let versions: Vec<&str> = fedora.releases.iter().map(|r| r.version.as_str()).collect();
    assert_eq!(versions, ["32", "rawhide"]);
    let release = fedora.release("32", Arch::X86_64).expect("fedora");
    assert!(release.filesystem(Share::Virtio9p).is_some());
}

#[test]
fn the_proposal_as_mailed_is_refused_and_fixed_byte_for_byte() {
    for name in ["centos", "debian", "fedora"] {
        let file = format!("as-mailed/{name}.yaml");
        let mailed = text(&file);
        let error = Record::read(&fixture(&file)).expect_err(name);
        assert!(error.diagnostics.iter().all(|d| d.line > 1), "{error}");
        let fixed = lint::fix(Path::new(&file), &mailed).expect("a fix");
        assert_eq!(fixed, text(&format!("as-meant/{name}.yaml")));
        assert!(lint::lint(Path::new(&file), &fixed).is_empty());
    }
}

#[test]
fn debian_records_match_its_packages() {
    for (release, daemon, package) in [
        ("11", "/usr/lib/qemu/virtiofsd", "qemu-system-common"),
        ("oldstable", "/usr/lib/qemu/virtiofsd", "qemu-system-common"),
        ("trixie", "/usr/libexec/virtiofsd", "virtiofsd"),
        ("testing", "/usr/libexec/virtiofsd", "virtiofsd"),
        ("sid", "/usr/libexec/virtiofsd", "virtiofsd"),
    ] {
        let release = debian(release, Arch::X86_64);
        let driver = &release.filesystems[0];
        assert_eq!(driver.name, "virtio-fs");
        assert_eq!(driver.path, daemon.parse().ok());
        assert_eq!(driver.packages, [package]);
        assert_eq!(release.qemu().expect("qemu").path, "/usr/bin/qemu-system-x86_64");
        let packages = release.packages();
        for name in ["qemu-system-x86", "linux-image-amd64", package] {
            assert!(packages.iter().any(|p| p == name), "{packages:?}");
        }
        assert!(release.container_manager.is_some());
    }
    let s390x = |release| debian(release, Arch::S390x).vmms[0].packages.clone();
    assert_eq!(s390x("12"), ["qemu-system-misc"]);
    assert_eq!(s390x("13"), ["qemu-system-s390x"]);
}

#[test]
fn debians_suites_are_main_updates_and_security() {
    let suites = |release| {
        let suites = debian(release, Arch::X86_64).suites.into_iter();
        suites.map(|s| (s.name, s.archive)).collect::<Vec<_>>()
    };
    let expected = [
        ("bullseye".to_owned(), Archive::Main),
        ("bullseye-updates".to_owned(), Archive::Main),
        ("bullseye-security".to_owned(), Archive::Security),
    ];
    assert_eq!(suites("11"), expected);
    assert_eq!(suites("forky").len(), 3);
    assert_eq!(suites("unstable"), [("sid".to_owned(), Archive::Main)]);
}

fn parse(tail: &str) -> Record {
    let head = "distro: d\npackage-manager: dnf\narch: [x86_64, s390x]\n";
    Record::parse(Path::new("d.yaml"), &format!("{head}{tail}")).expect("valid")
}

#[test]
fn versions_keep_their_text() {
    let record = parse("version: [8.10, 32, 0x1f, 1e3, '07']\n");
    let versions: Vec<&str> = record.releases.iter().map(|r| r.version.as_str()).collect();
    assert_eq!(versions, ["8.10", "32", "0x1f", "1e3", "07"]);
    assert!(record.find_release("8.1").is_none());
}

#[test]
fn a_missing_value_for_an_architecture_differs_from_unknown() {
    let record = parse(
        "vmm: {name: qemu, packages: {x86_64: q}, path: {x86_64: /q, s390x: unknown}}
fs: [{name: 9p, packages: none}]
kernel: unknown
version: 1
",
    );
    assert!(record.release("1", Arch::S390x).expect("1").vmms.is_empty());
    let entry = record.find_release("1").expect("1");
    let facts_on = |arch| {
        let facts = record.facts(entry, arch).into_iter();
        facts.map(|f| format!("{}: {}", f.subject, f.value().unwrap_or_else(|| "?".into()))).collect::<Vec<_>>()
    };
    let shared = "fs virtio-9p packages: ";
    assert_eq!(facts_on(Arch::X86_64), ["kernel: ?", "vmm qemu packages: q", "vmm qemu path: /q", shared]);
    assert_eq!(
        facts_on(Arch::S390x),
        ["kernel: ?", "vmm qemu path: ?", shared],
        "no package there, and no word of a path"
    );
}

#[test]
fn a_release_overrides_its_record_key_by_key() {
    let record = parse(
        "confidence: documented
vmm: {name: qemu, packages: [a, b], path: /q}
fs:
  preferred: 9p
  drivers:
    - {name: virtio-fs, packages: v, path: /v}
    - {name: 9p}
releases:
  - version: 1
    confidence: packaging
    vmm:
      - {name: qemu, path: {x86_64: /q1, s390x: unknown}, confidence: measured}
      - {name: clh, path: /clh}
    fs: {preferred: virtio-fs}
  - version: 2
    arch: x86_64
    fs: [{name: virtio-fs, path: unknown}]
",
    );
    let one = record.release("1", Arch::X86_64).expect("1");
    assert_eq!(one.vmms[0].packages, ["a", "b"]);
    assert_eq!(one.vmms[0].path, "/q1");
    assert_eq!(one.vmms[1].name, "clh");
    assert_eq!(one.filesystems[0].name, "virtio-fs");
    let there = record.release("1", Arch::S390x).expect("1 on s390x");
    assert_eq!(there.vmms.len(), 1, "an unknown path leaves the VMM out");
    let two = record.release("2", Arch::X86_64).expect("2");
    assert_eq!(two.filesystems.len(), 1);
    assert_eq!(two.filesystems[0].name, "virtio-9p");
    assert!(record.release("2", Arch::S390x).is_err());

    let facts = record.facts(record.find_release("1").expect("1"), Arch::S390x);
    let fact = |subject: &str| facts.iter().find(|f| f.subject.to_string() == subject).expect("fact");
    assert_eq!(fact("vmm qemu path").values, None);
    assert_eq!(fact("vmm qemu path").confidence, Confidence::Measured);
    assert_eq!(fact("vmm qemu packages").confidence, Confidence::Documented);
    assert_eq!(fact("vmm clh path").confidence, Confidence::Packaging);
}
