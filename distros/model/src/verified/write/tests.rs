use super::*;
use crate::arch::Arch;
use crate::capability::Capability;
use crate::component::Component;
use crate::lint::{FileForm, lint_as};
use crate::package::{PackageName, PackageVersion};
use crate::profile::Runtime;
use crate::record::Record;
use crate::verified::{Basis, Verdict, VerifiedCapability, VerifiedCause};
use proptest::prelude::*;

/// The releases of the record, in its order.
const RELEASES: &[&str] = &["12", "13", "testing"];

fn written(old: Option<&str>, new: &[VerifiedEntry]) -> Result<String, WriteError> {
    apply(old, &"debian".parse().unwrap(), &releases().iter().collect::<Vec<_>>(), new)
}

fn releases() -> Vec<ReleaseVersion> {
    RELEASES.iter().map(|release| release.parse().unwrap()).collect()
}

fn versioned(package: &str, version: &str) -> (PackageName, PackageVersion) {
    (package.parse().unwrap(), version.parse().unwrap())
}

fn entry(release: &str, profile: &str) -> VerifiedEntry {
    let unsupported = VerifiedCapability {
        verdict: Verdict::Unsupported,
        flaky: false,
        causes: vec![
            VerifiedCause::new(Component::Virtiofsd, "\"--fd\" is refused: it's C # really\n")
                .shown_by("smoke::flags".parse().unwrap()),
            VerifiedCause::of_nobody("\u{1b}[31mred\u{0}\u{202e} ]]> <b>"),
            VerifiedCause::of_nobody("x".repeat(100_000)),
            VerifiedCause::of_nobody("\\").shown_by("no".parse().unwrap()),
        ],
        workaround: Some("key: value".into()),
    };
    let capabilities =
        [(Capability::VmmBoot, VerifiedCapability::plain(Verdict::Supported)), (Capability::FsVirtioFs, unsupported)];
    VerifiedEntry {
        release: release.parse().unwrap(),
        arch: Arch::X86_64,
        profile: profile.parse().unwrap(),
        environment: crate::environment::Environment::Container,
        basis: Basis::Emulated,
        tested: jiff::civil::date(2026, 11, 21),
        harness: "0.1.0".into(),
        test_set: "sha256:0e1".into(),
        shaped: false,
        kata: None,
        versions: [versioned("qemu-system-x86", "1:10.0.13+dfsg-0+deb13u1")].into(),
        capabilities: capabilities.into(),
    }
}

#[test]
fn the_shaped_flag_is_written_and_read_back() {
    let one = VerifiedEntry { shaped: true, ..entry("13", "go-3.29") };
    let text = written(None, &[one]).unwrap();
    assert!(text.contains("\n    shaped: true\n") && read_back(&text)[0].shaped, "{text}");
    let plain = written(None, &[entry("13", "go-3.29")]).unwrap();
    assert!(!plain.contains("shaped") && !read_back(&plain)[0].shaped, "{plain}");
}

/// The word is there only while the last run had to retry, so that files stay small and a steady run clears it.
#[test]
fn a_flaky_verdict_is_written_and_read_back_and_a_later_steady_run_clears_it() {
    let (boot, net) = (Capability::VmmBoot, Capability::VmmNet);
    let on = |day: i8, all: &[(Capability, bool)]| {
        let of = |flaky: bool| VerifiedCapability { flaky, ..VerifiedCapability::plain(Verdict::Supported) };
        let capabilities = all.iter().map(|(capability, flaky)| (*capability, of(*flaky))).collect();
        VerifiedEntry { capabilities, tested: jiff::civil::date(2026, 11, day), ..entry("13", "go-3.29") }
    };
    let flaky = |text: &str| -> Vec<Capability> {
        let found: Vec<(Capability, VerifiedCapability)> =
            read_back(text).into_iter().flat_map(|entry| entry.capabilities).collect();
        found.into_iter().filter(|(_, one)| one.flaky).map(|(capability, _)| capability).collect()
    };
    let both = written(None, &[on(20, &[(boot, true), (net, true)])]).unwrap();
    assert!(both.contains("      vmm.boot:\n        verdict: supported\n        flaky: true\n"), "{both}");
    assert_eq!(flaky(&both), [boot, net]);
    // A run that judges one of them leaves the other as it was.
    let one = written(Some(&both), &[on(21, &[(boot, false)])]).unwrap();
    assert_eq!(flaky(&one), [net]);
    assert!(one.contains("      vmm.boot: supported\n"), "{one}");
    assert_eq!(flaky(&written(Some(&one), &[on(21, &[(net, false)])]).unwrap()), []);
    // An older run does not.
    assert_eq!(flaky(&written(Some(&both), &[on(19, &[(boot, false)])]).unwrap()), [boot, net]);
    // A higher layer replaces the verdict together with its word.
    let mut below = vec![on(20, &[(boot, true), (net, true)])];
    remove_overridden(&mut below, &[on(21, &[(boot, false)])]);
    assert_eq!(below, [on(20, &[(net, true)])]);
    let joined = crate::verified::joined(&[on(20, &[(net, true)]), on(21, &[(boot, false)])]);
    assert!(joined.len() == 1 && joined[0].capabilities[&net].flaky && !joined[0].capabilities[&boot].flaky);
}

