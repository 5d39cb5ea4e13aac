//! Records of the admin's own for components that the distro does not package.

use model::component::Component;
use model::release::Release;

/// Returns a record with one entry for one release; everything else comes from the record that it is laid over.
pub(super) fn record(release: &Release, part: &str) -> String {
    let indented: String = part.lines().map(|l| format!("    {l}\n")).collect();
    format!(
        "# What this machine's admin has built; it is laid over the shipped record of {0}.\n\
         apiVersion: v1\ndistro: {0}\npackage-manager: {1}\narch: {2}\nreleases:\n  - version: {3}\n{indented}",
        release.distro,
        release.package_manager,
        release.arch,
        scalar(release.version.as_str())
    )
}

/// Returns a YAML scalar: unquoted if it is a plain word, otherwise quoted.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
        true => text.to_owned(),
        // A JSON string is a valid YAML scalar.
        false => serde_json::Value::from(text).to_string(),
    }
}

/// Returns a record for a component that the distro does not package, with a path for the admin to correct.
pub(super) fn of_component(release: &Release, component: Component) -> String {
    let part = match component {
        Component::Kernel => "kernel:\n  confidence: measured\n  packages: []\n  image: /boot/vmlinuz-*\n".to_owned(),
        name => format!(
            "vmm:\n  name: {name}\n  confidence: measured\n  packages: []\n  # The absolute path of yours:\n  path: /usr/local/bin/qemu-system-{}\n",
            release.arch
        ),
    };
    record(release, &part)
}
