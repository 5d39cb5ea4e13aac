//! Properties of all shipped records.

use super::*;
use model::record::{FactSubject, StatedFact};
use operator::detect::{Fit, detect};
use root::Root;
use std::collections::BTreeSet;

/// Distros that ship Enterprise Linux's QEMU.
const ENTERPRISE_LINUX: [&str; 5] = ["almalinux", "centos", "ol", "rhel", "rocky"];

/// Registries from which distros publish their images.
const REGISTRIES: [&str; 7] = [
    "docker.io",
    "mcr.microsoft.com",
    "quay.io",
    "registry.access.redhat.com",
    "registry.fedoraproject.org",
    "registry.opensuse.org",
    "registry.suse.com",
];

/// A record's top-level keys in the order that readers expect.
const ORDER: [&str; 20] = [
    "apiVersion",
    "distro",
    "ids",
    "derives-from",
    "package-manager",
    "arch",
    "confidence",
    "repositories",
    "modules",
    "image-lacks",
    "parts-from",
    "vmm",
    "fs",
    "kernel",
    "container-manager",
    "kata",
    "firmware",
    "jailer",
    "snapshotter",
    "releases",
];

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../records");
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("records")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

/// Calls `text` for every release on each of its architectures.
fn lines_of_every_release(mut text: impl FnMut(&Record, &Release) -> Vec<String>) -> Vec<String> {
    let database = Database::embedded();
    let mut lines = Vec::new();
    for record in database.records() {
        for entry in &record.releases {
            for arch in record.release_arches(entry) {
                let release = record.release(&entry.version, *arch).expect("a release's own architecture");
                lines.extend(text(record, &release));
            }
        }
    }
    lines
}

#[test]
fn every_file_is_built_in_under_its_distros_name() {
    let database = Database::embedded();
    assert!(database.problems().is_empty(), "{:?}", database.problems());
    let embedded: Vec<&str> = database.records().map(|r| r.distro.as_str()).collect();
    let files = files();
    let files: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(embedded, files);
}

#[test]
fn every_record_lints_clean_and_is_sorted() {
    for (name, text) in files() {
        let found = lint::lint(Path::new(&name), &text);
        assert!(found.is_empty(), "{name}: {found:?}");
        let yaml: serde_yaml::Mapping = serde_yaml::from_str(&text).expect("a map");
        let keys: Vec<&str> = yaml.keys().filter_map(|k| k.as_str()).collect();
        let at = |key: &str| ORDER.iter().position(|o| *o == key).expect("a key that is in the order");
        assert!(keys.is_sorted_by_key(|key| at(key)), "{name}: the keys {keys:?} are not in the usual order");
        assert!(keys.contains(&"confidence"), "{name} leaves all its facts assumed without saying so");
    }
}

#[test]
fn every_release_resolves_for_each_architecture_by_each_name() {
    let database = Database::embedded();
    for record in database.records() {
        for entry in &record.releases {
            for name in entry.names() {
                assert_eq!(record.find_release(name).map(|r| &r.version), Some(&entry.version), "{name}");
            }
            for arch in Arch::ALL {
                let resolved = record.release(&entry.version, *arch);
                let stated = record.release_arches(entry).contains(arch);
                assert_eq!(resolved.is_ok(), stated, "{}:{} on {arch}", record.distro, entry.version);
            }
        }
    }
}

/// Gaps of a release are deliberate; a mistake in a record shows up here.
#[test]
fn components_that_releases_lack_match_the_snapshot() {
    let lacking = lines_of_every_release(|_, release| {
        let mut lacks = Vec::new();
        lacks.extend(release.vmms.is_empty().then_some("a VMM"));
        lacks.extend(release.filesystem(Share::VirtioFs).is_none().then_some("virtio-fs"));
        lacks.extend(release.filesystem(Share::Virtio9p).is_none().then_some("virtio-9p"));
        lacks.extend(release.kernel.is_none().then_some("a kernel"));
        lacks.extend(release.container_manager.is_none().then_some("a container manager"));
        lacks.extend(release.oci_image.is_none().then_some("an image"));
        if lacks.is_empty() {
            return Vec::new();
        }
        vec![format!("{} on {}: {}", release.name(), release.arch, lacks.join(", "))]
    });
    insta::assert_snapshot!(lacking.join("\n"));
}

