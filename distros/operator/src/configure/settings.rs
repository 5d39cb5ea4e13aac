//! Translation of a configuration into Kata's keys, for one runtime and version.

use super::SharedFs;
use super::configuration::{BlockAio, Boot, KataConfiguration};
use super::version::key_since;
use model::profile::Runtime;
use serde::Serialize;
use serde_json::{Value, json};

/// A key of a configuration of Kata or a container manager with its value, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyValue {
    /// The table: `["hypervisor", "qemu"]`.
    pub table: Vec<String>,
    /// The key: `virtio_fs_daemon`.
    pub key: String,
    /// The value: a string, an integer or a list of strings.
    pub value: Value,
    /// The reason, on one line.
    pub why: String,
}

impl KeyValue {
    /// Returns table and key in one: `hypervisor.qemu.path`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table.join("."), self.key)
    }

    /// Returns table and key as a path.
    pub fn path(&self) -> Vec<String> {
        self.table.iter().chain([&self.key]).cloned().collect()
    }
}

/// Seconds that a guest and its agent may take without hardware virtualization.
///
/// Kata's own limits (45 s for the Go runtime's `dial_timeout` at 3.30.0, 3 s for the Rust runtime's
/// `reconnect_timeout_ms` and 30 s for a container at 4.0.0) are meant for hardware.
const EMULATED_SECONDS: u64 = 300;

/// Returns the settings that Kata's configuration needs.
///
/// With an initrd `image` is emptied, because both runtimes refuse to have both. `rootfs_type` and `vm_rootfs_driver`
/// stay unchanged: in this case neither reaches the guest's command line (`Kernel::new` in
/// `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0`), and another `vm_rootfs_driver` would remove
/// the memory slots (`add_file_memory_backend`, same file) with which a release was qualified.
pub fn settings(configuration: &KataConfiguration) -> Vec<KeyValue> {
    let c = configuration;
    let mut all = Vec::new();
    let qemu = ["hypervisor", "qemu"];
    let agent = ["agent", "kata"];
    let mut set = |table: &[&str], key: &str, value: Value, why: &str| {
        if key_since(c.runtime, key).is_none_or(|since| c.kata >= since) {
            let table = table.iter().map(|t| (*t).to_owned()).collect();
            all.push(KeyValue { table, key: key.to_owned(), value, why: why.to_owned() });
        }
    };
    set(&qemu, "path", json!(c.hypervisor), "the distro's QEMU");
    set(&qemu, "valid_hypervisor_paths", json!([c.hypervisor]), "paths that a pod's annotation may name");
    set(&qemu, "machine_type", json!(c.machine), "what the release was qualified with");
    if let Boot::Initrd { kernel, initrd } = &c.boot {
        set(&qemu, "kernel", json!(kernel.to_string_lossy()), "the distro's kernel");
        set(&qemu, "initrd", json!(initrd.to_string_lossy()), "a distro's kernel has its drivers in modules");
        set(&qemu, "image", json!(""), "Kata takes an image or an initrd, not both");
    }
    if c.image_as_disk {
        let why = "the image does not work as an NVDIMM with this QEMU";
        match c.runtime {
            Runtime::Go => set(&qemu, "disable_image_nvdimm", json!(true), why),
            Runtime::Rs => set(&qemu, "vm_rootfs_driver", json!("virtio-blk-pci"), why),
        }
    }
    let why_shared = match c.share {
        SharedFs::None => "containers' files are on block devices",
        _ => "the preferred filesystem that works",
    };
    set(&qemu, "shared_fs", json!(c.share.name()), why_shared);
    if let SharedFs::VirtioFs { daemon } = &c.share {
        set(&qemu, "virtio_fs_daemon", json!(daemon), "the distro's daemon");
        set(&qemu, "valid_virtio_fs_daemon_paths", json!([daemon]), "paths that a pod's annotation may name");
        set(&qemu, "virtio_fs_cache", json!(c.cache), "what the release was qualified with");
        set(&qemu, "virtio_fs_extra_args", json!(c.extra_args), "what the release was qualified with");
    }
    if let Some(BlockAio::Threads) = c.block_aio {
        set(&qemu, "block_device_aio", json!("threads"), "Kata's default, io_uring, does not work here");
    }
    if c.runtime == Runtime::Rs {
        set(&["runtime"], "hypervisor_name", json!("qemu"), "the VMM that this file configures");
    }
    if c.emulated {
        let why = "this machine has no hardware acceleration";
        match c.runtime {
            Runtime::Go => {
                set(&agent, "dial_timeout", json!(EMULATED_SECONDS), why);
                set(&["runtime"], "create_container_timeout", json!(EMULATED_SECONDS), why);
            }
            Runtime::Rs => {
                set(&agent, "reconnect_timeout_ms", json!(EMULATED_SECONDS * 1000), why);
                set(&agent, "create_container_timeout", json!(EMULATED_SECONDS), why);
            }
        }
    }
    all
}
