//! Lists the requirements that Kata places on a package, with Kata's source for each, for use in `debian/rules` or a
//! spec file.

mod kernel_options;

pub use kernel_options::KernelOptions;

use model::capability::Capability as C;
use model::component::Component;
use model::other_vmm::OtherVmm;
use model::profile::{DaemonStyle, Gate, GateKind, Profile};
use serde::Serialize;

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Requirement {
    /// The capability it serves: `vmm.boot`; the default path is `vmm.boot`, `fs.virtio-fs`, `vmm.vsock` and `vmm.net`.
    pub serves: String,
    /// Kind of requirement: `device`, `option`, `module`, `version`, …
    pub kind: &'static str,
    /// The required name or value: `vhost-user-fs-pci`.
    pub what: String,
    /// Whether the requirement is binding; otherwise it is a documented minimum that only informs.
    pub binding: bool,
    /// The reason, if the name does not say it.
    pub why: Option<String>,
    /// File and tag of Kata.
    pub source: String,
}

/// Returns a profile's requirements on a component, those of the default path first.
pub fn requirements(profile: &Profile, component: Component) -> Vec<Requirement> {
    let mut all = match component {
        Component::Qemu => qemu(profile),
        Component::CloudHypervisor => other_vmm(profile, component, C::VmmCloudHypervisor),
        Component::Firecracker => other_vmm(profile, component, C::VmmFirecracker),
        Component::Virtiofsd => virtiofsd(profile),
        Component::Kernel => kernel(profile),
        Component::Containerd | Component::Packages | Component::Record | Component::Kata => Vec::new(),
    };
    all.extend(profile.minimums.iter().filter(|m| m.component == component).map(|m| Requirement {
        serves: "-".to_owned(),
        kind: "version",
        what: format!("{} or later", m.version),
        binding: false,
        why: Some(m.why.clone()),
        source: m.source.clone(),
    }));
    all
}

/// Returns the requirements on a VMM other than QEMU; none under a profile whose requirements on that VMM have not been
/// read from Kata's source.
fn other_vmm(profile: &Profile, component: Component, serves: C) -> Vec<Requirement> {
    let Some(under) = OtherVmm::of(component).and_then(|vmm| vmm.under(profile)) else { return Vec::new() };
    let demands = under.demands.iter().map(|demand| Requirement {
        serves: serves.to_string(),
        kind: demand.kind.name(),
        what: demand.what.clone(),
        binding: true,
        why: demand.why.clone(),
        source: demand.source.clone(),
    });
    let version = under.version.iter().map(|version| Requirement {
        serves: "-".to_owned(),
        kind: "version",
        what: version.is.clone(),
        binding: false,
        why: Some("what Kata builds, and runs its own tests with".to_owned()),
        source: version.source.clone(),
    });
    demands.chain(version).collect()
}

/// Checks whether a profile's requirements on a component are known.
pub fn is_known(profile: &Profile, component: Component) -> bool {
    OtherVmm::of(component).is_none_or(|vmm| vmm.under(profile).is_some())
}

fn qemu(profile: &Profile) -> Vec<Requirement> {
    profile
        .gates
        .iter()
        .filter(|gate| gate.kind != GateKind::KernelOption)
        .map(|gate| Requirement {
            serves: gate.capability.to_string(),
            kind: match gate.kind {
                GateKind::Machine => "machine",
                GateKind::Device => "device",
                GateKind::Object => "object",
                GateKind::KernelOption => "option",
            },
            what: gate.name.clone(),
            binding: true,
            why: since(gate),
            source: gate.source.clone(),
        })
        .collect()
}

/// Says from which Kata release on a gate applies, if later than the beginning of the profile's range.
fn since(gate: &Gate) -> Option<String> {
    gate.from.map(|from| format!("from Kata {from} on"))
}

