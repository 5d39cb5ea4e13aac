use super::*;
use crate::diagnostic::Severity;

const HEAD: &str = "distro: debian\npackage-manager: apt\narch: x86_64\n";

fn found(text: &str) -> Vec<(&'static str, usize, usize, String)> {
    let found = lint(Path::new("debian.yaml"), text);
    found.into_iter().map(|d| (d.rule, d.line, d.column, d.hint.unwrap_or_default())).collect()
}

fn rules(tail: &str) -> Vec<&'static str> {
    let all = found(&format!("{HEAD}{tail}"));
    all.into_iter().map(|f| f.0).collect()
}

#[test]
fn unknown_words_get_a_suggestion() {
    let text = "distro: debian\npackage-manager: atp\narch: amd64\nvmn: {}\nversion: 13\nconfidence: mesured\n";
    let all = found(text);
    let expected = [
        ("unknown-package-manager", 2, 18, "did you mean `apt`?"),
        ("unknown-arch", 3, 7, "Kata's name for `amd64` is `x86_64`"),
        ("unknown-key", 4, 1, "did you mean `vmm`?"),
        ("unknown-confidence", 6, 13, "did you mean `measured`?"),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(rule, line, column, hint)| (rule, line, column, hint.to_owned())).collect();
    assert_eq!(all, expected);
}

#[test]
fn a_valid_record_has_no_findings() {
    assert!(rules("version: 13\n").is_empty());
    assert!(rules("version: 13\nvmm: unknown\nfs: unknown\n").is_empty());
}

#[test]
fn control_characters_and_unsafe_names_in_a_record_are_reported() {
    for tail in [
        r#"releases: [{version: "x\ntouch /pwned\n#"}]"#,
        r#"version: "1\0""#,
        r#"releases: [{version: 1, codename: "a\e[31m"}]"#,
        r#"releases: [{version: 1, aliases: ["a\r"]}]"#,
        r#"{version: 1, vmm: {name: q, path: "/usr/bin/q\nx"}}"#,
        r#"{version: 1, vmm: {name: "q\u202e", path: /q}}"#,
    ] {
        let tail = tail.trim_start_matches('{').trim_end_matches("}}").to_owned()
            + if tail.starts_with('{') { "}" } else { "" };
        let tail = tail.replace(", vmm", "\nvmm");
        assert_eq!(rules(&format!("{tail}\n")), ["control-character"], "{tail}");
    }
    for version in ["a b", "$(x)", "-x", "../x", "x/y", "a;b", "'`'"] {
        assert_eq!(rules(&format!("releases: [{{version: \"{version}\"}}]\n")), ["bad-name"], "{version}");
    }
    for platform in ["platform:el8", "el8 x", "a/b"] {
        assert_eq!(rules(&format!("releases: [{{version: 1, module-platform: \"{platform}\"}}]\n")), ["bad-name"]);
    }
    assert!(rules("releases: [{version: 1, module-platform: el8}]\n").is_empty());
    for (manager, bad, good) in [
        (
            "apt",
            &["http://mirror.example/x.deb", "Qemu", "a/b", "x.deb", "a_b", "a@b", "virtiofsd-", "x:amd64-"][..],
            &["qemu-system-x86", "libc6:amd64", "g++"][..],
        ),
        ("dnf", &["https://mirror.example/x.rpm", "x.rpm", "a/b", "file:/x"], &["qemu-kvm-core", "java-1.8", "libX11"]),
        ("zypper", &["dir:/x", "a@b", "pattern:kvm_server", "1:foo"], &["qemu", "patterns-base", "qemu-1:9.0"]),
        ("pacman", &["core/linux", "x.pkg.tar.zst", "Qemu"], &["qemu-base", "lib32-glibc"]),
        ("apk", &["x.apk", "a:b", "a/b"], &["qemu-system-x86_64"]),
        ("emerge", &["a/b/c", "x/y.ebuild"], &["app-emulation/qemu", "dev-lang/python:3.12"]),
        ("nix", &["a/b", "a:b"], &["qemu_kvm", "linuxPackages.kernel"]),
        ("tdnf", &["a/b", "x.rpm"], &["qemu-system-x86-core"]),
        ("none", &["qemu"], &["none"]),
    ] {
        let with = |name: &str| {
            let text = format!(
                "distro: d\npackage-manager: {manager}\narch: x86_64\nversion: 1\nvmm: {{name: q, packages: \"{name}\", path: /q}}\n"
            );
            found(&text).into_iter().map(|f| f.0).collect::<Vec<_>>()
        };
        bad.iter().for_each(|name| assert_eq!(with(name), ["bad-package"], "{manager}: {name}"));
        good.iter().for_each(|name| assert_eq!(with(name), Vec::<&str>::new(), "{manager}: {name}"));
    }
}

