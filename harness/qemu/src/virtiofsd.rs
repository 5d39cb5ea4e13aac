//! virtiofsd command lines of each runtime family.

use crate::launch::{Arg, ArgumentForm, FdPurpose, InheritedFd, Launch};
use model::profile::{DaemonStyle, Profile};

/// Descriptor on which the Go runtime passes the listening socket to virtiofsd, the first one after standard error
/// (`src/runtime/virtcontainers/virtiofsd.go`).
const SOCKET_FD: i32 = 3;

/// Paths of one virtiofsd process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtiofsdInstance {
    /// The binary.
    pub path: String,
    /// The directory to share.
    pub shared_dir: String,
    /// The Unix socket that QEMU connects to. Under runtime-rs virtiofsd creates it; under the Go runtime the caller
    /// listens on it and passes the listener as [`FdPurpose::Virtiofsd`].
    pub socket: String,
}

/// Returns the virtiofsd launch of Kata under this profile, for the shipped configuration with guest SELinux disabled.
pub fn launch(profile: &Profile, daemon: &VirtiofsdInstance) -> Launch {
    let generate = |form| arguments(profile, daemon, form);
    let mut launch = Launch::new(
        &profile.name,
        &profile.tag,
        &daemon.path,
        generate(ArgumentForm::Real),
        generate(ArgumentForm::Normal),
    );
    launch.fds = match profile.virtiofsd.style {
        DaemonStyle::DashO | DaemonStyle::LongFd => {
            vec![InheritedFd { number: SOCKET_FD, purpose: FdPurpose::Virtiofsd }]
        }
        DaemonStyle::LongSocket => Vec::new(),
    };
    launch
}

/// Returns the whole command line of [`launch`], the binary first.
pub fn argv(profile: &Profile, daemon: &VirtiofsdInstance) -> Vec<String> {
    launch(profile, daemon).argv()
}

