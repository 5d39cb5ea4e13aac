//! Firecracker as Kata's runtimes drive it: the Go runtime describes the machine in a file, runtime-rs by requests.
//!
//! Neither runtime ever passes an initrd: `boot-source` has none, and an image is the drive `rootfs`. A distro's kernel
//! has its drivers as modules and cannot mount an image, so here an initramfs replaces it
//! ([`OtherVmmDeviation::Initrd`]). The missing jailer and the missing network are deviations in the evidence, too.

use crate::deviation::OtherVmmDeviation;
use crate::guest::{GUEST_CID, Guest, LaunchPlan};
use crate::http::Request;
use crate::kernel_parameters;
use model::profile::Runtime;
use serde_json::{Value, json};

pub(crate) fn plan(runtime: Runtime, guest: &Guest) -> LaunchPlan {
    let drives = names_of_waiting(runtime).into_iter().zip(&guest.waiting).map(|(name, file)| drive(&name, file));
    let drives: Vec<Value> = drives.collect();
    let boot = json!({
        "kernel_image_path": guest.vmlinux,
        "boot_args": kernel_parameters::of_firecracker(runtime, guest),
        "initrd_path": guest.initramfs,
    });
    let text = str::to_owned;
    let mut argv = vec![guest.program.clone(), text("--api-sock"), guest.api.clone()];
    let (file, requests) = match runtime {
        // `fcInit`, `fcSetBootSource`, `fcSetVMBaseConfig`, `createDiskPool`, `fcAddVsock` in fc.go@3.32.0.
        Runtime::Go => {
            argv.extend([text("--config-file"), guest.config.clone()]);
            let machine = json!({
                "boot-source": boot,
                "machine-config": {"mem_size_mib": guest.memory_mib, "smt": false, "vcpu_count": guest.vcpus},
                "drives": drives,
                "network-interfaces": [],
                "vsock": {"guest_cid": GUEST_CID, "uds_path": guest.vsock, "vsock_id": "root"},
            });
            (Some((guest.config.clone(), machine)), Vec::new())
        }
        // `prepare_vmm_resources` and `prepare_hvsock` in fc_api.rs@4.1.0, `start_vm` in inner_hypervisor.rs of the
        // same directory.
        Runtime::Rs => {
            let size = json!({"mem_size_mib": guest.memory_mib, "vcpu_count": guest.vcpus});
            let vsock = json!({"guest_cid": GUEST_CID, "uds_path": guest.vsock, "vsock_id": "root"});
            let mut requests =
                vec![Request::put("/boot-source", Some(boot)), Request::put("/machine-config", Some(size))];
            requests.extend(drives.into_iter().map(|drive| {
                let path = format!("/drives/{}", drive["drive_id"].as_str().unwrap_or_default());
                Request::put(&path, Some(drive))
            }));
            requests.push(Request::put("/vsock", Some(vsock)));
            requests.push(Request::put("/actions", Some(json!({"action_type": "InstanceStart"}))));
            (None, requests)
        }
    };
    LaunchPlan {
        argv,
        file,
        ready: ping(),
        requests,
        deviations: vec![
            OtherVmmDeviation::SerialLog,
            OtherVmmDeviation::Line,
            OtherVmmDeviation::Initrd,
            OtherVmmDeviation::NoNetwork,
            OtherVmmDeviation::NoJailer,
        ],
    }
}

pub(crate) fn ping() -> Request {
    Request::get("/")
}

/// Returns the names of the waiting drives, which are empty until hotplug fills them: `fcDiskPoolSize` in fc.go@3.32.0,
/// `DISK_POOL_SIZE` in fc_api.rs@4.1.0.
pub(crate) fn names_of_waiting(runtime: Runtime) -> Vec<String> {
    match runtime {
        Runtime::Go => (0..8).map(|number| format!("drive_{number}")).collect(),
        Runtime::Rs => (1..6).map(|number| format!("drive{number}")).collect(),
    }
}

fn drive(name: &str, file: &str) -> Value {
    json!({"drive_id": name, "path_on_host": file, "is_root_device": false, "is_read_only": false})
}

/// Returns the request that gives the first waiting drive a file: `fcUpdateBlockDrive` in fc.go@3.32.0,
/// `patch_container_rootfs` in fc_api.rs@4.1.0.
pub(crate) fn fill_drive(runtime: Runtime, file: &str) -> Request {
    let name = names_of_waiting(runtime).swap_remove(0);
    let body = match runtime {
        Runtime::Go => json!({"drive_id": name, "path_on_host": file}),
        Runtime::Rs => json!({"drive_id": name, "path_on_host": file, "rate_limiter": null}),
    };
    Request { method: "PATCH", path: format!("/drives/{name}"), body: Some(body), then: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::example;

    fn guest(runtime: Runtime) -> Guest {
        let waiting = (0..names_of_waiting(runtime).len()).map(|number| format!("/run/waiting{number}")).collect();
        Guest { waiting, ..example() }
    }

    #[test]
    fn the_go_runtime_puts_the_machine_into_a_config_file() {
        let plan = plan(Runtime::Go, &guest(Runtime::Go));
        assert_eq!(plan.argv, ["/opt/vmm", "--api-sock", "/run/api.sock", "--config-file", "/run/config.json"]);
        assert!(plan.requests.is_empty());
        let (path, machine) = plan.file.unwrap();
        assert_eq!(path, "/run/config.json");
        assert_eq!(machine["machine-config"], json!({"mem_size_mib": 2048, "smt": false, "vcpu_count": 1}));
        assert_eq!(machine["drives"].as_array().unwrap().len(), 8);
        assert_eq!(machine["drives"][0]["drive_id"], json!("drive_0"));
        let line = machine["boot-source"]["boot_args"].as_str().unwrap();
        assert!(line.contains(" pci=off reboot=k panic=1 iommu=off ") && line.contains(" acpi=off "), "{line}");
    }

    #[test]
    fn runtime_rs_configures_by_requests_and_starts_the_guest_last() {
        let plan = plan(Runtime::Rs, &guest(Runtime::Rs));
        assert_eq!(plan.argv, ["/opt/vmm", "--api-sock", "/run/api.sock"]);
        assert_eq!(plan.file, None);
        let names: Vec<String> = plan.requests.iter().map(Request::name).collect();
        assert_eq!(
            names,
            [
                "PUT /boot-source",
                "PUT /machine-config",
                "PUT /drives/drive1",
                "PUT /drives/drive2",
                "PUT /drives/drive3",
                "PUT /drives/drive4",
                "PUT /drives/drive5",
                "PUT /vsock",
                "PUT /actions",
            ]
        );
        let line = plan.requests[0].body.as_ref().unwrap()["boot_args"].as_str().unwrap();
        assert!(!line.contains("acpi=off") && line.contains(" console=ttyS0 agent.log_vport=1025 "), "{line}");
    }

    #[test]
    fn filling_a_drive_patches_its_path() {
        let request = fill_drive(Runtime::Go, "/run/disk");
        assert_eq!(request.name(), "PATCH /drives/drive_0");
        assert_eq!(request.body, Some(json!({"drive_id": "drive_0", "path_on_host": "/run/disk"})));
        assert_eq!(fill_drive(Runtime::Rs, "/run/disk").name(), "PATCH /drives/drive1");
    }
}
