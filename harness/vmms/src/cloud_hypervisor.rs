//! Cloud Hypervisor as Kata's runtimes drive it: one option on its command line, and a machine as JSON.
//!
//! The Go runtime uses the client that it generates from Cloud Hypervisor's OpenAPI, with the values that the client's
//! constructors set (`CreateVM` in src/runtime/virtcontainers/clh.go@3.32.0,
//! src/runtime/virtcontainers/pkg/cloud-hypervisor/client@3.32.0). runtime-rs has its own types
//! (src/runtime-rs/crates/hypervisor/ch-config/src/lib.rs@4.1.0 and convert.rs in the same directory), which write
//! absent values as `null`.

use crate::deviation::OtherVmmDeviation;
use crate::guest::{GUEST_CID, Guest, LaunchPlan};
use crate::http::Request;
use crate::kernel_parameters;
use model::profile::fixed::SHARE_TAG;
use model::profile::{Profile, Runtime};
use serde_json::{Value, json};

/// Prefix of all paths of the API.
const API: &str = "/api/v1/";
const MIB: u64 = 1 << 20;
/// `DefaultEntropySource`, `DEFAULT_CH_ENTROPY_SOURCE`.
const ENTROPY: &str = "/dev/urandom";
/// `virtio_fs_queue_size` as shipped: src/runtime/Makefile@3.32.0, src/runtime-rs/Makefile@4.1.0.
const QUEUE: u32 = 1024;

/// State after vm.boot, which the Go runtime checks.
pub const RUNNING: &str = "Running";
const CREATED: &str = "Created";

/// Returns the request for the machine's state.
pub fn info() -> Request {
    Request::get(&format!("{API}vm.info"))
}

pub(crate) fn ping() -> Request {
    Request::get(&format!("{API}vmm.ping"))
}

pub(crate) fn plan(profile: &Profile, guest: &Guest) -> LaunchPlan {
    let machine = match profile.runtime {
        Runtime::Go => of_go(guest),
        Runtime::Rs => of_rust(guest),
    };
    let create = Request::put(&format!("{API}vm.create"), Some(machine));
    let boot = Request::put(&format!("{API}vm.boot"), None);
    let requests = match profile.runtime {
        Runtime::Go => vec![create.then(CREATED), boot.then(RUNNING)],
        Runtime::Rs => vec![create, boot],
    };
    LaunchPlan {
        argv: vec![guest.program.clone(), "--api-socket".to_owned(), guest.api.clone()],
        file: None,
        ready: ping(),
        requests,
        deviations: vec![OtherVmmDeviation::SerialLog, OtherVmmDeviation::Line, OtherVmmDeviation::NoNetwork],
    }
}

/// Returns the request that plugs a disk: `hotplugAddBlockDevice` in clh.go@3.32.0, `handle_block_device` in
/// src/runtime-rs/crates/hypervisor/src/ch/inner_device.rs@4.1.0.
pub(crate) fn add_disk(profile: &Profile, file: &str) -> Request {
    let disk = match profile.runtime {
        Runtime::Go => json!({
            "path": file,
            "readonly": false,
            "direct": false,
            "iommu": false,
            "num_queues": profile.qemu.vcpus,
            "queue_size": QUEUE,
            "vhost_user": false,
            "backing_files": false,
            "sparse": true,
            "image_type": "Raw",
        }),
        Runtime::Rs => json!({
            "path": file,
            "readonly": false,
            "direct": false,
            "iommu": false,
            "num_queues": 1,
            "queue_size": 128,
            "vhost_user": false,
            "vhost_socket": null,
            "rate_limiter_config": null,
            "id": null,
            "disable_io_uring": false,
            "pci_segment": 0,
            "sparse": false,
            "image_type": "Raw",
        }),
    };
    Request::put(&format!("{API}vm.add-disk"), Some(disk))
}