fn arguments(profile: &Profile, daemon: &VirtiofsdInstance, form: ArgumentForm) -> Vec<Arg> {
    let dir = form.pick(&daemon.shared_dir, "share");
    let cache = &profile.virtiofsd.cache;
    let mut args = match profile.virtiofsd.style {
        // `args` in src/runtime/virtcontainers/virtiofsd.go@2.2.0 and @3.1.2.
        DaemonStyle::DashO => vec![
            Arg::flag("--syslog"),
            Arg::new("-o", format!("cache={cache}")),
            Arg::new("-o", "no_posix_lock"),
            Arg::new("-o", format!("source={dir}")),
            Arg::flag(format!("--fd={SOCKET_FD}")),
            Arg::flag("-f"),
        ],
        // `args` in src/runtime/virtcontainers/virtiofsd.go@3.1.3 and @4.1.0.
        DaemonStyle::LongFd => vec![
            Arg::flag("--syslog"),
            Arg::flag(format!("--cache={cache}")),
            Arg::flag(format!("--shared-dir={dir}")),
            Arg::flag(format!("--fd={SOCKET_FD}")),
        ],
        // `virtiofsd_args` in src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0.
        DaemonStyle::LongSocket => vec![
            Arg::new("--socket-path", form.pick(&daemon.socket, "virtiofsd")),
            Arg::new("--shared-dir", dir),
            Arg::new("--cache", cache.as_str()),
        ],
    };
    let mut extra = profile.virtiofsd.extra_args.iter().peekable();
    while let Some(flag) = extra.next() {
        match extra.next_if(|next| !next.starts_with('-')) {
            Some(value) => args.push(Arg::new(flag, value.as_str())),
            None => args.push(Arg::flag(flag.as_str())),
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::apply_to_daemon;
    use crate::deviation::Deviation;
    use model::profile::DaemonSetting;

    fn daemon() -> VirtiofsdInstance {
        VirtiofsdInstance {
            path: "/usr/libexec/virtiofsd".to_owned(),
            shared_dir: "/run/kata/shared".to_owned(),
            socket: "/run/vc/vm/s1/vhost-fs.sock".to_owned(),
        }
    }

    fn line(profile: &str) -> String {
        argv(Profile::find(profile).unwrap(), &daemon()).join(" ")
    }

    #[test]
    fn each_family_has_its_own_command_line() {
        insta::assert_snapshot!(
            ["go-2.2", "go-2.4", "go-3.2", "go-3.32", "rs-4.1"].map(|name| format!("{name}: {}", line(name))).join("\n"),
            @r"
        go-2.2: /usr/libexec/virtiofsd --syslog -o cache=auto -o no_posix_lock -o source=/run/kata/shared --fd=3 -f --thread-pool-size=1
        go-2.4: /usr/libexec/virtiofsd --syslog -o cache=auto -o no_posix_lock -o source=/run/kata/shared --fd=3 -f --thread-pool-size=1 -o announce_submounts
        go-3.2: /usr/libexec/virtiofsd --syslog --cache=auto --shared-dir=/run/kata/shared --fd=3 --thread-pool-size=1 --announce-submounts
        go-3.32: /usr/libexec/virtiofsd --syslog --cache=auto --shared-dir=/run/kata/shared --fd=3 --thread-pool-size=1 --announce-submounts
        rs-4.1: /usr/libexec/virtiofsd --socket-path /run/vc/vm/s1/vhost-fs.sock --shared-dir /run/kata/shared --cache auto --thread-pool-size=1 -o announce_submounts
        "
        );
    }

    #[test]
    fn deviations_use_the_argument_style_of_the_family() {
        let acl = Deviation::DaemonSetting { setting: DaemonSetting::Acl };
        let deviations = [Deviation::DaemonSandbox, acl, Deviation::Accelerator];
        let ends = ["go-3.1", "go-3.32", "rs-4.1"].map(|name| {
            let mut launch = launch(Profile::find(name).unwrap(), &daemon());
            let before = launch.argv().len();
            apply_to_daemon(&mut launch, &deviations).unwrap();
            assert_eq!(launch.deviations.len(), 2, "the accelerator is QEMU's");
            launch.argv().split_off(before).join(" ")
        });
        assert_eq!(
            ends,
            [
                "-o sandbox=chroot -o xattr -o posix_acl",
                "--sandbox=chroot --xattr --posix-acl",
                "--sandbox=chroot --xattr --posix-acl"
            ]
        );
    }

    #[test]
    fn a_setting_replaces_or_adds_an_argument() {
        let changed_arguments = |name: &str, setting| {
            let mut launch = launch(Profile::find(name).unwrap(), &daemon());
            let before = launch.argv();
            apply_to_daemon(&mut launch, &[Deviation::DaemonSetting { setting }]).unwrap();
            let after = launch.argv();
            let new: Vec<&str> = after.iter().filter(|word| !before.contains(word)).map(String::as_str).collect();
            format!("{} (+{})", new.join(" "), after.len() - before.len())
        };
        let settings = [
            DaemonSetting::CacheNever,
            DaemonSetting::CacheMetadata,
            DaemonSetting::CacheAlways,
            DaemonSetting::ThreadPool,
            DaemonSetting::SandboxNone,
            DaemonSetting::FewDescriptors,
            DaemonSetting::XattrMap,
            DaemonSetting::WriteBack,
            DaemonSetting::UncachedMaps,
            DaemonSetting::TranslatedIds,
        ];
        let lines = settings.iter().flat_map(|setting| {
            ["go-3.1", "go-3.32", "rs-4.1"]
                .map(|name| format!("{name} {setting:?}: {}", changed_arguments(name, *setting)))
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r"
        go-3.1 CacheNever: cache=never (+0)
        go-3.32 CacheNever: --cache=never (+0)
        rs-4.1 CacheNever: never (+0)
        go-3.1 CacheMetadata: cache=metadata (+0)
        go-3.32 CacheMetadata: --cache=metadata (+0)
        rs-4.1 CacheMetadata: metadata (+0)
        go-3.1 CacheAlways: cache=always (+0)
        go-3.32 CacheAlways: --cache=always (+0)
        rs-4.1 CacheAlways: always (+0)
        go-3.1 ThreadPool: --thread-pool-size=8 (+0)
        go-3.32 ThreadPool: --thread-pool-size=8 (+0)
        rs-4.1 ThreadPool: --thread-pool-size=8 (+0)
        go-3.1 SandboxNone: sandbox=none (+2)
        go-3.32 SandboxNone: --sandbox=none (+1)
        rs-4.1 SandboxNone: --sandbox=none (+1)
        go-3.1 FewDescriptors: --rlimit-nofile=1024 (+1)
        go-3.32 FewDescriptors: --rlimit-nofile=1024 (+1)
        rs-4.1 FewDescriptors: --rlimit-nofile=1024 (+1)
        go-3.1 XattrMap: xattr xattrmap=:map::user.virtiofs.: (+4)
        go-3.32 XattrMap: --xattr --xattrmap=:map::user.virtiofs.: (+2)
        rs-4.1 XattrMap: --xattr --xattrmap=:map::user.virtiofs.: (+2)
        go-3.1 WriteBack: writeback (+2)
        go-3.32 WriteBack: --writeback (+1)
        rs-4.1 WriteBack: --writeback (+1)
        go-3.1 UncachedMaps: cache=never --allow-mmap (+1)
        go-3.32 UncachedMaps: --cache=never --allow-mmap (+1)
        rs-4.1 UncachedMaps: never --allow-mmap (+1)
        go-3.1 TranslatedIds: --translate-uid=map:5000:31000:10 --translate-gid=map:6000:42000:10 (+2)
        go-3.32 TranslatedIds: --translate-uid=map:5000:31000:10 --translate-gid=map:6000:42000:10 (+2)
        rs-4.1 TranslatedIds: --translate-uid=map:5000:31000:10 --translate-gid=map:6000:42000:10 (+2)
        ");
    }

    #[test]
    fn only_a_daemon_that_creates_its_socket_is_given_a_relative_path() {
        let relative = [Deviation::DaemonSetting { setting: DaemonSetting::RelativeSocket }];
        let mut of_rs = launch(Profile::find("rs-4.1").unwrap(), &daemon());
        apply_to_daemon(&mut of_rs, &relative).unwrap();
        assert_eq!(of_rs.argv()[1..3], ["--socket-path", "vhost-fs.sock"]);
        let mut of_go = launch(Profile::find("go-3.32").unwrap(), &daemon());
        assert_eq!(apply_to_daemon(&mut of_go, &relative).unwrap_err().expected, "--socket-path");
    }

    #[test]
    fn the_socket_is_inherited_or_created_by_the_daemon() {
        assert_eq!(launch(Profile::find("go-3.29").unwrap(), &daemon()).fd(FdPurpose::Virtiofsd), Some(3));
        assert_eq!(launch(Profile::find("rs-4.0").unwrap(), &daemon()).fds, []);
    }
}
