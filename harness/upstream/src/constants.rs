//! Comparison of the constants that the generators and the tests take from Kata's source ([`fixed`]), release by
//! release.

use crate::checkout::{Checkout, CheckoutError, MAIN, Tree};
use crate::report::{Report, SourceDifference};
use model::kata_version::KataVersion;
use model::profile::fixed;

const BASE: &str = "src/runtime/virtcontainers/qemu_arch_base.go";
const QEMU: &str = "src/runtime/virtcontainers/qemu.go";
const KATA_AGENT: &str = "src/runtime/virtcontainers/kata_agent.go";
const DEVICES: &str = "src/runtime/pkg/device/config/config.go";
const DEFAULTS: &str = "src/libs/kata-types/src/config/default.rs";
const AGENT: &str = "src/agent/src/config.rs";
const SANDBOX: &str = "src/agent/src/sandbox.rs";
const GENERATOR: &str = "src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs";
const RS_QMP: &str = "src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs";
const SHARE: &str = "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs.rs";

const EVER: KataVersion = KataVersion::new(2, 2, 0);
/// The first release with runtime-rs in its present form.
const RS: KataVersion = KataVersion::new(4, 0, 0);
/// The first release with PCIe switches.
const SWITCHES: KataVersion = KataVersion::new(3, 2, 0);

/// One constant of [`fixed`] and its place in the source.
struct Constant {
    /// The constant's name in [`fixed`].
    name: &'static str,
    /// The first release whose source has the constant.
    since: KataVersion,
    /// Places of the constant: a file, and the beginning of its line with runs of blanks reduced to one. The first
    /// place that exists counts.
    places: &'static [(&'static str, &'static str)],
    /// The text after the line's equals sign.
    value: String,
}

fn constant(
    name: &'static str,
    since: KataVersion,
    places: &'static [(&'static str, &'static str)],
    value: String,
) -> Constant {
    Constant { name, since, places, value }
}

fn all() -> Vec<Constant> {
    let text = |value: &str| format!("\"{value}\"");
    let seconds = |value: std::time::Duration| format!("Duration::from_secs({})", value.as_secs());
    vec![
        constant("MAX_ID", EVER, &[(BASE, "maxDevIDSize ")], fixed::MAX_ID.to_string()),
        constant("ROOT_BUS", EVER, &[(BASE, "defaultBridgeBus ")], text(fixed::ROOT_BUS)),
        constant("BRIDGE_ADDRESS", EVER, &[(BASE, "const bridgePCIStartAddr ")], fixed::BRIDGE_ADDRESS.to_string()),
        constant(
            "BRIDGE_ADDRESS",
            RS,
            &[(GENERATOR, "const BRIDGE_PCI_START_ADDR:")],
            fixed::BRIDGE_ADDRESS.to_string(),
        ),
        constant(
            "NESTED_BRIDGE_CHASSIS",
            RS,
            &[(GENERATOR, "const NESTED_ROOT_PORT_CHASSIS_BASE:")],
            fixed::NESTED_BRIDGE_CHASSIS.to_string(),
        ),
        constant("ROOT_PORT", SWITCHES, &[(DEVICES, "PCIeRootPortPrefix PCIePortBusPrefix ")], text(fixed::ROOT_PORT)),
        constant(
            "SWITCH_UP",
            SWITCHES,
            &[(DEVICES, "PCIeSwitchUpstreamPortPrefix PCIePortBusPrefix ")],
            text(fixed::SWITCH_UP),
        ),
        constant(
            "SWITCH_DOWN",
            SWITCHES,
            // Kata's own spelling.
            &[(DEVICES, "PCIeSwitchhDownstreamPortPrefix PCIePortBusPrefix ")],
            text(fixed::SWITCH_DOWN),
        ),
        constant("MEMORY_OFFSET_MIB", EVER, &[(QEMU, "memoryOffset += ")], fixed::MEMORY_OFFSET_MIB.to_string()),
        constant("SHARE_TAG", EVER, &[(KATA_AGENT, "mountGuestTag ")], text(fixed::SHARE_TAG)),
        constant("SHARE_TAG", RS, &[(SHARE, "pub(crate) const MOUNT_GUEST_TAG:")], text(fixed::SHARE_TAG)),
        constant(
            "AGENT_PORT",
            EVER,
            // Up to 2.5 only the agent defined the port.
            &[(DEFAULTS, "pub const DEFAULT_AGENT_VSOCK_PORT:"), (AGENT, "const VSOCK_PORT:")],
            fixed::AGENT_PORT.to_string(),
        ),
        constant(
            "DEVICE_APPEARS",
            EVER,
            &[(AGENT, "const DEFAULT_HOTPLUG_TIMEOUT:")],
            format!("time::{}", seconds(fixed::DEVICE_APPEARS)),
        ),
        constant(
            "ONLINE_TRIES",
            EVER,
            &[(SANDBOX, "const ONLINE_CPUMEM_MAX_RETRIES:")],
            fixed::ONLINE_TRIES.to_string(),
        ),
        constant(
            "ONLINE_PAUSE",
            EVER,
            // Spelling up to 3.2.
            &[(SANDBOX, "const ONLINE_CPUMEM_WAIT_MILLIS:"), (SANDBOX, "const ONLINE_CPUMEM_WATI_MILLIS:")],
            fixed::ONLINE_PAUSE.as_millis().to_string(),
        ),
        constant("DEVICE_DELETED", RS, &[(RS_QMP, "const DEVICE_DELETED_TIMEOUT:")], seconds(fixed::DEVICE_DELETED)),
    ]
}