/// Returns the options that the runtime passes to virtiofsd, and the line that it waits for.
fn virtiofsd(profile: &Profile) -> Vec<Requirement> {
    let source = match profile.virtiofsd.style {
        DaemonStyle::DashO | DaemonStyle::LongFd => "src/runtime/virtcontainers/virtiofsd.go",
        DaemonStyle::LongSocket => "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs",
    };
    let source = format!("{source}@{}", profile.tag);
    let cache = format!("MODE is {}", profile.virtiofsd.cache);
    let mode = Some(cache.as_str());
    let options = match profile.virtiofsd.style {
        DaemonStyle::DashO => vec![
            ("--syslog", None),
            ("-o cache=MODE", mode),
            ("-o no_posix_lock", None),
            ("-o source=DIR", None),
            ("--fd=N", None),
            ("-f", None),
        ],
        DaemonStyle::LongFd => {
            vec![("--syslog", None), ("--cache=MODE", mode), ("--shared-dir=DIR", None), ("--fd=N", None)]
        }
        DaemonStyle::LongSocket => {
            vec![("--socket-path PATH", None), ("--shared-dir DIR", None), ("--cache MODE", mode)]
        }
    };
    let requirement = |kind, what: String, why: Option<&str>, source: String| Requirement {
        serves: C::FsVirtioFs.to_string(),
        kind,
        what,
        binding: true,
        why: why.map(str::to_owned),
        source,
    };
    let mut all: Vec<Requirement> =
        options.into_iter().map(|(o, why)| requirement("option", o.to_owned(), why, source.clone())).collect();
    let shipped = match profile.virtiofsd.style {
        DaemonStyle::LongSocket => format!("src/runtime-rs/Makefile@{}", profile.tag),
        _ => format!("src/runtime/Makefile@{}", profile.tag),
    };
    let mut extra = profile.virtiofsd.extra_args.iter();
    while let Some(argument) = extra.next() {
        let what = match argument.as_str() {
            "-o" => format!("-o {}", extra.next().map_or("", String::as_str)),
            other => other.to_owned(),
        };
        all.push(requirement("option", what, Some("virtio_fs_extra_args as shipped"), shipped.clone()));
    }
    if let Some(line) = &profile.virtiofsd.ready_line {
        let why = "on stderr: the runtime waits for it, without a deadline";
        all.push(requirement("line", line.clone(), Some(why), source));
    }
    all
}

fn kernel(profile: &Profile) -> Vec<Requirement> {
    let modules = &profile.modules;
    let on_request = "before a container asks for it";
    let groups: [(C, &Vec<String>, &str); 15] = [
        (C::KernelGuest, &modules.boot, "before the agent starts"),
        (C::VmmVsock, &modules.vsock, "before the agent starts: its channel"),
        (C::FsVirtioFs, &modules.virtio_fs, "before the sandbox is created"),
        (C::FsVirtio9p, &modules.virtio_9p, "before the sandbox is created"),
        (C::FsVirtioBlk, &modules.virtio_blk, "before a container is created"),
        (C::KernelGuest, &modules.other, "before a container is created"),
        (C::KernelGuestNet, &modules.filters, on_request),
        (C::KernelGuestNet, &modules.translation, on_request),
        (C::KernelGuestNet, &modules.bridges, on_request),
        (C::KernelGuestNet, &modules.tunnels, on_request),
        (C::KernelGuestNet, &modules.macvlans, on_request),
        (C::KernelGuestNet, &modules.taps, on_request),
        (C::KernelGuestDisk, &modules.loop_devices, on_request),
        (C::KernelGuestDisk, &modules.erofs, on_request),
        (C::KernelGuestDisk, &modules.xfs, on_request),
    ];
    let modules = groups.into_iter().flat_map(|(serves, names, why)| {
        names.iter().map(move |name| Requirement {
            serves: serves.to_string(),
            kind: "module",
            what: name.clone(),
            binding: true,
            why: Some(format!("built in or a module, {why}")),
            source: format!("tools/packaging/kernel/configs/fragments@{}", profile.tag),
        })
    });
    let options = profile.gates.iter().filter(|gate| gate.kind == GateKind::KernelOption);
    let options = options.map(|gate| Requirement {
        serves: gate.capability.to_string(),
        kind: "option",
        what: format!("CONFIG_{}", gate.name),
        binding: true,
        why: Some(match since(gate) {
            Some(since) => format!("built in or a module, of the host's kernel, {since}"),
            None => "built in or a module, of the host's kernel".to_owned(),
        }),
        source: gate.source.clone(),
    });
    // A module may serve one capability in several ways.
    let mut seen = std::collections::BTreeSet::new();
    modules.filter(|r| seen.insert((r.serves.clone(), r.what.clone()))).chain(options).collect()
}