fn read_back(text: &str) -> Vec<VerifiedEntry> {
    VerifiedFile::parse(Path::new("x"), text).unwrap().entries
}

#[test]
fn the_written_file_matches_the_expected_text() {
    let mut one = entry("13", "go-3.29");
    let capability = one.capabilities.get_mut(&Capability::FsVirtioFs).unwrap();
    capability.causes.truncate(2);
    insta::assert_snapshot!(written(None, &[one]).unwrap(), @r#"
    # What was verified of debian: written by `kata-qualify run --write-back`, and never by hand.
    apiVersion: v1
    distro: debian
    verified:
      - release: "13"
        arch: x86_64
        profile: go-3.29
        environment: container
        basis: emulated
        tested: 2026-11-21
        harness: "0.1.0"
        test-set: "sha256:0e1"
        versions:
          qemu-system-x86: "1:10.0.13+dfsg-0+deb13u1"
        capabilities:
          fs.virtio-fs:
            verdict: unsupported
            causes:
              - component: virtiofsd
                test: smoke::flags
                message: "\"--fd\" is refused: it's C # really"
              - message: "[31mred ]]> <b>"
            workaround: "key: value"
          vmm.boot: supported
    "#);
}

#[test]
fn only_entries_with_the_same_key_are_replaced_and_order_does_not_matter() {
    let (a, b) = (entry("13", "go-3.29"), entry("12", "rs-4.0"));
    let (c, d) = (entry("testing", "go-3.29"), entry("13", "rs-4.0"));
    let one = written(None, &[c.clone(), a.clone(), b.clone(), d.clone()]).unwrap();
    let two = written(Some(&written(None, &[d, b]).unwrap()), &[a.clone(), c]).unwrap();
    assert_eq!(one, two);
    let releases: Vec<ReleaseVersion> = read_back(&one).into_iter().map(|e| e.release).collect();
    assert_eq!(releases, ["12", "13", "13", "testing"]);

    let mut newer = a;
    newer.tested = jiff::civil::date(2026, 12, 1);
    let replaced = read_back(&written(Some(&one), std::slice::from_ref(&newer)).unwrap());
    assert_eq!(replaced.len(), 4);
    assert!(replaced.iter().any(|e| e.key() == newer.key() && e.tested == newer.tested));
    assert_eq!(written(Some(&one), &[]).unwrap(), one);
}

/// A verdict with another day and other versions is not a verdict of the new run.
#[test]
fn capabilities_not_judged_by_a_run_stay_in_the_older_entry() {
    let old = entry("13", "go-3.29");
    let mut newer = old.clone();
    newer.tested = jiff::civil::date(2026, 12, 1);
    newer.capabilities.remove(&Capability::FsVirtioFs);
    let once =
        written(Some(&written(None, std::slice::from_ref(&old)).unwrap()), std::slice::from_ref(&newer)).unwrap();
    let both = read_back(&once);
    let by_day: Vec<(String, Vec<&str>)> =
        both.iter().map(|e| (e.tested.to_string(), e.capabilities.keys().map(|c| c.name()).collect())).collect();
    assert_eq!(by_day, [("2026-11-21".to_owned(), vec!["fs.virtio-fs"]), ("2026-12-01".to_owned(), vec!["vmm.boot"])]);
    assert_eq!(written(Some(&once), &[newer]).unwrap(), once, "the same again changes nothing");
}

/// Returns the days with their capabilities.
fn capabilities_by_day(text: &str) -> Vec<(String, BTreeSet<&'static str>)> {
    let names = |entry: &VerifiedEntry| entry.capabilities.keys().map(|capability| capability.name()).collect();
    read_back(text).iter().map(|entry| (entry.tested.to_string(), names(entry))).collect()
}

#[test]
fn an_older_run_does_not_replace_verdicts_of_a_newer_one() {
    let newer = entry("13", "go-3.29");
    let works = VerifiedCapability::plain(Verdict::Supported);
    let older = VerifiedEntry {
        tested: jiff::civil::date(2026, 11, 19),
        capabilities: [(Capability::FsVirtioFs, works.clone()), (Capability::VmmVsock, works.clone())].into(),
        ..newer.clone()
    };
    let (first, both) = (std::slice::from_ref(&newer), std::slice::from_ref(&older));
    let once = written(None, first).unwrap();
    let twice = written(Some(&once), both).unwrap();
    let expected = [("2026-11-19", vec!["vmm.vsock"]), ("2026-11-21", vec!["fs.virtio-fs", "vmm.boot"])];
    let expected = expected.map(|(day, names)| (day.to_owned(), names.into_iter().collect::<BTreeSet<_>>()));
    assert_eq!(capabilities_by_day(&twice), expected);
    assert_eq!(written(Some(&written(None, both).unwrap()), first).unwrap(), twice, "in whichever order");
    assert_eq!(changed(Some(&once), &twice, both).unwrap(), 1);
    let outdated_runs = outdated(Some(&once), both).unwrap();
    assert_eq!(outdated_runs.len(), 1);
    assert_eq!(
        (outdated_runs[0].day, outdated_runs[0].capabilities.as_slice()),
        (newer.tested, &[Capability::FsVirtioFs][..])
    );
    assert_eq!(outdated(None, both).unwrap(), []);

    // A run of the same day replaces the first.
    let again = VerifiedEntry { tested: newer.tested, ..older.clone() };
    assert_eq!(outdated(Some(&once), std::slice::from_ref(&again)).unwrap(), []);
    let replaced = read_back(&written(Some(&once), &[again]).unwrap());
    let mut found = replaced.iter().filter_map(|entry| entry.capabilities.get(&Capability::FsVirtioFs));
    assert_eq!((found.next(), found.next()), (Some(&works), None));

    // A capability that the newer run could not show has no verdict that would be lost.
    let untested = VerifiedCapability::plain(Verdict::Untested);
    let gap = VerifiedEntry { capabilities: [(Capability::VmmVsock, untested)].into(), ..newer };
    let filled = written(Some(&written(None, &[gap]).unwrap()), both).unwrap();
    assert_eq!(read_back(&filled), [older]);
}

/// Results with packages or components that the caller supplied are not verdicts on the distro's own packages.
#[test]
fn verdicts_on_supplied_parts_do_not_replace_the_distros_own() {
    let kata = |supplied: Option<&str>| crate::verified::VerifiedKata {
        version: "3.30.0".parse().unwrap(),
        runtime: Runtime::Go,
        brought: supplied.map(|what| (Component::Virtiofsd, what.to_owned())).into_iter().collect(),
    };
    let of = |kata, verdict| VerifiedEntry {
        kata: Some(kata),
        capabilities: [(Capability::KataSmoke, VerifiedCapability::plain(verdict))].into(),
        ..entry("13", "go-3.29")
    };
    let own = of(kata(None), Verdict::Supported);
    let with = of(kata(Some("1.13.3")), Verdict::Partial);
    let shaped = VerifiedEntry { shaped: true, ..of(kata(None), Verdict::Unsupported) };
    let mut text = written(None, std::slice::from_ref(&own)).unwrap();
    for other in [&with, &shaped] {
        text = written(Some(&text), std::slice::from_ref(other)).unwrap();
    }
    assert_eq!(read_back(&text), [own.clone(), with.clone(), shaped.clone()]);
    // Another version of a supplied component takes its place, as the distro's next version would.
    let next = of(kata(Some("1.13.4")), Verdict::Unsupported);
    let text = written(Some(&text), std::slice::from_ref(&next)).unwrap();
    assert_eq!(read_back(&text), [own, next, shaped]);
    let second = |found: &crate::diagnostic::Diagnostic| found.message.contains("a second entry");
    let found = lint_as(Path::new("x"), &text, FileForm::Verified { releases: &releases() });
    assert!(!found.iter().any(second), "{found:?}");
}

#[test]
fn the_kata_version_and_runtime_are_read_back() {
    let mut one = entry("13", "go-3.29");
    let what = "1.13.3 (sha256 0123)\n";
    one.kata = Some(crate::verified::VerifiedKata {
        version: "3.30.0".parse().unwrap(),
        runtime: Runtime::Go,
        brought: [(Component::Virtiofsd, what.to_owned())].into(),
    });
    let text = written(None, &[one]).unwrap();
    let expected = "    kata:\n      version: \"3.30.0\"\n      runtime: go\n      brought:\n        \
                    virtiofsd: \"1.13.3 (sha256 0123)\"\n";
    assert!(text.contains(expected), "{text}");
    let kata = read_back(&text)[0].kata.clone().unwrap();
    assert_eq!((kata.version.to_string().as_str(), kata.runtime), ("3.30.0", Runtime::Go));
    for (wrong, expected) in [
        (text.replace("3.30.0", "three"), "`three` is not a version of Kata"),
        (text.replace("runtime: go", "runtime: gone"), "runtime"),
        (text.replace("        virtiofsd:", "        virtiofd:"), "virtiofd"),
    ] {
        let error = VerifiedFile::parse(Path::new("x"), &wrong).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn guest_output_is_one_short_safe_line() {
    let text = written(None, &[entry("13", "go-3.29")]).unwrap();
    let causes = &read_back(&text)[0].capabilities[&Capability::FsVirtioFs].causes;
    assert_eq!(causes[1].message, "[31mred ]]> <b>");
    assert_eq!(causes[2].message.chars().count(), MAX_CAUSE);
    assert!(text.lines().all(|l| l.len() < 2 * MAX_CAUSE));
}

#[test]
fn a_cause_without_component_is_read_back_without_one() {
    let causes = ["kernel: too old", "\n kernel:\ttoo old"].map(VerifiedCause::of_nobody);
    let mut one = entry("13", "go-3.29");
    one.capabilities.get_mut(&Capability::FsVirtioFs).unwrap().causes = causes.to_vec();
    let text = written(None, &[one]).unwrap();
    let read = &read_back(&text)[0].capabilities[&Capability::FsVirtioFs].causes;
    let expected = ["kernel: too old", "kernel: too old"].map(VerifiedCause::of_nobody);
    assert_eq!(*read, expected, "{text}");
}

#[test]
fn invalid_old_verdicts_and_duplicate_entries_are_refused() {
    let new = [entry("13", "go-3.29")];
    let refused = |old: &str| written(Some(old), &new).unwrap_err().to_string();
    assert!(refused("distro: [\n").contains("the verdicts of today:"));
    assert!(refused("distro: debian\nverified: [{release: 13}]\n").contains("is missing"));
    assert!(refused("distro: devuan\nverified: []\n").contains("the verdicts of devuan, not of debian"));
    assert!(written(None, &[new[0].clone(), new[0].clone()]).is_err());
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("d.yaml"), dir.path().join("link.yaml"));
    write_file(&file, "one").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("d.yaml", &link).unwrap();
    write_file(&link, "two").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "two");
    assert!(link.is_symlink());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    assert!(write_file(&dir.path().join("no/such.yaml"), "x").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn verdicts_are_read_back_and_rewriting_them_changes_nothing(
        cause in ".{0,400}",
        package in "[a-z0-9]([.:@/]?[a-zA-Z0-9+_-]){0,9}",
        version in "[!-.0-~]{1,20}",
        existing in any::<bool>(),
    ) {
        let mut new = entry("13", "go-3.29");
        new.versions.extend([versioned(&package, &version)]);
        new.capabilities.get_mut(&Capability::FsVirtioFs).unwrap().causes.push(VerifiedCause::of_nobody(cause));
        let old = existing.then(|| written(None, &[entry("13", "rs-4.0")]).unwrap());
        let once = written(old.as_deref(), std::slice::from_ref(&new)).unwrap();
        prop_assert_eq!(&written(Some(&once), std::slice::from_ref(&new)).unwrap(), &once);
        let found = read_back(&once);
        prop_assert_eq!(&found[0].versions, &new.versions);
        let others = existing.then(|| safe(&entry("13", "rs-4.0")));
        let expected: Vec<VerifiedEntry> = std::iter::once(safe(&new)).chain(others).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c:\\-\\[\\]{}\"'&*!|>#?,\n\r \t~%@`é]{0,60}") {
        let _ = Record::parse(Path::new("x"), &text);
        let _ = VerifiedFile::parse(Path::new("x"), &text);
        let _ = crate::lint::lint(Path::new("x"), &text);
    }

    #[test]
    fn no_damage_to_a_record_makes_the_parser_panic(at in 0usize..3000, cut in 0usize..40, put in "[:\\-\\[{\"'&*|\n \té]{0,4}") {
        let forms = [FileForm::Record, FileForm::Verified { releases: &[] }];
        let texts =
            [include_str!("../../../../records/debian.yaml"), include_str!("../../../../records/verified/debian.yaml")];
        for (form, whole) in forms.into_iter().zip(texts) {
            let start = at.min(whole.len());
            let end = (start + cut).min(whole.len());
            if let (Some(head), Some(tail)) = (whole.get(..start), whole.get(end..)) {
                let text = format!("{head}{put}{tail}");
                for diagnostic in lint_as(Path::new("x"), &text, form) {
                    let _ = diagnostic.human(&text, false);
                }
            }
        }
    }
}
