//! Displaced files: files moved out of their place and checked once more, because others may have written to them until
//! then.
//!
//! The name of a displaced file holds hashes of its place, of the text that replaced it, and of its own earlier state.
//! So after a kill, a later call can decide whether to delete it as the killed call would have.

use super::{FileContents, PinnedPath};
use crate::attributes::Attributes;
use crate::error::RootError;
use crate::read::MAX_CONFIGURATION;
use crate::root::Root;
use crate::sha256;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Prefix of a displaced file's name.
const DISPLACED: &str = ".kata-osinfo.old";

/// Prefix for others' text whose place is taken by newer text; no program reads a file of this name.
pub(super) const ASIDE: &str = ".kata-osinfo.theirs";

/// Maximum number of such names that are tried.
pub(super) const MOST_ASIDE: u32 = 100;

/// Stands for the digest if the file was removed and not replaced.
const NOTHING: &str = "none";

/// The fate of others' text that a write or a removal had displaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rescued {
    /// The text is back in its place.
    Back,
    /// Others have written a newer text to its place, so it is kept under this name, which no program reads.
    Aside(PathBuf),
    /// The text could be neither put back nor put aside: it stays where the call had moved it.
    NotPutBack {
        /// The name of the displaced file; no program reads it.
        path: PathBuf,
        /// The error of the operating system.
        why: String,
    },
}

/// Others' text that is not in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplacedText {
    /// Its path, seen from inside.
    pub path: PathBuf,
    /// Whether the text was put aside for the admin to merge; otherwise an interrupted call displaced it, and no call
    /// has checked it since.
    pub is_aside: bool,
}

/// The fate of a displaced file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The file had the state that was checked, or kata-osinfo's text, and is deleted.
    Removed,
    /// The file had text that others wrote.
    Rescued(Rescued),
}

/// A displaced file, or one that is about to be displaced.
#[derive(Debug)]
pub(super) struct Displaced {
    pub(super) name: String,
    /// Digest of the text that replaced it; `None` if the file was removed.
    replacement: Option<String>,
    /// Digest of its state when it was checked.
    checked: String,
}

impl Displaced {
    /// Names the file at `place`, whose state was `checked`, and which `replacement` replaces.
    pub(super) fn new(place: &PinnedPath, replacement: Option<&FileContents>, checked: &FileContents) -> Displaced {
        let (replacement, checked) = (replacement.map(text_digest), digest(checked));
        let name = format!("{}{}.{checked}", prefix(place), replacement.as_deref().unwrap_or(NOTHING));
        Displaced { name, replacement, checked }
    }

    /// Checks whether `file` has the text that replaced the displaced file.
    fn has_replacement_text(&self, file: &PinnedPath) -> bool {
        self.replacement.is_some() && read(file).as_ref().map(text_digest) == self.replacement
    }

    fn of_name(place: &PinnedPath, name: &str) -> Option<Displaced> {
        Displaced::of_digests(name, name.strip_prefix(&prefix(place))?)
    }

    /// Does the same as `of_name`, for any place.
    fn of_any(name: &str) -> Option<Displaced> {
        let (_, digests) = name.strip_prefix(DISPLACED)?.strip_prefix('.')?.split_once('.')?;
        Displaced::of_digests(name, digests)
    }

    fn of_digests(name: &str, digests: &str) -> Option<Displaced> {
        let (replacement, checked) = digests.split_once('.')?;
        let replacement = (replacement != NOTHING).then(|| replacement.to_owned());
        Some(Displaced { name: name.to_owned(), replacement, checked: checked.to_owned() })
    }

    /// Checks whether others have written to the displaced file (`staged`) after it was checked.
    fn was_edited_by_others(&self, staged: &PinnedPath) -> bool {
        let is_unchanged = match staged.link() {
            Ok(Some(target)) => link_digest(&target) == self.checked,
            _ => read(staged).is_some_and(|contents| digest(&contents) == self.checked),
        };
        !is_unchanged && !self.has_replacement_text(staged)
    }
}

/// Returns the prefix for files displaced from `place`; files from other places in the same directory have other
/// prefixes.
fn prefix(place: &PinnedPath) -> String {
    let below = place.path.parent().and_then(Path::file_name).filter(|_| place.is_staged_above());
    let parts = below.into_iter().chain([place.name.as_os_str()]);
    format!("{DISPLACED}.{}.", hashed(parts.map(OsStrExt::as_bytes)))
}