fn topology(guest: &Guest) -> Value {
    json!({"threads_per_core": 1, "cores_per_die": guest.max_vcpus, "dies_per_package": 1, "packages": 1})
}

fn of_go(guest: &Guest) -> Value {
    let console = |mode: &str| json!({"mode": mode, "iommu": false});
    let mut machine = json!({
        "cpus": {
            "boot_vcpus": guest.vcpus,
            "max_vcpus": guest.max_vcpus,
            "topology": topology(guest),
            "kvm_hyperv": false,
            "nested": true,
        },
        "memory": {
            "size": guest.memory_mib * MIB,
            "hotplug_size": guest.host_memory_mib * MIB,
            "mergeable": false,
            "hotplug_method": "Acpi",
            "shared": guest.share.is_some(),
            "hugepages": false,
            "prefault": false,
            "thp": true,
        },
        "payload": {
            "kernel": guest.vmlinux,
            "cmdline": kernel_parameters::of_cloud_hypervisor(Runtime::Go, guest),
            "initramfs": guest.initramfs,
        },
        "rng": {"src": ENTROPY, "iommu": false},
        "serial": console("Tty"),
        "console": console("Off"),
        "vsock": {"cid": GUEST_CID, "socket": guest.vsock, "iommu": false},
        "iommu": false,
        "watchdog": false,
        "pvpanic": false,
        "platform": {"num_pci_segments": 2, "tdx": false, "sev_snp": false},
        "landlock_enable": false,
    });
    if let Some(socket) = &guest.share {
        machine["fs"] =
            json!([{"tag": SHARE_TAG, "socket": socket, "num_queues": 1, "queue_size": QUEUE, "pci_segment": 1}]);
    }
    machine
}

