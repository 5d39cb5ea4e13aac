//! Features of Kata's configuration, with the version that introduced each.

use model::kata_version::KataVersion;
use model::profile::Runtime;

/// Returns whether the runtime reads `config.d` next to its configuration.
///
/// Go: `decodeDropIns` in `src/runtime/pkg/katautils/config.go@2.5.0`, absent at 2.4.0.
/// Rust: `src/libs/kata-types/src/config/drop_in.rs@3.0.0`.
pub fn reads_drop_ins(runtime: Runtime, kata: KataVersion) -> bool {
    match runtime {
        Runtime::Go => kata >= KataVersion::new(2, 5, 0),
        Runtime::Rs => kata >= KataVersion::new(3, 0, 0),
    }
}

/// Returns whether the runtime can do without a shared filesystem, `shared_fs = "none"`.
///
/// Go: kata-containers pull request 7200, of July 2023, first released in 3.2.0.
/// Rust: `NO_VIRTIO_FS` in `src/libs/kata-types/src/config/hypervisor/mod.rs@4.0.0`.
pub fn knows_no_shared_fs(runtime: Runtime, kata: KataVersion) -> bool {
    match runtime {
        Runtime::Go => kata >= KataVersion::new(3, 2, 0),
        Runtime::Rs => true,
    }
}

/// Returns the first version of a runtime with a key, if the key is newer than the runtime; `None` for all other keys.
///
/// Taken from `src/runtime/pkg/katautils/config.go` at the tags before and at each version. A setting is left out for
/// an older runtime, which refuses a drop-in with an unknown key; keys that others write are checked by
/// `merged/known.rs`.
pub(super) fn key_since(runtime: Runtime, key: &str) -> Option<KataVersion> {
    match (runtime, key) {
        (Runtime::Go, "block_device_aio") => Some(KataVersion::new(3, 0, 0)),
        (Runtime::Go, "rootfs_type") => Some(KataVersion::new(3, 1, 0)),
        (Runtime::Go, "dial_timeout") => Some(KataVersion::new(2, 1, 0)),
        (Runtime::Go, "create_container_timeout") => Some(KataVersion::new(3, 4, 0)),
        _ => None,
    }
}

/// Returns whether the agent insists on `SO_REUSEPORT` for its listener, which Linux refuses on vsock since 6.13, and
/// in stable branches since January 2025 ("net: restrict SO_REUSEPORT to inet sockets"; Debian 12 since 6.1.124).
///
/// ttrpc 0.5.2 to 0.8.3 (`do_bind` in `src/common.rs`; 0.5.1 ignored a refusal), in `src/agent/Cargo.lock@2.3.1` to
/// `@3.13.0`; seen with 3.1.2 on Debian 12, and reported as kata-containers issue 10774.
pub(super) fn agent_wants_reuse_of_ports(kata: KataVersion) -> bool {
    (KataVersion::new(2, 3, 1)..KataVersion::new(3, 14, 0)).contains(&kata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_read_since_2_5() {
        assert!(!reads_drop_ins(Runtime::Go, KataVersion::new(2, 4, 3)));
        assert!(reads_drop_ins(Runtime::Go, KataVersion::new(2, 5, 0)));
        assert!(reads_drop_ins(Runtime::Rs, KataVersion::new(4, 0, 0)));
    }

    #[test]
    fn no_shared_fs_is_known_since_3_2() {
        assert!(!knows_no_shared_fs(Runtime::Go, KataVersion::new(3, 1, 3)));
        assert!(knows_no_shared_fs(Runtime::Go, KataVersion::new(3, 2, 0)));
        assert!(knows_no_shared_fs(Runtime::Rs, KataVersion::new(4, 0, 0)));
    }

    #[test]
    fn agents_from_2_3_1_to_3_13_want_reuse_of_ports() {
        for (kata, wants) in [("2.3.0", false), ("2.3.1", true), ("3.1.2", true), ("3.13.0", true), ("3.14.0", false)] {
            assert_eq!(agent_wants_reuse_of_ports(kata.parse().unwrap()), wants, "{kata}");
        }
    }
}
