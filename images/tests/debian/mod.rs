//! Debian's releases for the tests, written by hand: the record's parser is tested in another crate.

use model::arch::Arch;
use model::package::PackageName;
use model::package_manager::PackageManager;
use model::release::{Archive, FilesystemDriver, InsidePath, Kernel, PackageSuite, Release, Vmm};

/// Version and codename, oldest first.
pub(crate) const RELEASES: [(&str, &str); 5] =
    [("11", "bullseye"), ("12", "bookworm"), ("13", "trixie"), ("testing", "forky"), ("unstable", "sid")];

/// Returns a release by its version or codename.
#[expect(clippy::expect_used, reason = "a test or example with a wrong name cannot go on")]
pub(crate) fn release(version: &str) -> Release {
    let (_, codename) = RELEASES.iter().find(|(v, c)| *v == version || *c == version).expect("a release of Debian");
    let version = RELEASES.iter().find(|(_, c)| c == codename).expect("known").0;
    let suite = |name: String, archive| PackageSuite { name, archive, components: vec!["main".to_owned()] };
    let mut suites = vec![suite((*codename).to_owned(), Archive::Main)];
    if *codename != "sid" {
        suites.push(suite(format!("{codename}-updates"), Archive::Main));
        suites.push(suite(format!("{codename}-security"), Archive::Security));
    }
    let name = |name: &str| name.parse::<PackageName>().expect("a name");
    let path = |path: &str| path.parse::<InsidePath>().expect("a path");
    let old = ["11", "12"].contains(&version);
    Release {
        distro: "debian".parse().expect("an id"),
        version: version.parse().expect("a version"),
        codename: Some((*codename).to_owned()),
        aliases: vec![],
        based_on: vec![],
        arch: Arch::X86_64,
        package_manager: PackageManager::Apt,
        suites,
        repositories: vec![],
        modules: vec![],
        module_platform: None,
        oci_image: Some(format!("docker.io/library/debian:{version}")),
        image_lacks: None,
        vmms: vec![Vmm {
            name: "qemu".into(),
            packages: vec![name("qemu-system-x86")],
            path: path("/usr/bin/qemu-system-x86_64"),
        }],
        filesystems: vec![FilesystemDriver {
            name: "virtio-fs".into(),
            packages: vec![name(if old { "qemu-system-common" } else { "virtiofsd" })],
            path: Some(path(if old { "/usr/lib/qemu/virtiofsd" } else { "/usr/libexec/virtiofsd" })),
        }],
        kernel: Some(Kernel { packages: vec![name("linux-image-amd64")], image: path("/boot/vmlinuz-*") }),
        container_manager: None,
        docker: None,
        firmware: Vec::new(),
    }
}
