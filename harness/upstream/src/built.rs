//! Comparison of the requirements of Kata's own QEMU build with the gates of the profiles.
//!
//! The build fails for x86_64 without certain devices and objects, and enables further symbols in QEMU's configuration.
//! Both lists are compared at every release and at `main`, name by name and in both directions, however the script
//! groups them. Releases before the first one with lists must have none.

use crate::checkout::{Checkout, CheckoutError, MAIN, Tree};
use crate::report::{Report, SourceDifference};
use crate::source::line_of;
use model::kata_version::KataVersion;
use std::collections::{BTreeMap, BTreeSet};

const SCRIPT: &str = "tools/packaging/static-build/qemu/build-qemu.sh";

/// The first release with lists.
const SINCE: KataVersion = KataVersion::new(4, 1, 0);

/// Devices and objects without which the build for x86_64 fails; each has a gate in the profiles of these releases.
const INSISTS: &[&str] = &[
    "amd-iommu",
    "intel-iommu",
    "nvdimm",
    "pci-bridge",
    "pcie-pci-bridge",
    "pcie-root-port",
    "pvpanic",
    "pxb-pcie",
    "scsi-hd",
    "sev-snp-guest",
    "tdx-guest",
    "vfio-pci",
    "vhost-user-blk-pci",
    "vhost-user-fs-pci",
    "vhost-vsock-pci",
    "virtconsole",
    "virtio-9p-pci",
    "virtio-balloon-pci",
    "virtio-blk-pci",
    "virtio-mem-pci",
    "virtio-net-pci",
    "virtio-rng-pci",
    "virtio-scsi-pci",
    "virtio-serial-pci",
    "x3130-upstream",
    "xio3130-downstream",
];

/// Symbols of QEMU's configuration that the script sets, for any architecture.
const SYMBOLS: &[&str] = &[
    "AMD_IOMMU",
    "ARM_VIRT",
    "CXL",
    "CXL_MEM_DEVICE",
    "IOMMUFD",
    "NVDIMM",
    "PCIE_PCI_BRIDGE",
    "PCIE_PORT",
    "PCI_BRIDGE",
    "PSERIES",
    "PVPANIC_ISA",
    "PXB",
    "Q35",
    "S390_CCW_VIRTIO",
    "SEV",
    "SGX",
    "TDX",
    "VFIO_AP",
    "VFIO_CCW",
    "VFIO_PCI",
    "VHOST_USER_BLK",
    "VHOST_USER_FS",
    "VHOST_USER_SCSI",
    "VHOST_VSOCK",
    "VIRTIO_9P",
    "VIRTIO_BALLOON",
    "VIRTIO_BLK",
    "VIRTIO_CCW",
    "VIRTIO_MEM",
    "VIRTIO_NET",
    "VIRTIO_PCI",
    "VIRTIO_RNG",
    "VIRTIO_SCSI",
    "VIRTIO_SERIAL",
    "VTD",
    "VTD_ACCEL",
    "XIO3130",
];

/// Compares the lists with these releases of a checkout, and with `main`.
///
/// # Errors
/// When the checkout cannot be read.
pub fn compare_build(checkout: &Checkout, releases: &[KataVersion], report: &mut Report) -> Result<(), CheckoutError> {
    for release in releases {
        compare_at(checkout, &release.to_string(), *release >= SINCE, report)?;
    }
    compare_at(checkout, MAIN, true, report)
}

fn compare_at(checkout: &Checkout, tag: &str, listed: bool, report: &mut Report) -> Result<(), CheckoutError> {
    // A missing tag is already reported by the comparison of profiles.
    let Some(tree) = checkout.tree(tag, &[SCRIPT])? else { return Ok(()) };
    let (found, differences) = differences(&tree, listed);
    report.values += found;
    report.differences.extend(differences.into_iter().map(|(place, what)| SourceDifference {
        tag: tag.to_owned(),
        place,
        what,
    }));
    Ok(())
}

/// Returns the number of compared names, and the place and description of each difference.
fn differences(tree: &Tree, listed: bool) -> (usize, Vec<(String, String)>) {
    let script = tree.first(&[SCRIPT]).map(|(_, text)| text).unwrap_or_default();
    let expected = |names: &[&str]| -> BTreeSet<String> {
        names.iter().filter(|_| listed).map(|name| (*name).to_owned()).collect()
    };
    let place = |name: &str| match line_of(script, name) {
        Some(line) => format!("{SCRIPT}:{line}"),
        None => SCRIPT.to_owned(),
    };
    let lists = [
        (insisted(script), expected(INSISTS), "insists on", "insist on"),
        (symbols(script), expected(SYMBOLS), "configures", "configure"),
    ];
    let mut compared = 0;
    let mut all = Vec::new();
    for (theirs, ours, does, doing) in lists {
        compared += theirs.union(&ours).count();
        let more = theirs.difference(&ours);
        all.extend(
            more.map(|name| (place(name), format!("Kata's build of QEMU {does} {name}, which is not known here"))),
        );
        let less = ours.difference(&theirs);
        all.extend(less.map(|name| (SCRIPT.to_owned(), format!("Kata's build of QEMU does not {doing} {name}"))));
    }
    (compared, all)
}

