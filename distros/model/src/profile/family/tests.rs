use super::*;

fn names(runtime: Runtime) -> Vec<(&'static str, &'static str)> {
    Family::of(runtime).profiles().iter().map(|p| (p.name.as_str(), p.range.as_str())).collect()
}

#[test]
fn the_shipped_profiles_cover_the_expected_version_ranges() {
    assert_eq!(
        names(Runtime::Go),
        [
            ("go-2.2", "2.2.0–2.2.3"),
            ("go-2.3", "2.3.0–2.3.3"),
            ("go-2.4", "2.4.0–2.4.3"),
            ("go-2.5", "2.5.0–3.0.1"),
            ("go-3.0.2", "3.0.2"),
            ("go-3.1", "3.1.0–3.1.2"),
            ("go-3.2", "3.1.3–3.7.0"),
            ("go-3.8", "3.8.0–3.12.0"),
            ("go-3.13", "3.13.0"),
            ("go-3.14", "3.14.0–3.19.1"),
            ("go-3.20", "3.20.0–3.21.0"),
            ("go-3.22", "3.22.0–3.23.0"),
            ("go-3.24", "3.24.0–3.28.0"),
            ("go-3.29", "3.29.0–3.31.0"),
            ("go-3.32", "3.32.0–4.1.0"),
        ]
    );
    assert_eq!(names(Runtime::Rs), [("rs-4.0", "4.0.0"), ("rs-4.1", "4.1.0"), ("rs-main", "main after 4.1.0")]);
    let maintained: Vec<&str> = Profile::maintained().map(|p| p.name.as_str()).collect();
    assert_eq!(maintained, ["go-3.32", "rs-4.1"], "what upstream maintains at 4.1.0");
}

/// Each release from the oldest to the newest has one profile, and the profiles follow one another.
#[test]
fn ranges_have_neither_gap_nor_overlap() {
    for family in Family::all() {
        let mut seen = Vec::new();
        for release in family.releases() {
            let name = family.profile_of(*release).unwrap().name.as_str();
            if seen.last() != Some(&name) {
                seen.push(name);
            }
        }
        let released: Vec<&str> =
            family.profiles().iter().filter(|p| p.tag != UNRELEASED).map(|p| p.name.as_str()).collect();
        assert_eq!(seen, released, "each profile once, in their order");
        for profile in family.profiles().iter().filter(|p| p.tag != UNRELEASED) {
            assert_eq!(family.profile_of(profile.version()).unwrap().name, profile.name);
        }
    }
    assert_eq!(Family::of(Runtime::Go).releases().len(), 57);
    assert_eq!(Family::of(Runtime::Go).newest(), Family::of(Runtime::Rs).newest(), "both are released together");
}

/// `scsi=off` is printed up to 3.7.0 (`BlockDevice.QemuParams` in src/runtime/pkg/govmm/qemu/qemu.go@3.7.0), and never
/// since 3.8.0.
#[test]
fn scsi_off_is_passed_only_before_3_8_0() {
    let family = Family::of(Runtime::Go);
    for release in family.releases() {
        let scsi_off = family.profile_of(*release).unwrap().qemu.blk_scsi_off;
        assert_eq!(scsi_off, *release < KataVersion::new(3, 8, 0), "{release}");
    }
}

