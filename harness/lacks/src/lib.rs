//! Tools and rights that tests need and this machine lacks; build scripts pass the list to the compiler. They also pass
//! it the commit that is built ([`set_commit`]).
//!
//! A test that needs root carries `#[cfg_attr(lacks = "root", ignore = "needs root")]`. Without root, `cargo test`
//! reports the test as ignored, with that reason, and never as passed. The `build.rs` of its crate calls [`set_cfg`]
//! with [`ROOT`] among its needs.
//!
//! - Such a reason begins with `needs `. `.ci/run` installs everything for it, and fails if a test was ignored for it.
//!   A reason that `.ci/run` cannot remove by installing something begins with `elsewhere: `.
//! - Tests fail by themselves for a need that no probe can check (a feature of the kernel, a mirror that answers).
//! - A release build is not probed, so that its result does not depend on this machine: its tests fail if something is
//!   lacking. A probe that fails counts as a lack, and each probe ends within a deadline: none can break or stop a
//!   build.
//!
//! # When the probes run again
//!
//! Whenever a build script has run, cargo compiles its crate and all dependents again, whatever the script printed, and
//! cargo runs a script each time if it is told to watch a path that does not exist. So the script watches only what may
//! end a lack, and only while there is one: the directories into which package managers install programs, or in which a
//! file is missing, `PATH`, `DOCKER_HOST`, Docker's socket if there is one, and the variables that have another value
//! for another user. On a machine that lacks nothing, nothing is watched; tests fail there if something is removed.
//! Some changes go unnoticed, such as a Docker engine that starts later and had no socket before:
//! `touch harness/lacks/src/lib.rs` runs all probes again.

mod commit;
mod docker;
mod machine;

pub use commit::set_commit;

use Condition::{Architecture, DockerEngine, File, LinuxCapability, Program, Root, Writable};

/// A need of tests, under the name that `cfg(lacks = "…")` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    name: &'static str,
    /// All conditions must hold.
    conditions: &'static [Condition],
}

