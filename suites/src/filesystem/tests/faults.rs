//! Filesystems and system calls that lack a property; the body that tries this property must fail.

use super::{Mounted, body, rows, site_in};
use crate::check::{Check, Stop, message};
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
        let dir = tempfile::tempdir().expect("a temporary directory");
        super::open_to_all(dir.path());
        let mounted = Mounted::new(kind, dir.path(), options);
        must_fail(&mounted.at, name, word);
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn mount_flags_that_remove_a_property_fail_it() {
    use rustix::mount::{MountFlags, mount, mount_remount};
    let dir = tempfile::tempdir().expect("a temporary directory");
    super::open_to_all(dir.path());
    crate::mounts::own();
    mount("tmpfs", dir.path(), "tmpfs", MountFlags::NOEXEC, None).expect("it can be mounted");
    let mounted = Mounted { at: dir.path().to_path_buf() };
    super::open_to_all(dir.path());
    must_fail(&mounted.at, "files_can_be_mapped_for_execution", "PROT_EXEC");
    mount_remount(dir.path(), MountFlags::RDONLY, "").expect("it can be remounted");
    must_fail(&mounted.at, "mounts_in_the_guest", "Read-only");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_submount_that_looks_like_the_share_is_found() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    super::open_to_all(dir.path());
    let name = "submounts_are_filesystems_of_their_own";
    let Some(body) = body(name).and_then(Body::on_a_site) else { panic!("{name} is no body inside a guest") };
    let error = message(body(&site_in(dir.path(), name, dir.path(), Some(dir.path().to_path_buf()))));
    assert!(error.contains("the same device number"), "{error}");
}

/// The environment variables that tell [`run_one_body`] the body to run, and the place.
const BODY: &str = "SEEDED_BODY";
const PLACE: &str = "SEEDED_PLACE";

#[test]
#[ignore = "a part of lying_system_calls_are_found, which runs it under strace"]
fn run_one_body() {
    let (Ok(name), Some(place)) = (std::env::var(BODY), std::env::var_os(PLACE)) else {
        return;
    };
    // A lie may keep a body busy for ever, so end the process after a while.
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
    for (lie, name) in rows().filter_map(|row| Some((row.finds?, row.name))) {
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
            // The loader would first search these directories for libraries, and strace counts its opens, too.
            .env_remove("LD_LIBRARY_PATH")
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
