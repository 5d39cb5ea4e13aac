//! Disks plugged with settings other than the shipped ones, most of them into the PCI bridge.

use super::forms::{self, Bridge, Disk, IO_THREAD, Options};
use super::scratch_disk::{SMALL, ScratchDisk};
use super::unplug::{By, delete};
use super::{CONTAINERS, VIRTIO_BLK, disks, on_the_bridge, on_the_bridge_still};
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Machine, Question, Setting};
use crate::row::{Row, row};
use crate::smoke::guest_files::{list, load, read};
use crate::test::Place;
use crate::under;
use model::procfs;
use model::profile::{ModuleUse, Runtime};
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

const SOURCE: &str = include_str!("options.rs");

pub(in crate::smoke) static ROWS: &[Row] = &[
    row!(Environment(disk_is_served_by_a_thread_of_its_own), &[Capability::VmmIoThread], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::IO_THREAD)
        .seconds(180),
    row!(Environment(disk_is_served_by_its_controllers_thread), &[Capability::VmmIoThread], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(CONTAINERS)
        .seconds(180),
    row!(Environment(plugged_disk_has_a_queue_for_each_cpu), &[Capability::VmmBlockOptions], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(&["smoke::two_cpus_both_work", "smoke::kernel_has_the_modules_of_virtio_blk"])
        .under(&under::DISK_QUEUES)
        .seconds(180),
    row!(Environment(plugged_disk_has_the_sectors_asked_for), &[Capability::VmmBlockOptions], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::SECTORS)
        .seconds(180),
    row!(Environment(what_a_guest_discards_is_the_hosts_again), &[Capability::VmmBlockOptions], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::DISCARDS)
        .seconds(180),
    row!(Environment(plugged_disk_is_used_by_native_aio), &[Capability::VmmAioNative], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::RS_BY_PATH)
        .seconds(180),
    row!(Environment(several_files_are_one_disk_by_vmdk), &[Capability::VmmVmdk], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(VIRTIO_BLK)
        .under(&under::RS_BY_PATH)
        .seconds(180),
];

/// A disk that is plugged with an I/O thread of its own holds the data written to it, is served by that thread, and can
/// be unplugged.
///
/// With `enable_iothreads` and `indep_iothreads` a virtio-blk disk does not wait for QEMU's main loop (`setupIoThread`
/// and `hotplugAddBlockDevice` in src/runtime/virtcontainers/qemu.go@4.1.0, `add_indep_iothreads` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn disk_is_served_by_a_thread_of_its_own(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::IoThread)?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let disk = ScratchDisk::new()?;
    let options = Options { io_thread: true, ..Options::default() };
    let (id, name) = plugged(env, machine, &Disk::first(&disk.0), options)?;
    is_used_by(env, machine, IO_THREAD, &disk, &name)?;
    unplugged(machine, &id)
}

/// Checks that the guest can use a disk, and that this wakes a QEMU thread whose name begins with `thread`.
fn is_used_by(
    env: &dyn EnvironmentSide,
    machine: &mut dyn Machine,
    thread: &str,
    disk: &ScratchDisk,
    name: &str,
) -> Check {
    let number = number_of(thread, &machine.qmp("query-iothreads", json!({}))?)?;
    let status = format!("/proc/{}/task/{number}/status", machine.vmm_pid());
    let before = woken(&env.read(&status)?)?;
    disk.is_used(machine, name)?;
    let after = woken(&env.read(&status)?)?;
    ensure!(
        after > before,
        "the disk was to be served by the thread {thread}, which has slept all along while the guest used the disk"
    );
    Ok(())
}

/// A disk of the SCSI controller holds the data written to it, and is served by the controller's own thread.
///
/// With `enable_iothreads` alone the controller has a thread (`genericSCSIController` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, `add_scsi_controller` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn disk_is_served_by_its_controllers_thread(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::ScsiThread)?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::Other)?;
    let disk = ScratchDisk::new()?;
    forms::plug_scsi_disk(machine, &Disk::first(&disk.0))?;
    let name = disks::found(env, machine, 0)?;
    // The Go runtime appends random digits to the name.
    let thread = if machine.profile().runtime == Runtime::Go { "iothread-" } else { "scsi-io-thread" };
    is_used_by(env, machine, thread, &disk, &name)
}

/// Plugs a disk with these options; returns its id, and its name in the guest.
fn plugged(
    env: &dyn EnvironmentSide,
    machine: &mut dyn Machine,
    disk: &Disk<'_>,
    options: Options,
) -> Result<(String, String), Stop> {
    let id = forms::plug_pci_disk_with(machine, disk, options)?;
    let name = on_the_bridge(env, machine, Bridge::Plain, 1, "block")?;
    Ok((id, name))
}

fn unplugged(machine: &mut dyn Machine, id: &str) -> Check {
    delete(machine, id, By::Kernel(&mut on_the_bridge_still))?;
    forms::remove_node(machine)
}

/// Returns the id of the thread whose name begins with `name` in the answer to `query-iothreads`.
fn number_of(name: &str, answer: &Value) -> Result<u64, Stop> {
    let is_it = |thread: &&Value| thread["id"].as_str().is_some_and(|id| id.starts_with(name));
    let found = answer.as_array().into_iter().flatten().find(is_it);
    let number = found.and_then(|thread| thread.get("thread-id")?.as_u64());
    number.ok_or_else(|| Stop::fail(format!("QEMU was started with the thread {name}, and has {answer}")))
}

/// Returns how often a thread has gone to sleep by itself; each piece of work ends with one more.
fn woken(status: &str) -> Result<u64, Stop> {
    let count = procfs::status(status, "voluntary_ctxt_switches").and_then(|count| count.parse().ok());
    count.ok_or_else(|| Stop::error("the status of a thread of QEMU's does not say how often it slept"))
}

/// The number of CPUs of the guest, and of the disk's queues.
const QUEUES: u32 = 2;

/// A disk that is plugged into a guest with two CPUs has two queues there, and holds the data written to it.
///
/// The Go runtime asks for a queue for each CPU (`hotplugAddBlockDevice` in src/runtime/virtcontainers/qemu.go@4.1.0),
/// so that CPUs do not wait for each other; runtime-rs leaves the number to QEMU.
fn plugged_disk_has_a_queue_for_each_cpu(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::Vcpus(QUEUES))?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let disk = ScratchDisk::new()?;
    let options = Options { queues: Some(QUEUES), ..Options::default() };
    let (_, name) = plugged(env, machine, &Disk::first(&disk.0), options)?;
    let queues = list(machine, &format!("/sys/class/block/{name}/mq"))?;
    ensure!(
        u32::try_from(queues.len()) == Ok(QUEUES),
        "a disk was plugged with num-queues {QUEUES}, and has {} in the guest",
        queues.len()
    );
    disk.is_used(machine, &name)
}

