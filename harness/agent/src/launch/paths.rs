//! Paths of a guest's files in the environment.

use crate::home::AgentHome;
use crate::launch::slots::SlotGuard;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use suites::environment::Setting;

/// Paths of a guest's files in the environment.
pub(crate) struct GuestPaths {
    /// Directory of logs, kept as artifacts.
    pub(crate) dir: PathBuf,
    /// Directory of sockets; short, because the path of a Unix socket is limited to 108 bytes.
    pub(crate) sockets: PathBuf,
    /// Socket of Kata's console, `hvc0`.
    pub(crate) console: PathBuf,
    /// Socket of the serial port.
    pub(crate) serial: PathBuf,
    /// Socket of the line to the guest's agent.
    pub(crate) agent: PathBuf,
    /// Socket of QMP.
    pub(crate) qmp: PathBuf,
    /// Socket of virtiofsd.
    pub(crate) virtiofsd: PathBuf,
    /// Directory of the share on the host's side.
    pub(crate) shared_dir: PathBuf,
    /// Disk of a guest without a share.
    pub(crate) disk: PathBuf,
    /// Keeps the share in use; `None` for paths that are placeholders.
    pub(crate) _slot: Option<SlotGuard>,
    /// Setting with which the guest is started.
    pub(crate) setting: Setting,
    /// The guest's number.
    pub(crate) number: u64,
}

impl GuestPaths {
    /// Makes the directories of guest `number`, which has this share.
    ///
    /// # Errors
    /// If a directory could not be made or emptied.
    pub(crate) fn new(home: &AgentHome, slot: SlotGuard, number: u64, setting: Setting) -> io::Result<GuestPaths> {
        let (dir, sockets) = (home.artifacts().join(format!("g{number}")), home.sockets.join(number.to_string()));
        let shared_dir = slot.dir();
        for folder in [&dir, &sockets, &shared_dir] {
            fs::create_dir_all(folder)?;
        }
        empty(&shared_dir)?;
        // Tests act as other users, who must be able to reach their directories.
        fs::set_permissions(&shared_dir, fs::Permissions::from_mode(0o755))?;
        Ok(GuestPaths {
            console: sockets.join("console"),
            serial: sockets.join("serial"),
            agent: sockets.join("agent"),
            qmp: sockets.join("qmp"),
            virtiofsd: sockets.join("virtiofsd"),
            disk: shared_dir.with_file_name(format!("disk{number}.img")),
            shared_dir,
            _slot: Some(slot),
            setting,
            dir,
            sockets,
            number,
        })
    }

    /// Returns paths that do not exist, for comparing arguments.
    pub(crate) fn placeholders(setting: Setting) -> GuestPaths {
        GuestPaths {
            dir: PathBuf::new(),
            sockets: PathBuf::from("/nonexistent"),
            console: "console".into(),
            serial: "serial".into(),
            agent: "agent".into(),
            qmp: "qmp".into(),
            virtiofsd: "virtiofsd".into(),
            shared_dir: "share".into(),
            disk: "/nonexistent/disk".into(),
            _slot: None,
            setting,
            number: 0,
        }
    }
}

impl Drop for GuestPaths {
    /// Removes files that only a running guest needs.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.sockets);
        let _ = fs::remove_file(&self.disk);
    }
}

/// Empties a share except for `small`, a mount that is emptied, too: a guest that died has removed nothing, and the
/// next guest's tests would find its directories and blame the share.
fn empty(share: &Path) -> io::Result<()> {
    for entry in fs::read_dir(share)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == "small" => empty(&entry.path())?,
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_emptied_for_the_next_guest() {
        let dir = tempfile::tempdir().unwrap();
        let share = dir.path().join("share");
        fs::create_dir_all(share.join("t1-0/deep")).unwrap();
        fs::write(share.join("t1-0/deep/file"), "").unwrap();
        fs::create_dir_all(share.join("small/t1-1")).unwrap();
        fs::write(dir.path().join("outside"), "stays").unwrap();
        // Links that a guest has made are not followed.
        std::os::unix::fs::symlink(dir.path(), share.join("link")).unwrap();
        empty(&share).unwrap();
        let names = |path: &Path| fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(&share), ["small"]);
        assert!(names(&share.join("small")).is_empty());
        assert_eq!(fs::read_to_string(dir.path().join("outside")).unwrap(), "stays");
    }
}