/// Returns a digest of the text alone: other tools may change the attributes of files in their directory.
fn text_digest(contents: &FileContents) -> String {
    hashed(std::iter::once(contents.bytes.as_slice()))
}

/// Returns a digest of text and attributes.
fn digest(contents: &FileContents) -> String {
    let FileContents { bytes, attributes: Attributes { uid, gid, mode, extended }, .. } = contents;
    let numbers = [uid, gid, mode].map(|number| number.to_le_bytes());
    let numbers = numbers.iter().map(<[u8; 4]>::as_slice);
    let extended = extended.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_slice()]);
    hashed(numbers.chain(extended).chain([bytes.as_slice()]))
}

/// Returns a digest of a link's target, which differs from every file's digest.
fn link_digest(target: &Path) -> String {
    hashed([b"link".as_slice(), target.as_os_str().as_bytes()].into_iter())
}

/// Returns the first 64 bits of the SHA-256 of these parts.
fn hashed<'p>(parts: impl Iterator<Item = &'p [u8]>) -> String {
    let mut digits = sha256::of_parts(parts);
    digits.truncate(16);
    digits
}

impl Root {
    /// Finds others' texts in a directory that are not in their place, whatever that place was, by the file names.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be listed.
    pub fn displaced_in(&self, folder: &Path) -> Result<Vec<DisplacedText>, RootError> {
        let mut all = Vec::new();
        for name in self.list_if_any(folder)? {
            let path = folder.join(&name);
            let is_aside = name.strip_prefix(ASIDE).is_some_and(|rest| rest.starts_with('.'));
            let is_displaced = || {
                let displaced = Displaced::of_any(&name)?;
                let staged = self.pin_itself(&path).ok()??;
                // A concurrent call that is writing may have deleted it since.
                (displaced.was_edited_by_others(&staged) && !matches!(staged.open_existing(), Ok(None))).then_some(())
            };
            if is_aside || is_displaced().is_some() {
                all.push(DisplacedText { path, is_aside });
            }
        }
        Ok(all)
    }
}