#[test]
fn each_version_maps_to_its_profile_or_an_error() {
    let of = |runtime, version: &str| match version.parse::<KataVersion>().map(|v| Profile::of(runtime, v)) {
        Ok(Ok(profile)) => profile.name.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    for (version, expected) in [
        ("2.2.0", "go-2.2"),
        ("2.5.2", "go-2.5"),
        ("3.0.1", "go-2.5"),
        ("3.0.2", "go-3.0.2"),
        ("3.1.2", "go-3.1"),
        ("3.1.3", "go-3.2"),
        ("3.7.0", "go-3.2"),
        ("3.8.0", "go-3.8"),
        ("3.12.0", "go-3.8"),
        ("3.13.0", "go-3.13"),
        ("3.14.0\n", "go-3.14"),
        ("3.19.1", "go-3.14"),
        ("3.23.0", "go-3.22"),
        ("3.24.0", "go-3.24"),
        ("3.28.0", "go-3.24"),
        ("3.29.0", "go-3.29"),
        ("3.29.0-2", "go-3.29"),
        ("3.31.0", "go-3.29"),
        ("3.32.0", "go-3.32"),
        ("4.1.0", "go-3.32"),
        ("3.0.0-rc1", "go-2.5"),
        ("1.12.1", "kata 1.12.1 is older than 2.2.0, the oldest release of this runtime that has a profile"),
        ("2.1.1", "kata 2.1.1 is older than 2.2.0, the oldest release of this runtime that has a profile"),
        ("3.8.1", "kata 3.8.1 is not a known release: the nearest ones are 3.8.0 and 3.9.0"),
        (
            "what",
            "`what` is not a version of Kata: expected three numbers, such as `3.30.0`, or a pre-release such as \
             `3.30.0-rc0`",
        ),
        (
            "2.4.0-alpha0",
            "kata 2.4.0-alpha0 is a pre-release of 2.4.0 and may pass other arguments: use the release itself",
        ),
        // The alpha starts virtiofsd in the old form (`virtiofsd.args` in
        // src/runtime/virtcontainers/virtiofsd.go@3.2.0-alpha0), while the later 3.1.3 uses the new one.
        (
            "3.2.0-alpha0",
            "kata 3.2.0-alpha0 is a pre-release of 3.2.0 and may pass other arguments: use the release itself",
        ),
        ("3.3.0-alpha0", "go-3.2"),
    ] {
        assert_eq!(of(Runtime::Go, version), expected, "{version}");
    }
    assert_eq!(of(Runtime::Rs, "4.0.0"), "rs-4.0");
    assert_eq!(of(Runtime::Rs, "4.1.0"), "rs-4.1");
    assert!(of(Runtime::Rs, "3.30.0").contains("older than 4.0.0"));
    assert!(of(Runtime::Rs, "4.0.0-rc1").contains("is a pre-release of 4.0.0"));
}

#[test]
fn a_newer_version_is_refused_with_advice() {
    for (runtime, version) in [(Runtime::Go, "4.1.1"), (Runtime::Rs, "4.2.0-alpha0"), (Runtime::Go, "5.0.0")] {
        let version = version.parse().unwrap();
        let error = Profile::of(runtime, version).unwrap_err();
        assert_eq!(error, NoProfileError::Newer { version, newest: KataVersion::new(4, 1, 0) });
        assert!(error.to_string().contains("newer than 4.1.0") && error.to_string().contains("profiles --against"));
    }
}

#[test]
fn every_change_cites_the_release_it_came_with() {
    for profile in Family::all().iter().flat_map(|f| f.profiles()) {
        assert_eq!(
            profile.changes.is_empty(),
            profile.name == "go-2.2" || profile.name == "rs-4.0",
            "{}",
            profile.name
        );
        for change in &profile.changes {
            let (path, tag) = change.source.split_once('@').unwrap();
            assert!(path.contains('/') || path == "versions.yaml", "{}: {change:?}", profile.name);
            // A gate may begin at a later release of the range.
            let within = tag.parse().is_ok_and(|version| profile.holds(version).is_ok());
            assert!(tag == profile.tag || within, "{}: {change:?}", profile.name);
        }
    }
}

const SMALL: &str = r#"
runtime: rs
releases: [1.0.0, 1.1.0, 2.0.0]
base:
  name: a
  from: 1.0.0
  demands:
    shares: [virtio-fs]
    gates: [{kind: device, name: d, capability: vmm.boot, source: src/d.rs}, {kind: object, name: o, capability: vmm.boot, source: src/o.rs@1.0.0}]
    modules: {boot: [], vsock: [], virtio-fs: [], virtio-9p: [], virtio-blk: [], nvdimm: [], settings: [], clock: [], verity: [], other: [], filters: [], translation: [], bridges: [], tunnels: [], macvlans: [], taps: [], loop: [], erofs: [], xfs: [], overlay: [], virtio-mmio: []}
    qemu: {machine: q35, machine-options: x, cpu-features: y, vcpus: 1, memory-mib: 1, memory-slots: 1, foreground: true, bridge: b, root-bus: null, virtio-fs-queue-size: 1, blk-scsi-off: false, blk-source: path, blk-read-only: read-only, runtime-params: [p], guest-selinux: null, kernel-params: []}
    qmp: {threads: query-cpus-fast, switches: typed, cpu-ids: typed, num-queues: null}
    virtiofsd: {style: long-fd, cache: auto, extra-args: [], ready-line: null}
    minimums: []
    notes: []
deltas:
  - name: b
    from: 2.0.0
    changes:
      - {what: w, source: src/d.rs@2.0.0, set: {qemu: {vcpus: 2}}, gates: [{kind: device, name: n, capability: vmm.net, source: src/n.rs}], drop-gates: [o]}
"#;

#[test]
fn a_delta_changes_only_what_it_names() {
    let family = Family::parse(SMALL).unwrap();
    let [a, b] = family.profiles() else { panic!("two profiles") };
    assert_eq!((a.range.as_str(), b.range.as_str()), ("1.0.0–1.1.0", "2.0.0"));
    assert_eq!((a.maintained, b.maintained), (false, true));
    let gates = |p: &Profile| p.gates.iter().map(|g| format!("{} {}", g.name, g.source)).collect::<Vec<_>>();
    assert_eq!(gates(a), ["d src/d.rs@1.0.0", "o src/o.rs@1.0.0"]);
    assert_eq!(gates(b), ["d src/d.rs@2.0.0", "n src/n.rs@2.0.0"]);
    let mut same = b.clone();
    same.qemu.vcpus = 1;
    assert_eq!(same.qemu, a.qemu);
    assert_eq!((&b.virtiofsd, &b.modules, &b.shares), (&a.virtiofsd, &a.modules, &a.shares));
}

#[test]
fn a_gate_may_begin_within_a_profile_and_serve_two_capabilities() {
    let late = "{kind: device, name: l, capability: vmm.vfio, source: src/l.rs, from: 1.1.0}";
    let other = "{kind: device, name: d, capability: vmm.net, source: src/e.rs, from: 1.1.0}";
    let family = Family::parse(
        &SMALL.replace("gates: [{kind: device, name: d", &format!("gates: [{late}, {other}, {{kind: device, name: d")),
    )
    .unwrap();
    let [a, b] = family.profiles() else { panic!("two profiles") };
    let gates = |p: &Profile| p.gates.iter().map(|g| format!("{} {}", g.name, g.source)).collect::<Vec<_>>();
    let whole = ["l src/l.rs@1.1.0", "d src/e.rs@1.1.0", "d src/d.rs@1.0.0", "o src/o.rs@1.0.0"];
    assert_eq!(gates(a), whole);
    assert_eq!(a.at(KataVersion::new(1, 1, 0)), *a);
    assert_eq!(gates(&a.at(KataVersion::new(1, 0, 0))), whole[2..]);
    // In effect from the next profile's first release.
    assert_eq!(gates(b), ["l src/l.rs@2.0.0", "d src/e.rs@2.0.0", "d src/d.rs@2.0.0", "n src/n.rs@2.0.0"]);
    assert!(b.gates.iter().all(|gate| gate.from.is_none()));
}

#[test]
fn an_invalid_family_is_refused_with_its_place() {
    for (old, new, expected) in [
        ("from: 2.0.0", "from: 1.0.0", "profile b begins at 1.0.0, expected a release after the profile before it"),
        ("from: 2.0.0", "from: 1.5.0", "profile b begins at 1.5.0"),
        ("from: 1.0.0", "from: 1.1.0", "profile a begins at 1.1.0, expected the first release"),
        ("[1.0.0, 1.1.0, 2.0.0]", "[1.1.0, 1.0.0, 2.0.0]", "profile releases begins at 1.0.0, expected versions in"),
        ("drop-gates: [o]", "drop-gates: [z]", "profile b drops the gate z"),
        ("vcpus: 2", "vcpu: 2", "profile b: unknown field `vcpu`"),
        ("what: w", "why: w", "unknown field `why`"),
        ("src/o.rs@1.0.0", "src/o.rs@1.1.0", "profile a has the gate o from 1.0.0 on, and cites src/o.rs@1.1.0 for it"),
        ("src/o.rs@1.0.0", "src/o.rs@main", "profile a has the gate o from 1.0.0 on, and cites src/o.rs@main for it"),
        ("src/n.rs}", "src/n.rs, from: 3.0.0}", "expected it to begin at a release of the profile"),
        ("src/o.rs@1.0.0}", "src/o.rs@1.0.0, from: 2.0.0}", "expected it to begin at a release of the profile"),
    ] {
        assert!(SMALL.contains(old));
        let error = Family::parse(&SMALL.replace(old, new)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_profile_accepts_only_its_own_versions() {
    let holds = |profile: &str, version: &str| {
        Profile::find(profile).unwrap().holds(version.parse().unwrap()).map_err(|why| why.to_string())
    };
    assert_eq!(holds("go-3.29", "3.30.0"), Ok(()));
    assert_eq!(holds("rs-main", "4.2.0"), Ok(()), "what no release has yet is after all of them");
    for (profile, version, expected) in [
        ("go-3.29", "3.28.0", "pass --profile go-3.24"),
        ("rs-4.0", "4.1.0", "pass --profile rs-4.1"),
        ("go-3.32", "4.2.0", "newer than 4.1.0"),
        ("go-2.2", "2.1.0", "older than 2.2.0"),
        ("go-3.29", "3.30.1", "not a known release"),
        ("rs-main", "4.1.0", "pass --profile rs-4.1"),
    ] {
        let why = holds(profile, version).unwrap_err();
        assert!(why.contains(expected), "{profile} and {version}: {why}");
    }
}
