//! Package managers: their names in records, their distros' names of packages and architectures, and the commands that
//! query installed packages.

use crate::arch::Arch;
use serde::{Deserialize, Serialize};

/// A package manager that the database knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Enterprise Linux ≥ 8.
    Dnf,
    /// Enterprise Linux 7, Amazon Linux 2.
    Yum,
    /// Photon OS, Azure Linux up to 3.
    Tdnf,
    /// openSUSE, SLES.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
    /// Gentoo.
    Emerge,
    /// NixOS.
    Nix,
    /// None: the system is an image, and packages cannot be installed.
    #[serde(rename = "none")]
    ImageBased,
}

impl PackageManager {
    /// All package managers.
    pub const ALL: &'static [PackageManager] = &[
        PackageManager::Apt,
        PackageManager::Dnf,
        PackageManager::Yum,
        PackageManager::Tdnf,
        PackageManager::Zypper,
        PackageManager::Pacman,
        PackageManager::Apk,
        PackageManager::Emerge,
        PackageManager::Nix,
        PackageManager::ImageBased,
    ];

    /// Returns the word in a record, `package-manager:`.
    pub fn name(self) -> &'static str {
        self.words().name
    }

    /// Whether the manager can have a package of that name, which is [plain](crate::package::is_plain).
    pub(crate) fn has_names_like(self, name: &str) -> bool {
        (self.words().is_name)(name)
    }

    /// Returns the distros' name of an architecture, as in their packages and repositories.
    fn native_name(self, arch: Arch) -> &'static str {
        (self.words().arch)(arch)
    }

    /// Returns the architecture that some distro calls `name`, if that is not Kata's name for it.
    pub(crate) fn arch_called(name: &str) -> Option<Arch> {
        let called = |arch: &Arch| PackageManager::ALL.iter().any(|manager| manager.native_name(*arch) == name);
        Arch::ALL.iter().copied().filter(|arch| arch.name() != name).find(called)
    }

    /// Whether a signed index is of one release, as apt's is: its name is looked up by the suite.
    ///
    /// With other managers the same key signs every release, updates that are still tested and what is in development,
    /// so that only the repositories of the distro's own image show which of these packages come from.
    pub fn has_index_of_one_release(self) -> bool {
        self == PackageManager::Apt
    }

    /// Returns the commands that query installed packages; `None` if they are not written yet, or nothing can be
    /// installed.
    pub fn questions(self) -> Option<Questions> {
        self.words().questions
    }

    /// Returns the manager's vocabulary.
    fn words(self) -> Words {
        let rpm = |name| Words { name, is_name: is_rpms, arch: Arch::name, questions: Some(RPM) };
        match self {
            PackageManager::Apt => {
                Words { name: "apt", is_name: is_debians, arch: Arch::debian_name, questions: Some(DPKG) }
            }
            PackageManager::Dnf => rpm("dnf"),
            PackageManager::Yum => rpm("yum"),
            PackageManager::Tdnf => rpm("tdnf"),
            PackageManager::Zypper => rpm("zypper"),
            PackageManager::Pacman => Words {
                name: "pacman",
                is_name: |name| is_lower(name) && has_only(name, "+-._@") && !name.contains(".pkg.tar"),
                arch: Arch::name,
                questions: Some(PACMAN),
            },
            PackageManager::Apk => Words {
                name: "apk",
                is_name: |name| has_only(name, "+-._") && !name.ends_with(".apk"),
                arch: Arch::name,
                questions: Some(APK),
            },
            PackageManager::Emerge => Words { name: "emerge", is_name: is_gentoos, arch: gentoo_arch, questions: None },
            PackageManager::Nix => {
                Words { name: "nix", is_name: |name| has_only(name, "-._"), arch: nix_system, questions: None }
            }
            PackageManager::ImageBased => Words { name: "none", is_name: |_| false, arch: Arch::name, questions: None },
        }
    }
}

/// Vocabulary of a package manager.
struct Words {
    name: &'static str,
    /// Whether a plain name is valid. Other names have another meaning to the manager's tools: a path, an address, a
    /// file, an option.
    is_name: fn(&str) -> bool,
    arch: fn(Arch) -> &'static str,
    questions: Option<Questions>,
}

/// Commands that query a package manager for installed packages.
#[derive(Debug, Clone, Copy)]
pub struct Questions {
    /// Asks for a package's version, formatted for people; the package's name is appended.
    pub version: &'static [&'static str],
    /// Options before the name that make the output machine-readable.
    exactly: &'static [&'static str],
    /// Extracts the version from the output of the exact query, given the package's name.
    read: for<'a> fn(&'a str, &str) -> &'a str,
    /// Asks for the package that owns a file; the path is appended, and the output begins with the package's name.
    pub owner: &'static [&'static str],
}

