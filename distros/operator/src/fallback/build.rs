//! Instructions for building components that a distro lacks.

mod dependencies;

use super::own_record;
use model::arch::Arch;
use model::diagnostic::printable;
use model::kata_version::KataVersion;
use model::profile::{DaemonStyle, Profile};
use model::release::Release;
use model::share::Share;
use model::shell::quoted;
use serde::Serialize;

/// A component that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Buildable {
    /// The VMM.
    Qemu,
    /// The virtio-fs daemon, the Rust one.
    Virtiofsd,
}

impl Buildable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Buildable::Qemu => "qemu",
            Buildable::Virtiofsd => "virtiofsd",
        }
    }
}

/// Instructions for building a component on a distro and making it known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Instructions {
    /// The component to build.
    pub component: Buildable,
    /// The version.
    pub version: String,
    /// The file of Kata's that names the version.
    pub source: String,
    /// Packages that the build needs.
    pub dependencies: Vec<String>,
    /// Commands, in order, for a POSIX shell, as root.
    pub commands: Vec<String>,
    /// The record for `/etc/kata-osinfo`.
    pub record: String,
    /// The path for the record.
    pub record_path: String,
    /// The result, if exactly these commands have been run on this release.
    pub exercised: Option<String>,
    /// Notes to read before the build.
    pub notes: Vec<String>,
}

impl Instructions {
    /// Returns the instructions as a shell script with comments; the record is written with a here-document.
    pub fn script(&self, release: &str) -> String {
        let mut text = String::from("#!/bin/sh\n");
        let mut comment = |line: String| text += &format!("# {}\n", printable(&line));
        comment(format!("{} {} for {release}, as {} has it.", self.component.name(), self.version, self.source));
        match &self.exercised {
            Some(evidence) => comment(format!("These commands have been run: {evidence}.")),
            None => comment("These commands have not been run on this release.".to_owned()),
        }
        self.notes.iter().for_each(|note| comment(note.clone()));
        text += "set -e\n";
        for command in &self.commands {
            text += &format!("{command}\n");
        }
        // The delimiter must not occur as a line of the record.
        let mut end = "RECORD".to_owned();
        while self.record.lines().any(|line| line == end) {
            end.push('_');
        }
        let path = quoted(&self.record_path);
        text += &format!(
            "# An admin's own record is not overwritten: if there is one, add this to it by hand.\nmkdir -p /etc/kata-osinfo\nset -C\ncat > {path} <<'{end}'\n{}{end}\nkata-osinfo lint {path}\n",
            self.record
        );
        text
    }
}

/// Path where the daemon is installed: in `libexec`, as below Kata's own prefix.
const DAEMON: &str = "/usr/local/libexec/virtiofsd";

/// Returns the instructions for building a component for a profile on a release.
pub fn instructions(component: Buildable, release: &Release, profile: &Profile) -> Instructions {
    match component {
        Buildable::Virtiofsd => virtiofsd(release, profile),
        Buildable::Qemu => qemu(release, profile),
    }
}

/// Returns the version that Kata builds: `versions.yaml` at the profile's tag, or at the first tag with a Rust daemon.
fn virtiofsd_version(profile: &Profile) -> (&'static str, &'static str) {
    match profile.virtiofsd.style {
        // Its own 1.3.0 is from 2022; 1.13.3 has the same options.
        DaemonStyle::DashO => ("1.13.3", "versions.yaml@3.30.0"),
        DaemonStyle::LongFd => ("1.13.3", "versions.yaml@3.30.0"),
        DaemonStyle::LongSocket => ("1.13.3", "versions.yaml@4.0.0"),
    }
}

