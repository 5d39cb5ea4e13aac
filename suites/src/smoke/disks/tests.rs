//! The bodies tried natively: as root, on a kernel with loop devices, EROFS and XFS.

use super::*;
use crate::check::message;
use crate::mounts;

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn loop_disks_work_natively() {
    assert_eq!(files_are_disks(tempfile::tempdir().unwrap().path()), Ok(()));
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_generated_erofs_mounts_and_a_damaged_one_is_found() {
    mounts::own();
    let dir = tempfile::tempdir().unwrap();
    let mut image = erofs::image(WORDS);
    assert_eq!(read_only_erofs(dir.path(), &image), Ok(()));
    image[3 * 4096] ^= 1;
    assert!(message(read_only_erofs(dir.path(), &image)).starts_with("a file of an EROFS reads as"));
    image[1024] ^= 1;
    let error = message(read_only_erofs(dir.path(), &image));
    assert!(error.starts_with("mounting /dev/loop") && error.contains(" as erofs: "), "{error}");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_generated_xfs_mounts_and_a_damaged_one_is_found() {
    mounts::own();
    let dir = tempfile::tempdir().unwrap();
    let mut image = xfs::image();
    assert_eq!(kept_by_xfs(dir.path(), &image), Ok(()));
    // Change a byte of the root directory's inode, whose checksum is then wrong.
    image[8 * 4096 + 200] ^= 1;
    let error = message(kept_by_xfs(dir.path(), &image));
    assert!(error.contains(" as xfs: "), "{error}");
}

#[test]
fn a_disks_io_counter_is_read_by_its_device_number() {
    let stat = "254:0 rbytes=1 wbytes=2 rios=0\n7:1 rbytes=0 wbytes=9\n7:0 rbytes=4096 wbytes=2097152 rios=1 wios=32\n";
    assert_eq!(counted(stat, "7:0", "wbytes"), Some(2 << 20));
    assert_eq!(counted(stat, "7:2", "wbytes"), None);
    assert_eq!(counted("7:0 rbytes=1\n", "7:0", "wbytes"), None);
    assert_eq!(counted("7:0 rbytes=1\n", "7:0", "rbytes"), Some(1));
}
