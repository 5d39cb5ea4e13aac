use super::*;
use jiff::civil::date;

const ENTRY: &str = "distro: debian
known-issues:
  - id: daemon-flags
    signature: \"virtiofsd: --shared-dir: unknown option\"
    package: rust-virtiofsd
    versions: {from: 1.10.0-1, before: 1.13.2-1}
    profiles: [go-3.32]
    environments: container
    url: https://bugs.example/1
    owner: somebody
    expires: 2027-01-31
";

fn rules(text: &str) -> Vec<(&'static str, usize)> {
    let found = lint(Path::new("known-issues/debian.yaml"), text, Some(PackageManager::Apt), date(2026, 12, 1));
    assert!(found.iter().all(|d| d.file == "known-issues/debian.yaml"));
    found.into_iter().map(|d| (d.rule, d.line)).collect()
}

#[test]
fn an_entry_is_parsed_and_matches_failures_profiles_and_versions() {
    assert_eq!(rules(ENTRY), []);
    let file = KnownIssuesFile::parse(Path::new("debian.yaml"), ENTRY).unwrap();
    let issue = &file.issues[0];
    assert_eq!((file.distro.as_str(), issue.id.as_str(), issue.origin.line), ("debian", "daemon-flags", 3));
    assert!(issue.is("any::test", "virtiofsd: --shared-dir: unknown option"));
    assert!(!issue.is("any::test", "virtiofsd: something else"));
    assert!(issue.is_of("go-3.32", Environment::Container));
    assert!(!issue.is_of("go-3.32", Environment::Vm) && !issue.is_of("go-3.2", Environment::Container));
    assert!(!issue.is_expired(date(2027, 1, 31)) && issue.is_expired(date(2027, 2, 1)));
    let of_version = |version: &str| issue.versions.contains(PackageManager::Apt, version);
    assert!(of_version("1.10.0-1") && of_version("1.13.2~rc1-1"));
    assert!(!of_version("1.9.0-1") && !of_version("1.13.2-1"));
}

#[test]
fn each_mistake_is_reported_at_its_line() {
    let with = |from: &str, to: &str| {
        let text = ENTRY.replacen(from, to, 1);
        assert_ne!(text, ENTRY, "{from}");
        rules(&text)
    };
    assert_eq!(with("2027-01-31", "2026-11-30"), [("expired", 3)]);
    assert_eq!(with("go-3.32", "go-0.1"), [("unmatched", 3)]);
    assert_eq!(with("from: 1.10.0-1", "from: 1.14-1"), [("unmatched", 3)]);
    assert_eq!(with("{from: 1.10.0-1, before: 1.13.2-1}", "[]"), [("wrong-type", 6)]);
    assert_eq!(with("{from: 1.10.0-1, before: 1.13.2-1}", "all"), []);
    assert_eq!(with("\"virtiofsd: --shared", "\"daemon: --shared"), [("bad-signature", 4)]);
    assert_eq!(with("    package:", "    test: a::b\n    package:"), [("wrong-failure", 4)]);
    assert_eq!(with("https://", "http://"), [("bad-url", 9)]);
    assert_eq!(with("    owner: somebody\n", ""), [("missing-key", 3)]);
    assert_eq!(with("container", "moon"), [("unknown-environment", 8)]);
    assert_eq!(
        with("owner:", "ownr:").iter().map(|(rule, _)| *rule).collect::<Vec<_>>(),
        ["missing-key", "unknown-key"]
    );
    let (_, entry) = ENTRY.split_once("known-issues:\n").unwrap();
    assert_eq!(rules(&format!("{ENTRY}{entry}")), [("named-twice", 12)]);
}

/// Without the record the version order is unknown, and a range is not checked.
#[test]
fn a_version_range_is_not_checked_without_the_package_manager() {
    let text = ENTRY.replacen("from: 1.10.0-1", "from: 1.14-1", 1);
    assert_eq!(lint(Path::new("debian.yaml"), &text, None, date(2026, 12, 1)), []);
}

#[test]
fn a_file_without_entries_is_valid_but_the_list_is_required() {
    assert!(KnownIssuesFile::parse(Path::new("x"), "distro: d\nknown-issues:\n").unwrap().issues.is_empty());
    let error = KnownIssuesFile::parse(Path::new("x/d.yaml"), "distro: d\n").unwrap_err().to_string();
    assert!(error.contains("`known-issues` is missing"), "{error}");
}