#[test]
fn enterprise_linux_has_its_own_qemu_and_no_9p() {
    let database = Database::embedded();
    for distro in ENTERPRISE_LINUX {
        let record = database.record(distro).expect(distro);
        for entry in &record.releases {
            let numbers = |c: char| !c.is_ascii_digit();
            let major = entry.version.as_str().trim_start_matches(numbers).split('.').next().expect("a number");
            for arch in record.release_arches(entry) {
                let release = record.release(&entry.version, *arch).expect("release");
                let names: Vec<&str> = release.filesystems.iter().map(|f| f.name.as_str()).collect();
                // POWER has neither since version 9.
                let expected: &[&str] = if *arch == Arch::Ppc64le && major != "8" { &[] } else { &["virtio-fs"] };
                assert_eq!(names, expected, "{} on {arch}", release.name());
                assert_eq!(release.vmms.len(), expected.len(), "{} on {arch}", release.name());
                assert!(release.vmms.iter().all(|v| v.path == "/usr/libexec/qemu-kvm"));
                // The C daemon is part of QEMU, the Rust one is a package.
                let package = if major == "8" { "qemu-kvm-common" } else { "virtiofsd" };
                assert!(release.filesystems.iter().all(|f| f.packages == [package]), "{}", release.name());
            }
        }
    }
}

#[test]
fn each_release_names_its_own_package_manager() {
    let database = Database::embedded();
    for (target, expected) in [
        ("amzn:2", PackageManager::Yum),
        ("amzn:2023", PackageManager::Dnf),
        ("azurelinux:3.0", PackageManager::Tdnf),
        ("photon:5.0", PackageManager::Tdnf),
        ("flatcar:rolling", PackageManager::ImageBased),
    ] {
        let (distro, release) = target.split_once(':').expect("a target");
        let release = database.record(distro).expect(distro).release(release, Arch::X86_64).expect(target);
        assert_eq!(release.package_manager, expected, "{target}");
    }
}

#[test]
fn only_image_based_records_name_the_source_of_their_parts() {
    let database = Database::embedded();
    for record in database.records() {
        for entry in &record.releases {
            let is_image = record.manager_of(entry) == PackageManager::ImageBased;
            let facts = record.facts(entry, record.release_arches(entry)[0]);
            let stated = facts.iter().any(|f| f.subject == FactSubject::PartsFrom);
            assert_eq!(stated, is_image, "{}:{}", record.distro, entry.version);
        }
    }
}

#[test]
fn required_repositories_and_modules_are_recorded() {
    let database = Database::embedded();
    let enabled = |distro: &str, release: &str, subject: FactSubject| {
        let record = database.record(distro).expect(distro);
        let entry = record.require_release(release).expect(release);
        let facts = record.facts(entry, record.release_arches(entry)[0]);
        facts.iter().find(|f| f.subject == subject).and_then(StatedFact::value)
    };
    for distro in ["almalinux", "rhel", "rocky"] {
        assert_eq!(enabled(distro, "8", FactSubject::Modules).as_deref(), Some("virt:rhel"));
        assert_eq!(enabled(distro, "9", FactSubject::Modules), None, "modularity of virt ended with 8");
    }
    assert_eq!(enabled("ol", "8", FactSubject::Modules).as_deref(), Some("virt:ol"), "and not that of RHEL");
    assert_eq!(enabled("centos", "8.2.2004", FactSubject::Repositories).as_deref(), Some("advanced-virtualization"));
    assert_eq!(enabled("alpine", "3.24", FactSubject::Repositories).as_deref(), Some("community"));
    assert_eq!(enabled("alpine", "edge", FactSubject::Repositories).as_deref(), Some("community testing"));
    let modules = "sle-module-server-applications sle-module-containers";
    assert_eq!(enabled("sles", "15-SP7", FactSubject::Repositories).as_deref(), Some(modules));
    assert_eq!(enabled("sles", "16", FactSubject::Repositories), None);
    assert_eq!(enabled("fedora", "rawhide", FactSubject::Repositories), None);
    // Ubuntu's Rust daemon is in universe.
    let noble = database.record("ubuntu").expect("ubuntu").release("noble", Arch::X86_64).expect("noble");
    assert!(noble.suites.iter().all(|s| s.components == ["main", "universe"]));
    assert_eq!(noble.suites[2].archive, Archive::Security);
}