impl Questions {
    /// Builds the query for a package's version in the form that [`Questions::version_in`] reads.
    pub fn exact_version<'n>(&self, name: &'n str) -> Vec<&'n str> {
        self.version.iter().chain(self.exactly).copied().chain([name]).collect()
    }

    /// Extracts the version from the output; empty if the package is not installed and configured.
    pub fn version_in<'a>(&self, output: &'a str, name: &str) -> &'a str {
        (self.read)(output, name)
    }

    /// Extracts the package's name, without its architecture, from the output of the query for a file's owner; `None`
    /// if no package owns the file.
    pub fn owner_in<'a>(&self, output: &'a str) -> Option<&'a str> {
        // dpkg names the package that diverts a file before the file's owner: `diversion by dash from: /bin/sh`.
        let mut lines = output.lines().filter(|line| !line.starts_with("diversion by "));
        let first_word = |line: &'a str| line.split([':', ',', ' ']).next().filter(|word| !word.is_empty());
        lines.find_map(first_word)
    }
}

/// Returns the paths under which a package may list a file that is not a link: its own, and the one before or after the
/// /usr merge.
pub fn usr_merge_names(path: &str) -> impl Iterator<Item = String> {
    let is_merged = |path: &str| ["/bin/", "/sbin/", "/lib"].iter().any(|folder| path.starts_with(folder));
    let other = match path.strip_prefix("/usr").filter(|rest| is_merged(rest)) {
        Some(rest) => Some(rest.to_owned()),
        None => is_merged(path).then(|| format!("/usr{path}")),
    };
    std::iter::once(path.to_owned()).chain(other)
}

const DPKG: Questions = Questions {
    version: &["dpkg-query", "--show"],
    exactly: &["--showformat=${db:Status-Abbrev}\t${Version}\n"],
    read: dpkgs_version,
    owner: &["dpkg-query", "--search"],
};

const RPM: Questions = Questions {
    version: &["rpm", "-q"],
    // With the epoch, as in images' manifests: `2:10.0.3-1.fc44`.
    exactly: &["--whatprovides", "--qf", "%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n"],
    read: rpms_version,
    owner: &["rpm", "-qf", "--qf", "%{NAME}: \n"],
};

const PACMAN: Questions =
    Questions { version: &["pacman", "-Q"], exactly: &[], read: pacmans_version, owner: &["pacman", "-Qqo"] };

/// According to the source of apk 2.12 and 3 (`app_info.c`): without `-e` apk prints a description, and without `-q`
/// the path first.
const APK: Questions = Questions {
    version: &["apk", "info", "-e", "-v"],
    exactly: &[],
    read: apks_version,
    owner: &["apk", "info", "-q", "-W"],
};

/// Finds the first `ii ` line, the state of an installed and configured package; several lines are several
/// architectures.
fn dpkgs_version<'a>(output: &'a str, _: &str) -> &'a str {
    output.lines().find_map(|line| line.strip_prefix("ii \t")).unwrap_or_default()
}

fn rpms_version<'a>(output: &'a str, _: &str) -> &'a str {
    output.trim()
}

/// Parses `NAME VERSION`.
fn pacmans_version<'a>(output: &'a str, _: &str) -> &'a str {
    output.trim().split_once(' ').unwrap_or_default().1
}

/// Parses `NAME-VERSION`.
fn apks_version<'a>(output: &'a str, name: &str) -> &'a str {
    output.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default()
}

/// Whether a text begins with a letter or a digit and otherwise has only letters, digits and characters of `more`.
fn has_only(text: &str, more: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || (c == '_' && more.contains('_')))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn is_lower(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_uppercase())
}

/// Checks a name by Debian Policy 5.6.7, with an optional architecture.
fn is_debians(whole: &str) -> bool {
    let (name, arch) = whole.split_once(':').unwrap_or((whole, "any"));
    // apt interprets a trailing `-` as "remove it".
    is_lower(whole) && !whole.ends_with('-') && has_only(name, "+-.") && has_only(arch, "-") && !name.ends_with(".deb")
}

/// Checks a name with an optional epoch and version, or architecture. zypper does not take `pattern:x` as a package,
/// and no package is named `1:x`.
fn is_rpms(name: &str) -> bool {
    let epoch_only = name.split_once(':').is_none_or(|(before, _)| {
        before.rsplit_once('-').is_some_and(|(name, epoch)| {
            !name.is_empty() && !epoch.is_empty() && epoch.chars().all(|c| c.is_ascii_digit())
        })
    });
    has_only(name, "+-._:") && epoch_only && !name.ends_with(".rpm")
}