#[test]
fn each_rule_finds_its_mistake() {
    let releases = |list: &str| rules(&format!("releases:\n{list}"));
    assert_eq!(releases("  - {version: 12, codename: a}\n  - {version: 13, aliases: [a]}\n"), ["alias-clash"]);
    assert_eq!(releases("  - version: 8.10\n  - version: 8.9\n"), ["unsorted"]);
    assert!(releases("  - version: 8.9\n  - version: 8.10\n").is_empty());
    assert_eq!(releases("  - version: testing\n  - version: 13\n"), ["unsorted"]);
    assert_eq!(releases("  - {version: 1, released: 2025-01-02, eol: 2025-01-01}\n"), ["dates-out-of-order"]);
    assert_eq!(releases("  - {version: 1, released: soon}\n"), ["wrong-type"]);
    assert_eq!(rules("version: 13\nvmm: {name: q, path: usr/bin/q}\n"), ["relative-path"]);
    assert_eq!(rules("version: 13\nvmm: {name: q, packages: []}\n"), ["empty-packages"]);
    assert!(rules("version: 13\nvmm: {name: q, packages: [], path: /usr/local/bin/q}\n").is_empty());
    assert_eq!(rules("version: 13\nvmm: {name: q, packages: --force}\n"), ["bad-package"]);
    assert_eq!(rules("version: 13\nvmm: [{name: q}, {name: q}]\n"), ["named-twice"]);
    assert_eq!(rules("version: 13\nversion: 14\n"), ["duplicate-key"]);
    assert_eq!(rules(""), ["missing-key"]);
    assert_eq!(rules("version: 13\nvmm: [1, 2]\n"), ["wrong-type"; 2]);
    assert_eq!(rules("version: 13\nfs: {preferred: x, drivers: [{name: 9p}]}\n"), ["unknown-filesystem"]);
    assert_eq!(rules("version: 13\nfoo: [\n"), ["syntax"]);
}

#[test]
fn a_warning_does_not_make_a_record_unusable() {
    let text = format!("{HEAD}releases:\n  - version: 2\n  - version: 1\n");
    let all = lint(Path::new("x"), &text);
    assert_eq!(all.len(), 1);
    assert!(all.iter().all(|d| d.severity != Severity::Error));
    assert!(crate::record::Record::parse(Path::new("x"), &text).is_ok());
}

#[test]
fn missing_list_dashes_are_restored_in_any_formatting() {
    let text = format!("{HEAD}version: 13\nfs:\n    # first\n    name: virtio-fs # a\n\n    # second\n    name: 9p\n")
        .replace('\n', "\r\n");
    let fixed = fix(Path::new("x"), &text).unwrap();
    let expected =
        format!("{HEAD}version: 13\nfs:\n    # first\n    - name: virtio-fs # a\n\n      # second\n    - name: 9p\n")
            .replace('\n', "\r\n");
    assert_eq!(fixed, expected);
    assert_eq!(fix(Path::new("x"), &fixed), None);
    // A map in braces has no certain correction: it is reported, not changed.
    let flow = format!("{HEAD}version: 13\nfs: {{name: virtio-fs, name: 9p}}\n");
    assert_eq!(found(&flow)[0].0, "duplicate-key");
    assert_eq!(fix(Path::new("x"), &flow), None);
}