#[test]
fn virtiofsd_packages_and_paths_are_recorded() {
    let database = Database::embedded();
    for (target, package, path) in [
        ("ubuntu:jammy", "qemu-system-common", "/usr/lib/qemu/virtiofsd"),
        ("ubuntu:noble", "virtiofsd", "/usr/libexec/virtiofsd"),
        ("fedora:32", "qemu-common", "/usr/libexec/virtiofsd"),
        ("fedora:rawhide", "virtiofsd", "/usr/libexec/virtiofsd"),
        ("rhel:8.10", "qemu-kvm-common", "/usr/libexec/virtiofsd"),
        ("centos:stream10", "virtiofsd", "/usr/libexec/virtiofsd"),
        ("opensuse:15.6", "virtiofsd", "/usr/lib/virtiofsd/virtiofsd"),
        ("opensuse:tumbleweed", "virtiofsd", "/usr/libexec/virtiofsd"),
        ("sles:15-SP6", "virtiofsd", "/usr/lib/virtiofsd/virtiofsd"),
        ("sles:16.0", "virtiofsd", "/usr/libexec/virtiofsd"),
        ("arch:rolling", "virtiofsd", "/usr/lib/virtiofsd"),
        ("gentoo:rolling", "app-emulation/virtiofsd", "/usr/libexec/virtiofsd"),
        ("nixos:unstable", "virtiofsd", "/run/current-system/sw/bin/virtiofsd"),
    ] {
        let (distro, release) = target.split_once(':').expect("a target");
        let release = database.record(distro).expect(distro).release(release, Arch::X86_64).expect(target);
        let driver = release.filesystem(Share::VirtioFs).expect(target);
        assert_eq!(driver.packages, [package], "{target}");
        assert_eq!(driver.path, path.parse().ok(), "{target}");
    }
    let focal = database.record("ubuntu").expect("ubuntu").release("focal", Arch::X86_64).expect("focal");
    assert!(focal.filesystem(Share::VirtioFs).is_none(), "QEMU 4.2 had no daemon");
}

/// With a kernel of 4 KiB pages, KVM rejects the 64 KiB pages that guests request by default, and no Kata starts.
/// Debian has a separate flavour for 64 KiB pages since 13; before, and in other distros, the only kernel has them: the
/// records of Fedora, RHEL, SUSE, Ubuntu and Alpine say so where they name it, and their sources where that was read.
#[test]
fn debian_on_power_uses_the_kernel_with_64k_pages() {
    let database = Database::embedded();
    let record = database.record("debian").expect("a record");
    let kernels: Vec<String> = record
        .releases
        .iter()
        .filter(|entry| record.release_arches(entry).contains(&Arch::Ppc64le))
        .map(|entry| {
            let release = record.release(&entry.version, Arch::Ppc64le).expect("a release");
            let packages = release.kernel.map(|kernel| kernel.packages).unwrap_or_default();
            let names: Vec<&str> = packages.iter().map(|name| name.as_str()).collect();
            format!("{}: {}", entry.version, names.join(" "))
        })
        .collect();
    let (older, newer) = ("linux-image-powerpc64le", "linux-image-powerpc64le-64k");
    let expected = [("12", older), ("13", newer), ("testing", newer), ("unstable", newer)];
    assert_eq!(kernels, expected.map(|(version, package)| format!("{version}: {package}")));
}

#[test]
fn images_come_from_the_distros_registries() {
    let wrong = lines_of_every_release(|_, release| {
        let Some(image) = &release.oci_image else { return Vec::new() };
        let host = image.split('/').next().unwrap_or_default();
        let named = REGISTRIES.contains(&host) && !image.contains('@');
        if named { Vec::new() } else { vec![format!("{}: {image}", release.name())] }
    });
    assert_eq!(wrong, Vec::<String>::new());
}

