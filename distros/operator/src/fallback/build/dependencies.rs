//! Packages that a build needs, by package manager.

use model::package_manager::PackageManager;
use model::release::Release;
use model::shell::quoted;

/// What virtiofsd's build needs.
pub(super) fn of_virtiofsd(release: &Release) -> Vec<&'static str> {
    match release.package_manager {
        PackageManager::Apt => {
            // bookworm's own rustc is 1.63; rustc-web is the one that its browsers are built with.
            let rust = if is_bookworm(release) { ["rustc-web", "cargo-web"] } else { ["rustc", "cargo"] };
            let others = ["gcc", "libc6-dev", "pkg-config", "libcap-ng-dev", "libseccomp-dev", "ca-certificates"];
            rust.into_iter().chain(others).collect()
        }
        PackageManager::Dnf | PackageManager::Yum | PackageManager::Tdnf | PackageManager::Zypper => {
            vec!["rust", "cargo", "gcc", "libcap-ng-devel", "libseccomp-devel"]
        }
        PackageManager::Pacman => vec!["rust", "gcc", "libcap-ng", "libseccomp"],
        PackageManager::Emerge => vec!["dev-lang/rust-bin", "sys-libs/libcap-ng", "sys-libs/libseccomp"],
        // A shell with them: what follows is run in it.
        PackageManager::Nix => vec!["rustc", "cargo", "gcc", "libcap_ng", "libseccomp"],
        PackageManager::ImageBased => Vec::new(),
        PackageManager::Apk => vec!["rust", "cargo", "build-base", "libcap-ng-dev", "libseccomp-dev"],
    }
}

/// What QEMU's build needs.
pub(super) fn of_qemu(manager: PackageManager) -> Vec<&'static str> {
    match manager {
        PackageManager::Apt => vec![
            "gcc",
            "make",
            "ninja-build",
            "pkg-config",
            "python3-venv",
            "flex",
            "bison",
            "libglib2.0-dev",
            "libcap-ng-dev",
            "libseccomp-dev",
            "libattr1-dev",
            "libaio-dev",
            "liburing-dev",
            "libnuma-dev",
        ],
        PackageManager::ImageBased => Vec::new(),
        PackageManager::Dnf | PackageManager::Yum | PackageManager::Tdnf => vec![
            "gcc",
            "make",
            "ninja-build",
            "pkgconf-pkg-config",
            "python3",
            "flex",
            "bison",
            "glib2-devel",
            "libcap-ng-devel",
            "libseccomp-devel",
            "libattr-devel",
            "libaio-devel",
            "liburing-devel",
            "numactl-devel",
        ],
        PackageManager::Zypper => vec![
            "gcc",
            "make",
            "ninja",
            "pkg-config",
            "python3",
            "flex",
            "bison",
            "glib2-devel",
            "libcap-ng-devel",
            "libseccomp-devel",
            "libattr-devel",
            "libaio-devel",
            "liburing-devel",
            "libnuma-devel",
        ],
        PackageManager::Pacman => vec![
            "base-devel",
            "ninja",
            "python",
            "glib2",
            "libcap-ng",
            "libseccomp",
            "attr",
            "libaio",
            "liburing",
            "numactl",
        ],
        PackageManager::Emerge => vec![
            "dev-build/ninja",
            "dev-libs/glib",
            "sys-libs/libcap-ng",
            "sys-libs/libseccomp",
            "sys-apps/attr",
            "dev-libs/libaio",
            "sys-libs/liburing",
            "sys-process/numactl",
        ],
        PackageManager::Nix => vec![
            "gcc",
            "gnumake",
            "ninja",
            "pkg-config",
            "python3",
            "flex",
            "bison",
            "glib",
            "libcap_ng",
            "libseccomp",
            "attr",
            "libaio",
            "liburing",
            "numactl",
        ],
        PackageManager::Apk => vec![
            "build-base",
            "samurai",
            "pkgconf",
            "python3",
            "flex",
            "bison",
            "glib-dev",
            "libcap-ng-dev",
            "libseccomp-dev",
            "attr-dev",
            "libaio-dev",
            "liburing-dev",
            "numactl-dev",
            "linux-headers",
        ],
    }
}

/// Whether it is Debian 12, whose rustc is too old.
pub(super) fn is_bookworm(release: &Release) -> bool {
    release.distro == "debian" && release.version == "12"
}

/// The command that installs packages.
pub(super) fn install(manager: PackageManager, packages: &[&str]) -> String {
    let command = match manager {
        PackageManager::Apt => "apt-get update && apt-get install -y --no-install-recommends",
        PackageManager::Dnf => "dnf install -y",
        PackageManager::Yum => "yum install -y",
        PackageManager::Tdnf => "tdnf install -y",
        PackageManager::Zypper => "zypper --non-interactive install",
        PackageManager::Pacman => "pacman -S --noconfirm --needed",
        PackageManager::Apk => "apk add",
        PackageManager::Emerge => "emerge --noreplace",
        PackageManager::Nix => "nix-shell -p",
        PackageManager::ImageBased => {
            return "# Nothing is installed into this system: build it on another one, and copy the result here."
                .to_owned();
        }
    };
    let packages: Vec<String> = packages.iter().map(|p| quoted(p)).collect();
    format!("{command} {}", packages.join(" "))
}
