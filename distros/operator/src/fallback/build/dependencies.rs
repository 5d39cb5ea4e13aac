//! Packages that a build needs, by package manager.

use model::distro::Target;
use model::package_manager::PackageManager;
use model::release::Release;
use model::shell::quoted;

/// The names that a package manager's distros give to build dependencies.
#[derive(Clone, Copy)]
struct Build {
    /// The command that installs packages.
    install: &'static str,
    virtiofsd: &'static [&'static str],
    qemu: &'static [&'static str],
}

/// The release that instructions were tried on.
pub(super) const BOOKWORM: Target = Target::constant("debian", "12");

const APT: Build = Build {
    install: "apt-get update && apt-get install -y --no-install-recommends",
    virtiofsd: &[
        "rustc",
        "cargo",
        "gcc",
        "libc6-dev",
        "pkg-config",
        "libcap-ng-dev",
        "libseccomp-dev",
        "ca-certificates",
    ],
    qemu: &[
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
};

const DNF: Build = Build {
    install: "dnf install -y",
    virtiofsd: &["rust", "cargo", "gcc", "libcap-ng-devel", "libseccomp-devel"],
    qemu: &[
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
};

const ZYPPER: Build = Build {
    install: "zypper --non-interactive install",
    virtiofsd: &["rust", "cargo", "gcc", "libcap-ng-devel", "libseccomp-devel"],
    qemu: &[
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
};

const PACMAN: Build = Build {
    install: "pacman -S --noconfirm --needed",
    virtiofsd: &["rust", "gcc", "libcap-ng", "libseccomp"],
    qemu: &[
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
};

const APK: Build = Build {
    install: "apk add",
    virtiofsd: &["rust", "cargo", "build-base", "libcap-ng-dev", "libseccomp-dev"],
    qemu: &[
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
};

const EMERGE: Build = Build {
    install: "emerge --noreplace",
    virtiofsd: &["dev-lang/rust-bin", "sys-libs/libcap-ng", "sys-libs/libseccomp"],
    qemu: &[
        "dev-build/ninja",
        "dev-libs/glib",
        "sys-libs/libcap-ng",
        "sys-libs/libseccomp",
        "sys-apps/attr",
        "dev-libs/libaio",
        "sys-libs/liburing",
        "sys-process/numactl",
    ],
};

/// The command opens a shell with the packages, in which the following commands run.
const NIX: Build = Build {
    install: "nix-shell -p",
    virtiofsd: &["rustc", "cargo", "gcc", "libcap_ng", "libseccomp"],
    qemu: &[
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
};

impl Build {
    /// Returns the packages' names; `None` if the package manager cannot install any.
    fn of(manager: PackageManager) -> Option<Build> {
        Some(match manager {
            PackageManager::Apt => APT,
            PackageManager::Dnf => DNF,
            PackageManager::Yum => Build { install: "yum install -y", ..DNF },
            PackageManager::Tdnf => Build { install: "tdnf install -y", ..DNF },
            PackageManager::Zypper => ZYPPER,
            PackageManager::Pacman => PACMAN,
            PackageManager::Apk => APK,
            PackageManager::Emerge => EMERGE,
            PackageManager::Nix => NIX,
            PackageManager::ImageBased => return None,
        })
    }
}

/// Returns the packages that virtiofsd's build needs.
pub(super) fn of_virtiofsd(release: &Release) -> Vec<&'static str> {
    // bookworm's own rustc is 1.63; rustc-web is the version with which its browsers are built.
    let named = |name: &'static str| match name {
        "rustc" if is_bookworm(release) => "rustc-web",
        "cargo" if is_bookworm(release) => "cargo-web",
        name => name,
    };
    let names = Build::of(release.package_manager).map(|build| build.virtiofsd).unwrap_or_default();
    names.iter().copied().map(named).collect()
}

/// Returns the packages that QEMU's build needs.
pub(super) fn of_qemu(manager: PackageManager) -> Vec<&'static str> {
    Build::of(manager).map(|build| build.qemu.to_vec()).unwrap_or_default()
}

/// Returns whether the release is Debian 12, whose rustc is too old, or derives from it.
pub(super) fn is_bookworm(release: &Release) -> bool {
    release.is_or_derives_from(&BOOKWORM)
}

/// Returns the command that installs packages.
pub(super) fn install(manager: PackageManager, packages: &[&str]) -> String {
    let Some(Build { install, .. }) = Build::of(manager) else {
        return "# Nothing is installed into this system: build it on another one, and copy the result here."
            .to_owned();
    };
    let packages: Vec<String> = packages.iter().map(|p| quoted(p)).collect();
    format!("{install} {}", packages.join(" "))
}