/// A condition that a probe can check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// The effective user is root.
    Root,
    /// A capability in the effective set, by its number in `linux/capability.h`.
    LinuxCapability(u32),
    /// The architecture that the tests are compiled for, by rustc's name.
    Architecture(&'static str),
    /// A program in `PATH` or in the administrators' directories.
    Program(&'static str),
    /// At least one of these paths exists.
    File(&'static [&'static str]),
    /// The file may be opened for writing, which a filesystem that is mounted read-only refuses to root, too.
    Writable(&'static str),
    /// A Docker engine answers at `DOCKER_HOST` or at the usual socket.
    DockerEngine,
}

const MOUNTS: Condition = LinuxCapability(21);
const MAKES_NODES: Condition = LinuxCapability(27);

const fn need(name: &'static str, conditions: &'static [Condition]) -> Need {
    Need { name, conditions }
}

/// The user root.
pub const ROOT: Need = need("root", &[Root]);
/// Root that may mount and make namespaces, which root may not in many containers.
pub const MOUNTING: Need = need("mounting", &[Root, MOUNTS]);
/// Root that may make device nodes.
pub const NODES: Need = need("nodes", &[Root, MAKES_NODES]);
/// Root that may make device nodes, and control groups of version 2 with device rules below their root.
///
/// No package provides this: a machine may have version 1, or be a container that sees its groups read-only.
pub const DEVICE_RULES: Need =
    need("device-rules", &[Root, MOUNTS, MAKES_NODES, Writable("/sys/fs/cgroup/cgroup.subtree_control")]);

/// A Docker engine that answers.
pub const DOCKER: Need = need("docker", &[DockerEngine]);
/// A Docker engine that answers, and Docker's own command.
pub const DOCKER_COMMAND: Need = need("docker-command", &[DockerEngine, Program("docker")]);
/// A registry of container images.
pub const DOCKER_REGISTRY: Need = need("docker-registry", &[Program("docker-registry")]);
/// Tools that make images of releases.
pub const IMAGES: Need = need("images", &[Root, MOUNTS, Architecture("x86_64"), Program("mmdebstrap")]);
/// Tools that make images of releases with apt, and signed archives for them.
pub const APT_IMAGES: Need =
    need("apt-images", &[Root, MOUNTS, Architecture("x86_64"), Program("mmdebstrap"), Program("gpg")]);
/// Tools that make images of releases and run containers of them.
pub const CONTAINERS: Need =
    need("containers", &[Root, MOUNTS, Architecture("x86_64"), Program("mmdebstrap"), DockerEngine, Program("docker")]);
/// containerd's daemon.
pub const CONTAINERD: Need = need("containerd", &[Program("containerd")]);
/// Tools that run containers without Docker.
pub const RUNC: Need = need("runc", &[Root, MOUNTS, File(&["/usr/bin/containerd"]), Program("ctr"), Program("runc")]);

/// A QEMU for x86_64 at the path that Kata uses.
pub const QEMU: Need = need("qemu", &[File(&["/usr/bin/qemu-system-x86_64"])]);
/// The virtiofsd that was part of QEMU up to 7.2.
pub const C_VIRTIOFSD: Need = need("c-virtiofsd", &[File(&["/usr/lib/qemu/virtiofsd"])]);
/// The list of x86_64's system calls from the kernel's headers.
pub const SYSTEM_CALLS: Need =
    need("system-calls", &[File(&["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"])]);

/// apt, dpkg and the tools that make a repository for them, in scratch roots.
pub const APT: Need = need(
    "apt",
    &[Root, MOUNTS, Program("apt-get"), Program("dpkg"), Program("dpkg-deb"), Program("dpkg-scanpackages")],
);
/// dnf and the tools that make a repository for it, in scratch roots.
pub const DNF: Need = need(
    "dnf",
    &[
        Root,
        MOUNTS,
        Program("dnf"),
        Program("rpm"),
        Program("rpmbuild"),
        Program("createrepo_c"),
        Program("modifyrepo_c"),
    ],
);
/// Tools that make images of releases with RPMs, and signed repositories for them.
pub const DNF_IMAGES: Need = need(
    "dnf-images",
    &[
        Root,
        MOUNTS,
        Architecture("x86_64"),
        Program("dnf"),
        Program("rpm"),
        Program("rpmbuild"),
        Program("rpmsign"),
        Program("createrepo_c"),
        Program("gpg"),
        Program("ldd"),
    ],
);
/// zypper and the tools that make a repository for it, in scratch roots.
pub const ZYPPER: Need =
    need("zypper", &[Root, MOUNTS, Program("zypper"), Program("rpm"), Program("rpmbuild"), Program("createrepo_c")]);
/// pacman and the tools that make a repository for it, in scratch roots.
pub const PACMAN: Need =
    need("pacman", &[Root, MOUNTS, Program("pacman"), Program("repo-add"), Program("bsdtar"), Program("zstd")]);
/// Tools that make images of releases with pacman, and signed repositories for them.
pub const PACMAN_IMAGES: Need = need(
    "pacman-images",
    &[
        Root,
        MOUNTS,
        Architecture("x86_64"),
        Program("pacman"),
        Program("repo-add"),
        Program("bsdtar"),
        Program("zstd"),
        Program("curl"),
        Program("gpg"),
        Program("ldd"),
    ],
);
/// Tools that make images of releases with apk, from recorded calls, with this machine's bash in them.
pub const APK_IMAGES: Need =
    need("apk-images", &[Root, MOUNTS, Architecture("x86_64"), Program("curl"), Program("bash"), Program("ldd")]);
/// A machine with apt, used under an overlay.
pub const DEBIAN_SYSTEM: Need =
    need("debian-system", &[Root, MOUNTS, Program("apt-get"), Program("dpkg"), Program("unshare"), Program("chroot")]);
/// The tool that builds Debian packages.
pub const DEBHELPER: Need = need("debhelper", &[Program("dpkg-buildpackage"), Program("dh"), Program("dpkg-deb")]);
/// Debian's checker for packages.
pub const LINTIAN: Need = need("lintian", &[Program("lintian")]);
/// The tool that packs and unpacks Debian packages.
pub const DPKG_DEB: Need = need("dpkg-deb", &[Program("dpkg-deb")]);
/// A machine whose packages are managed by dpkg.
pub const DPKG_QUERY: Need = need("dpkg-query", &[File(&["/usr/bin/dpkg-query"])]);
/// The tool that reads apt's configuration.
pub const APT_CONFIG: Need = need("apt-config", &[Program("apt-config")]);

/// The tool that makes ext4 filesystems.
pub const MKE2FS: Need = need("mke2fs", &[Program("mke2fs")]);
/// The tool that lists a program's libraries.
pub const LDD: Need = need("ldd", &[Program("ldd")]);
/// The tool that fetches URLs.
pub const CURL: Need = need("curl", &[Program("curl")]);
/// A C compiler under its standard name, with the C library's headers.
pub const C_COMPILER: Need = need("c-compiler", &[Program("cc")]);
/// The linter for shell scripts.
pub const SHELLCHECK: Need = need("shellcheck", &[Program("shellcheck")]);
/// The tool that sends bug reports to Debian.
pub const REPORTBUG: Need = need("reportbug", &[Program("reportbug")]);
/// The tool with which tests make system calls fail.
pub const STRACE: Need = need("strace", &[Program("strace")]);
/// Go's own tools.
pub const GO: Need = need("go", &[Program("go")]);
/// Tools that the scripts of CI call.
pub const PIPELINE: Need =
    need("pipeline", &[Program("bash"), Program("jq"), Program("git"), Program("diff"), Program("realpath")]);
/// The tool with which shell scripts read JSON.
pub const JQ: Need = need("jq", &[Program("jq")]);
/// Python 3.
pub const PYTHON: Need = need("python3", &[Program("python3")]);
/// A browser and its driver.
pub const CHROMIUM: Need = need("chromium", &[Program("chromium"), Program("chromedriver")]);
/// The validator for XML.
pub const XMLLINT: Need = need("xmllint", &[Program("xmllint")]);
/// The reader of man pages.
pub const MAN: Need = need("man", &[Program("man"), Program("col")]);
/// The checker of systemd's units.
pub const SYSTEMD_ANALYZE: Need = need("systemd-analyze", &[Program("systemd-analyze"), Program("systemctl")]);
/// The shell bash.
pub const BASH: Need = need("bash", &[Program("bash")]);
/// The library that finds completions in bash.
pub const BASH_COMPLETION: Need =
    need("bash-completion", &[Program("bash"), File(&["/usr/share/bash-completion/bash_completion"])]);
/// The shell fish.
pub const FISH: Need = need("fish", &[Program("fish")]);
/// The shell zsh.
pub const ZSH: Need = need("zsh", &[Program("zsh")]);

/// For build scripts: sets `cfg(lacks = "…")` for each of `needs` that this machine lacks.
///
/// The compiler warns of a name that is not among `needs`.
pub fn set_cfg(needs: &[Need]) {
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let lacking = if is_release { Vec::new() } else { machine::lacking(needs) };
    for line in instructions(needs, &lacking).into_iter().chain(machine::watched(&lacking)) {
        println!("{line}");
    }
}

/// Returns cargo's instructions if the `lacking` conditions do not hold.
fn instructions(needs: &[Need], lacking: &[Condition]) -> Vec<String> {
    let names: Vec<String> = needs.iter().map(|need| format!("{:?}", need.name)).collect();
    let mut lines = vec![
        // Without this line cargo watches every file of the crate.
        "cargo::rerun-if-changed=build.rs".to_owned(),
        format!("cargo::rustc-check-cfg=cfg(lacks, values({}))", names.join(", ")),
    ];
    let lacked = needs.iter().filter(|need| need.conditions.iter().any(|condition| lacking.contains(condition)));
    lines.extend(lacked.map(|need| format!("cargo::rustc-cfg=lacks={:?}", need.name)));
    let mut variables: Vec<&str> = lacking.iter().flat_map(variables).copied().collect();
    variables.sort_unstable();
    variables.dedup();
    lines.extend(variables.iter().map(|variable| format!("cargo::rerun-if-env-changed={variable}")));
    lines
}

/// Lists the environment variables that may change when the condition begins to hold.
fn variables(condition: &Condition) -> &'static [&'static str] {
    match condition {
        // Cargo cannot watch the user's id; each way of becoming root changes one of these.
        Root | LinuxCapability(_) => &["HOME", "SUDO_UID", "USER"],
        Program(_) => &["PATH"],
        DockerEngine => &["DOCKER_HOST"],
        Architecture(_) | File(_) | Writable(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHES_ITSELF: &str = "cargo::rerun-if-changed=build.rs";

    #[test]
    fn without_unmet_conditions_only_the_build_script_is_watched() {
        assert_eq!(
            instructions(&[ROOT, APT], &[]),
            [WATCHES_ITSELF, "cargo::rustc-check-cfg=cfg(lacks, values(\"root\", \"apt\"))"]
        );
    }

    #[test]
    fn a_need_with_an_unmet_condition_is_lacking() {
        assert_eq!(
            instructions(&[ROOT, CONTAINERS, DOCKER, XMLLINT], &[DockerEngine]),
            [
                WATCHES_ITSELF,
                "cargo::rustc-check-cfg=cfg(lacks, values(\"root\", \"containers\", \"docker\", \"xmllint\"))",
                "cargo::rustc-cfg=lacks=\"containers\"",
                "cargo::rustc-cfg=lacks=\"docker\"",
                "cargo::rerun-if-env-changed=DOCKER_HOST",
            ]
        );
    }

    #[test]
    fn each_input_of_unmet_conditions_is_watched_once() {
        let lines = instructions(&[MOUNTING, APT], &[Root, MOUNTS, Program("apt-get"), Program("dpkg")]);
        assert_eq!(
            lines[2..],
            [
                "cargo::rustc-cfg=lacks=\"mounting\"",
                "cargo::rustc-cfg=lacks=\"apt\"",
                "cargo::rerun-if-env-changed=HOME",
                "cargo::rerun-if-env-changed=PATH",
                "cargo::rerun-if-env-changed=SUDO_UID",
                "cargo::rerun-if-env-changed=USER",
            ]
        );
    }
}
