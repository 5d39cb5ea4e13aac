use super::*;
use crate::arch::Arch;
use crate::distro::{ReleaseVersion, Target};
use crate::known_issues::KnownIssuesFile;
use crate::verified::VerifiedEntry;
use ::root::InsidePath;

#[test]
fn the_embedded_records_are_sound() {
    let database = Database::embedded();
    assert!(database.problems().is_empty(), "{:?}", database.problems());
    assert_eq!(database.records().count(), RECORDS.len());
}

#[test]
fn one_invalid_file_does_not_affect_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let fedora = "distro: fedora\nversion: 32\npackage-manager: dnf\narch: x86_64\n";
    std::fs::write(dir.path().join("fedora.yaml"), fedora).unwrap();
    std::fs::write(dir.path().join("debian.yaml"), "distro: [\n").unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a record").unwrap();
    let database = Database::load(&[dir.path().to_owned()]).unwrap();
    assert_eq!(database.problems().len(), 1);
    assert!(database.record("fedora").is_ok());
    let error = database.record("debian").unwrap_err().to_string();
    assert!(error.contains("is invalid"), "{error}");
    let error = database.record("fedra").unwrap_err().to_string();
    assert!(error.ends_with("did you mean `fedora`?"), "{error}");
}

fn with_verdicts(records: &[(&str, &str)], distro: &str, entries: &str) -> Database {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("verified")).unwrap();
    for (name, text) in records {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let text = format!("distro: {distro}\nverified:\n{entries}");
    std::fs::write(dir.path().join(format!("verified/{distro}.yaml")), text).unwrap();
    Database::load(&[dir.path().to_owned()]).unwrap()
}

#[test]
fn verdicts_that_no_harness_can_have_written_are_dropped_with_a_problem() {
    let set = include_str!("../../../test-sets.txt").lines().find(|l| !l.is_empty() && !l.starts_with('#')).unwrap();
    let genuine = FORGED_SET.replace("made-up", set.split(' ').next().unwrap());
    let with = |entry: &str| {
        let record = "distro: d\nversion: 1\npackage-manager: apt\narch: x86_64\n";
        let database = with_verdicts(&[("d.yaml", record)], "d", entry);
        (database.record("d").unwrap().verified.len(), database.problems().len())
    };
    assert_eq!(with(&genuine), (1, 0));
    assert_eq!(with(FORGED_SET), (0, 1), "no harness has such tests");
    assert_eq!(with(&genuine.replace("{q: \"1\"}", "{}")), (0, 1), "of no version");
    let without_record = with_verdicts(&[], "d", &genuine);
    assert_eq!(without_record.problems().len(), 1);
    assert!(
        without_record.problems()[0].to_string().contains("has verdicts of `d`, but there is no record"),
        "{:?}",
        without_record.problems()
    );
}

#[test]
fn invalid_admin_verdicts_are_dropped_and_the_admin_record_still_holds() {
    let shipped = Database::embedded().record("debian").unwrap().verified.len();
    assert!(shipped > 0);
    let record = "distro: debian\nvmm: {name: qemu, path: /opt/qemu}\n";
    for (capability, basis) in [
        ("vmm.vfio: supported", "hardware"),
        ("vmm.boot: supported", "tea leaves"),
        ("vmm.booot: supported", "emulated"),
    ] {
        let entry = FORGED_SET.replace("vmm.boot: supported", capability).replace("hardware", basis);
        let database = with_verdicts(&[("debian.yaml", record)], "debian", &entry);
        let debian = database.record("debian").unwrap();
        assert_eq!(debian.verified.len(), shipped, "{capability}");
        let path = &debian.release("13", Arch::X86_64).unwrap().vmms[0].path;
        assert_eq!(path, "/opt/qemu", "what his record says holds");
        assert_eq!(database.problems().len(), 1, "{capability}: and it is told");
    }
    let inline = format!("{record}verified:\n{FORGED_SET}");
    let database = with_verdicts(&[("debian.yaml", &inline)], "debian", "");
    assert!(database.record("debian").is_err(), "verdicts have one place");
    assert!(database.problems()[0].to_string().contains("do not belong in a record"), "{:?}", database.problems());
}