/// A disk's sector sizes, logical and physical, bytes; they differ from QEMU's default and from each other.
const SECTORS: [u32; 2] = [4096, 8192];

/// A disk that is plugged with other sector sizes has them in the guest, and holds the data written to it.
///
/// With `block_device_logical_sector_size` and `block_device_physical_sector_size` a volume has the sectors of the
/// host's device (`executePCIDeviceAdd` in src/runtime/pkg/govmm/qemu/qmp.go@4.1.0, `hotplug_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0).
fn plugged_disk_has_the_sectors_asked_for(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let disk = ScratchDisk::new()?;
    let options = Options { sectors: Some(SECTORS), ..Options::default() };
    let (_, name) = plugged(env, machine, &Disk::first(&disk.0), options)?;
    for (kind, requested) in ["logical", "physical"].into_iter().zip(SECTORS) {
        let seen = read(machine, &format!("/sys/class/block/{name}/queue/{kind}_block_size"))?;
        ensure!(
            seen.trim() == requested.to_string(),
            "a disk was plugged with {kind}_block_size {requested}, and the guest sees {:?}",
            seen.trim()
        );
    }
    disk.is_used(machine, &name)
}

/// The bytes that the guest discards of a disk of 8 MiB.
const GIVEN_UP: Range<u64> = 4 << 20..6 << 20;

/// The bytes that a guest discards of a disk become a hole in the disk's file, and no other byte does.
///
/// A sparse volume in a file asks for this (`DiscardUnmap` in `hotplugAddBlockDevice` of
/// src/runtime/virtcontainers/qemu.go@4.1.0, `discard_unmap` in `hotplug_block_device` of
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0), so that the node gets the space back.
fn what_a_guest_discards_is_the_hosts_again(env: &dyn EnvironmentSide) -> Check {
    let disk = ScratchDisk::new()?;
    holes_free_space()?;
    let before = allocated(&disk.0)?;
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let options = Options { discard: true, ..Options::default() };
    let (id, name) = plugged(env, machine, &Disk::first(&disk.0), options)?;
    let (offset, bytes) = (GIVEN_UP.start, GIVEN_UP.end - GIVEN_UP.start);
    let question = Question::Discard { device: format!("/dev/{name}"), offset, bytes };
    machine.ask(question)?.text("giving up a part of a disk in the guest")?;
    unplugged(machine, &id)?;
    is_given_up(&disk.0, before)
}

