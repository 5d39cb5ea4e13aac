//! Differences between the shipped records and the proposal's examples, with their reasons.

use super::*;
use model::distro::{DistroId, ReleaseVersion};
use std::collections::BTreeSet;

/// Distro, subject, and why the proposal's value is wrong.
const REASONS: &[(&str, &str, &str)] = &[
    ("centos", "arch", "the spec file of its QEMU has it too"),
    ("centos", "repositories", "QEMU of AppStream, 2.12, has no virtiofsd; that of the Virtualization SIG has"),
    ("centos", "vmm qemu path", "Enterprise Linux has QEMU below /usr/libexec and no name for it in /usr/bin"),
    ("centos", "fs virtio-fs packages", "the daemon is not in qemu-kvm-core: it must be asked for"),
    ("debian", "arch", "Debian builds the same packages for it"),
    ("debian", "vmm qemu packages", "qemu-kvm is a virtual package that qemu-system-x86 provides"),
    ("debian", "fs virtio-fs packages", "QEMU has brought no virtiofsd since 8.0: it is a package of its own"),
    ("debian", "fs virtio-fs path", "the Rust daemon is in /usr/libexec; the old path is a link to it"),
    ("fedora", "arch", "Fedora builds the same packages for it"),
    ("fedora", "vmm qemu packages", "qemu-kvm-core is a metapackage without files: the emulator's package is named"),
    ("fedora", "vmm qemu path", "/usr/bin/qemu-kvm is a link, and x86_64 alone has it"),
    ("fedora", "fs virtio-fs packages", "the daemon is in a package that must be asked for"),
];

/// One fact for which a shipped record differs from the proposal's example.
struct Correction {
    distro: DistroId,
    release: String,
    subject: String,
    was: String,
    is: String,
}

/// Returns a record's statements about a release on an architecture: subject and value.
fn statements(record: &Record, release: &ReleaseVersion, arch: Arch) -> Vec<(String, String)> {
    let entry = record.require_release(release).expect("the release");
    let resolved = record.release(release, arch).expect("the architecture");
    let drivers: Vec<&str> = resolved.filesystems.iter().map(|f| f.name.as_str()).collect();
    let mut statements = vec![
        ("package-manager".to_owned(), format!("{:?}", resolved.package_manager)),
        ("fs".to_owned(), drivers.join(" ")),
    ];
    // The proposal has no kernels, images or dates.
    let is_compared =
        |subject: &str| ["vmm ", "fs ", "repositories", "modules"].iter().any(|start| subject.starts_with(start));
    let facts = record.facts(entry, arch).into_iter().filter(|f| is_compared(&f.subject.to_string()));
    statements.extend(facts.map(|f| (f.subject.to_string(), f.value().unwrap_or_else(|| "unknown".to_owned()))));
    statements
}

fn corrections(example: &Record, shipped: &Record) -> Vec<Correction> {
    let mut all = Vec::new();
    for release in &example.releases {
        let mut correct = |arch: &str, subject: &str, was: &str, is: &str| {
            let of = format!("{}{arch}", release.version);
            let (subject, was, is) = (subject.to_owned(), was.to_owned(), is.to_owned());
            all.push(Correction { distro: example.distro.clone(), release: of, subject, was, is });
        };
        let entry = shipped.require_release(&release.version).expect("a release of the proposal");
        for arch in shipped.release_arches(entry).iter().filter(|a| !example.arches.contains(a)) {
            correct("", "arch", "-", arch.name());
        }
        for arch in &example.arches {
            let (was, is) =
                (statements(example, &release.version, *arch), statements(shipped, &release.version, *arch));
            let value = |of: &[(String, String)], subject: &str| {
                of.iter().find(|(s, _)| s == subject).map_or_else(|| "-".to_owned(), |(_, value)| value.clone())
            };
            let subjects: BTreeSet<&str> = was.iter().chain(&is).map(|(s, _)| s.as_str()).collect();
            for subject in subjects {
                // VMMs that were added after the proposal are not corrections.
                if subject.starts_with("vmm ") && !subject.starts_with("vmm qemu ") {
                    continue;
                }
                let (was, is) = (value(&was, subject), value(&is, subject));
                if was != is {
                    correct(&format!(" on {arch}"), subject, &was, &is);
                }
            }
        }
    }
    all
}

#[test]
fn corrections_of_the_proposal_have_reasons() {
    let database = Database::embedded();
    let mut lines = Vec::new();
    let mut used = BTreeSet::new();
    for distro in ["centos", "debian", "fedora"] {
        let example = Record::read(&fixture(&format!("as-meant/{distro}.yaml"))).expect(distro);
        let shipped = database.record(distro).expect(distro);
        for c in corrections(&example, shipped) {
            let reason = REASONS.iter().find(|(distro, subject, _)| c.distro == *distro && *subject == c.subject);
            let (_, _, why) =
                reason.unwrap_or_else(|| panic!("{} {}: no reason for {}", c.distro, c.release, c.subject));
            used.insert((c.distro.to_string(), c.subject.clone()));
            lines.push(format!("{}:{}: {}: {} -> {}\n    {why}", c.distro, c.release, c.subject, c.was, c.is));
        }
    }
    let unused: Vec<_> = REASONS.iter().filter(|(d, s, _)| !used.contains(&((*d).into(), (*s).into()))).collect();
    assert!(unused.is_empty(), "nothing differs there any more: {unused:?}");
    insta::assert_snapshot!(lines.join("\n"));
}