fn of_rust(guest: &Guest) -> Value {
    let console = |mode: &str| json!({"file": null, "mode": mode, "iommu": false});
    // `checked_next_multiple_of` in convert.rs adds 2 MiB even to a multiple of 2 MiB.
    let growth = (guest.host_memory_mib.saturating_sub(guest.memory_mib) / 2 + 1) * 2;
    let mut machine = json!({
        "cpus": {
            "boot_vcpus": guest.vcpus,
            "max_vcpus": guest.max_vcpus,
            "topology": topology(guest),
            "kvm_hyperv": false,
            "nested": true,
            "max_phys_bits": 46,
            "features": {"amx": false},
        },
        "memory": {
            "size": guest.memory_mib * MIB,
            "mergeable": false,
            "hotplug_method": "Acpi",
            "hotplug_size": growth * MIB,
            "shared": true,
            "hugepages": false,
            "prefault": false,
        },
        "payload": {
            "firmware": null,
            "kernel": guest.vmlinux,
            "cmdline": kernel_parameters::of_cloud_hypervisor(Runtime::Rs, guest),
            "initramfs": guest.initramfs,
            "mrconfigid": null,
            "host_data": null,
        },
        "rng": {"src": ENTROPY, "iommu": false},
        "serial": console("Tty"),
        "console": console("Off"),
        "vsock": {"cid": GUEST_CID, "socket": guest.vsock, "iommu": false, "id": null, "pci_segment": 0},
        "iommu": false,
        "watchdog": false,
    });
    if let Some(socket) = &guest.share {
        machine["fs"] = json!([{
            "tag": SHARE_TAG,
            "socket": socket,
            "num_queues": 1,
            "queue_size": QUEUE,
            "id": null,
            "pci_segment": 0,
        }]);
    }
    machine
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::example;

    fn machine(profile: &str, guest: &Guest) -> Value {
        let plan = plan(Profile::find(profile).unwrap(), guest);
        plan.requests[0].body.clone().unwrap()
    }

    /// The command line has only the API socket, and requests carry the machine: `launchClh` and `bootVM` in
    /// src/runtime/virtcontainers/clh.go@3.32.0.
    #[test]
    fn the_machine_is_described_by_requests_over_the_api_socket() {
        for (profile, states) in [("go-3.32", [Some("Created"), Some("Running")]), ("rs-4.1", [None, None])] {
            let plan = plan(Profile::find(profile).unwrap(), &example());
            assert_eq!(plan.argv, ["/opt/vmm", "--api-socket", "/run/api.sock"], "{profile}");
            assert_eq!(plan.ready.name(), "GET /api/v1/vmm.ping");
            let names: Vec<String> = plan.requests.iter().map(Request::name).collect();
            assert_eq!(names, ["PUT /api/v1/vm.create", "PUT /api/v1/vm.boot"]);
            assert_eq!(plan.requests.iter().map(|request| request.then).collect::<Vec<_>>(), states);
        }
    }

    #[test]
    fn each_runtime_has_its_own_machine_description() {
        let (go, rust) = (machine("go-3.32", &example()), machine("rs-4.1", &example()));
        // `NewVmConfig`, `NewMemoryConfig`, `NewPlatformConfig` of the generated client.
        assert_eq!(go["platform"], json!({"num_pci_segments": 2, "tdx": false, "sev_snp": false}));
        assert_eq!(go["memory"]["thp"], json!(true));
        assert_eq!(go["memory"]["hotplug_size"], json!(8_589_934_592_u64));
        assert_eq!((&go["landlock_enable"], &go["cpus"]["max_phys_bits"]), (&json!(false), &Value::Null));
        // `MemoryConfig::try_from` and `CpusConfig::try_from` in convert.rs@4.1.0.
        assert_eq!(rust["memory"]["hotplug_size"], json!(6_444_548_096_u64));
        assert_eq!(rust["cpus"]["max_phys_bits"], json!(46));
        assert!(rust["payload"].as_object().unwrap().contains_key("host_data"));
        assert!(!rust.as_object().unwrap().contains_key("platform"));
        for machine in [&go, &rust] {
            assert_eq!(machine["payload"]["kernel"], json!("/run/vmlinux"));
            assert_eq!(machine["vsock"]["cid"], json!(3));
            assert_eq!(machine["serial"]["mode"], json!("Tty"));
            assert!(!machine.as_object().unwrap().contains_key("fs"));
        }
    }

    #[test]
    fn memory_is_shared_with_virtiofsd_and_always_under_runtime_rs() {
        let with = Guest { share: Some("/run/virtiofsd.sock".to_owned()), ..example() };
        for (profile, without) in [("go-3.32", false), ("rs-4.1", true)] {
            assert_eq!(machine(profile, &example())["memory"]["shared"], json!(without), "{profile}");
            let machine = machine(profile, &with);
            assert_eq!(machine["memory"]["shared"], json!(true), "{profile}");
            assert_eq!(machine["fs"][0]["tag"], json!("kataShared"), "{profile}");
            assert_eq!(machine["fs"][0]["queue_size"], json!(1024), "{profile}");
        }
        assert_eq!(machine("go-3.32", &with)["fs"][0]["pci_segment"], json!(1));
    }

    #[test]
    fn the_kernel_command_line_has_katas_and_the_harness_parameters() {
        let go = machine("go-3.32", &example())["payload"]["cmdline"].as_str().unwrap().to_owned();
        assert_eq!(
            go,
            "root=/dev/vda1 rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4 panic=1 no_timer_check \
             noreplace-smp console=ttyS0,115200n8 cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 \
             kata_qualify.vsock=19281 \
             kata_qualify.load=vmw_vsock_virtio_transport_common,vmw_vsock_virtio_transport"
        );
        let terse = Guest { terse: true, ..example() };
        let rust = machine("rs-4.1", &terse)["payload"]["cmdline"].as_str().unwrap().to_owned();
        assert!(rust.starts_with("reboot=k panic=1 systemd.unit=kata-containers.target "), "{rust}");
        assert!(rust.contains(" loglevel=5 kata_qualify.vsock="), "{rust}");
    }
}