/// Formats the requirements as a table for people.
pub fn human(profile: &Profile, component: Component, all: &[Requirement]) -> String {
    use std::fmt::Write as _;
    let mut out = format!("{component} for Kata {} (profile {})\n", profile.range, profile.name);
    let width = |f: fn(&Requirement) -> usize| all.iter().map(f).max().unwrap_or(0);
    let (serves, kind, what) = (width(|r| r.serves.len()), width(|r| r.kind.len()), width(|r| r.what.len()));
    for r in all {
        let note = if r.binding { "" } else { "  (informs only)" };
        let why = r.why.as_ref().map(|w| format!("  {w}")).unwrap_or_default();
        let _ = writeln!(out, "  {:serves$}  {:kind$}  {:what$}  {}{note}{why}", r.serves, r.kind, r.what, r.source);
    }
    if all.is_empty() {
        out += "  no requirements\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> &'static Profile {
        Profile::find(name).unwrap()
    }

    #[test]
    fn every_requirement_cites_a_source_at_a_tag() {
        for profile in Profile::all() {
            for component in [Component::Qemu, Component::Virtiofsd, Component::Kernel, Component::Containerd] {
                let all = requirements(profile, component);
                let none = component == Component::Containerd && ["go-2.2", "go-2.3"].contains(&profile.name.as_str());
                assert_eq!(all.is_empty(), none, "{} of {component:?}", profile.name);
                for r in all {
                    assert!(is_path_at_tag(&r.source), "{r:?}");
                }
            }
        }
        for other in ["versions.yaml", "@4.1.0", "src/x.go@", "src/x.go@soon", "/src/x.go@4.1.0", "a b@4.1.0"] {
            assert!(!is_path_at_tag(other), "{other}");
        }
    }

    /// Checks whether a text is the path of a file and one of Kata's tags.
    fn is_path_at_tag(source: &str) -> bool {
        let Some((path, tag)) = source.rsplit_once('@') else { return false };
        let is_path = path.split('/').all(|part| !part.is_empty() && !part.contains([' ', '@']));
        is_path && (tag == "main" || tag.parse::<model::kata_version::KataVersion>().is_ok())
    }

    #[test]
    fn runtime_rs_requires_options_and_an_output_line_of_virtiofsd() {
        insta::assert_snapshot!(
            human(profile("rs-4.0"), Component::Virtiofsd, &requirements(profile("rs-4.0"), Component::Virtiofsd)),
            @r#"
        virtiofsd for Kata 4.0.0 (profile rs-4.0)
          fs.virtio-fs  option   --socket-path PATH                        src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0
          fs.virtio-fs  option   --shared-dir DIR                          src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0
          fs.virtio-fs  option   --cache MODE                              src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0  MODE is auto
          fs.virtio-fs  option   --thread-pool-size=1                      src/runtime-rs/Makefile@4.0.0  virtio_fs_extra_args as shipped
          fs.virtio-fs  option   -o announce_submounts                     src/runtime-rs/Makefile@4.0.0  virtio_fs_extra_args as shipped
          fs.virtio-fs  line     Waiting for vhost-user socket connection  src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0  on stderr: the runtime waits for it, without a deadline
          -             version  1.0.0 or later                            src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0  (informs only)  it needs the long options, which no C daemon has
        "#
        );
    }

    #[test]
    fn maintained_profiles_require_the_api_and_kernel_format_of_other_vmms() {
        for component in [Component::CloudHypervisor, Component::Firecracker] {
            for profile in Profile::all() {
                let all = requirements(profile, component);
                assert_eq!(!all.is_empty(), is_known(profile, component), "{component} under {}", profile.name);
                assert_eq!(is_known(profile, component), profile.maintained, "{component} under {}", profile.name);
            }
            let requires = |kind: &str, word: &str| {
                let all = requirements(profile("rs-4.1"), component);
                all.iter().any(|one| one.kind == kind && one.what.contains(word) && one.source.contains('@'))
            };
            assert!(requires("option", "--api-sock") && requires("field", "ELF"), "{component}");
        }
        assert!(is_known(profile("go-2.2"), Component::Qemu));
    }

    #[test]
    fn requirements_of_katas_build_begin_with_the_version_that_lists_them() {
        let sources_of = |name: &str, what: &str| {
            let all = requirements(profile(name), Component::Qemu);
            let of_it = all.into_iter().filter(|r| r.what == what);
            of_it
                .map(|r| format!("{} {}{}", r.serves, r.source, r.why.map_or_else(String::new, |w| format!(" ({w})"))))
                .collect::<Vec<_>>()
        };
        let build = "tools/packaging/static-build/qemu/build-qemu.sh@4.1.0";
        for before in ["go-3.29", "rs-4.0"] {
            assert_eq!(sources_of(before, "amd-iommu"), [""; 0], "{before}");
        }
        assert_eq!(sources_of("go-3.32", "amd-iommu"), [format!("vmm.amd-iommu {build} (from Kata 4.1.0 on)")]);
        assert_eq!(sources_of("rs-4.1", "amd-iommu"), [format!("vmm.amd-iommu {build}")]);
        // Required by use only, not by Kata's own build.
        let generator = "src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0";
        assert_eq!(sources_of("rs-4.0", "virtio-balloon-pci"), [format!("vmm.reclaim {generator}")]);
    }

    #[test]
    fn no_requirement_is_listed_twice() {
        for profile in Profile::all() {
            let all = requirements(profile, Component::Qemu);
            // One device may serve two capabilities: through its use, and because Kata's own build requires it.
            let mut names: Vec<_> = all.iter().map(|r| (&r.serves, r.kind, &r.what)).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all.len());
        }
    }
}
