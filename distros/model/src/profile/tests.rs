use super::*;

/// Whether a source has the form `src/file.go@3.29.0`: a path, an at sign, a tag.
fn cites_a_tag(source: &str) -> bool {
    source.split_once('@').is_some_and(|(path, tag)| {
        path.contains('/') && (tag == "main" || tag.parse::<KataVersion>().is_ok_and(|v| v.to_string() == tag))
    })
}

#[test]
fn every_gate_cites_a_file_at_a_tag() {
    for profile in Profile::all() {
        for gate in &profile.gates {
            assert!(cites_a_tag(&gate.source), "{}: {gate:?}", profile.name);
        }
        let mut seen: Vec<_> = profile.gates.iter().map(|g| (g.kind, &g.name, g.capability)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), profile.gates.len(), "{} lists a gate twice", profile.name);
    }
}

/// A gate must not demand anything that only a later release's source asks for.
#[test]
fn no_gate_cites_a_release_newer_than_its_first_one() {
    for profile in Profile::all() {
        for gate in &profile.gates {
            let first = gate.from.or_else(|| profile.tag.parse().ok());
            let cited = gate.source.split_once('@').and_then(|(_, tag)| tag.parse::<KataVersion>().ok());
            let holds = first.is_none_or(|first| cited.is_some_and(|cited| cited <= first));
            assert!(holds, "{}: {gate:?}", profile.name);
            let of_the_range = gate.from.is_none_or(|from| profile.holds(from).is_ok() && from > profile.version());
            assert!(of_the_range, "{}: {gate:?}", profile.name);
        }
    }
}

/// Up to 4.0.0, `tools/packaging/static-build/qemu/build-qemu.sh` has no list of devices.
#[test]
fn gates_from_katas_qemu_build_start_at_4_1_0() {
    let of_the_build = |gate: &Gate| gate.source.contains("/build-qemu.sh@");
    for profile in Profile::all() {
        let newest =
            Family::of(profile.runtime).releases().iter().rev().find(|release| profile.holds(**release).is_ok());
        let insists = newest.is_none_or(|newest| *newest >= KataVersion::new(4, 1, 0));
        assert_eq!(profile.gates.iter().any(of_the_build), insists, "{}", profile.name);
        let before = profile.at(KataVersion::new(4, 0, 0));
        let without = profile.version() >= KataVersion::new(4, 1, 0) || !before.gates.iter().any(of_the_build);
        assert!(without, "{}", profile.name);
        // Devices that the runtime itself plugs are demanded in every release.
        let plugs = |gate: &Gate| gate.name == "scsi-hd" && gate.capability == Capability::VmmHotplugBlk;
        assert!(before.gates.iter().any(plugs), "{}", profile.name);
    }
}

#[test]
fn profiles_have_9p_gates_and_modules_exactly_if_they_share_by_9p() {
    for profile in Profile::all() {
        let known = profile.shares(Share::Virtio9p);
        assert_eq!(known, profile.gates_of(Capability::FsVirtio9p).next().is_some(), "{}", profile.name);
        assert_eq!(known, !profile.modules.virtio_9p.is_empty(), "{}", profile.name);
    }
}

#[test]
fn a_mistyped_gate_capability_is_refused_with_a_suggestion() {
    let text = include_str!("../../../profiles/rs.yaml");
    let mistyped = text.replacen("capability: fs.virtio-fs,", "capability: fs.virtio-fz,", 1);
    assert_ne!(text, mistyped);
    let error = format!("{:?}", Family::parse(&mistyped).unwrap_err());
    assert!(error.contains("unknown capability `fs.virtio-fz`: did you mean `fs.virtio-fs`?"), "{error}");
}

#[test]
fn only_runtime_rs_waits_for_virtiofsds_ready_line() {
    for profile in Profile::all() {
        assert_eq!(profile.virtiofsd.ready_line.is_some(), profile.runtime == Runtime::Rs, "{}", profile.name);
    }
}

#[test]
fn an_unknown_profile_error_suggests_the_nearest() {
    let error = Profile::find("go-3.92").expect_err("no such profile");
    assert_eq!(error.nearest.as_deref(), Some("go-3.29"));
    let unknown = Profile::find("zzz").expect_err("no such profile").to_string();
    assert!(unknown.starts_with("unknown profile \"zzz\", known are go-2.2, go-2.3, "), "{unknown}");
    assert!(unknown.ends_with("go-3.32, rs-4.0, rs-4.1, rs-main"), "{unknown}");
    assert_eq!(Profile::find("rs-4.0").map(|p| p.tag.as_str()), Ok("4.0.0"));
}

#[test]
fn module_uses_serialize_as_the_profile_keys() {
    let go = serde_json::to_value(&Profile::find("go-3.2").unwrap().modules).unwrap();
    for used_for in ModuleUse::ALL {
        assert_eq!(serde_json::to_value(used_for).unwrap(), used_for.to_string());
        let modules = Profile::find("go-3.2").unwrap().modules.of(*used_for);
        assert_eq!(go[used_for.to_string()], serde_json::to_value(modules).unwrap(), "{used_for}");
    }
}

#[test]
fn minimums_cite_their_source() {
    for minimum in Profile::all().iter().flat_map(|p| &p.minimums) {
        assert!(minimum.source.contains('@'), "{minimum:?}");
    }
}

#[test]
fn every_profile_needs_cpu_hotplug_and_only_shares_it_supports() {
    for profile in Profile::all() {
        let needs = |capability| profile.needs().any(|needed| needed == capability);
        assert!(needs(Capability::VmmHotplugCpu) && needs(Capability::VmmHotplugMemory), "{}", profile.name);
        assert_eq!(needs(Capability::FsVirtio9p), profile.shares(Share::Virtio9p), "{}", profile.name);
        assert!(needs(Capability::VmmVsock) && needs(Capability::FsVirtioBlk), "{}", profile.name);
        assert!(!needs(Capability::KernelHost) && !needs(Capability::FsVirtioFsXattr), "{}", profile.name);
    }
}

#[test]
fn the_runtime_is_read_from_a_profile_name() {
    for profile in Profile::all() {
        assert_eq!(Runtime::of_profile(&profile.name), Some(profile.runtime), "{}", profile.name);
    }
    assert_eq!(Runtime::of_profile("rs-99.0"), Some(Runtime::Rs), "of a later version");
    assert_eq!(Runtime::of_profile("rust-4.0"), None);
}
