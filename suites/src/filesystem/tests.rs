//! The suite tried on itself: every property holds natively, and seeded faults are found.
//!
//! These tests need root that may mount. Bodies that skip, for example without a pjdfstest, are reported on standard
//! error.

mod faults;
mod lying_guests;

use super::{
    Action, Bytes, DaemonSignal, Effort, GuestSide, Pair, Reply, Site, durability, perform, random_writes, rows, tests,
    user,
};
use crate::check::{Check, Stop};
use crate::environment::CommandOutput;
use crate::mounts;
use crate::row::test_id;
use crate::share::Share;
use crate::test::Body;
use model::profile::{TRANSLATED_GIDS, TRANSLATED_UIDS};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// The environment variable with the path of a static pjdfstest.
const PJDFSTEST: &str = "PJDFSTEST";
/// The environment variable with the path of a static fsx.
const FSX: &str = "FSX";

/// Returns the body of this name.
fn body(name: &str) -> Option<Body> {
    rows().find(|row| row.name == name).map(|row| row.body)
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("the mode can be set");
}

/// A tree with a separate site for each body.
struct Native {
    /// Unmounted before the tree is removed.
    small: Mounted,
    tree: TempDir,
}

impl Native {
    fn new() -> Native {
        let tree = tempfile::tempdir().expect("a temporary directory");
        open_to_all(tree.path());
        for name in ["share", "scratch", "small"] {
            fs::create_dir(tree.path().join(name)).expect("a directory");
            open_to_all(&tree.path().join(name));
        }
        let small = Mounted::new("tmpfs", &tree.path().join("small"), "size=16m");
        Native { small, tree }
    }

    fn site(&self, name: &str) -> Site {
        let root = self.tree.path().join("share");
        site_in(&root, name, &self.tree.path().join("scratch"), Some(self.small.at.clone()))
    }
}

fn site_in(root: &Path, name: &str, scratch: &Path, small: Option<PathBuf>) -> Site {
    let dir = root.join(name);
    // On a read-only filesystem this fails, and the body must find that out.
    let dir = if fs::create_dir(&dir).is_ok() { dir } else { root.to_path_buf() };
    let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o777));
    let [pjdfstest, fsx] = [PJDFSTEST, FSX].map(|name| std::env::var_os(name).map(PathBuf::from));
    let (root, scratch, effort) = (root.to_path_buf(), scratch.to_path_buf(), Effort::default());
    Site { dir, small, root, share: None, pjdfstest, fsx, run, scratch, effort }
}