fn virtiofsd(release: &Release, profile: &Profile) -> Instructions {
    let (version, source) = virtiofsd_version(profile);
    let bookworm = dependencies::is_bookworm(release);
    let dependencies = dependencies::of_virtiofsd(release);
    let mut notes = vec![
        "Kata builds it with Rust 1.85.1 (versions.yaml@4.0.0); the build fails with Rust 1.63 and works with 1.96."
            .to_owned(),
    ];
    if bookworm {
        notes.push("bookworm's rustc (1.63) builds neither this version nor 1.10.1 or 1.8.0 with their lock files: use rustc-web, which the security archive keeps up to date; it cannot be installed beside rustc.".to_owned());
    }
    Instructions {
        component: Buildable::Virtiofsd,
        version: version.to_owned(),
        source: source.to_owned(),
        commands: vec![
            dependencies::install(release.package_manager, &dependencies),
            format!("cargo install --locked --version {version} --root /usr/local/lib/kata-virtiofsd virtiofsd"),
            format!("install -D -m 755 /usr/local/lib/kata-virtiofsd/bin/virtiofsd {DAEMON}"),
            format!("{DAEMON} --version"),
        ],
        dependencies: dependencies.into_iter().map(str::to_owned).collect(),
        record: own_record::record(
            release,
            &format!(
                "fs:\n  - name: {}\n    confidence: measured\n    packages: []\n    path: {DAEMON}\n",
                Share::VirtioFs
            ),
        ),
        record_path: format!("/etc/kata-osinfo/{}.yaml", release.distro),
        exercised: (release.target() == dependencies::BOOKWORM && release.arch == Arch::X86_64)
            .then(|| "on Debian 12 with rustc 1.96.0 from rustc-web, in 4 to 9 minutes on two shared cores".to_owned()),
        notes,
    }
}

/// `configure` options of Kata's own QEMU that decide on a guest's features; options that only leave things out are not
/// included.
///
/// `tools/packaging/scripts/configure-hypervisor.sh@4.0.0`.
const QEMU_OPTIONS: &[&str] = &[
    "--enable-kvm",
    "--enable-vhost-net",
    "--enable-vhost-kernel",
    "--enable-vhost-user",
    "--enable-linux-aio",
    "--enable-linux-io-uring",
    "--enable-numa",
    "--enable-virtfs",
    "--enable-attr",
    "--enable-cap-ng",
    "--enable-seccomp",
    "--enable-malloc-trim",
    "--disable-libpmem",
    "--disable-docs",
    "--disable-gtk",
    "--disable-sdl",
    "--disable-spice",
    "--disable-vnc",
    "--disable-curl",
    "--disable-slirp",
    "--disable-libusb",
    "--disable-tools",
    "--disable-guest-agent",
];

fn qemu(release: &Release, profile: &Profile) -> Instructions {
    // Since 7.2 Kata carries no patches: tools/packaging/qemu/patches@4.0.0.
    let (version, source) = match profile.version() {
        tag if tag < KataVersion::new(3, 2, 0) => ("7.2.0", "versions.yaml@3.1.0"),
        tag if tag < KataVersion::new(4, 0, 0) => ("10.2.1", "versions.yaml@3.30.0"),
        _ => ("11.0.1", "versions.yaml@4.0.0"),
    };
    let dependencies = dependencies::of_qemu(release.package_manager);
    let target = release.arch.qemu_name();
    let path = format!("/usr/local/bin/qemu-system-{target}");
    Instructions {
        component: Buildable::Qemu,
        version: version.to_owned(),
        source: source.to_owned(),
        commands: vec![
            dependencies::install(release.package_manager, &dependencies),
            format!("# In the unpacked source of QEMU {version}:"),
            format!("./configure --prefix=/usr/local --target-list={target}-softmmu {}", QEMU_OPTIONS.join(" ")),
            "make -j\"$(nproc)\"".to_owned(),
            "make install".to_owned(),
            format!("{path} --version"),
        ],
        dependencies: dependencies.into_iter().map(str::to_owned).collect(),
        record: own_record::record(
            release,
            &format!("vmm:\n  name: qemu\n  confidence: measured\n  packages: []\n  path: {path}\n"),
        ),
        record_path: format!("/etc/kata-osinfo/{}.yaml", release.distro),
        exercised: None,
        notes: vec![
            "Kata's own build script disables much more, including tcg; these commands disable only what needs further libraries."
                .to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests;