fn is_gentoos(name: &str) -> bool {
    let (category, package) = name.split_once('/').unwrap_or(("x", name));
    has_only(category, "+-._") && has_only(package, "+-._:") && !name.ends_with(".ebuild")
}

/// Returns the name in Gentoo's profiles.
fn gentoo_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
        // One name for both byte orders.
        Arch::Ppc64le => "ppc64",
        Arch::S390x => "s390",
    }
}

/// Returns nix's name of the system.
fn nix_system(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64-linux",
        Arch::Aarch64 => "aarch64-linux",
        Arch::Ppc64le => "powerpc64le-linux",
        Arch::S390x => "s390x-linux",
    }
}

impl std::fmt::Display for PackageManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_manager_serializes_as_its_displayed_name() {
        for manager in PackageManager::ALL {
            assert_eq!(serde_json::to_string(manager).unwrap(), format!("\"{manager}\""));
        }
    }

    #[test]
    fn a_package_version_is_parsed_from_the_query_output() {
        let read = |manager: PackageManager, output, name| manager.questions().unwrap().version_in(output, name);
        let qemu = "qemu";
        assert_eq!(read(PackageManager::Apt, "rc \t1\nii \t1:10.0.3+ds-0+deb13u1\n", qemu), "1:10.0.3+ds-0+deb13u1");
        assert_eq!(read(PackageManager::Apt, "iU \t1\n", qemu), "", "it is only unpacked");
        assert_eq!(read(PackageManager::Zypper, "2:10.0.3-1.fc44\n", qemu), "2:10.0.3-1.fc44");
        assert_eq!(read(PackageManager::Pacman, "qemu-base 10.1.2-1\n", "qemu-base"), "10.1.2-1");
        assert_eq!(read(PackageManager::Apk, "qemu-img-10.0.3-r1\n", "qemu-img"), "10.0.3-r1");
        assert_eq!(read(PackageManager::Apk, "qemu-10.0.3-r1 description:\n", "qemu-img"), "");
        let query = PackageManager::Dnf.questions().unwrap().exact_version(qemu);
        assert_eq!((&query[..2], query.last().copied()), (&["rpm", "-q"][..], Some(qemu)));
    }

    #[test]
    fn the_owner_of_a_file_is_parsed_from_the_query_output() {
        let owner = |manager: PackageManager, output| manager.questions().unwrap().owner_in(output);
        assert_eq!(owner(PackageManager::Apt, "qemu-utils:amd64: /usr/bin/qemu-img\n"), Some("qemu-utils"));
        let diverted = "diversion by dash from: /bin/sh\ndiversion by dash to: /bin/sh.distrib\ndash: /bin/sh\n";
        assert_eq!(owner(PackageManager::Apt, diverted), Some("dash"));
        assert_eq!(owner(PackageManager::Dnf, "qemu-kvm-core: \n"), Some("qemu-kvm-core"));
        assert_eq!(owner(PackageManager::Pacman, "qemu-base\n"), Some("qemu-base"));
        assert_eq!(owner(PackageManager::Apk, "\n"), None);
    }

    #[test]
    fn a_file_has_names_before_and_after_the_usr_merge() {
        for (path, expected) in [
            ("/usr/bin/kvm", &["/usr/bin/kvm", "/bin/kvm"][..]),
            ("/lib64/ld.so", &["/lib64/ld.so", "/usr/lib64/ld.so"]),
            ("/usr/share/x", &["/usr/share/x"]),
            ("/boot/vmlinuz", &["/boot/vmlinuz"]),
        ] {
            assert_eq!(usr_merge_names(path).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn each_package_manager_has_its_own_arch_names() {
        let names = |manager: PackageManager| Arch::ALL.iter().map(|a| manager.native_name(*a)).collect::<Vec<_>>();
        assert_eq!(names(PackageManager::Apt), ["amd64", "arm64", "ppc64el", "s390x"]);
        assert_eq!(names(PackageManager::Emerge), ["amd64", "arm64", "ppc64", "s390"]);
        assert_eq!(names(PackageManager::Nix)[2], "powerpc64le-linux");
        for manager in [PackageManager::Dnf, PackageManager::Zypper, PackageManager::Pacman, PackageManager::Apk] {
            assert_eq!(names(manager), ["x86_64", "aarch64", "ppc64le", "s390x"]);
        }
        assert_eq!(PackageManager::arch_called("arm64"), Some(Arch::Aarch64));
        assert_eq!(PackageManager::arch_called("s390x-linux"), Some(Arch::S390x));
        assert_eq!(PackageManager::arch_called("s390x"), None, "that is Kata's own");
        assert_eq!(PackageManager::arch_called("riscv64"), None);
    }
}