/// Skips if files cannot have holes, or a hole frees nothing.
///
/// The offset of a file's holes is not queried: a FUSE filesystem that does not know it reports none.
fn holes_free_space() -> Check {
    let scratch = ScratchDisk::of(b'h', SMALL)?;
    let opened = OpenOptions::new().write(true).open(&scratch.0);
    let file = opened.map_err(|e| Stop::error(format!("opening a file: {e}")))?;
    let before = allocated(&scratch.0)?;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, hole, 0, SMALL as u64).map_err(|e| Stop::skip(format!("files here cannot have holes: {e}")))?;
    match before.saturating_sub(allocated(&scratch.0)?) > SMALL as u64 / 2 {
        true => Ok(()),
        false => Err(Stop::skip("a hole in a file frees no space here")),
    }
}

/// Returns the number of bytes that the filesystem has allocated for a file.
fn allocated(path: &Path) -> Result<u64, Stop> {
    // Some filesystems allocate space, and count it, only when they write.
    let synced = File::open(path).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
    // `st_blocks` counts in units of 512 bytes whatever the filesystem's blocks are.
    Ok(synced.doing("looking at the disk's file")?.blocks() * 512)
}

/// Checks that the discarded bytes read as zeros, no others do, and most of their space is free on the host.
fn is_given_up(path: &Path, before: u64) -> Check {
    let freed = before.saturating_sub(allocated(path)?);
    gives_up(&fs::read(path).doing("reading the disk's file")?, freed)
}

/// Checks a disk file's content, and the number of bytes that were freed.
fn gives_up(content: &[u8], freed: u64) -> Check {
    let wrong = (0..).zip(content).position(|(at, byte)| (*byte == 0) != GIVEN_UP.contains(&at));
    ensure!(
        wrong.is_none() && freed > (GIVEN_UP.end - GIVEN_UP.start) / 2,
        "of a disk that is full the guest gave up the bytes {GIVEN_UP:?}; its file takes {freed} bytes less than before, \
         and the first byte that is wrong is at {wrong:?}"
    );
    Ok(())
}

/// A disk that QEMU reads and writes by the kernel's asynchronous I/O, past the page cache, can be plugged, holds the
/// data written to it, and can be unplugged.
///
/// This is `block_device_aio = "native"`, which requires `block_device_cache_direct = true` (`hotplug_block_device` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0). The Go runtime has it only for block devices of the host.
fn plugged_disk_is_used_by_native_aio(env: &dyn EnvironmentSide) -> Check {
    let disk = ScratchDisk::new()?;
    can_be_direct(&disk.0)?;
    has_room_for_aio()?;
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let options = Options { direct: true, ..Options::default() };
    let (id, name) = plugged(env, machine, &Disk { aio: "native", ..Disk::first(&disk.0) }, options)?;
    disk.is_used(machine, &name)?;
    let pid = machine.vmm_pid();
    let ring = env.read(&format!("/proc/{pid}/maps"))?.contains("[aio]");
    ensure!(
        ring,
        "QEMU was told to use the kernel's asynchronous I/O, and has no ring of it (AIO) in /proc/{pid}/maps"
    );
    unplugged(machine, &id)
}

/// Skips if files cannot be read past the page cache.
fn can_be_direct(path: &Path) -> Check {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
    opened.map(drop).map_err(|e| Stop::skip(format!("files here cannot be opened with O_DIRECT: {e}")))
}

/// The most asynchronous I/O requests that QEMU reserves in the kernel.
const REQUESTS: u64 = 1024;

/// Skips if the kernel has no asynchronous I/O, or other processes use up the limit.
fn has_room_for_aio() -> Check {
    let number = |name: &str| fs::read_to_string(format!("/proc/sys/fs/{name}")).ok()?.trim().parse::<u64>().ok();
    match (number("aio-nr"), number("aio-max-nr")) {
        (Some(used), Some(most)) if used.saturating_add(REQUESTS) <= most => Ok(()),
        (Some(used), Some(most)) => {
            Err(Stop::skip(format!("{used} of the kernel's {most} asynchronous requests are used")))
        }
        _ => Err(Stop::skip("the kernel has no asynchronous I/O")),
    }
}

