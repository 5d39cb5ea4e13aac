//! Keys for which a runtime refuses its configuration, because its version does not know them.
//!
//! Go: in a drop-in, below `hypervisor` and `agent` (`copyFieldValue` in `src/runtime/pkg/katautils/config.go@2.5.0`);
//! in the main file unknown keys are ignored. Rust: below `agent`, in any file, since 3.29.0 (`deny_unknown_fields` of
//! `Agent` in `src/libs/kata-types/src/config/agent.rs`; its `mem_agent` is not checked here).
//! The names are the fields of the structs in both files at each tag from 2.5.0 and 3.29.0, respectively, to 4.1.0.

use model::kata_version::KataVersion;
use model::profile::Runtime;

/// A key, the first version that knows it, and the first that does not any more.
type Span = (&'static str, KataVersion, Option<KataVersion>);

/// The last version whose keys have been read: further keys of newer versions are not known here.
const NEWEST: KataVersion = KataVersion::new(4, 1, 0);

/// The first version in which the Rust runtime refuses unknown keys of an agent.
const STRICT_AGENT: KataVersion = KataVersion::new(3, 29, 0);

/// Below `hypervisor`, in every version of the Go runtime that reads drop-ins.
const GO_HYPERVISOR: &[&str] = &[
    "block_device_cache_direct",
    "block_device_cache_noflush",
    "block_device_cache_set",
    "block_device_driver",
    "confidential_guest",
    "cpu_features",
    "default_bridges",
    "default_maxmemory",
    "default_maxvcpus",
    "default_memory",
    "default_vcpus",
    "disable_block_device_use",
    "disable_image_nvdimm",
    "disable_nesting_checks",
    "disable_seccomp",
    "disable_selinux",
    "disable_vhost_net",
    "disk_rate_limiter_bw_max_rate",
    "disk_rate_limiter_bw_one_time_burst",
    "disk_rate_limiter_ops_max_rate",
    "disk_rate_limiter_ops_one_time_burst",
    "enable_annotations",
    "enable_debug",
    "enable_guest_swap",
    "enable_hugepages",
    "enable_iommu",
    "enable_iommu_platform",
    "enable_iothreads",
    "enable_mem_prealloc",
    "enable_vhost_user_store",
    "enable_virtio_mem",
    "entropy_source",
    "firmware",
    "firmware_volume",
    "guest_hook_path",
    "guest_memory_dump_paging",
    "guest_memory_dump_path",
    "image",
    "initrd",
    "jailer_path",
    "kernel",
    "kernel_params",
    "machine_accelerators",
    "machine_type",
    "memory_offset",
    "memory_slots",
    "msize_9p",
    "net_rate_limiter_bw_max_rate",
    "net_rate_limiter_bw_one_time_burst",
    "net_rate_limiter_ops_max_rate",
    "net_rate_limiter_ops_one_time_burst",
    "path",
    "pflashes",
    "rootless",
    "rx_rate_limiter_max_rate",
    "seccompsandbox",
    "shared_fs",
    "tx_rate_limiter_max_rate",
    "use_legacy_serial",
    "valid_entropy_sources",
    "valid_hypervisor_paths",
    "valid_jailer_paths",
    "valid_vhost_user_store_paths",
    "valid_virtio_fs_daemon_paths",
    "vhost_user_store_path",
    "virtio_fs_cache",
    "virtio_fs_cache_size",
    "virtio_fs_daemon",
    "virtio_fs_extra_args",
];

/// Below `hypervisor`, in some versions of the Go runtime.
const GO_HYPERVISOR_LATER: &[Span] = &[
    ("block_device_aio", KataVersion::new(3, 0, 0), None),
    ("block_device_logical_sector_size", KataVersion::new(3, 29, 0), None),
    ("block_device_physical_sector_size", KataVersion::new(3, 29, 0), None),
    ("cold_plug_vfio", KataVersion::new(3, 2, 0), None),
    ("ctlpath", KataVersion::new(2, 5, 0), Some(KataVersion::new(3, 10, 0))),
    ("disable_guest_selinux", KataVersion::new(3, 1, 0), None),
    ("enable_numa", KataVersion::new(3, 27, 0), None),
    ("extra_monitor_socket", KataVersion::new(3, 2, 0), None),
    ("file_mem_backend", KataVersion::new(2, 5, 0), Some(KataVersion::new(3, 32, 0))),
    ("guest_extension_images", KataVersion::new(4, 0, 0), None),
    ("hot_plug_vfio", KataVersion::new(3, 2, 0), None),
    ("hotplug_vfio_on_root_bus", KataVersion::new(2, 5, 0), Some(KataVersion::new(3, 2, 0))),
    ("hypervisor_loglevel", KataVersion::new(3, 14, 0), None),
    ("indep_iothreads", KataVersion::new(3, 24, 0), None),
    ("kernel_verity_params", KataVersion::new(3, 27, 0), None),
    ("measurement_algo", KataVersion::new(3, 22, 0), None),
    ("numa_mapping", KataVersion::new(3, 27, 0), None),
    ("pcie_root_port", KataVersion::new(2, 5, 0), Some(KataVersion::new(3, 2, 0))),
    ("pcie_root_port", KataVersion::new(3, 6, 0), None),
    ("pcie_switch_port", KataVersion::new(3, 6, 0), None),
    ("reclaim_guest_freed_memory", KataVersion::new(3, 17, 0), None),
    ("remote_hypervisor_socket", KataVersion::new(3, 3, 0), None),
    ("remote_hypervisor_timeout", KataVersion::new(3, 3, 0), None),
    ("rootfs_type", KataVersion::new(3, 1, 0), None),
    ("sev_snp_guest", KataVersion::new(3, 1, 0), None),
    ("snp_certs_path", KataVersion::new(3, 7, 0), Some(KataVersion::new(3, 14, 0))),
    ("snp_guest_policy", KataVersion::new(3, 20, 0), None),
    ("snp_id_auth", KataVersion::new(3, 15, 0), None),
    ("snp_id_block", KataVersion::new(3, 15, 0), None),
    ("tdx_quote_generation_service_socket_port", KataVersion::new(3, 6, 0), None),
    ("valid_ctlpaths", KataVersion::new(2, 5, 0), Some(KataVersion::new(3, 10, 0))),
    ("valid_file_mem_backends", KataVersion::new(2, 5, 0), Some(KataVersion::new(3, 32, 0))),
    ("vhost_user_reconnect_timeout_sec", KataVersion::new(3, 1, 0), None),
    ("virtio_fs_queue_size", KataVersion::new(3, 1, 0), None),
];

/// Below `agent`, in every version of the Go runtime that reads drop-ins.
const GO_AGENT: &[&str] =
    &["debug_console_enabled", "dial_timeout", "enable_debug", "enable_tracing", "kernel_modules"];

/// Below `agent`, in some versions of the Go runtime.
const GO_AGENT_LATER: &[Span] = &[
    ("cdh_api_timeout", KataVersion::new(3, 9, 0), None),
    ("launch_process_timeout", KataVersion::new(3, 29, 0), None),
    ("visible_cdi_devices", KataVersion::new(3, 32, 0), None),
];

/// Below `agent`, in every version of the Rust runtime that refuses unknown keys.
const RUST_AGENT: &[&str] = &[
    "container_pipe_size",
    "create_container_timeout",
    "debug_console_enabled",
    "dial_timeout_ms",
    "enable_debug",
    "enable_tracing",
    "health_check_request_timeout_ms",
    "kernel_modules",
    "launch_process_timeout",
    "log_level",
    "log_port",
    "mem_agent",
    "passfd_listener_port",
    "policy",
    "reconnect_timeout_ms",
    "server_port",
];

/// Below `agent`, in some versions of the Rust runtime that refuse unknown keys.
const RUST_AGENT_LATER: &[Span] = &[
    ("cdh_api_timeout_ms", KataVersion::new(3, 31, 0), None),
    ("visible_cdi_devices", KataVersion::new(3, 32, 0), None),
];

/// Returns why a runtime of this version refuses its configuration for a key; `None` if it knows the key or accepts
/// unknown ones, or if the version is too new to say.
pub(super) fn refused(runtime: Runtime, kata: KataVersion, path: &[String], is_drop_in: bool) -> Option<String> {
    let [table, _, key, ..] = path else { return None };
    let (always, later) = match (runtime, table.as_str()) {
        (Runtime::Go, "hypervisor") if is_drop_in => (GO_HYPERVISOR, GO_HYPERVISOR_LATER),
        (Runtime::Go, "agent") if is_drop_in => (GO_AGENT, GO_AGENT_LATER),
        (Runtime::Rs, "agent") if kata >= STRICT_AGENT => (RUST_AGENT, RUST_AGENT_LATER),
        _ => return None,
    };
    if always.contains(&key.as_str()) {
        return None;
    }
    let spans: Vec<&Span> = later.iter().filter(|(name, ..)| name == key).collect();
    if spans.iter().any(|(_, since, until)| kata >= *since && until.is_none_or(|until| kata < until)) {
        return None;
    }
    let why = match (spans.iter().find(|(_, since, _)| kata < *since), spans.iter().find_map(|(_, _, until)| *until)) {
        (Some((_, since, _)), _) => format!(" (added in {since})"),
        (None, Some(until)) => format!(" (removed in {until})"),
        (None, None) if kata > NEWEST => return None,
        (None, None) => String::new(),
    };
    Some(format!("Kata {kata} does not know `{key}`{why} and would refuse its configuration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(runtime: Runtime, kata: &str, key: &str, is_drop_in: bool) -> Option<String> {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        refused(runtime, kata.parse().unwrap(), &path, is_drop_in)
    }

    #[test]
    fn a_drop_in_key_unknown_to_the_kata_version_is_refused() {
        for (kata, key, why) in [
            ("2.5.0", "hypervisor.qemu.block_device_aio", Some(" (added in 3.0.0)")),
            ("3.0.0", "hypervisor.qemu.block_device_aio", None),
            ("3.9.0", "hypervisor.clh.ctlpath", None),
            ("3.10.0", "hypervisor.clh.ctlpath", Some(" (removed in 3.10.0)")),
            ("3.1.3", "hypervisor.qemu.pcie_root_port", None),
            ("3.2.0", "hypervisor.qemu.pcie_root_port", Some(" (added in 3.6.0)")),
            ("3.6.0", "hypervisor.qemu.pcie_root_port", None),
            ("3.30.0", "hypervisor.qemu.vm_rootfs_driver", Some("")),
            ("3.30.0", "hypervisor.qemu.factory.enable_template", Some("")),
            ("3.30.0", "agent.kata.dial_timeout", None),
            ("3.30.0", "agent.kata.reconnect_timeout_ms", Some("")),
            ("3.30.0", "runtime.no_such", None),
            ("3.30.0", "runtime.x.no_such", None),
            ("4.9.0", "hypervisor.qemu.of_a_later_version", None),
        ] {
            let key_alone = key.split('.').nth(2).unwrap_or_default();
            let expected =
                why.map(|w| format!("Kata {kata} does not know `{key_alone}`{w} and would refuse its configuration"));
            assert_eq!(refusal(Runtime::Go, kata, key, true), expected, "{kata} {key}");
            assert_eq!(refusal(Runtime::Go, kata, key, false), None, "{kata} {key}");
        }
    }

    #[test]
    fn the_rust_runtime_refuses_unknown_keys_only_below_agent_in_any_file() {
        for is_drop_in in [false, true] {
            let is_refused = |kata, key| refusal(Runtime::Rs, kata, key, is_drop_in).is_some();
            assert!(
                is_refused("3.30.0", "agent.kata.dial_timeout") && is_refused("4.1.0", "agent.kata.cdh_api_timeout")
            );
            assert!(is_refused("3.30.0", "agent.kata.cdh_api_timeout_ms"));
            assert!(
                !is_refused("4.0.0", "agent.kata.cdh_api_timeout_ms")
                    && !is_refused("3.28.0", "agent.kata.dial_timeout")
            );
            assert!(
                !is_refused("4.1.0", "agent.kata.mem_agent.enable") && !is_refused("4.1.0", "hypervisor.qemu.no_such")
            );
        }
    }

    #[test]
    fn keys_that_configure_writes_are_known() {
        for (runtime, kata, key) in [
            (Runtime::Go, "2.5.0", "hypervisor.qemu.virtio_fs_extra_args"),
            (Runtime::Go, "2.5.0", "hypervisor.qemu.valid_virtio_fs_daemon_paths"),
            (Runtime::Go, "2.5.0", "hypervisor.qemu.disable_image_nvdimm"),
            (Runtime::Go, "2.5.0", "agent.kata.dial_timeout"),
            (Runtime::Rs, "4.0.0", "agent.kata.reconnect_timeout_ms"),
            (Runtime::Rs, "4.0.0", "agent.kata.create_container_timeout"),
        ] {
            assert_eq!(refusal(runtime, kata, key, true), None, "{key}");
        }
    }
}
