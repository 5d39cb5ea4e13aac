//! A lock for everything that configures a root: one process at a time.

use super::state::{self, ChangeError, FOLDER, STATE};
use root::{PinnedPath, Rescued, Root, RootError};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Maximum time to wait for another process.
const WITHIN: Duration = Duration::from_secs(60);

/// The lock of a root; it is released when dropped, and also by a crash.
///
/// The lock is on the state's directory, which other users cannot open, so no leftover of it can ever block anyone.
#[derive(Debug)]
pub struct Lock {
    root: Root,
    created: Vec<PathBuf>,
    rescued: Vec<(PathBuf, Rescued)>,
    _folder: File,
}

/// Takes the lock and removes what a crash has left; text that others wrote in that moment is put back in its place.
///
/// # Errors
///
/// Another process holds the lock for a minute, something else stands at the path of the state's directory, or the
/// directory cannot be created.
pub fn lock(root: &Root) -> Result<Lock, ChangeError> {
    let started = Instant::now();
    let mut created = Vec::new();
    loop {
        state::check_folder(root)?;
        // Only the directory counts: a link at the state's own path is not followed.
        for folder in root.missing_folders(&root.resolve_new(Path::new(FOLDER))?.join("_")) {
            if !created.contains(&folder) {
                created.push(folder);
            }
        }
        let place = root.make_pinned_itself(Path::new(STATE))?;
        let failed = |source| RootError::Write { path: root.shown(place.path()), source };
        let folder = place.open_folder().map_err(failed)?;
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::INTR) if started.elapsed() < WITHIN => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(Errno::AGAIN | Errno::INTR) => return Err(ChangeError::Locked(WITHIN.as_secs())),
                Err(errno) => return Err(failed(errno.into()).into()),
            }
        }
        // The previous holder of the lock may have removed the directory.
        if !is_still_there(root, &folder)? {
            continue;
        }
        if place.path() == Path::new(STATE) {
            rustix::fs::fchmod(&folder, Mode::RWXU).map_err(|e| failed(e.into()))?;
        }
        let rescued = sweep(root, &place);
        return Ok(Lock { root: root.clone(), created, rescued, _folder: folder });
    }
}

fn is_still_there(root: &Root, folder: &File) -> Result<bool, RootError> {
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let now = root.look(Path::new(FOLDER))?;
    Ok(now.zip(folder.metadata().ok()).is_some_and(|(a, b)| same(&a, &b)))
}

/// Removes what a crash has left next to the state, and next to every file that the state lists. Returns the fate of
/// others' texts that the crashed call had taken from their paths.
///
/// A damaged state, and leftovers that cannot be removed, are reported by the code that needs them: the lock is still
/// granted.
fn sweep(root: &Root, place: &PinnedPath) -> Vec<(PathBuf, Rescued)> {
    let state = state::read(root).ok().flatten().unwrap_or_default();
    let files = state.files.iter().filter_map(|file| root.pin(&file.path).ok().flatten());
    // Only kata-osinfo writes the state, so no texts of others are lost.
    let _ = place.sweep();
    let swept = |place: PinnedPath| {
        let path = place.path().to_owned();
        place.sweep().unwrap_or_default().into_iter().map(move |how| (path.clone(), how))
    };
    files.flat_map(swept).collect()
}

/// Returns a one-line message about the fate of a text of others.
fn words(path: &Path, how: &Rescued) -> String {
    let at_that_moment = format!(
        "{} was changed by another process while an interrupted kata-osinfo call was writing it",
        path.display()
    );
    match how {
        Rescued::Back => format!("{at_that_moment}: the text of that process is in place again"),
        Rescued::Aside(aside) => format!(
            "{at_that_moment}, and was changed again since: the first text of that process is now in {} for you to merge",
            aside.display()
        ),
        Rescued::NotPutBack { path, why } => {
            format!(
                "{at_that_moment}: the text of that process is now in {} and cannot be put back: {why}",
                path.display()
            )
        }
    }
}

impl Lock {
    /// Returns messages about others' texts that an interrupted call had taken from their paths.
    pub fn rescued(&self) -> Vec<String> {
        self.rescued.iter().map(|(path, how)| words(path, how)).collect()
    }

    /// Returns the current paths of the texts that this call could not put back, each with a message.
    pub fn aside(&self) -> Vec<(PathBuf, String)> {
        let lies = |(path, how): &(PathBuf, Rescued)| match how {
            Rescued::Back => None,
            Rescued::Aside(text) | Rescued::NotPutBack { path: text, .. } => Some((text.clone(), words(path, how))),
        };
        self.rescued.iter().filter_map(lies).collect()
    }

    /// Returns the directories that were created for the lock, the outermost first.
    pub(super) fn created(&self) -> &[PathBuf] {
        &self.created
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Directories that hold a state are not empty, and stay.
        for folder in self.created.iter().rev() {
            let _ = self.root.remove_empty_folder(folder);
        }
    }
}