/// Returns the names without which the build for x86_64 fails, and the names in lists that no architecture uses.
fn insisted(script: &str) -> BTreeSet<String> {
    let lists = lists(script);
    let unused = lists.iter().filter(|(list, _)| !script.contains(&format!("${{{list}[@]}}")));
    let mut names: BTreeSet<String> = unused.flat_map(|(_, names)| names).map(|name| (*name).to_owned()).collect();
    for word in arm(script).lines().filter_map(arguments).flat_map(words) {
        let list = word.strip_prefix("${").and_then(|word| word.strip_suffix("[@]}"));
        match list.and_then(|list| lists.get(list)) {
            Some(of_it) => names.extend(of_it.iter().map(|name| (*name).to_owned())),
            // The name of an undefined list stays as it is written, so that it is reported as unknown.
            None => {
                names.insert(word.to_owned());
            }
        }
    }
    names
}

/// Returns the script's x86_64 branch that verifies the build, with continuation lines joined.
fn arm(script: &str) -> String {
    let verified = script.split_once("verify_devices()").map(|(_, rest)| rest).unwrap_or_default();
    let arms = verified.split("case \"${ARCH}\" in").nth(1).unwrap_or_default();
    let arms = arms.split("\nesac").next().unwrap_or_default();
    let own = arms.split("\nx86_64)").nth(1).unwrap_or_default().split(";;").next().unwrap_or_default();
    own.replace("\\\n", " ")
}

/// Returns the arguments of a verifying line.
fn arguments(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("verify_devices ").or_else(|| line.strip_prefix("verify_objects "))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().map(|word| word.trim_matches('"'))
}

/// Returns the script's lists by name, `_pci_devs=(…)`. If a list is set again, as for a smaller build, it has the
/// names of all its assignments.
fn lists(script: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (at, _) in script.match_indices("=(") {
        let line = script[..at].rsplit('\n').next().unwrap_or_default();
        let name = line.trim_start();
        if !name.starts_with('_') || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let body = script[at + 2..].split(')').next().unwrap_or_default();
        let code = body.lines().map(|line| line.split('#').next().unwrap_or_default());
        all.entry(name).or_default().extend(code.flat_map(words));
    }
    all
}

/// Returns the symbols that the script sets in QEMU's configuration: `CONFIG_VIRTIO_BLK=y`.
fn symbols(script: &str) -> BTreeSet<String> {
    let code = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let set = code.flat_map(|line| line.split("CONFIG_").skip(1)).filter_map(|rest| rest.split_once("=y"));
    let is_symbol = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    set.map(|(name, _)| name).filter(is_symbol).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::profile::{Family, GateKind, Profile};

    /// Profiles of a release with lists have a gate for each required device and object, and cite the script for no
    /// other gate.
    #[test]
    fn profile_gates_match_what_katas_qemu_build_requires() {
        for family in Family::all() {
            let newest: Vec<Profile> = family
                .profiles()
                .iter()
                .filter(|profile| profile.holds(SINCE).is_ok() || profile.version() >= SINCE)
                .map(|profile| profile.at(profile.version().max(SINCE)))
                .collect();
            assert!(!newest.is_empty());
            for profile in newest {
                let asks = |name: &str| {
                    let kinds = [GateKind::Device, GateKind::Object];
                    profile.gates.iter().any(|gate| kinds.contains(&gate.kind) && gate.name == name)
                };
                // The guest agent no longer supports 9p, so no profile needs the 9p device.
                let without: Vec<&&str> = INSISTS.iter().filter(|name| !asks(name)).collect();
                assert_eq!(without, [&"virtio-9p-pci"], "{}", profile.name);
                let cited = profile.gates.iter().filter(|gate| gate.source.starts_with(SCRIPT));
                let other: Vec<&str> =
                    cited.map(|gate| gate.name.as_str()).filter(|name| !INSISTS.contains(name)).collect();
                assert_eq!(other, [""; 0], "{}", profile.name);
            }
        }
    }

    const SMALL: &str = "_a=(\n\tone two # three\n)\n_b=(four)\nif x; then\n\t_b=()\nfi\n_c=(five)\n_d=(six)\nverify_devices() {\n\tlocal missing=()\n}\ncase \"${ARCH}\" in\nx86_64)\n\tverify_devices \"${_a[@]}\" \\\n\t\t\"${_b[@]}\" \"${_e[@]}\" seven\n\tif y; then\n\t\tverify_objects eight\n\tfi\n\t;;\naarch64)\n\tverify_devices \"${_c[@]}\" nine\n\t;;\nesac\n";

    #[test]
    fn devices_and_symbols_are_read_from_the_build_script() {
        let names: Vec<String> = insisted(SMALL).into_iter().collect();
        // `_c` belongs to another architecture, `_d` is unused, and `_e` is undefined.
        assert_eq!(names, ["${_e[@]}", "eight", "four", "one", "seven", "six", "two"]);
        assert_eq!(insisted("make install\n"), BTreeSet::new());
        let symbols: Vec<String> =
            symbols("# CONFIG_NONE=y\nX='\nCONFIG_A=y\n'\nprintf 'CONFIG_B_2=y\\n%s\\nCONFIG_C=y\\n'\n")
                .into_iter()
                .collect();
        assert_eq!(symbols, ["A", "B_2", "C"]);
    }
}
