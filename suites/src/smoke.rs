//! Smoke tests: packages, binaries, and whether QEMU and virtiofsd do what the profile asks.

mod boot;
mod daemon;
mod gates;
mod hotplug;
mod image;
mod inside;
mod kernel;
mod packages;
mod peer;
mod qmp;
mod vhost;

use crate::capability::Capability as C;
use crate::catalogue::{Body, Need, Place, Suite, Test};
use crate::docs::doc_of;
use crate::outcome::Component as K;
use crate::under;

/// One row: body, source, what it proves, whom it blames. Rows are completed below.
struct Row {
    name: &'static str,
    body: Body,
    source: &'static str,
    place: Place,
    proves: &'static [C],
    blames: K,
    blocked_by: &'static [&'static str],
    needs: &'static [Need],
    profiles: &'static [&'static str],
    seconds: u32,
}

macro_rules! row {
    ($module:ident::$name:ident, $place:ident, $kind:ident, $blames:ident, $proves:expr $(, $field:ident: $value:expr)*) => {
        Row {
            $($field: $value,)*
            ..Row {
                name: stringify!($name),
                body: Body::$kind($module::$name),
                source: include_str!(concat!("smoke/", stringify!($module), ".rs")),
                place: Place::$place,
                proves: $proves,
                blames: K::$blames,
                blocked_by: &[],
                needs: &[],
                profiles: &[],
                seconds: 60,
            }
        }
    };
}