/// A verdict on packages that the admin's keys vouched for does not hide the shipped verdict, which is about other
/// packages.
#[test]
fn a_shaped_verdict_does_not_hide_the_shipped_ones() {
    let shipped = Database::embedded().record("debian").unwrap().verified.clone();
    let shaped = VerifiedEntry { shaped: true, ..shipped[0].clone() };
    let text = verified::apply(None, &"debian".parse().unwrap(), &[], std::slice::from_ref(&shaped)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("verified")).unwrap();
    std::fs::write(dir.path().join("verified/debian.yaml"), text).unwrap();
    let database = Database::load(&[dir.path().to_owned()]).unwrap();
    let known = &database.record("debian").unwrap().verified;
    assert_eq!(known.len(), shipped.len() + 1);
    assert!(shipped.iter().all(|entry| known.contains(entry)) && known.contains(&shaped));
}

/// The verdicts are half a megabyte, which a call about another distro need not read.
#[test]
fn shipped_verdicts_can_be_added_to_one_record_alone() {
    let shipped = Database::embedded().record("debian").unwrap().verified.clone();
    let distro: DistroId = "debian".parse().unwrap();
    let root = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    // Each layer overrides a shipped entry, the upper one also that of the layer below.
    let layers = [(root.path().join("etc/kata-osinfo"), 0..2_usize), (other.path().to_owned(), 1..3)];
    for (number, (folder, entries)) in layers.into_iter().enumerate() {
        let harness = format!("9.{number}.0");
        let own = |entry: &VerifiedEntry| VerifiedEntry { harness: harness.clone(), ..entry.clone() };
        let entries: Vec<VerifiedEntry> = shipped[entries].iter().map(own).collect();
        std::fs::create_dir_all(folder.join("verified")).unwrap();
        let text = verified::apply(None, &distro, &[], &entries).unwrap();
        std::fs::write(folder.join("verified/debian.yaml"), text).unwrap();
    }
    let directories = [other.path().to_owned()];
    let root = Root::new(root.path()).unwrap();
    let whole = Database::of_system(&root, &directories).unwrap();
    assert!(whole.problems().is_empty(), "{:?}", whole.problems());
    let bare = Database::of_system_without_shipped_verdicts(&root, &directories).unwrap();
    let mut debian = bare.record("debian").unwrap().clone();
    assert!((1..=4).contains(&debian.verified.len()), "only those of the layers, not {}", debian.verified.len());
    add_shipped_verdicts(&mut debian);
    assert_eq!(&debian, whole.record("debian").unwrap());
    let mut fedora = bare.record("fedora").unwrap().clone();
    add_shipped_verdicts(&mut fedora);
    assert_eq!(&fedora, whole.record("fedora").unwrap());
}

#[test]
fn every_shipped_verdict_file_matches_a_shipped_record_and_its_releases() {
    for (path, text) in VERDICTS {
        let file = VerifiedFile::parse(Path::new(path), text).unwrap();
        assert!(path.ends_with(&format!("/verified/{}.yaml", file.distro)), "{path}");
        let shaped = file.entries.iter().find(|entry| entry.shaped);
        assert_eq!(shaped, None, "{path}: shipped is what was found on the distro's own packages");
        let releases: Vec<ReleaseVersion> = Database::embedded()
            .record(&file.distro)
            .unwrap()
            .releases
            .iter()
            .map(|release| release.version.clone())
            .collect();
        let form = crate::lint::FileForm::Verified { releases: &releases };
        assert_eq!(crate::lint::lint_as(Path::new(path), text, form), [], "{path}");
    }
}

/// Expired entries are findings, too.
#[test]
fn shipped_known_issues_have_no_findings() {
    let database = Database::embedded();
    for (path, text) in KNOWN_ISSUES {
        let file = KnownIssuesFile::parse(Path::new(path), text).unwrap();
        let manager = Some(database.record(&file.distro).unwrap().package_manager);
        let form = crate::lint::FileForm::KnownIssues { manager, today: jiff::Zoned::now().date() };
        assert_eq!(crate::lint::lint_as(Path::new(path), text, form), [], "{path}");
    }
}

/// Known issues of a records directory lie over the shipped ones, entry by entry; a broken file costs only its own.
#[test]
fn known_issues_are_read_beside_records() {
    let entry = |id: &str, url: &str| {
        format!(
            "  - {{id: {id}, test: 'a::b', package: qemu, versions: all, url: 'https://{url}', owner: o, expires: 2027-01-01}}\n"
        )
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let texts = [entry("a", "x") + &entry("b", "x"), entry("a", "y")];
    for (folder, text) in folders.iter().zip(texts) {
        let inside = folder.path().join(crate::known_issues::FOLDER);
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("debian.yaml"), format!("distro: debian\nknown-issues:\n{text}")).unwrap();
    }
    std::fs::write(folders[0].path().join("known-issues/broken.yaml"), "distro: debian\nknown-issues: 1\n").unwrap();
    let unknown = "distro: nowhere\nknown-issues:\n".to_owned() + &entry("a", "x");
    std::fs::write(folders[1].path().join("known-issues/nowhere.yaml"), unknown).unwrap();
    let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path().to_owned()).collect();
    let database = Database::load(&paths).unwrap();
    let shipped = Database::embedded().record("debian").unwrap().known_issues.len();
    let issues = &database.record("debian").unwrap().known_issues;
    let known: Vec<(&str, &str)> = issues[shipped..].iter().map(|i| (i.id.as_str(), i.url.as_str())).collect();
    assert_eq!(known, [("b", "https://x"), ("a", "https://y")]);
    let problems: Vec<String> = database.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("known-issues: expected a list"), "{problems:?}");
    assert!(
        problems[1].contains("this file has known issues of `nowhere`, but there is no record of that distro"),
        "{problems:?}"
    );
}

