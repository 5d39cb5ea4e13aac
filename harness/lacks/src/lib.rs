//! What this machine lacks that tests need; build scripts tell it to the compiler.
//! They also tell it which commit is built ([`tell_commit`]).
//!
//! A test that needs root carries `#[cfg_attr(lacks = "root", ignore = "needs root")]`.
//! Where root is lacking, `cargo test` reports it as ignored, with that reason, and never as passed.
//! The `build.rs` of its crate calls [`tell`] with [`ROOT`] among its needs.
//!
//! - Such a reason begins with `needs `. `.ci/run` installs all of that, and fails if a test was ignored for it.
//!   What `.ci/run` cannot install has a reason that begins with `elsewhere: `.
//! - What a probe cannot find out (a feature of the kernel, a mirror that answers) is left to the test, which fails.
//! - A release build is not probed, so that what is shipped depends on nothing here: its tests fail where something is
//!   lacking. A probe that fails counts as a lack, and each one ends within a deadline: none can break or stop a build.
//!
//! # When it is asked again
//!
//! Cargo compiles a crate and all that use it again whenever its build script has run, whatever the script printed, and
//! runs a script each time that is told to watch a path that does not exist. So only what may end a lack is watched, where
//! there is one: the folders that package managers install programs into, or that a file is missing in, `PATH`,
//! `DOCKER_HOST`, Docker's socket if there is one, and the variables that another user has another value of. On a machine
//! that lacks nothing, nothing is watched; what is gone there fails its tests. An engine that was started later, for one,
//! goes unnoticed where it had no socket before: `touch harness/lacks/src/lib.rs` has everything asked again.

mod commit;
mod docker;
mod machine;

pub use commit::tell_commit;

use Condition::{Architecture, DockerEngine, File, LinuxCapability, Program, Root, Writable};

/// Something that tests need, under the name that `cfg(lacks = "…")` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    name: &'static str,
    /// All of them must hold.
    conditions: &'static [Condition],
}