impl PinnedPath {
    /// Puts back others' texts that an interrupted call had displaced from this path, and deletes the call's other
    /// leftovers.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub(super) fn rescue(&self) -> io::Result<Vec<Rescued>> {
        let (mut rescued, mut failed) = (Vec::new(), None);
        for displaced in self.displaced()? {
            match self.settle(&displaced) {
                Ok(Settled::Removed) => {}
                Ok(Settled::Rescued(outcome)) => rescued.push(outcome),
                // The outcome for the other files is reported all the same.
                Err(error) if self.was_edited_by_others(&displaced).unwrap_or(true) => {
                    let path = self.staged_path(&displaced.name);
                    rescued.push(Rescued::NotPutBack { path, why: error.to_string() });
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if rescued.is_empty() => Err(error),
            _ => Ok(rescued),
        }
    }

    /// Returns the paths of others' texts that an interrupted call had displaced from this path; they are not moved.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn displaced_texts_of_others(&self) -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for displaced in self.displaced()? {
            if self.was_edited_by_others(&displaced)? {
                all.push(self.staged_path(&displaced.name));
            }
        }
        Ok(all)
    }

    /// Checks a displaced file: if others have written to it after it was last checked, it is put back, otherwise
    /// deleted.
    pub(super) fn settle(&self, displaced: &Displaced) -> io::Result<Settled> {
        match self.was_edited_by_others(displaced)? {
            false => self.drop_staged(&displaced.name).map(|()| Settled::Removed),
            true => self.put_back(displaced).map(Settled::Rescued),
        }
    }

    /// Checks whether others have written to the displaced file after it was checked.
    fn was_edited_by_others(&self, displaced: &Displaced) -> io::Result<bool> {
        Ok(displaced.was_edited_by_others(&self.staged(&displaced.name)?))
    }

    fn put_back(&self, displaced: &Displaced) -> io::Result<Rescued> {
        let (stage, name) = (self.stage(), displaced.name.as_str());
        let rename = |flags| renameat_with(stage, name, &self.folder, &self.name, flags);
        if rename(RenameFlags::NOREPLACE).is_ok() {
            return Ok(Rescued::Back);
        }
        let exchanged = displaced.has_replacement_text(self) && rename(RenameFlags::EXCHANGE).is_ok();
        if exchanged && displaced.has_replacement_text(&self.staged(name)?) {
            return self.drop_staged(name).map(|()| Rescued::Back);
        }
        // Others have changed the new text by now, or the old text cannot be put back: neither text is lost.
        for number in 1..=MOST_ASIDE {
            let aside = format!("{ASIDE}.{number}");
            if renameat_with(stage, name, stage, aside.as_str(), RenameFlags::NOREPLACE).is_ok() {
                return Ok(Rescued::Aside(self.staged_path(&aside)));
            }
        }
        Err(io::Error::other(format!("other processes keep changing it: the text of one is now in {name}")))
    }

    /// Removes the file with the state `checked`, unless others have written to it by then.
    pub(super) fn remove_if_unchanged(&self, checked: &FileContents) -> io::Result<bool> {
        let displaced = Displaced::new(self, None, checked);
        match renameat_with(&self.folder, &self.name, self.stage(), displaced.name.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => self.was_unchanged(&displaced),
            Err(Errno::NOENT) => Ok(false),
            // Another filesystem, or one without such renames: the best possible is a check right before.
            Err(_) if self.is_unchanged(Some(checked)) => self.unlink().map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Removes a link to `target`, if `may_remove` still holds once the link has been displaced; anything else
    /// that others have put there by then stays, and the answer is `false`.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove_link(&self, target: &Path, may_remove: &dyn Fn() -> bool) -> Result<bool, RootError> {
        let removed = self.remove_unchanged_link(target, may_remove).and_then(|removed| self.sync().map(|()| removed));
        removed.map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    fn remove_unchanged_link(&self, target: &Path, may_remove: &dyn Fn() -> bool) -> io::Result<bool> {
        let (stage, name) = (self.stage(), format!("{}{NOTHING}.{}", prefix(self), link_digest(target)));
        let is_unchanged = |place: &PinnedPath| Ok::<_, io::Error>(place.link()?.as_deref() == Some(target));
        if !is_unchanged(self)? {
            return Ok(false);
        }
        // A killed call has left the same link under the staged name.
        if is_unchanged(&self.staged(&name)?)? {
            self.drop_staged(&name)?;
        }
        match renameat_with(&self.folder, &self.name, stage, name.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            // Another filesystem, or one without such renames: the best possible is a check right before.
            Err(_) if is_unchanged(self)? && may_remove() => return self.unlink().map(|()| true),
            Err(_) => return Ok(false),
        }
        let removed = match is_unchanged(&self.staged(&name)?) {
            Ok(true) if may_remove() => self.drop_staged(&name).map(|()| true),
            still => still.map(|_| false),
        };
        if !matches!(removed, Ok(true)) {
            // Others' file or link is put back, or kept under a name that every call reports.
            let displaced = Displaced { name, replacement: None, checked: String::new() };
            self.put_back(&displaced).and_then(ensure_back)?;
        }
        removed
    }

    /// Exchanges the staged file `name` with the file whose state was `checked`, unless others have written to the
    /// latter by then.
    pub(super) fn exchange(&self, name: &str, checked: &FileContents) -> io::Result<bool> {
        let stage = self.stage();
        let displaced = Displaced::new(self, self.staged(name)?.contents(u64::MAX)?.as_ref(), checked);
        renameat(stage, name, stage, displaced.name.as_str())?;
        match renameat_with(stage, displaced.name.as_str(), &self.folder, &self.name, RenameFlags::EXCHANGE) {
            Ok(()) => self.was_unchanged(&displaced),
            Err(errno) => {
                // Staged under its old name again, because the caller may know another way.
                renameat(stage, displaced.name.as_str(), stage, name)?;
                Err(errno.into())
            }
        }
    }

    /// Checks whether the displaced file has the state that was checked; any other file is put back.
    fn was_unchanged(&self, displaced: &Displaced) -> io::Result<bool> {
        match self.settle(displaced)? {
            Settled::Removed => Ok(true),
            Settled::Rescued(outcome) => ensure_back(outcome).map(|()| false),
        }
    }

    /// Returns the files that were displaced from this path and not checked again.
    fn displaced(&self) -> io::Result<Vec<Displaced>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = match rustix::fs::openat(self.stage(), c".", flags, Mode::empty()) {
            // A user who may not list the directory cannot have left anything there.
            Err(Errno::ACCESS) => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut all = Vec::new();
        for entry in Dir::new(folder)? {
            all.extend(entry?.file_name().to_str().ok().and_then(|name| Displaced::of_name(self, name)));
        }
        Ok(all)
    }

    /// Removes a staged file; a missing file is no error.
    pub(super) fn drop_staged(&self, name: &str) -> io::Result<()> {
        match unlinkat(self.stage(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ROFS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the staged file of this name.
    pub(super) fn staged(&self, name: &str) -> io::Result<PinnedPath> {
        let (path, shown) = (self.staged_path(name), self.shown.with_file_name(name));
        Ok(PinnedPath { path, shown, folder: self.stage().try_clone()?, above: None, name: name.into() })
    }

    pub(super) fn staged_path(&self, name: &str) -> PathBuf {
        let folder = self.path.parent().filter(|_| self.is_staged_above()).unwrap_or(&self.path);
        folder.with_file_name(name)
    }
}

/// Reads a file; `None` if it is missing, unreadable, or no regular file.
fn read(place: &PinnedPath) -> Option<FileContents> {
    place.contents(MAX_CONFIGURATION).ok()?
}

/// Checks that others' text is back in its place.
///
/// # Errors
///
/// The error says where the text is instead.
pub(super) fn ensure_back(outcome: Rescued) -> io::Result<()> {
    match outcome {
        Rescued::Back => Ok(()),
        Rescued::NotPutBack { path, why } => Err(io::Error::other(format!(
            "the text of another process is now in {}, and cannot be put back: {why}",
            path.display()
        ))),
        Rescued::Aside(path) => Err(io::Error::other(format!(
            "other processes keep changing it: the text of one is now in {}",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LIMIT: u64 = 100;
    const OURS: &str = ".ours";

    /// A file that was checked, and a new file that is staged.
    struct Machine {
        dir: tempfile::TempDir,
        place: PinnedPath,
        checked: FileContents,
    }

    impl Machine {
        fn new(inside: &str) -> Machine {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(&inside[1..]);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "old").unwrap();
            let place = Root::new(dir.path()).unwrap().pin(Path::new(inside)).unwrap().unwrap();
            let machine = Machine { checked: place.read(LIMIT).unwrap().unwrap(), place, dir };
            machine.write(OURS, "ours");
            machine
        }

        fn path_of(&self, name: &str) -> PathBuf {
            self.dir.path().join(&self.place.staged_path(name).to_str().unwrap()[1..])
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path_of(name), text).unwrap();
        }

        /// The text at the pinned path.
        fn text(&self) -> Option<String> {
            std::fs::read_to_string(self.dir.path().join(&self.place.path.to_str().unwrap()[1..])).ok()
        }

        fn edit(&self, text: &str) {
            std::fs::write(self.dir.path().join(&self.place.path.to_str().unwrap()[1..]), text).unwrap();
        }

        /// All staged files with their texts.
        fn staged_files(&self) -> Vec<(String, String)> {
            let folder = self.path_of("x").parent().unwrap().to_owned();
            let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let names = names.filter(|name| name.starts_with('.'));
            let mut all: Vec<_> =
                names.map(|name| (name.clone(), std::fs::read_to_string(self.path_of(&name)).unwrap())).collect();
            all.sort();
            all
        }

        /// Exchanges both files without checking afterwards, as a kill leaves them.
        fn exchange_without_checking(&self) -> Displaced {
            let ours = self.place.staged(OURS).unwrap().read(LIMIT).unwrap();
            let displaced = Displaced::new(&self.place, ours.as_ref(), &self.checked);
            let stage = self.place.stage();
            renameat(stage, OURS, stage, displaced.name.as_str()).unwrap();
            let (folder, name) = (&self.place.folder, &self.place.name);
            renameat_with(stage, displaced.name.as_str(), folder, name, RenameFlags::EXCHANGE).unwrap();
            displaced
        }
    }

    const PLACES: [&str; 2] = ["/etc/f", "/etc/conf.d/f"];

    #[test]
    fn edits_made_before_the_exchange_are_restored_after_a_kill() {
        for place in PLACES {
            let machine = Machine::new(place);
            machine.edit("old, and theirs");
            let displaced = machine.exchange_without_checking();
            assert_eq!(machine.text().as_deref(), Some("ours"), "{place}");
            let staged = machine.place.staged_path(&displaced.name);
            assert_eq!(machine.place.displaced_texts_of_others().unwrap(), [staged]);
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back], "{place}");
            assert_eq!(
                (machine.text().as_deref(), machine.staged_files()),
                (Some("old, and theirs"), Vec::new()),
                "{place}"
            );
            assert_eq!(machine.place.sweep().unwrap(), [], "{place}");
            // A changed mode counts as a change, too.
            let machine = Machine::new(place);
            let file = machine.dir.path().join(&place[1..]);
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            machine.exchange_without_checking();
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back], "{place}");
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{place}");
        }
    }

    #[test]
    fn unedited_old_text_and_our_staged_text_are_deleted_after_a_kill() {
        for place in PLACES {
            let machine = Machine::new(place);
            machine.exchange_without_checking();
            assert_eq!(machine.place.displaced_texts_of_others().unwrap(), Vec::<PathBuf>::new());
            assert_eq!(machine.place.sweep().unwrap(), []);
            assert_eq!((machine.text().as_deref(), machine.staged_files()), (Some("ours"), Vec::new()), "{place}");
            // A kill before the exchange, and an edit after the kill.
            let machine = Machine::new(place);
            let ours = machine.place.staged(OURS).unwrap().read(LIMIT).unwrap();
            let displaced = Displaced::new(&machine.place, ours.as_ref(), &machine.checked);
            std::fs::rename(machine.path_of(OURS), machine.path_of(&displaced.name)).unwrap();
            machine.edit("old, and theirs");
            assert_eq!(machine.place.sweep().unwrap(), []);
            assert_eq!(
                (machine.text().as_deref(), machine.staged_files()),
                (Some("old, and theirs"), Vec::new()),
                "{place}"
            );
        }
    }

    #[test]
    fn two_conflicting_edits_by_others_are_both_kept() {
        for place in PLACES {
            let machine = Machine::new(place);
            machine.edit("old, and theirs");
            let displaced = machine.exchange_without_checking();
            machine.edit("ours, and theirs");
            let aside = format!("{ASIDE}.1");
            let path = machine.place.staged_path(&aside);
            assert_eq!(path, Path::new("/etc").join(&aside));
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Aside(path.clone())]);
            assert_eq!(machine.text().as_deref(), Some("ours, and theirs"));
            assert_eq!(machine.staged_files(), [(aside.clone(), "old, and theirs".to_owned())]);
            // A write reports it, and does not overwrite a text that it has not checked.
            machine.write(&displaced.name, "more of theirs");
            let now = machine.place.read(LIMIT).unwrap().unwrap();
            let error = machine.place.write_over(Some(&now), b"new", Some(&now.attributes)).unwrap_err().to_string();
            assert!(error.contains(&format!("{ASIDE}.2")), "{error}");
            assert_eq!(machine.text().as_deref(), Some("ours, and theirs"));
            assert!(machine.place.write_over(Some(&now), b"new", Some(&now.attributes)).unwrap());
            machine.edit("ours");
            machine.write(&displaced.name, "more of theirs");
            let now = machine.place.read(LIMIT).unwrap().unwrap();
            assert!(!machine.place.write_over(Some(&now), b"new", None).unwrap());
            assert_eq!(machine.text().as_deref(), Some("more of theirs"));
        }
    }

    #[test]
    fn edits_made_before_a_removal_are_restored_or_put_aside() {
        for place in PLACES {
            let machine = Machine::new(place);
            std::fs::remove_file(machine.path_of(OURS)).unwrap();
            machine.edit("old, and theirs");
            assert!(!machine.place.remove_if_unchanged(&machine.checked).unwrap());
            assert_eq!(
                (machine.text().as_deref(), machine.staged_files()),
                (Some("old, and theirs"), Vec::new()),
                "{place}"
            );
            // After a kill, both with an empty place and with a new text in it.
            let displaced = Displaced::new(&machine.place, None, &machine.checked);
            let displace =
                || std::fs::rename(machine.dir.path().join(&place[1..]), machine.path_of(&displaced.name)).unwrap();
            displace();
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back]);
            displace();
            machine.edit("new");
            assert!(matches!(machine.place.sweep().unwrap()[..], [Rescued::Aside(_)]));
            assert_eq!(machine.text().as_deref(), Some("new"));
            machine.edit("old");
            assert!(machine.place.remove_if_unchanged(&machine.checked).unwrap() && machine.text().is_none());
            assert_eq!(machine.staged_files(), [(format!("{ASIDE}.1"), "old, and theirs".to_owned())]);
        }
    }

    /// The name alone does not reveal the original place, but it does reveal that the text is others'.
    #[test]
    fn displaced_and_put_aside_texts_are_found_by_listing_the_folder() {
        for place in PLACES {
            let machine = Machine::new(place);
            let root = Root::new(machine.dir.path()).unwrap();
            let found = || root.displaced_in(Path::new("/etc")).unwrap();
            machine.exchange_without_checking();
            assert_eq!(found(), [], "{place}: it is what was looked at");
            let machine = Machine::new(place);
            let root = Root::new(machine.dir.path()).unwrap();
            let found = || root.displaced_in(Path::new("/etc")).unwrap();
            machine.edit("old, and theirs");
            let displaced = machine.exchange_without_checking();
            let path = Path::new("/etc").join(&displaced.name);
            assert_eq!(found(), [DisplacedText { path, is_aside: false }], "{place}");
            machine.edit("ours, and theirs");
            assert!(matches!(machine.place.sweep().unwrap()[..], [Rescued::Aside(_)]));
            let path = Path::new("/etc").join(format!("{ASIDE}.1"));
            for _ in 0..2 {
                assert_eq!(found(), [DisplacedText { path: path.clone(), is_aside: true }], "{place}");
            }
            std::fs::remove_file(machine.path_of(&format!("{ASIDE}.1"))).unwrap();
            assert_eq!(found(), []);
        }
    }

    /// All names for texts put aside are taken.
    #[test]
    fn the_fate_of_one_text_is_reported_even_if_another_cannot_be_put_back() {
        let machine = Machine::new("/etc/f");
        machine.edit("old, and theirs");
        let first = machine.exchange_without_checking();
        machine.edit("ours, and theirs");
        let second = format!("{}{NOTHING}.0", prefix(&machine.place));
        machine.write(&second, "more of theirs");
        (2..=MOST_ASIDE).for_each(|number| machine.write(&format!("{ASIDE}.{number}"), ""));
        let rescued = machine.place.sweep().unwrap();
        let is_aside =
            |outcome: &&Rescued| matches!(outcome, Rescued::Aside(path) if path.ends_with(format!("{ASIDE}.1")));
        let is_not_put_back = |outcome: &&Rescued| {
            matches!(outcome, Rescued::NotPutBack { path, .. }
            if path.ends_with(&first.name) || path.ends_with(&second))
        };
        assert_eq!((rescued.iter().filter(is_aside).count(), rescued.iter().filter(is_not_put_back).count()), (1, 1));
        assert_eq!(rescued.len(), 2, "{rescued:?}");
    }

    #[test]
    fn a_link_is_removed_only_if_nothing_changed_since_the_check() {
        use std::os::unix::fs::symlink;
        for inside in PLACES {
            let machine = Machine::new(inside);
            std::fs::remove_file(machine.path_of(OURS)).unwrap();
            let file = machine.dir.path().join(&inside[1..]);
            let (target, place) = (Path::new("/gone"), &machine.place);
            let link = || std::fs::read_link(&file).ok();
            // A file, or another link, has taken the link's place by then.
            assert!(!place.remove_link(target, &|| true).unwrap());
            assert_eq!((machine.text().as_deref(), machine.staged_files()), (Some("old"), Vec::new()), "{inside}");
            std::fs::remove_file(&file).unwrap();
            assert!(!place.remove_link(target, &|| true).unwrap(), "there is none");
            symlink("/other", &file).unwrap();
            assert!(!place.remove_link(target, &|| true).unwrap());
            assert_eq!(link().as_deref(), Some(Path::new("/other")));
            // The link's target exists again in the meantime.
            std::fs::remove_file(&file).unwrap();
            symlink(target, &file).unwrap();
            assert!(!place.remove_link(target, &|| false).unwrap());
            assert_eq!(link().as_deref(), Some(target));
            // A killed call has displaced the link, and others have made it again.
            let leftover = format!("{}{NOTHING}.{}", prefix(place), link_digest(target));
            symlink(target, machine.path_of(&leftover)).unwrap();
            let root = Root::new(machine.dir.path()).unwrap();
            assert_eq!(root.displaced_in(Path::new("/etc")).unwrap(), [], "it is what was looked at");
            assert!(place.remove_link(target, &|| true).unwrap());
            assert_eq!(
                (link(), std::fs::symlink_metadata(machine.path_of(&leftover)).is_ok()),
                (None, false),
                "{inside}"
            );
        }
    }

    #[test]
    fn sweeping_one_path_leaves_files_displaced_from_another() {
        let (machine, other) = (Machine::new("/etc/f"), "/etc/g");
        machine.edit("theirs");
        machine.exchange_without_checking();
        let root = Root::new(machine.dir.path()).unwrap();
        assert_eq!(root.pin(Path::new(other)).unwrap().unwrap().sweep().unwrap(), []);
        assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back]);
    }
}
