//! One at a time: a lock for everything that configures a root.

use super::state::{self, ChangeError, FOLDER, STATE};
use root::{PinnedPath, Rescued, Root, RootError};
use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another one is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// The lock of a root; it is given back when dropped, also by a crash.
///
/// It lies on the folder of the state, which nobody else may open, so that nothing left over of it ever stands in the way.
#[derive(Debug)]
pub struct Lock {
    root: Root,
    made: Vec<PathBuf>,
    rescued: Vec<(PathBuf, Rescued)>,
    _folder: File,
}

/// Takes the lock and sweeps what a crash has left; what others wrote at that moment has its place again.
///
/// # Errors
///
/// That another one holds it for a minute, that something else stands where the state's folder is to be, or that it
/// cannot be made.
pub fn lock(root: &Root) -> Result<Lock, ChangeError> {
    let started = Instant::now();
    let mut made = Vec::new();
    loop {
        state::check_folder(root)?;
        // Of the folder alone: a link in the state's own place is not followed.
        for folder in root.missing_folders(&root.resolve_new(Path::new(FOLDER))?.join("_")) {
            if !made.contains(&folder) {
                made.push(folder);
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
        // The process that had it before may have removed the folder.
        if !is_still_there(root, &folder)? {
            continue;
        }
        if place.path() == Path::new(STATE) {
            rustix::fs::fchmod(&folder, Mode::RWXU).map_err(|e| failed(e.into()))?;
        }
        let rescued = sweep(root, &place);
        return Ok(Lock { root: root.clone(), made, rescued, _folder: folder });
    }
}

fn is_still_there(root: &Root, folder: &File) -> Result<bool, RootError> {
    let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let now = root.look(Path::new(FOLDER))?;
    Ok(now.zip(folder.metadata().ok()).is_some_and(|(a, b)| same(&a, &b)))
}

/// Removes what a crash has left beside the state, and beside every file that it names. Returns what became of texts of
/// others that it had taken out of their places.
///
/// A broken state, and what cannot be swept, is told by whoever needs it: nobody is locked out by it.
fn sweep(root: &Root, place: &PinnedPath) -> Vec<(PathBuf, Rescued)> {
    let state = state::read(root).ok().flatten().unwrap_or_default();
    let files = state.files.iter().filter_map(|file| root.pin(&file.path).ok().flatten());
    // The state is nobody else's.
    let _ = place.sweep();
    let swept = |place: PinnedPath| {
        let path = place.path().to_owned();
        place.sweep().unwrap_or_default().into_iter().map(move |how| (path.clone(), how))
    };
    files.flat_map(swept).collect()
}

/// The fate of a text of others, on one line.
fn words(path: &Path, how: &Rescued) -> String {
    let at_that_moment =
        format!("{} was changed by others in the moment in which a call that was cut short wrote it", path.display());
    match how {
        Rescued::Back => format!("{at_that_moment}: what they wrote stands there again"),
        Rescued::Aside(aside) => format!(
            "{at_that_moment}, and once more since: what they wrote first lies in {} now, for you to merge",
            aside.display()
        ),
        Rescued::NotPutBack { path, why } => {
            format!(
                "{at_that_moment}: what they wrote is called {} now, and cannot be brought back: {why}",
                path.display()
            )
        }
    }
}

impl Lock {
    /// The fate of texts of others that a call which was cut short had taken out of their places, in words.
    pub fn rescued(&self) -> Vec<String> {
        self.rescued.iter().map(|(path, how)| words(path, how)).collect()
    }

    /// Where those of them lie that this call could not put back, each with words that tell it.
    pub fn aside(&self) -> Vec<(PathBuf, String)> {
        let lies = |(path, how): &(PathBuf, Rescued)| match how {
            Rescued::Back => None,
            Rescued::Aside(text) | Rescued::NotPutBack { path: text, .. } => Some((text.clone(), words(path, how))),
        };
        self.rescued.iter().filter_map(lies).collect()
    }

    /// The folders that were made for it, the outermost first.
    pub(super) fn made(&self) -> &[PathBuf] {
        &self.made
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // With a state in them they stay.
        for folder in self.made.iter().rev() {
            let _ = self.root.remove_empty_folder(folder);
        }
    }
}