/// What a probe can find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    /// The effective user is root.
    Root,
    /// By its number in `linux/capability.h`, in the effective set.
    LinuxCapability(u32),
    /// What the tests are compiled for, as rustc names it.
    Architecture(&'static str),
    /// In `PATH`, or where administrators' programs are.
    Program(&'static str),
    /// Any of these paths exists.
    File(&'static [&'static str]),
    /// This file may be opened for writing, which a filesystem that is mounted read-only refuses to root, too.
    Writable(&'static str),
    /// One answers at `DOCKER_HOST`, or at the usual socket.
    DockerEngine,
}

const MOUNTS: Condition = LinuxCapability(21);
const MAKES_NODES: Condition = LinuxCapability(27);

const fn need(name: &'static str, conditions: &'static [Condition]) -> Need {
    Need { name, conditions }
}

/// The user root.
pub const ROOT: Need = need("root", &[Root]);
/// Root that may mount and make namespaces, which it may not in many containers.
pub const MOUNTING: Need = need("mounting", &[Root, MOUNTS]);
/// Root that may make device nodes.
pub const NODES: Need = need("nodes", &[Root, MAKES_NODES]);
/// Root that may make device nodes, and control groups of version 2 with rules on devices below their root.
///
/// No package brings that: a machine may have version 1, or be a container that sees its groups read-only.
pub const DEVICE_RULES: Need =
    need("device-rules", &[Root, MOUNTS, MAKES_NODES, Writable("/sys/fs/cgroup/cgroup.subtree_control")]);

/// A Docker engine that answers.
pub const DOCKER: Need = need("docker", &[DockerEngine]);
/// The same, and Docker's own command.
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

/// A QEMU for x86_64, where Kata looks for it.
pub const QEMU: Need = need("qemu", &[File(&["/usr/bin/qemu-system-x86_64"])]);
/// The virtiofsd that came with QEMU up to 7.2.
pub const C_VIRTIOFSD: Need = need("c-virtiofsd", &[File(&["/usr/lib/qemu/virtiofsd"])]);
/// The list of x86_64's system calls that the kernel's headers have.
pub const SYSTEM_CALLS: Need =
    need("system-calls", &[File(&["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"])]);

/// apt and dpkg, and what makes a repository for them, in scratch roots.
pub const APT: Need = need(
    "apt",
    &[Root, MOUNTS, Program("apt-get"), Program("dpkg"), Program("dpkg-deb"), Program("dpkg-scanpackages")],
);
/// dnf, and what makes a repository for it, in scratch roots.
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
/// zypper, and what makes a repository for it, in scratch roots.
pub const ZYPPER: Need =
    need("zypper", &[Root, MOUNTS, Program("zypper"), Program("rpm"), Program("rpmbuild"), Program("createrepo_c")]);
/// pacman, and what makes a repository for it, in scratch roots.
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
/// Tools that make images of releases with apk by recorded calls, and of bash.
pub const APK_IMAGES: Need =
    need("apk-images", &[Root, MOUNTS, Architecture("x86_64"), Program("curl"), Program("bash"), Program("ldd")]);
/// A machine with apt, under an overlay.
pub const DEBIAN_SYSTEM: Need =
    need("debian-system", &[Root, MOUNTS, Program("apt-get"), Program("dpkg"), Program("unshare"), Program("chroot")]);
/// The tool that builds Debian packages.
pub const DEBHELPER: Need = need("debhelper", &[Program("dpkg-buildpackage"), Program("dh"), Program("dpkg-deb")]);
/// Debian's opinion of packages.
pub const LINTIAN: Need = need("lintian", &[Program("lintian")]);
/// The tool that packs and unpacks Debian packages.
pub const DPKG_DEB: Need = need("dpkg-deb", &[Program("dpkg-deb")]);
/// A machine whose packages are dpkg's.
pub const DPKG_QUERY: Need = need("dpkg-query", &[File(&["/usr/bin/dpkg-query"])]);
/// What reads apt's configuration.
pub const APT_CONFIG: Need = need("apt-config", &[Program("apt-config")]);

/// The tool that makes ext4 filesystems.
pub const MKE2FS: Need = need("mke2fs", &[Program("mke2fs")]);
/// Tells which libraries a program has.
pub const LDD: Need = need("ldd", &[Program("ldd")]);
/// Fetches addresses.
pub const CURL: Need = need("curl", &[Program("curl")]);
/// A C compiler under its standard name, with the C library's headers.
pub const C_COMPILER: Need = need("c-compiler", &[Program("cc")]);
/// Lints shell scripts.
pub const SHELLCHECK: Need = need("shellcheck", &[Program("shellcheck")]);
/// Sends reports to Debian.
pub const REPORTBUG: Need = need("reportbug", &[Program("reportbug")]);
/// Makes system calls lie.
pub const STRACE: Need = need("strace", &[Program("strace")]);
/// Go's own tools.
pub const GO: Need = need("go", &[Program("go")]);
/// What the scripts of CI call.
pub const PIPELINE: Need =
    need("pipeline", &[Program("bash"), Program("jq"), Program("git"), Program("diff"), Program("realpath")]);
/// Reads JSON in shell scripts.
pub const JQ: Need = need("jq", &[Program("jq")]);
/// Python 3.
pub const PYTHON: Need = need("python3", &[Program("python3")]);
/// A browser, and what drives it.
pub const CHROMIUM: Need = need("chromium", &[Program("chromium"), Program("chromedriver")]);
/// Validates XML.
pub const XMLLINT: Need = need("xmllint", &[Program("xmllint")]);
/// Reads man pages.
pub const MAN: Need = need("man", &[Program("man"), Program("col")]);
/// Verifies systemd's units.
pub const SYSTEMD_ANALYZE: Need = need("systemd-analyze", &[Program("systemd-analyze"), Program("systemctl")]);
/// The shell bash.
pub const BASH: Need = need("bash", &[Program("bash")]);
/// What finds completions in bash.
pub const BASH_COMPLETION: Need =
    need("bash-completion", &[Program("bash"), File(&["/usr/share/bash-completion/bash_completion"])]);
/// The shell fish.
pub const FISH: Need = need("fish", &[Program("fish")]);
/// The shell zsh.
pub const ZSH: Need = need("zsh", &[Program("zsh")]);

/// For build scripts: sets `cfg(lacks = "…")` for each of `needs` that this machine lacks.
///
/// A name that is not among `needs` is one that the compiler warns of.
pub fn tell(needs: &[Need]) {
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let lacking = if is_release { Vec::new() } else { machine::lacking(needs) };
    for line in instructions(needs, &lacking).into_iter().chain(machine::watched(&lacking)) {
        println!("{line}");
    }
}

/// What cargo is told where these conditions do not hold.
fn instructions(needs: &[Need], lacking: &[Condition]) -> Vec<String> {
    let names: Vec<String> = needs.iter().map(|need| format!("{:?}", need.name)).collect();
    let mut lines = vec![
        // Else cargo watches every file of the crate.
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

/// The environment variables of which another value may mean that the condition holds.
fn variables(condition: &Condition) -> &'static [&'static str] {
    match condition {
        // Cargo cannot watch who it is run by; each way of becoming root changes one of these.
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
    fn a_machine_that_lacks_nothing_is_watched_for_nothing() {
        assert_eq!(
            instructions(&[ROOT, APT], &[]),
            [WATCHES_ITSELF, "cargo::rustc-check-cfg=cfg(lacks, values(\"root\", \"apt\"))"]
        );
    }

    #[test]
    fn every_need_with_a_condition_that_does_not_hold_is_lacking() {
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
    fn what_may_end_a_lack_is_watched_once() {
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