/// Runs a program without the deadline that the agent enforces.
fn run(argv: &[&str], variables: &[(&str, &str)], _: Duration) -> Result<CommandOutput, Stop> {
    let done = Command::new(argv[0]).args(&argv[1..]).envs(variables.iter().copied()).output().expect("it is started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(CommandOutput { code: done.status.code(), stdout: text(&done.stdout), stderr: text(&done.stderr) })
}

/// A filesystem mounted for a test, which only the calling thread and what it starts see.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    fn new(kind: &str, at: &Path, options: &str) -> Mounted {
        mounts::own();
        let options_of_it = std::ffi::CString::new(options).expect("options without NUL");
        rustix::mount::mount(kind, at, kind, rustix::mount::MountFlags::empty(), options_of_it.as_c_str())
            .unwrap_or_else(|e| panic!("mounting {kind} with {options}: {e}"));
        open_to_all(at);
        Mounted { at: at.to_path_buf() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A guest that is this process, seen from the share's root: `..` ends there, as in a guest with the share as its root.
///
/// Its extended attributes have virtiofsd's prefix on the host, its ids are translated, and it keeps what is written to
/// some files until the next sync.
struct Loopback {
    root: PathBuf,
    /// Writes that were not synced.
    unsynced: Vec<Action>,
    /// The file that the guest keeps writing.
    written: Option<PathBuf>,
    /// Whether its daemon has ended.
    is_bereaved: bool,
}

/// The prefix that virtiofsd adds to the names of attributes.
const PREFIX: &str = "user.virtiofs.";

impl Loopback {
    fn new(root: PathBuf) -> Loopback {
        Loopback { root, unsynced: Vec::new(), written: None, is_bereaved: false }
    }

    /// Performs the action without the prefix.
    fn perform(&self, action: &Action) -> Result<Reply, Stop> {
        user::with_own_fs(|| {
            rustix::process::chroot(&self.root).map_err(|e| Stop::error(format!("chroot: {e}")))?;
            perform(Path::new("/"), action).map_err(|e| Stop::error(e.to_string()))
        })
    }

    fn stop_writing(&mut self) {
        if let Some(written) = self.written.take() {
            random_writes::end(&written);
        }
    }
}

impl GuestSide for Loopback {
    fn act(&mut self, mut action: Action) -> Result<Reply, Stop> {
        if matches!(&action, Action::AppendHeld { handle, .. } if handle.starts_with(durability::UNSYNCED)) {
            self.unsynced.push(action);
            return Ok(Reply::Done);
        }
        match &mut action {
            Action::Write { sync: true, .. } => {
                for unsynced in std::mem::take(&mut self.unsynced) {
                    self.perform(&unsynced)?;
                }
            }
            Action::CreateAs { uid, gid, .. } | Action::Chown { uid, gid, .. } => {
                (*uid, *gid) = (TRANSLATED_UIDS.on_host(*uid), TRANSLATED_GIDS.on_host(*gid));
            }
            Action::KeepWriting { path, .. } => self.written = Some(Path::new("/").join(path.to_path())),
            Action::SetAttribute { name, .. } | Action::Attribute { name, .. } => *name = format!("{PREFIX}{name}"),
            _ => {}
        }
        match self.perform(&action)? {
            Reply::Names { names } if matches!(action, Action::Attributes { .. }) => {
                let own = |name: &Bytes| name.0.strip_prefix(PREFIX.as_bytes()).map(|name| Bytes(name.to_vec()));
                Ok(Reply::Names { names: names.iter().filter_map(own).collect() })
            }
            Reply::Status { mut status } => {
                status.uid = TRANSLATED_UIDS.in_guest(status.uid);
                status.gid = TRANSLATED_GIDS.in_guest(status.gid);
                Ok(Reply::Status { status })
            }
            reply => Ok(reply),
        }
    }

    fn attempt(&mut self, action: Action, _: Duration) -> Result<Option<Reply>, Stop> {
        if self.is_bereaved { Ok(None) } else { self.act(action).map(Some) }
    }

    fn end_daemon(&mut self, _: DaemonSignal, _: Duration) -> Result<bool, Stop> {
        self.is_bereaved = true;
        // On a share an unfinished write would stay; here none may.
        if let Some(written) = &self.written {
            random_writes::end(written);
        }
        Ok(true)
    }

    fn answers(&mut self) -> Result<bool, Stop> {
        Ok(true)
    }

    fn quit_vmm(&mut self, _: Duration) -> Result<bool, Stop> {
        self.stop_writing();
        Ok(true)
    }

    fn daemon_descriptors(&mut self) -> Result<usize, Stop> {
        Ok(16)
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        self.stop_writing();
        Ok(())
    }
}

/// Runs a body between a tree on this machine and the guest that `guest` makes for the tree's share.
fn run_pair<G: GuestSide>(name: &str, guest: impl FnOnce(PathBuf) -> G) -> Check {
    let Some(Body::Pair(body)) = body(name) else { panic!("{name} is no body between host and guest") };
    let tree = tempfile::tempdir().expect("a temporary directory");
    open_to_all(tree.path());
    // A file's path in the guest identifies its writer, so each run needs a path of its own.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let (root, relative) = (tree.path().join("share"), PathBuf::from(format!("tests-{number}")).join(name));
    fs::create_dir_all(root.join(&relative)).expect("a directory");
    open_to_all(&root.join(&relative));
    let mut guest = guest(root.clone());
    let deadline = Duration::from_millis(300);
    let (host, effort) = (root.join(&relative), Effort::default());
    body(&mut Pair { host, relative, share: Share::VirtioFs, deadline, effort, guest: &mut guest })
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn every_guest_body_passes_natively() {
    let native = Native::new();
    let mut failures = Vec::new();
    for row in rows() {
        let Some(body) = row.body.on_a_site() else {
            continue;
        };
        let start = std::time::Instant::now();
        match body(&native.site(row.name)) {
            Ok(()) => {}
            Err(Stop::Skip { reason }) => eprintln!("        {} skips: {reason}", row.name),
            Err(stop) => failures.push(format!("{}: {stop:?}", row.name)),
        }
        eprintln!("{:>6} ms {}", start.elapsed().as_millis(), row.name);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A mount that is not undone is what a killed test leaves.
#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_mount_that_a_test_leaves_is_seen_only_by_what_the_test_started() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let device = || fs::metadata(dir.path()).expect("it is there").dev();
    let before = device();
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            std::mem::forget(Mounted::new("tmpfs", dir.path(), "size=64k"));
            let mounted = device();
            assert_ne!(mounted, before, "nothing is mounted");
            let by_a_thread = std::thread::scope(|scope| scope.spawn(device).join().expect("it has run"));
            let program = Command::new("stat").args(["-c", "%d"]).arg(dir.path()).output().expect("it is started");
            let by_a_program = String::from_utf8_lossy(&program.stdout).trim().to_owned();
            assert_eq!((by_a_thread, by_a_program), (mounted, mounted.to_string()));
        });
        test.join().expect("the mount is seen");
    });
    assert_eq!(device(), before, "the mount outlives the test");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn every_pair_body_passes_on_a_loopback() {
    let mut failures = Vec::new();
    for row in rows().filter(|row| matches!(row.body, Body::Pair(_))) {
        if let Err(stop) = run_pair(row.name, Loopback::new) {
            failures.push(format!("{}: {stop:?}", row.name));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_row_is_documented_and_has_an_id_and_a_body_of_its_own() {
    let tests = tests();
    let ids: BTreeSet<&str> = tests.iter().map(|test| test.id.as_str()).collect();
    assert_eq!(ids.len(), tests.len(), "two rows have one id");
    let names: BTreeSet<&str> = rows().map(|row| row.name).collect();
    assert_eq!(names.len(), rows().count(), "two rows have one name");
    for test in &tests {
        let sentences = test.doc.split(['.', ';']).filter(|text| text.split_whitespace().count() > 3).count();
        let paragraphs = test.doc.split("\n\n").count();
        assert!(
            sentences >= 2 && paragraphs >= 2,
            "{}: expected what it proves and why Kata needs it: {:?}",
            test.id,
            test.doc
        );
        assert!(body(test.name).is_some(), "{} has no body", test.id);
        let mounts = test.name == super::MOUNTS;
        let blocker = test_id(&test.id.replace(test.name, super::MOUNTS));
        assert_eq!(test.blocked_by == [blocker], !mounts, "{}: {:?}", test.id, test.blocked_by);
    }
    assert!(names.len() >= 60, "only {} properties", names.len());
}