/// In addition to QEMU, virtiofsd and containerd; a container manager that is added does not replace another one.
#[test]
fn additional_kata_components_are_recorded() {
    use ComponentKind::{ContainerManager, Firmware, Jailer, Kata, Snapshotter, Vmm};
    let database = Database::embedded();
    for (target, kind, name, packages) in [
        ("almalinux:9", Firmware, "ovmf", &["edk2-ovmf"][..]),
        ("alpine:3.24", ContainerManager, "cri-o", &["cri-o"]),
        ("alpine:3.22", Jailer, "jailer", &["firecracker"]),
        ("alpine:3.22", Vmm, "firecracker", &["firecracker"]),
        ("alpine:3.24", Firmware, "ovmf", &["ovmf"]),
        ("alpine:3.24", Vmm, "firecracker", &["firecracker"]),
        ("alpine:edge", Jailer, "jailer", &["firecracker"]),
        ("alpine:edge", Vmm, "cloud-hypervisor", &["cloud-hypervisor"]),
        ("arch:rolling", Firmware, "ovmf", &["edk2-ovmf"]),
        ("arch:rolling", ContainerManager, "cri-o", &["cri-o"]),
        ("arch:rolling", Vmm, "firecracker", &["firecracker"]),
        ("azurelinux:3.0", Kata, "kata-containers", &["kata-containers", "kernel-uvm"]),
        ("azurelinux:3.0", Vmm, "cloud-hypervisor", &["cloud-hypervisor"]),
        ("azurelinux:4.0", Kata, "kata-containers", &["kata-containers"]),
        ("azurelinux:4.0", Firmware, "ovmf", &["edk2-ovmf"]),
        ("azurelinux:4.0", Vmm, "qemu", &["qemu-system-x86-core"]),
        ("debian:12", Firmware, "ovmf", &["ovmf"]),
        ("debian:12", ContainerManager, "docker", &["docker.io"]),
        ("debian:13", ContainerManager, "docker", &["docker.io", "docker-cli"]),
        ("debian:13", Firmware, "ovmf", &["ovmf"]),
        ("centos:stream10", Firmware, "ovmf", &["edk2-ovmf"]),
        ("fedora:44", Firmware, "ovmf", &["edk2-ovmf"]),
        ("fedora:44", Kata, "kata-containers", &["kata-containers"]),
        ("gentoo:rolling", ContainerManager, "cri-o", &["app-containers/cri-o"]),
        ("debian:13", Snapshotter, "nydus", &["nydus-snapshotter"]),
        ("opensuse:tumbleweed", Firmware, "ovmf", &["qemu-ovmf-x86_64"]),
        ("opensuse:tumbleweed", Jailer, "jailer", &["firecracker"]),
        ("opensuse:tumbleweed", Vmm, "firecracker", &["firecracker"]),
        ("rhel:8", Firmware, "ovmf", &["edk2-ovmf"]),
        ("rocky:10", Firmware, "ovmf", &["edk2-ovmf"]),
        ("sles:16.0", Firmware, "ovmf", &["qemu-ovmf-x86_64"]),
        ("ubuntu:25.10", Snapshotter, "nydus", &["nydus-snapshotter"]),
        ("ubuntu:26.04", Firmware, "ovmf", &["ovmf"]),
        ("ubuntu:27.04", Vmm, "cloud-hypervisor", &["cloud-hypervisor"]),
        ("nixos:26.05", Kata, "kata-runtime", &["kata-runtime"]),
        ("nixos:26.05", Jailer, "jailer", &["firecracker"]),
        ("talos:rolling", Kata, "kata-static", &[]),
    ] {
        let (distro, version) = target.split_once(':').expect("a target");
        let record = database.record(distro).expect(distro);
        let entry = record.require_release(version).expect(target);
        let found = record.packages_of(entry, Arch::X86_64, kind, &name.into()).expect(target);
        assert_eq!(found, packages, "{target} {name}");
        let release = record.release(version, Arch::X86_64).expect(target);
        assert!(release.container_manager.is_none_or(|manager| manager.name == "containerd"), "{target}");
        // The handler `kata` of Talos's extension uses Cloud Hypervisor.
        let usual = if distro == "talos" { "cloud-hypervisor" } else { "qemu" };
        assert!(release.vmms.first().is_none_or(|vmm| vmm.name == usual), "{target}");
    }
    // Nothing is stated if no source says so: older, not built for the architecture, or not packaged.
    for (target, arch, kind, name, expected) in [
        ("alpine:3.21", Arch::X86_64, Vmm, "firecracker", None),
        ("alpine:3.24", Arch::S390x, Vmm, "firecracker", Some(0)),
        ("azurelinux:4.0", Arch::X86_64, Vmm, "cloud-hypervisor", None),
        ("fedora:45", Arch::X86_64, Jailer, "jailer", None),
        ("ubuntu:26.04", Arch::X86_64, Vmm, "cloud-hypervisor", None),
        ("ubuntu:27.04", Arch::S390x, Vmm, "cloud-hypervisor", Some(0)),
    ] {
        let (distro, version) = target.split_once(':').expect("a target");
        let record = database.record(distro).expect(distro);
        let found = record.packages_of(record.require_release(version).expect(target), arch, kind, &name.into());
        assert_eq!(found.map(|packages| packages.len()), expected, "{target} {name} on {arch}");
    }
    let ubuntu = database.record("ubuntu").expect("ubuntu");
    let facts = ubuntu.facts(ubuntu.require_release("27.04").expect("27.04"), Arch::X86_64);
    let looked_up = |subject: &str| facts.iter().find(|f| f.subject.to_string() == subject).map(|f| f.confidence);
    for subject in ["vmm cloud-hypervisor path", "fs virtio-fs path", "container-manager containerd path"] {
        assert_eq!(looked_up(subject), Some(Confidence::Packaging), "{subject}");
    }
}