/// Compares the constants with these releases of a checkout, and with `main`.
///
/// # Errors
/// When the checkout cannot be read.
pub fn compare_constants(
    checkout: &Checkout,
    releases: &[KataVersion],
    report: &mut Report,
) -> Result<(), CheckoutError> {
    let constants = all();
    let files: Vec<&str> = constants.iter().flat_map(|constant| constant.places).map(|(file, _)| *file).collect();
    let tags = releases.iter().map(|release| (release.to_string(), Some(*release)));
    for (tag, release) in tags.chain([(MAIN.to_owned(), None)]) {
        // A missing tag is already reported by the comparison of profiles.
        let Some(tree) = checkout.tree(&tag, &files)? else { continue };
        for constant in constants.iter().filter(|constant| release.is_none_or(|release| constant.since <= release)) {
            report.values += 1;
            let found =
                difference(&tree, constant).map(|(place, what)| SourceDifference { tag: tag.clone(), place, what });
            report.differences.extend(found);
        }
    }
    Ok(())
}

/// Returns the place of a difference and its description, if there is one.
fn difference(tree: &Tree, constant: &Constant) -> Option<(String, String)> {
    let Constant { name, value, .. } = constant;
    let found = constant.places.iter().find_map(|(file, begins)| {
        let (path, text) = tree.first(&[*file])?;
        let (line, seen) = assigned(text, begins)?;
        Some((format!("{path}:{line}"), seen))
    });
    match found {
        Some((_, seen)) if seen == *value => None,
        Some((place, seen)) => Some((place, format!("Kata says `{seen}`, and {name} here is `{value}`"))),
        None => {
            let place = constant.places.first().map_or("-", |(file, _)| *file);
            Some((place.to_owned(), format!("{name} is not where it was; here it is `{value}`")))
        }
    }
}

/// Returns the number and the assigned value of the first line that starts with this text.
fn assigned(text: &str, begins: &str) -> Option<(usize, String)> {
    text.lines().enumerate().find_map(|(number, line)| {
        // gofmt aligns the assignments of consecutive lines.
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, value) = line.split_once('=').filter(|_| line.starts_with(begins))?;
        let value = value.split(" //").next().unwrap_or_default();
        Some((number + 1, value.trim().trim_end_matches(';').to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assigned_value_is_read_whatever_the_spacing() {
        let text = "const (\n\tmaxDevIDSizes = 1\n\tmaxDevIDSize              = 31 // QEMU's\n)\nmemoryOffset += 1024\nconst T: time::Duration = time::Duration::from_secs(3);\n";
        let read = |begins| assigned(text, begins);
        assert_eq!(read("maxDevIDSize "), Some((3, "31".to_owned())));
        assert_eq!(read("memoryOffset += "), Some((5, "1024".to_owned())));
        assert_eq!(read("const T:"), Some((6, "time::Duration::from_secs(3)".to_owned())));
        assert_eq!(read("const U:"), None);
    }
}