const FORGED_SET: &str = "  - release: \"1\"
    arch: x86_64
    profile: go-3.29
    environment: host
    basis: hardware
    tested: 2026-11-01
    harness: 0.1.0
    test-set: made-up
    versions: {q: \"1\"}
    capabilities: {vmm.boot: supported}
";

#[test]
fn a_derived_distro_inherits_from_its_parent_record() {
    let dir = tempfile::tempdir().unwrap();
    let mint = "distro: mint
derives-from: debian
confidence: documented
vmm: {name: qemu, path: /opt/q}
releases:
  - {version: 6, codename: faye, derives-from: bookworm}
";
    std::fs::write(dir.path().join("mint.yaml"), mint).unwrap();
    std::fs::write(dir.path().join("all.yaml"), "distro: all-of-debian\nderives-from: debian\n").unwrap();
    std::fs::write(dir.path().join("a.yaml"), "distro: a\nderives-from: b\n").unwrap();
    std::fs::write(dir.path().join("b.yaml"), "distro: b\nderives-from: a\n").unwrap();
    std::fs::write(dir.path().join("c.yaml"), "distro: c\nderives-from: nothing\n").unwrap();
    let database = Database::load(&[dir.path().to_owned()]).unwrap();
    let mint = database.record("mint").unwrap();
    let release = mint.release("faye", Arch::X86_64).unwrap();
    assert_eq!(release.name(), "mint:6");
    assert_eq!(release.based_on, ["debian:12".parse::<Target>().unwrap()], "by its version");
    let derives = |name: &str| release.is_or_derives_from(&name.parse::<Target>().unwrap());
    assert!(derives("mint:6") && derives("debian:12") && !derives("debian:13"));
    assert_eq!(release.vmms[0].path, "/opt/q");
    assert_eq!(
        release.filesystems[0].path.as_ref().map(InsidePath::as_str),
        Some("/usr/lib/qemu/virtiofsd"),
        "that of bookworm"
    );
    assert_eq!(release.oci_image, None, "bookworm's is Debian");
    let entry = mint.find_release("faye").unwrap();
    assert!([&entry.released, &entry.eol, &entry.lts].iter().all(|date| date.is_none()), "Debian's dates: {entry:?}");
    assert!(mint.verified.is_empty(), "what was proved of Debian was proved of its packages");
    assert_eq!(mint.releases.len(), 1);
    assert_eq!(database.record("all-of-debian").unwrap().releases.len(), 5);
    let problems: Vec<String> = database.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("derives from itself"), "{problems:?}");
    assert!(problems[2].contains("no usable record"), "{problems:?}");
}

#[test]
fn the_admin_folder_overrides_the_packaged_one() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, text) in [
        ("usr/share/kata-osinfo", "distro: debian\nvmm: {name: qemu, path: /low}\nkernel: {image: /low/*}\n"),
        ("etc/kata-osinfo", "distro: debian\nvmm: {name: qemu, path: /high}\n"),
    ] {
        let folder = dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("debian.yaml"), text).unwrap();
        std::fs::write(folder.join("junk.yaml"), b"\xff\x00").unwrap();
        std::os::unix::fs::symlink("loop.yaml", folder.join("loop.yaml")).unwrap();
    }
    let root = Root::new(dir.path()).unwrap();
    let database = Database::of_system(&root, &[]).unwrap();
    let release = database.record("debian").unwrap().release("12", Arch::X86_64).unwrap();
    assert_eq!(release.vmms[0].path, "/high");
    assert_eq!(release.kernel.unwrap().image, "/low/*");
    assert_eq!(database.problems().len(), 4, "two of junk, two loops: {:?}", database.problems());
}

#[test]
fn a_missing_directory_is_named_in_the_error() {
    let error = Database::load(&[PathBuf::from("/nowhere/at/all")]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}
