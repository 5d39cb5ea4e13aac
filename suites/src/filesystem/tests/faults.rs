//! Filesystems and system calls that lack a property; the body that tries it must fail.

use super::{Mounted, body, site_in};
use crate::check::{Check, Stop};
use crate::test::Body;
use std::path::Path;
use std::process::{Command, Stdio};

fn run_in(root: &Path, name: &str) -> Check {
    let Some(body) = body(name).and_then(Body::on_a_site) else { panic!("{name} is no body inside a guest") };
    body(&site_in(root, name, root, None))
}

#[track_caller]
fn must_fail(root: &Path, name: &str, word: &str) {
    match run_in(root, name) {
        Err(Stop::Fail { message, .. }) => assert!(message.contains(word), "{name}: expected {word:?} in {message:?}"),
        other => panic!("{name}: expected a failure that says {word:?}, got {other:?}"),
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn filesystems_that_lack_a_property_fail_it() {
    let cases = [
        ("tmpfs", "nr_inodes=500", "ten_thousand_entries_are_listed_once", "No space left"),
        ("ramfs", "", "statfs_is_plausible", "expected available <= free <= size"),
        ("ramfs", "", "attributes_round_trip", "not supported"),
        ("ramfs", "", "acls_grant_and_deny", "not supported"),
        ("proc", "", "mounts_in_the_guest", "writing first"),
    ];
    for (kind, options, name, word) in cases {
        let at = tempfile::tempdir().expect("a temporary directory");
        super::open_to_all(at.path());
        let mounted = Mounted::new(kind, at.path(), options);
        must_fail(&mounted.at, name, word);
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn flags_of_a_mount_that_take_a_property_away_fail_it() {
    use rustix::mount::{MountFlags, mount, mount_remount};
    let at = tempfile::tempdir().expect("a temporary directory");
    super::open_to_all(at.path());
    mount("tmpfs", at.path(), "tmpfs", MountFlags::NOEXEC, None).expect("it can be mounted");
    let mounted = Mounted { at: at.path().to_path_buf() };
    super::open_to_all(at.path());
    must_fail(&mounted.at, "files_can_be_mapped_for_execution", "PROT_EXEC");
    mount_remount(at.path(), MountFlags::RDONLY, "").expect("it can be remounted");
    must_fail(&mounted.at, "mounts_in_the_guest", "Read-only");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_submount_that_looks_like_the_share_is_found() {
    let at = tempfile::tempdir().expect("a temporary directory");
    super::open_to_all(at.path());
    let name = "submounts_are_filesystems_of_their_own";
    let Some(body) = body(name).and_then(Body::on_a_site) else { panic!("{name} is no body inside a guest") };
    match body(&site_in(at.path(), name, at.path(), Some(at.path().to_path_buf()))) {
        Err(Stop::Fail { message, .. }) => assert!(message.contains("the same device number"), "{message}"),
        other => panic!("expected a failure, got {other:?}"),
    }
}

/// System calls made to succeed without being done (or to fail), and a body that must notice.
const LIES: &[(&str, &str)] = &[
    ("/^rename:retval=0", "rename_is_atomic"),
    ("/^rename:retval=0", "rename_keeps_open_files"),
    ("/^rename:retval=0", "rename_moves_directories"),
    ("/^rename:retval=0", "rename_noreplace_and_exchange_are_honoured"),
    ("/^fsync:error=EIO", "files_and_directories_can_be_synced"),
    ("/^ftruncate:retval=0", "truncation_cuts_and_extends_with_zeros"),
    ("fallocate:retval=0", "fallocate_reserves_and_punches"),
    ("copy_file_range:retval=100", "copy_file_range_copies_or_refuses_cleanly"),
    ("/^(sym)?link(at)?$:retval=0", "symlinks_lead_where_they_say"),
    ("/^link(at)?$:error=EPERM", "hard_links_share_one_file"),
    ("/^unlink:retval=0", "unlinked_but_open_files_stay_usable"),
    ("/^unlink:retval=0", "deleting_while_listing_hides_nothing"),
    ("/chown:retval=0", "ownership_is_roots_to_give"),
    ("/chmod:retval=0", "setuid_setgid_and_sticky_bits_are_kept"),
    ("/^utime:retval=0", "times_keep_nanoseconds"),
    ("/^ftruncate:retval=0", "writes_advance_mtime_and_ctime"),
    ("flock:retval=0", "flock_excludes_other_descriptors"),
    ("flock:retval=0", "a_waiting_lock_is_granted"),
    ("fcntl:retval=0", "record_locks_exclude_by_range"),
    ("/^mknod:error=EPERM", "fifos_pass_bytes"),
    ("/^mknod:error=EPERM", "device_nodes_keep_their_numbers"),
    ("bind:error=EPERM", "unix_sockets_connect"),
    ("pwrite64:retval=3000", "concurrent_writers_keep_to_their_ranges"),
    ("pwrite64:retval=10", "files_may_exceed_4_gib"),
    ("/^setxattr:retval=0", "attributes_round_trip"),
    ("/^setxattr:retval=0", "attributes_honour_create_and_replace"),
    ("/^removexattr:retval=0", "attributes_are_listed_and_removed"),
    ("/^setxattr:retval=0", "default_acls_are_inherited"),
    ("/^setxattr:retval=0", "acl_mask_is_the_group_mode"),
    ("setresuid:retval=0", "permissions_bind_other_users"),
    ("setresuid:retval=0", "directories_need_search_permission"),
    ("setresuid:retval=0", "new_files_belong_to_their_creator"),
    ("setresuid:retval=0", "sticky_directories_guard_other_users_files"),
    ("umask:retval=0", "umask_masks_new_files"),
    ("lseek:retval=0", "a_listing_can_be_resumed_at_any_entry"),
    ("/^getdents:retval=0", "a_directory_lists_what_was_just_made_and_removed"),
    ("/^readlink:error=EINVAL", "symlink_targets_keep_every_byte"),
    ("inotify_add_watch:retval=1", "own_changes_are_notified"),
    ("/^setxattr:retval=0", "selinux_labels_are_kept"),
    ("/^open(at)?$:error=EIO:when=50+", "running_out_of_descriptors_is_an_errno"),
];

/// The environment variables that tell [`run_one_body`] what to run, and where.
const BODY: &str = "SEEDED_BODY";
const PLACE: &str = "SEEDED_PLACE";

#[test]
#[ignore = "a part of lying_system_calls_are_found, which runs it under strace"]
fn run_one_body() {
    let (Ok(name), Some(place)) = (std::env::var(BODY), std::env::var_os(PLACE)) else {
        return;
    };
    // Nobody waits for a lie that keeps a body busy for ever.
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_secs(40));
        std::process::abort();
    });
    println!("RESULT {:?}", run_in(Path::new(&place), &name));
}

#[test]
#[cfg_attr(any(lacks = "root", lacks = "strace"), ignore = "needs root and strace")]
fn lying_system_calls_are_found() {
    let this = std::env::current_exe().expect("the path of the test program");
    let mut unnoticed = Vec::new();
    for (lie, name) in LIES {
        let place = tempfile::tempdir().expect("a temporary directory");
        super::open_to_all(place.path());
        std::fs::create_dir(place.path().join(name)).expect("a directory");
        super::open_to_all(&place.path().join(name));
        let calls = lie.split(':').next().unwrap_or(lie);
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &format!("inject={lie}")])
            .arg(&this)
            .args([
                "--exact",
                "filesystem::tests::faults::run_one_body",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(BODY, name)
            .env(PLACE, place.path())
            .stdin(Stdio::null())
            .output()
            .expect("strace runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.contains("RESULT Err(Fail") {
            unnoticed.push(format!("{name} under {lie}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