/// Two files are one read-only disk of the guest through a VMDK descriptor, and the disk can be unplugged.
///
/// runtime-rs passes an EROFS of several layers as one device this way (`create_vmdk_descriptor` in
/// src/runtime-rs/crates/resource/src/rootfs/erofs_rootfs.rs@4.1.0, `BlockDeviceFormat::Vmdk` in
/// src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs@4.1.0).
fn several_files_are_one_disk_by_vmdk(env: &dyn EnvironmentSide) -> Check {
    let layers = [ScratchDisk::of(b'1', SMALL)?, ScratchDisk::of(b'2', SMALL)?];
    let listed = ScratchDisk::of(b' ', SMALL)?;
    let text = list_of(&layers.each_ref().map(|layer| layer.0.as_path()), SMALL);
    fs::write(&listed.0, text).map_err(|e| Stop::error(format!("writing a list of files: {e}")))?;
    let mut machine = env.boot()?;
    let machine = machine.as_mut();
    load(machine, ModuleUse::VirtioBlk)?;
    let options = Options { vmdk: true, ..Options::default() };
    let (id, name) = plugged(env, machine, &Disk { read_only: true, ..Disk::first(&listed.0) }, options)?;
    let content = read(machine, &format!("/dev/{name}"))?;
    let expected = ["1", "2"].map(|byte| byte.repeat(SMALL)).concat();
    ensure!(
        content == expected,
        "two files of {SMALL} bytes are one disk by vmdk, whose {} bytes differ from theirs in the guest",
        content.len()
    );
    let flag = read(machine, &format!("/sys/class/block/{name}/ro"))?;
    ensure!(
        flag.trim() == "1",
        "a disk by vmdk was plugged read-only, and the guest takes it for one that can be written"
    );
    unplugged(machine, &id)
}

/// Returns a VMDK descriptor of files of this size, as runtime-rs writes it.
fn list_of(files: &[&Path], bytes: usize) -> String {
    let sectors = bytes / 512;
    let lines: Vec<String> = files.iter().map(|file| format!("RW {sectors} FLAT \"{}\" 0\n", file.display())).collect();
    let cylinders = (files.len() * sectors).div_ceil(63 * 16);
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n\n\
         # Extent description\n{}\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n",
        lines.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_found_by_its_name() {
        let answer =
            json!([{ "id": "iothread-0a", "thread-id": 7 }, { "id": IO_THREAD, "thread-id": 8, "poll-grow": 0 }]);
        assert_eq!((number_of(IO_THREAD, &answer), number_of("iothread-", &answer)), (Ok(8), Ok(7)));
        let message = "QEMU was started with the thread indep_iothread_0, and has []";
        assert_eq!(number_of(IO_THREAD, &json!([])), Err(Stop::fail(message)));
    }

    #[test]
    fn voluntary_context_switches_of_a_thread_are_read() {
        let status = "Name:\tqemu\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(woken(status), Ok(42));
        assert!(matches!(woken("Name:\tqemu\n"), Err(Stop::Error { .. })));
    }

    #[test]
    fn only_the_discarded_range_may_be_zero() {
        let with_zeros =
            |zeros: Range<u64>| (0..8 << 20).map(|at| if zeros.contains(&at) { 0 } else { b'-' }).collect::<Vec<u8>>();
        let freed = GIVEN_UP.end - GIVEN_UP.start;
        assert_eq!(gives_up(&with_zeros(GIVEN_UP), freed), Ok(()));
        assert!(gives_up(&with_zeros(0..0), freed).is_err(), "nothing was given up");
        assert!(gives_up(&with_zeros(GIVEN_UP), freed / 2).is_err(), "its room was not given back");
        let more = GIVEN_UP.start..GIVEN_UP.end + SMALL as u64;
        assert!(gives_up(&with_zeros(more), freed).is_err(), "more was given up");
    }

    /// On a filesystem whose files cannot have holes, this test fails and the body skips.
    #[test]
    fn a_hole_in_a_disks_file_is_detected() {
        assert_eq!(holes_free_space(), Ok(()));
        let disk = ScratchDisk::new().unwrap();
        let before = allocated(&disk.0).unwrap();
        assert!(is_given_up(&disk.0, before).is_err(), "nothing was given up");
        let file = OpenOptions::new().write(true).open(&disk.0).unwrap();
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, flags, GIVEN_UP.start, GIVEN_UP.end - GIVEN_UP.start).unwrap();
        assert_eq!(is_given_up(&disk.0, before), Ok(()));
    }

    #[test]
    fn a_vmdk_descriptor_lists_each_file_with_its_sectors() {
        let list = list_of(&[Path::new("/1.img"), Path::new("/2.img")], SMALL);
        assert!(list.contains("\nRW 128 FLAT \"/1.img\" 0\nRW 128 FLAT \"/2.img\" 0\n\n"), "{list}");
        assert!(list.contains("cylinders = \"1\""), "{list}");
    }
}