/// For each fact, a doubting reader finds where it was read. An assumed fact was read nowhere, and a fact from another
/// distro's record has its source there.
#[test]
fn every_fact_that_is_not_assumed_has_a_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../records").join(sources::FOLDER);
    let database = Database::embedded();
    let mut wrong = Vec::new();
    for record in database.records() {
        let file = folder.join(format!("{}.yaml", record.distro));
        // A record without facts of its own that were read needs no file.
        let none = format!("distro: {}\nsources: []\n", record.distro);
        let text = if file.exists() { std::fs::read_to_string(&file).unwrap() } else { none };
        let sources = Sources::parse(&file, &text).unwrap();
        assert_eq!(sources.distro, record.distro);
        wrong.extend(sources.lacking(record).iter().map(|s| format!("{}: {s} has no source", record.distro)));
        wrong.extend(sources.idle(record).iter().map(|s| format!("{}: {s} is no such fact", record.distro)));
    }
    assert_eq!(wrong, Vec::<String>::new());
    for file in std::fs::read_dir(folder).expect("sources").map(|entry| entry.expect("entry").path()) {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        assert!(database.record(name).is_ok(), "{} is of no record", file.display());
    }
}

/// The sources of Fedora's VMMs and releases do not cover those that somebody adds.
#[test]
fn facts_added_to_a_shipped_record_lack_a_source() {
    let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("../records");
    let text = |path: &str| std::fs::read_to_string(records.join(path)).expect(path);
    let (record, file) = (text("fedora.yaml"), Path::new("sources/fedora.yaml"));
    let fedora_sources = Sources::parse(file, &text("sources/fedora.yaml")).expect("sources");
    let lacking = |record: &str| -> Vec<String> {
        let found = sources::lint_record(Path::new("fedora.yaml"), record, Some(&fedora_sources));
        found.iter().filter_map(|one| Some(one.message.split_once(": ")?.0.to_owned())).collect()
    };
    assert_eq!(lacking(&record), Vec::<String>::new());
    let added = "  - version: 46\n    eol: 2099-01-01\n    image: registry.fedoraproject.org/fedora:46\n    vmm:\n      \
                 - {name: made-up, confidence: packaging, packages: made-up, path: /usr/bin/made-up}\n";
    let expected = ["eol", "image", "vmm made-up packages", "vmm made-up path"];
    assert_eq!(lacking(&format!("{record}{added}")), expected);
}

