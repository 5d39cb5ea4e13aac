//! Running of a test's body: in an empty directory of its own; a panic counts as an error of the harness.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use suites::check::{Check, Stop};

/// Gives `body` an empty directory below `root`, 0777, and turns a panic into an error of the harness.
pub fn in_fresh_directory(root: &Path, body: impl FnOnce(PathBuf) -> Check) -> Check {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = root.join(name);
    let made = fs::create_dir(&dir).and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)));
    made.map_err(|e| Stop::fail(format!("making a directory on the share: {e}")))?;
    let result = caught(|| body(dir.clone()));
    // Left-overs do not matter: each test has its own directory and the share goes away with the guest.
    let _ = fs::remove_dir_all(&dir);
    result
}

/// Turns a panic of the body into an error of the harness.
pub fn caught(body: impl FnOnce() -> Check) -> Check {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Stop::error(format!("the test's body panicked: {}", text.unwrap_or_default())))
    })
}