const QEMU_THERE: &[&str] = &["qemu_is_where_the_record_says"];
const DAEMON_THERE: &[&str] = &["virtiofsd_is_where_the_record_says"];
const BOOTS: &[&str] = &["kernel_boots_to_userspace"];
const CONTAINERS: &[&str] = &["kernel_boots_to_userspace", "kernel_has_the_modules_of_containers"];
/// What a guest without a share proves: VMM and kernel at once, so each test's blame decides which is at fault.
const BOOT: &[C] = &[C::VmmBoot];

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row!(packages::packages_are_installed, Environment, Environment, Packages, &[C::PackagesInstall]),
        row!(packages::qemu_is_where_the_record_says, Environment, Environment, Record, &[C::PackagesInstall, C::VmmBoot]),
        row!(packages::virtiofsd_is_where_the_record_says, Environment, Environment, Record, &[C::PackagesInstall, C::FsVirtioFs]),
        row!(packages::binaries_belong_to_the_packages_named, Environment, Environment, Record, &[C::PackagesInstall]),
        row!(packages::qemu_reports_the_packaged_version, Environment, Environment, Qemu, &[C::VmmBoot], blocked_by: QEMU_THERE),
        row!(packages::virtiofsd_reports_its_version, Environment, Environment, Virtiofsd, &[C::FsVirtioFs], blocked_by: DAEMON_THERE),
        row!(gates::qemu_has_the_machine_type, Environment, Environment, Qemu, BOOT, blocked_by: QEMU_THERE),
        row!(gates::qemu_has_the_devices_of_the_default_path, Environment, Environment, Qemu, BOOT, blocked_by: QEMU_THERE),
        row!(gates::qemu_has_the_objects_of_the_default_path, Environment, Environment, Qemu, BOOT, blocked_by: QEMU_THERE),
        row!(gates::qemu_has_the_devices_of_virtio_fs, Environment, Environment, Qemu, &[C::FsVirtioFs], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_the_devices_of_virtio_9p, Environment, Environment, Qemu, &[C::FsVirtio9p], blocked_by: QEMU_THERE, profiles: &under::NINEP),
        row!(gates::qemu_has_an_nvdimm, Environment, Environment, Qemu, &[C::VmmImageNvdimm], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_vhost_vsock, Environment, Environment, Qemu, &[C::VmmVsock], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_virtio_net, Environment, Environment, Qemu, &[C::VmmNet], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_vhost_user_blk, Environment, Environment, Qemu, &[C::VmmVhostUserBlk], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_vfio, Environment, Environment, Qemu, &[C::VmmVfio], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_what_katas_build_insists_on, Environment, Environment, Qemu, &[C::VmmBuildGate], blocked_by: QEMU_THERE, profiles: &under::BUILD_GATE),
        row!(gates::qemu_has_amd_iommu, Environment, Environment, Qemu, &[C::VmmAmdIommu], blocked_by: QEMU_THERE, profiles: &under::AMD_IOMMU),
        row!(gates::qemu_has_tdx, Environment, Environment, Qemu, &[C::VmmTdx], blocked_by: QEMU_THERE),
        row!(gates::qemu_has_sev_snp, Environment, Environment, Qemu, &[C::VmmSevSnp], blocked_by: QEMU_THERE, profiles: &under::SEV_SNP),
        row!(kernel::kernel_has_iommufd, Environment, Environment, Kernel, &[C::VmmVfio], profiles: &under::RS),
        row!(kernel::kernel_image_has_its_modules, Environment, Environment, Kernel, &[C::KernelGuest]),
        row!(kernel::kernel_has_the_options_that_the_agent_needs, Environment, Environment, Kernel, &[C::KernelGuest]),
        row!(kernel::kernel_has_the_modules_of_boot, Environment, Environment, Kernel, &[C::KernelGuest]),
        row!(kernel::kernel_has_the_modules_of_vsock, Environment, Environment, Kernel, &[C::KernelGuest, C::VmmVsock]),
        row!(kernel::kernel_has_the_modules_of_containers, Environment, Environment, Kernel, &[C::KernelGuest]),
        row!(kernel::kernel_has_the_modules_of_virtio_fs, Environment, Environment, Kernel, &[C::FsVirtioFs]),
        row!(kernel::kernel_has_the_modules_of_virtio_9p, Environment, Environment, Kernel, &[C::FsVirtio9p], profiles: &under::NINEP),
        row!(kernel::kernel_has_the_modules_of_virtio_blk, Environment, Environment, Kernel, &[C::FsVirtioBlk]),
        row!(daemon::virtiofsd_accepts_the_profiles_flags, Environment, Environment, Virtiofsd, &[C::FsVirtioFs], blocked_by: DAEMON_THERE, seconds: 30),
        row!(daemon::virtiofsd_prints_what_runtime_rs_waits_for, Environment, Environment, Virtiofsd, &[C::FsVirtioFs], blocked_by: &["virtiofsd_accepts_the_profiles_flags"], profiles: &under::READY_LINE, seconds: 30),
        row!(daemon::qemu_accepts_the_arguments_of_virtio_fs, Environment, Environment, Qemu, &[C::FsVirtioFs], blocked_by: &["qemu_has_the_devices_of_virtio_fs"], seconds: 60),
        row!(boot::kernel_boots_to_userspace, Machine, Machine, Kernel, &[C::VmmBoot, C::KernelGuest], blocked_by: &["qemu_has_the_machine_type", "qemu_has_the_devices_of_the_default_path", "qemu_has_the_objects_of_the_default_path", "kernel_has_the_modules_of_boot"], seconds: 120),
        row!(boot::guest_has_the_cpus_and_memory_asked_for, Machine, Machine, Qemu, BOOT, blocked_by: BOOTS),
        row!(boot::guest_console_reaches_the_host, Machine, Machine, Qemu, BOOT, blocked_by: BOOTS),
        row!(inside::guest_has_entropy_from_virtio_rng, Machine, Inside, Qemu, BOOT, blocked_by: BOOTS),
        row!(inside::guest_has_cgroup_v2_and_its_controllers, Machine, Inside, Kernel, &[C::KernelGuest], blocked_by: BOOTS),
        row!(inside::guest_has_all_namespaces, Machine, Inside, Kernel, &[C::KernelGuest], blocked_by: BOOTS),
        row!(inside::guest_has_seccomp_filters, Machine, Inside, Kernel, &[C::KernelGuest], blocked_by: BOOTS),
        row!(inside::guest_loads_overlayfs, Machine, Inside, Kernel, &[C::KernelGuest], blocked_by: &["kernel_boots_to_userspace", "kernel_has_the_modules_of_containers"]),
        row!(qmp::query_status_is_parsed, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS),
        row!(qmp::query_cpus_fast_is_parsed, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS),
        row!(qmp::query_hotpluggable_cpus_is_parsed, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS),
        row!(qmp::query_pci_is_parsed, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS, profiles: &under::RS),
        row!(qmp::query_fdsets_is_parsed, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS, profiles: &under::FDSETS),
        row!(qmp::query_qmp_schema_is_parsed, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS, profiles: &under::GO),
        row!(qmp::stop_and_cont_pause_the_guest, Machine, Machine, Qemu, &[C::VmmQmp], blocked_by: BOOTS),
        row!(vhost::guest_has_a_vsock_transport, OwnGuest, Environment, Qemu, &[C::VmmVsock], blocked_by: &["kernel_boots_to_userspace", "qemu_has_vhost_vsock", "kernel_has_the_modules_of_vsock"], needs: &[Need::VhostVsock], seconds: 120),
        row!(vhost::vsock_carries_bytes_both_ways, OwnGuest, Environment, Qemu, &[C::VmmVsock], blocked_by: &["guest_has_a_vsock_transport"], needs: &[Need::VhostVsock], seconds: 120),
        row!(vhost::guest_has_a_network_interface, OwnGuest, Environment, Qemu, &[C::VmmNet], blocked_by: &["kernel_boots_to_userspace", "qemu_has_virtio_net", "kernel_has_the_modules_of_containers"], needs: &[Need::VhostNet], seconds: 120),
        row!(vhost::packets_cross_the_network, OwnGuest, Environment, Qemu, &[C::VmmNet], blocked_by: &["kernel_boots_to_userspace", "qemu_has_virtio_net", "kernel_has_the_modules_of_containers"], seconds: 120),
        row!(hotplug::memory_is_hotplugged, OwnGuest, Environment, Qemu, &[C::VmmHotplugMemory], blocked_by: BOOTS, seconds: 180),
        row!(hotplug::query_memory_devices_is_parsed, OwnGuest, Environment, Qemu, &[C::VmmQmp], blocked_by: &["memory_is_hotplugged"], seconds: 180),
        row!(hotplug::cpu_is_hotplugged, OwnGuest, Environment, Qemu, &[C::VmmHotplugCpu], blocked_by: BOOTS, profiles: &under::GO, seconds: 180),
        row!(hotplug::scsi_disk_is_hotplugged, OwnGuest, Environment, Qemu, &[C::VmmHotplugBlk], blocked_by: CONTAINERS, seconds: 180),
        row!(hotplug::pci_disk_is_hotplugged, OwnGuest, Environment, Qemu, &[C::VmmHotplugBlk], blocked_by: &["kernel_boots_to_userspace", "kernel_has_the_modules_of_virtio_blk"], seconds: 180),
        row!(hotplug::pci_disk_is_hotplugged_into_a_root_port, OwnGuest, Environment, Qemu, &[C::VmmHotplugRootPort], blocked_by: &["kernel_boots_to_userspace", "kernel_has_the_modules_of_virtio_blk"], profiles: &under::ROOT_PORTS, seconds: 180),
        row!(hotplug::network_interface_is_hotplugged, OwnGuest, Environment, Qemu, &[C::VmmHotplugNet], blocked_by: CONTAINERS, seconds: 180),
        row!(image::image_is_read_as_an_nvdimm, OwnGuest, Environment, Qemu, &[C::VmmImageNvdimm], blocked_by: &["kernel_boots_to_userspace", "qemu_has_an_nvdimm"], seconds: 180),
        row!(image::image_is_read_as_a_disk, OwnGuest, Environment, Qemu, &[C::VmmImageBlk], blocked_by: BOOTS, seconds: 180),
        row!(boot::guest_powers_off, OwnGuest, Environment, Qemu, BOOT, blocked_by: BOOTS, seconds: 120),
        row!(boot::guest_panic_is_reported, OwnGuest, Environment, Kernel, &[C::VmmBoot, C::KernelGuest], blocked_by: BOOTS, seconds: 120),
        row!(boot::two_cpus_both_work, OwnGuest, Environment, Qemu, BOOT, blocked_by: BOOTS, seconds: 120),
        row!(boot::two_guests_run_at_once, OwnGuest, Environment, Qemu, BOOT, blocked_by: BOOTS, seconds: 240),
        row!(daemon::virtiofsd_ends_when_the_vmm_is_killed, OwnGuest, Environment, Virtiofsd, &[C::FsVirtioFs], blocked_by: &["kernel_boots_to_userspace", "virtiofsd_accepts_the_profiles_flags", "qemu_accepts_the_arguments_of_virtio_fs", "kernel_has_the_modules_of_virtio_fs"], seconds: 120),
    ]
}

/// The rows of this suite.
pub fn tests() -> Vec<Test> {
    rows()
        .into_iter()
        .map(|row| Test {
            id: id(row.name),
            name: row.name,
            suite: Suite::Smoke,
            place: row.place,
            share: None,
            proves: row.proves.to_vec(),
            blames: row.blames,
            needs: row.needs,
            blocked_by: row.blocked_by.iter().map(|name| id(name)).collect(),
            profiles: row.profiles,
            environments: &[],
            seconds: row.seconds,
            doc: doc_of(row.source, row.name),
        })
        .collect()
}

/// The body of that name.
pub fn body(name: &str) -> Option<Body> {
    rows().into_iter().find(|row| row.name == name).map(|row| row.body)
}

fn id(name: &str) -> String {
    format!("smoke::{name}")
}