/// Unchecked facts are marked as assumed, and unknown ones as unknown; components with facts listed here are not
/// installed by default.
#[test]
fn assumed_and_unknown_facts_match_the_snapshot() {
    let database = Database::embedded();
    let mut lines: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for record in database.records() {
        for entry in &record.releases {
            for arch in record.release_arches(entry) {
                for fact in record.facts(entry, *arch) {
                    let what = match (&fact.values, fact.confidence) {
                        (None, _) => "unknown",
                        (_, Confidence::Assumed) => "assumed",
                        _ => continue,
                    };
                    let line = format!("{}:{} {}: {what}", record.distro, entry.version, fact.subject);
                    if seen.insert(line.clone()) {
                        lines.push(line);
                    }
                }
            }
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
    let deep = ["debian", "fedora", "rhel", "centos", "rocky", "almalinux"];
    let assumed_deep = |l: &&String| l.ends_with("assumed") && deep.iter().any(|d| l.starts_with(&format!("{d}:")));
    assert_eq!(lines.iter().find(assumed_deep), None, "each fact about these distros has a source");
}

/// A shipped record is useful to a system only if the system is recognised.
#[test]
fn systems_find_their_records() {
    let database = Database::embedded();
    for (os_release, expected) in [
        ("ID=almalinux\nVERSION_ID=9.6\n", "almalinux:9"),
        ("ID=alpine\nVERSION_ID=3.24.1\n", "alpine:3.24"),
        ("ID=amzn\nVERSION_ID=2023\n", "amzn:2023"),
        ("ID=arch\nVERSION_ID=20261101.0\n", "arch:rolling"),
        ("ID=azurelinux\nVERSION_ID=3.0\n", "azurelinux:3.0"),
        ("NAME='CentOS Stream'\nID=centos\nVERSION_ID=9\n", "centos:stream9"),
        ("ID=fedora\nVERSION_ID=44\n", "fedora:44"),
        ("ID=gentoo\nVERSION_ID=2.18\n", "gentoo:rolling"),
        ("ID=nixos\nVERSION_ID=26.05\n", "nixos:26.05"),
        ("ID=openEuler\nVERSION_ID=24.03\n", "openeuler:24.03"),
        ("ID=opensuse-leap\nVERSION_ID=16.0\n", "opensuse:16.0"),
        ("ID=opensuse-tumbleweed\nVERSION_ID=20261120\n", "opensuse:tumbleweed"),
        ("ID=rhel\nVERSION_ID=10.1\n", "rhel:10"),
        ("ID=rocky\nVERSION_ID=8.10\n", "rocky:8"),
        ("ID=sles\nVERSION_ID=15.7\n", "sles:15.7"),
        ("ID=ubuntu\nVERSION_ID=26.10\n", "ubuntu:26.10"),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("etc")).expect("etc");
        std::fs::write(dir.path().join("etc/os-release"), os_release).expect("written");
        let detection = detect(&Root::new(dir.path()).expect("a root"), &database).expect("an answer");
        let found: Vec<String> = detection.releases.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected], "{os_release}");
        assert!(detection.fit.is_some_and(|fit| fit <= Fit::Rolling));
    }
    // A release that is not in the record is not mistaken for another.
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("etc")).expect("etc");
    std::fs::write(dir.path().join("etc/os-release"), "ID=opensuse-leap\nVERSION_ID=15.5\n").expect("written");
    let detection = detect(&Root::new(dir.path()).expect("a root"), &database).expect("an answer");
    assert_eq!(
        (detection.distro.as_ref().map(|distro| distro.as_str()), detection.releases.len()),
        (Some("opensuse"), 0)
    );
}

/// Until 28 November 2026, the tests of these capabilities did less than they claimed: no verdict may rest on them
/// again.
#[test]
fn verdicts_from_insufficient_tests_are_withdrawn() {
    use model::capability::Capability;
    let withdrawn = [Capability::VmmBoot, Capability::VmmQmp, Capability::VmmNet, Capability::KernelGuest];
    let database = Database::embedded();
    for entry in database.records().flat_map(|record| &record.verified) {
        let is_older = ["d3dcb968b1d5", "255af706914f", "3f28ad61793d"].contains(&entry.test_set.as_str());
        let claims = entry.capabilities.keys().any(|capability| withdrawn.contains(capability));
        assert!(!(is_older && claims), "{} {} {}", entry.release, entry.profile, entry.environment);
    }
}
