//! Makes a cloud image from a release's tree: partitions, filesystems, and a qcow2 with them.

use harness::environments::vm::outer::OuterQemu;
use harness::environments::vm::process::QemuProcess;
use images::Image;
use qemu::qmp::Qmp;
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A file that marks the image as the vendor's.
pub(super) const MARK: &str = "etc/vendor";
/// A file with an unusual owner and mode, and a second link to it.
pub(super) const ODD: &str = "srv/odd";
pub(super) const SAME: &str = "srv/same";
pub(super) const OWNER: (u32, u32, u32) = (12_345, 54_321, 0o4711);
/// A program with a capability: `cap_net_raw=ep` as Linux's `struct vfs_cap_data`.
pub(super) const CAPABLE: &str = "srv/capable";
pub(super) const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A symbolic link that leads out of the tree.
pub(super) const LINK: &str = "srv/link";

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
const BOOT: u64 = 192 * MIB;
const ROOT: u64 = 4096 * MIB;

/// Makes a cloud image of the release: a GPT with `/boot` and the root, without the release's kernel and virtiofsd, and
/// with a boot loader that finds no disk.
pub(super) fn cloud_image(plain: &Image, folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    run_successfully(Command::new("cp").arg("-a").arg(plain.rootfs()).arg(&tree));
    let mut purge = Command::new("chroot");
    purge.arg(&tree).args([
        "sh",
        "-c",
        "dpkg --purge --force-all virtiofsd $(dpkg-query -W -f '${Package} ' 'linux-image-*')",
    ]);
    run_successfully(&mut purge);
    let write = |path: &str, text: &str| fs::write(tree.join(path), text).unwrap();
    write(MARK, "made here\n");
    write("etc/fstab", "LABEL=root / ext4 errors=remount-ro 0 1\nLABEL=BOOT /boot ext4 defaults 0 2\n");
    for (path, text) in [
        ("usr/sbin/update-grub", "#!/bin/sh\necho no disk >&2\nexit 1\n"),
        ("etc/kernel/postinst.d/zz-update-grub", "#!/bin/sh\nexec update-grub\n"),
    ] {
        write(path, text);
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    write(ODD, "odd");
    std::os::unix::fs::chown(tree.join(ODD), Some(OWNER.0), Some(OWNER.1)).unwrap();
    fs::set_permissions(tree.join(ODD), fs::Permissions::from_mode(OWNER.2)).unwrap();
    fs::hard_link(tree.join(ODD), tree.join(SAME)).unwrap();
    write(CAPABLE, "capable");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.join(CAPABLE), "security.capability", CAPABILITY, flags).unwrap();
    std::os::unix::fs::symlink("/nowhere", tree.join(LINK)).unwrap();
    let boot = folder.join("boot");
    fs::rename(tree.join("boot"), &boot).unwrap();
    fs::create_dir(tree.join("boot")).unwrap();
    fs::write(boot.join("vendor"), "boot\n").unwrap();

    let raw = folder.join("disk.raw");
    let disk = File::options().read(true).write(true).create_new(true).open(&raw).unwrap();
    disk.set_len(BOOT + ROOT + 2 * MIB).unwrap();
    for (tree, label, from, size) in [(&boot, "BOOT", MIB, BOOT), (&tree, "root", MIB + BOOT, ROOT)] {
        let part = folder.join(label);
        filesystem(tree, &part, label, size);
        let mut copy = Command::new("dd");
        copy.args(["bs=1M", "conv=notrunc,sparse", "status=none"]).arg(format!("seek={}", from / MIB));
        run_successfully(copy.arg(format!("if={}", part.display())).arg(format!("of={}", raw.display())));
        fs::remove_file(&part).unwrap();
    }
    partitions(&disk, &[(MIB, BOOT), (MIB + BOOT, ROOT)]);
    fs::remove_dir_all(&tree).unwrap();
    qcow2(plain, &raw, folder, "made.qcow2")
}

/// Makes a filesystem of this size from a directory.
pub(super) fn filesystem(tree: &Path, to: &Path, label: &str, size: u64) {
    File::create(to).unwrap().set_len(size).unwrap();
    run_successfully(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-L", label, "-d"]).args([tree, to]));
}

/// Writes a protective MBR and a GPT (UEFI 2.10, 5.3) with Linux partitions at these places.
fn partitions(disk: &File, parts: &[(u64, u64)]) {
    let last = disk.metadata().unwrap().len() / SECTOR - 1;
    let mut mbr = [0; 512];
    mbr[446 + 4] = 0xee;
    mbr[446 + 8..446 + 12].copy_from_slice(&1_u32.to_le_bytes());
    mbr[446 + 12..446 + 16].copy_from_slice(&u32::try_from(last).unwrap().to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    disk.write_all_at(&mbr, 0).unwrap();
    // "Linux filesystem data", in the on-disk byte order of GUIDs.
    let linux = 0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4_u128.to_be_bytes();
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut entries = vec![0; 128 * 128];
    for (n, (from, size)) in parts.iter().enumerate() {
        let entry = &mut entries[n * 128..][..128];
        for (to, from) in order.iter().enumerate() {
            entry[to] = linux[*from];
        }
        entry[16] = u8::try_from(n).unwrap() + 1;
        entry[32..40].copy_from_slice(&(from / SECTOR).to_le_bytes());
        entry[40..48].copy_from_slice(&((from + size) / SECTOR - 1).to_le_bytes());
    }
    // The primary header is followed by its table; the backup header at the end is preceded by its table.
    for (own, other, table) in [(1, last, 2), (last, 1, last - 32)] {
        let mut header = [0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        for (at, value) in [(24, own), (32, other), (40, 34), (48, last - 33), (56, 7), (72, table)] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        let sum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk.write_all_at(&header, own * SECTOR).unwrap();
        disk.write_all_at(&entries, table * SECTOR).unwrap();
    }
}

/// Makes the pinned QEMU copy a disk to a compressed qcow2, the format that vendors publish.
pub(super) fn qcow2(plain: &Image, raw: &Path, folder: &Path, name: &str) -> PathBuf {
    let to = folder.join(name);
    let outer = OuterQemu::of(plain).unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    let node =
        json!({"driver": "raw", "node-name": "disk", "read-only": true, "file": {"driver": "file", "filename": raw}});
    let arguments = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-S",
        "-machine",
        "q35",
        "-m",
        "64M",
        "-chardev",
        "socket,id=qmp,fd=10",
        "-mon",
        "chardev=qmp,mode=control",
        "-blockdev",
        &node.to_string(),
    ];
    let command = outer.unconfined(&arguments.map(str::to_owned));
    let (process, _stderr) = QemuProcess::start(command, vec![(there.into(), 10)]).unwrap();
    let mut qmp = Qmp::connect(here, Duration::from_secs(120)).unwrap();
    let backup = json!({
        "device": "disk", "job-id": "copy", "sync": "full", "target": to, "format": "qcow2", "compress": true,
    });
    qmp.execute("drive-backup", backup).unwrap();
    let ended = qmp.wait_event("BLOCK_JOB_COMPLETED", Duration::from_secs(900)).unwrap();
    assert!(ended["data"]["error"].is_null(), "{ended}");
    qmp.execute("quit", json!({})).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while process.ended().is_none() {
        assert!(Instant::now() < end, "QEMU does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_file(raw).unwrap();
    to
}

fn run_successfully(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
