//! Records of an admin's own, for what the distro does not package.

use model::component::Component;
use model::release::Release;

/// A record that states one thing of one release; what it does not state is that of the record below it.
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

/// A scalar of YAML: as it is where it is a plain word, else between quotes.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
        true => text.to_owned(),
        // JSON's text is YAML's.
        false => serde_json::Value::from(text).to_string(),
    }
}

/// A record for a component that the distro does not package, with a path to be put right.
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
