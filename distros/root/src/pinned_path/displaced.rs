//! Files that were taken out of their place and are looked at once more: others may have written to them until then.
//!
//! Its name says whose place it had, what was put there, and what it was when it was looked at. So whoever comes after a
//! kill can tell whether it may go, as the killed call would have.

use super::{FileContents, PinnedPath};
use crate::attributes::Attributes;
use crate::error::RootError;
use crate::read::MAX_CONFIGURATION;
use crate::root::Root;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How the name of such a file begins.
const DISPLACED: &str = ".kata-osinfo.old";

/// What a text of others is called that has no other place any more; nobody reads it.
pub(super) const ASIDE: &str = ".kata-osinfo.theirs";

/// Names that are tried for it.
pub(super) const MOST_ASIDE: u32 = 100;

/// In the place of a digest: nothing was put there.
const NOTHING: &str = "none";

/// The fate of a text of others that a write or a removal had taken out of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rescued {
    /// It has its place again.
    Back,
    /// Others have written there since, so it lies beside it under this name, which nobody reads.
    Aside(PathBuf),
    /// It can be given neither place: it lies where the call has put it.
    NotPutBack {
        /// Under this name, which nobody reads.
        path: PathBuf,
        /// What the operating system refused.
        why: String,
    },
}

/// A text of others that is in no place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplacedText {
    /// Where it lies, seen from inside.
    pub path: PathBuf,
    /// Whether it was put there for somebody to merge; else a call that was cut short has taken it out of its place, and
    /// nobody has looked at it since.
    pub is_aside: bool,
}

/// The fate of a file that was taken out of its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was what had been looked at, or ours, and is gone.
    Removed,
    /// It was others'.
    Rescued(Rescued),
}

/// A file that was taken out of its place, or is about to be.
#[derive(Debug)]
pub(super) struct Displaced {
    pub(super) name: String,
    /// A digest of the text that was put in its place; `None` where it was to go.
    ours: Option<String>,
    /// A digest of what it was when it was looked at.
    seen: String,
}

impl Displaced {
    /// The file at a place, with what was `seen` of it, when `ours` takes the place.
    pub(super) fn at(place: &PinnedPath, ours: Option<&FileContents>, seen: &FileContents) -> Displaced {
        let (ours, seen) = (ours.map(text), digest(seen));
        let name = format!("{}{}.{seen}", prefix(place), ours.as_deref().unwrap_or(NOTHING));
        Displaced { name, ours, seen }
    }

    /// Whether a file has the text that was put there.
    fn is_text_of_ours(&self, file: &PinnedPath) -> bool {
        self.ours.is_some() && read(file).as_ref().map(text) == self.ours
    }

    fn of_name(place: &PinnedPath, name: &str) -> Option<Displaced> {
        Displaced::of_digests(name, name.strip_prefix(&prefix(place))?)
    }

    /// The same of whatever place.
    fn of_any(name: &str) -> Option<Displaced> {
        let (_, digests) = name.strip_prefix(DISPLACED)?.strip_prefix('.')?.split_once('.')?;
        Displaced::of_digests(name, digests)
    }

    fn of_digests(name: &str, digests: &str) -> Option<Displaced> {
        let (ours, seen) = digests.split_once('.')?;
        let ours = (ours != NOTHING).then(|| ours.to_owned());
        Some(Displaced { name: name.to_owned(), ours, seen: seen.to_owned() })
    }

    /// Whether others have written to what was taken out (`staged`) since it was looked at.
    fn is_of_others(&self, staged: &PinnedPath) -> bool {
        let is_seen = match staged.link() {
            Ok(Some(words)) => link_digest(&words) == self.seen,
            _ => read(staged).is_some_and(|held| digest(&held) == self.seen),
        };
        !is_seen && !self.is_text_of_ours(staged)
    }
}

/// How the names begin of what was at a place; other places have theirs in the same folder.
fn prefix(place: &PinnedPath) -> String {
    let below = place.path.parent().and_then(Path::file_name).filter(|_| place.is_staged_above());
    let parts = below.into_iter().chain([place.name.as_os_str()]);
    format!("{DISPLACED}.{}.", hashed(parts.map(OsStrExt::as_bytes)))
}

/// Tells texts apart; attributes of ours may be changed by whoever keeps those of a folder.
fn text(held: &FileContents) -> String {
    hashed(std::iter::once(held.bytes.as_slice()))
}

/// Tells texts and attributes apart.
fn digest(held: &FileContents) -> String {
    let FileContents { bytes, attributes: Attributes { uid, gid, mode, extended }, .. } = held;
    let numbers = [uid, gid, mode].map(|number| number.to_le_bytes());
    let numbers = numbers.iter().map(<[u8; 4]>::as_slice);
    let extended = extended.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_slice()]);
    hashed(numbers.chain(extended).chain([bytes.as_slice()]))
}

/// Tells links apart, and from files.
fn link_digest(words: &Path) -> String {
    hashed([b"link".as_slice(), words.as_os_str().as_bytes()].into_iter())
}

fn hashed<'p>(parts: impl Iterator<Item = &'p [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

impl Root {
    /// Texts of others in a folder that are in no place of their own, whichever they were taken out of, by their names.
    ///
    /// # Errors
    ///
    /// That the folder cannot be listed.
    pub fn displaced_in(&self, folder: &Path) -> Result<Vec<DisplacedText>, RootError> {
        let mut all = Vec::new();
        for name in self.list_if_any(folder)? {
            let path = folder.join(&name);
            let is_aside = name.strip_prefix(ASIDE).is_some_and(|rest| rest.starts_with('.'));
            let is_displaced = || {
                let displaced = Displaced::of_any(&name)?;
                let staged = self.pin_itself(&path).ok()??;
                // The caller that is writing just now may have dropped it since.
                (displaced.is_of_others(&staged) && !matches!(staged.opened(), Ok(None))).then_some(())
            };
            if is_aside || is_displaced().is_some() {
                all.push(DisplacedText { path, is_aside });
            }
        }
        Ok(all)
    }
}

impl PinnedPath {
    /// Brings back what others have written, and a call that was cut short had taken out of this place; what else it has
    /// left goes.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub(super) fn rescue(&self) -> io::Result<Vec<Rescued>> {
        let (mut rescued, mut failed) = (Vec::new(), None);
        for displaced in self.displaced()? {
            match self.settle(&displaced) {
                Ok(Settled::Removed) => {}
                Ok(Settled::Rescued(how)) => rescued.push(how),
                // The outcome of the others is reported all the same.
                Err(error) if self.is_of_others(&displaced).unwrap_or(true) => {
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

    /// Where texts of others lie that a call which was cut short had taken out of this place; they stay there.
    ///
    /// # Errors
    ///
    /// What the operating system refused.
    pub fn taken_out_of_others(&self) -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for displaced in self.displaced()? {
            if self.is_of_others(&displaced)? {
                all.push(self.staged_path(&displaced.name));
            }
        }
        Ok(all)
    }

    /// Looks at what was taken out of this place: what others have written to since it was looked at gets it back.
    pub(super) fn settle(&self, displaced: &Displaced) -> io::Result<Settled> {
        match self.is_of_others(displaced)? {
            false => self.drop_staged(&displaced.name).map(|()| Settled::Removed),
            true => self.put_back(displaced).map(Settled::Rescued),
        }
    }

    /// Whether others have written to what was taken out since it was looked at.
    fn is_of_others(&self, displaced: &Displaced) -> io::Result<bool> {
        Ok(displaced.is_of_others(&self.staged(&displaced.name)?))
    }

    fn put_back(&self, displaced: &Displaced) -> io::Result<Rescued> {
        let (stage, name) = (self.stage(), displaced.name.as_str());
        let rename = |flags| renameat_with(stage, name, &self.folder, &self.name, flags);
        if rename(RenameFlags::NOREPLACE).is_ok() {
            return Ok(Rescued::Back);
        }
        let exchanged = displaced.is_text_of_ours(self) && rename(RenameFlags::EXCHANGE).is_ok();
        if exchanged && displaced.is_text_of_ours(&self.staged(name)?) {
            return self.drop_staged(name).map(|()| Rescued::Back);
        }
        // Others have written to ours by now, or theirs cannot be brought back: neither text is lost.
        for number in 1..=MOST_ASIDE {
            let aside = format!("{ASIDE}.{number}");
            if renameat_with(stage, name, stage, aside.as_str(), RenameFlags::NOREPLACE).is_ok() {
                return Ok(Rescued::Aside(self.staged_path(&aside)));
            }
        }
        Err(io::Error::other(format!("others change it again and again: a text of theirs is called {name} now")))
    }

    /// Removes what was looked at, unless others have written to it by then.
    pub(super) fn take_out(&self, seen: &FileContents) -> io::Result<bool> {
        let displaced = Displaced::at(self, None, seen);
        match renameat_with(&self.folder, &self.name, self.stage(), displaced.name.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => self.was_seen(&displaced),
            Err(Errno::NOENT) => Ok(false),
            // Another filesystem, or one without such renames: looking right before is all that can be done.
            Err(_) if self.is_still(Some(seen)) => self.unlink().map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Removes a link that says `words`, if that is still `to_go` once it has been taken out of its place; whatever else
    /// others have put there by then stays, and the answer is `false`.
    ///
    /// # Errors
    ///
    /// [`RootError::Write`].
    pub fn remove_link(&self, words: &Path, to_go: &dyn Fn() -> bool) -> Result<bool, RootError> {
        let removed = self.link_taken_out(words, to_go).and_then(|removed| self.sync().map(|()| removed));
        removed.map_err(|source| RootError::Write { path: self.shown.clone(), source })
    }

    fn link_taken_out(&self, words: &Path, to_go: &dyn Fn() -> bool) -> io::Result<bool> {
        let (stage, name) = (self.stage(), format!("{}{NOTHING}.{}", prefix(self), link_digest(words)));
        let is_still = |place: &PinnedPath| Ok::<_, io::Error>(place.link()?.as_deref() == Some(words));
        if !is_still(self)? {
            return Ok(false);
        }
        // A killed call has left the same link there.
        if is_still(&self.staged(&name)?)? {
            self.drop_staged(&name)?;
        }
        match renameat_with(&self.folder, &self.name, stage, name.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            // Another filesystem, or one without such renames: looking right before is all that can be done.
            Err(_) if is_still(self)? && to_go() => return self.unlink().map(|()| true),
            Err(_) => return Ok(false),
        }
        let removed = match is_still(&self.staged(&name)?) {
            Ok(true) if to_go() => self.drop_staged(&name).map(|()| true),
            still => still.map(|_| false),
        };
        if !matches!(removed, Ok(true)) {
            // Theirs has its place again, or lies where every call names it.
            let displaced = Displaced { name, ours: None, seen: String::new() };
            self.put_back(&displaced).and_then(is_back)?;
        }
        removed
    }

    /// Exchanges a file that is staged under this name for what was looked at, unless others have written to that by then.
    pub(super) fn exchange(&self, name: &str, seen: &FileContents) -> io::Result<bool> {
        let stage = self.stage();
        let displaced = Displaced::at(self, self.staged(name)?.contents(u64::MAX)?.as_ref(), seen);
        renameat(stage, name, stage, displaced.name.as_str())?;
        match renameat_with(stage, displaced.name.as_str(), &self.folder, &self.name, RenameFlags::EXCHANGE) {
            Ok(()) => self.was_seen(&displaced),
            Err(errno) => {
                // Staged as it was, for whoever knows another way.
                renameat(stage, displaced.name.as_str(), stage, name)?;
                Err(errno.into())
            }
        }
    }

    /// Whether what was taken out is what had been looked at; what is not is brought back.
    fn was_seen(&self, displaced: &Displaced) -> io::Result<bool> {
        match self.settle(displaced)? {
            Settled::Removed => Ok(true),
            Settled::Rescued(how) => is_back(how).map(|()| false),
        }
    }

    /// The files that were taken out of this place and have not been looked at again.
    fn displaced(&self) -> io::Result<Vec<Displaced>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = match rustix::fs::openat(self.stage(), c".", flags, Mode::empty()) {
            // A user who may not list the folder has left nothing there.
            Err(Errno::ACCESS) => return Ok(Vec::new()),
            folder => folder?,
        };
        let mut all = Vec::new();
        for entry in Dir::new(folder)? {
            all.extend(entry?.file_name().to_str().ok().and_then(|name| Displaced::of_name(self, name)));
        }
        Ok(all)
    }

    /// Removes a file that is staged under this name; one that is not there stays so.
    pub(super) fn drop_staged(&self, name: &str) -> io::Result<()> {
        match unlinkat(self.stage(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ROFS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A file that is staged under this name.
    pub(super) fn staged(&self, name: &str) -> io::Result<PinnedPath> {
        let (path, shown) = (self.staged_path(name), self.shown.with_file_name(name));
        Ok(PinnedPath { path, shown, folder: self.stage().try_clone()?, above: None, name: name.into() })
    }

    pub(super) fn staged_path(&self, name: &str) -> PathBuf {
        let folder = self.path.parent().filter(|_| self.is_staged_above()).unwrap_or(&self.path);
        folder.with_file_name(name)
    }
}

/// A file; `None` where it is none, or none that this program would have looked at.
fn read(place: &PinnedPath) -> Option<FileContents> {
    place.contents(MAX_CONFIGURATION).ok()?
}

/// That a text of others has its place again.
///
/// # Errors
///
/// Where it lies else.
pub(super) fn is_back(how: Rescued) -> io::Result<()> {
    match how {
        Rescued::Back => Ok(()),
        Rescued::NotPutBack { path, why } => {
            Err(io::Error::other(format!("a text of others is called {} now, and stays there: {why}", path.display())))
        }
        Rescued::Aside(path) => Err(io::Error::other(format!(
            "others change it again and again: a text of theirs is called {} now",
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

    /// A file that was looked at, and a new one that is staged.
    struct Machine {
        dir: tempfile::TempDir,
        place: PinnedPath,
        seen: FileContents,
    }

    impl Machine {
        fn new(inside: &str) -> Machine {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(&inside[1..]);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "old").unwrap();
            let place = Root::new(dir.path()).unwrap().pin(Path::new(inside)).unwrap().unwrap();
            let machine = Machine { seen: place.read(LIMIT).unwrap().unwrap(), place, dir };
            machine.write(OURS, "ours");
            machine
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.path().join(&self.place.staged_path(name).to_str().unwrap()[1..])
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.at(name), text).unwrap();
        }

        /// The text in the place.
        fn text(&self) -> Option<String> {
            std::fs::read_to_string(self.dir.path().join(&self.place.path.to_str().unwrap()[1..])).ok()
        }

        fn edit(&self, text: &str) {
            std::fs::write(self.dir.path().join(&self.place.path.to_str().unwrap()[1..]), text).unwrap();
        }

        /// Everything that is staged, with its text.
        fn beside(&self) -> Vec<(String, String)> {
            let folder = self.at("x").parent().unwrap().to_owned();
            let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
            let names = names.filter(|name| name.starts_with('.'));
            let mut all: Vec<_> =
                names.map(|name| (name.clone(), std::fs::read_to_string(self.at(&name)).unwrap())).collect();
            all.sort();
            all
        }

        /// Exchanges both, and looks no more: as a kill leaves it.
        fn killed_behind_the_exchange(&self) -> Displaced {
            let ours = self.place.staged(OURS).unwrap().read(LIMIT).unwrap();
            let displaced = Displaced::at(&self.place, ours.as_ref(), &self.seen);
            let stage = self.place.stage();
            renameat(stage, OURS, stage, displaced.name.as_str()).unwrap();
            let (folder, name) = (&self.place.folder, &self.place.name);
            renameat_with(stage, displaced.name.as_str(), folder, name, RenameFlags::EXCHANGE).unwrap();
            displaced
        }
    }

    const PLACES: [&str; 2] = ["/etc/f", "/etc/conf.d/f"];

    #[test]
    fn what_others_wrote_up_to_the_exchange_has_its_place_again_after_a_kill() {
        for place in PLACES {
            let machine = Machine::new(place);
            machine.edit("old, and theirs");
            let displaced = machine.killed_behind_the_exchange();
            assert_eq!(machine.text().as_deref(), Some("ours"), "{place}");
            assert_eq!(machine.place.taken_out_of_others().unwrap(), [machine.place.staged_path(&displaced.name)]);
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back], "{place}");
            assert_eq!((machine.text().as_deref(), machine.beside()), (Some("old, and theirs"), Vec::new()), "{place}");
            assert_eq!(machine.place.sweep().unwrap(), [], "{place}");
            // Its mode counts, too.
            let machine = Machine::new(place);
            let file = machine.dir.path().join(&place[1..]);
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            machine.killed_behind_the_exchange();
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back], "{place}");
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{place}");
        }
    }

    #[test]
    fn what_was_looked_at_and_what_is_ours_goes_after_a_kill() {
        for place in PLACES {
            let machine = Machine::new(place);
            machine.killed_behind_the_exchange();
            assert_eq!(machine.place.taken_out_of_others().unwrap(), Vec::<PathBuf>::new());
            assert_eq!(machine.place.sweep().unwrap(), []);
            assert_eq!((machine.text().as_deref(), machine.beside()), (Some("ours"), Vec::new()), "{place}");
            // A kill before the exchange, and an edit since.
            let machine = Machine::new(place);
            let ours = machine.place.staged(OURS).unwrap().read(LIMIT).unwrap();
            let displaced = Displaced::at(&machine.place, ours.as_ref(), &machine.seen);
            std::fs::rename(machine.at(OURS), machine.at(&displaced.name)).unwrap();
            machine.edit("old, and theirs");
            assert_eq!(machine.place.sweep().unwrap(), []);
            assert_eq!((machine.text().as_deref(), machine.beside()), (Some("old, and theirs"), Vec::new()), "{place}");
        }
    }

    #[test]
    fn of_two_texts_of_others_neither_is_lost() {
        for place in PLACES {
            let machine = Machine::new(place);
            machine.edit("old, and theirs");
            let displaced = machine.killed_behind_the_exchange();
            machine.edit("ours, and theirs");
            let aside = format!("{ASIDE}.1");
            let path = machine.place.staged_path(&aside);
            assert_eq!(path, Path::new("/etc").join(&aside));
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Aside(path.clone())]);
            assert_eq!(machine.text().as_deref(), Some("ours, and theirs"));
            assert_eq!(machine.beside(), [(aside.clone(), "old, and theirs".to_owned())]);
            // A write says so, and is not one over what it has not looked at.
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
    fn what_others_wrote_up_to_a_removal_has_its_place_again() {
        for place in PLACES {
            let machine = Machine::new(place);
            std::fs::remove_file(machine.at(OURS)).unwrap();
            machine.edit("old, and theirs");
            assert!(!machine.place.take_out(&machine.seen).unwrap());
            assert_eq!((machine.text().as_deref(), machine.beside()), (Some("old, and theirs"), Vec::new()), "{place}");
            // After a kill, and where somebody has written there by then.
            let displaced = Displaced::at(&machine.place, None, &machine.seen);
            let taken_out =
                || std::fs::rename(machine.dir.path().join(&place[1..]), machine.at(&displaced.name)).unwrap();
            taken_out();
            assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back]);
            taken_out();
            machine.edit("new");
            assert!(matches!(machine.place.sweep().unwrap()[..], [Rescued::Aside(_)]));
            assert_eq!(machine.text().as_deref(), Some("new"));
            machine.edit("old");
            assert!(machine.place.take_out(&machine.seen).unwrap() && machine.text().is_none());
            assert_eq!(machine.beside(), [(format!("{ASIDE}.1"), "old, and theirs".to_owned())]);
        }
    }

    /// By its name alone nobody can tell whose place it had; that it is others', everybody can.
    #[test]
    fn a_text_without_a_place_is_found_in_its_folder() {
        for place in PLACES {
            let machine = Machine::new(place);
            let root = Root::new(machine.dir.path()).unwrap();
            let found = || root.displaced_in(Path::new("/etc")).unwrap();
            machine.killed_behind_the_exchange();
            assert_eq!(found(), [], "{place}: it is what was looked at");
            let machine = Machine::new(place);
            let root = Root::new(machine.dir.path()).unwrap();
            let found = || root.displaced_in(Path::new("/etc")).unwrap();
            machine.edit("old, and theirs");
            let displaced = machine.killed_behind_the_exchange();
            let path = Path::new("/etc").join(&displaced.name);
            assert_eq!(found(), [DisplacedText { path, is_aside: false }], "{place}");
            machine.edit("ours, and theirs");
            assert!(matches!(machine.place.sweep().unwrap()[..], [Rescued::Aside(_)]));
            let path = Path::new("/etc").join(format!("{ASIDE}.1"));
            for _ in 0..2 {
                assert_eq!(found(), [DisplacedText { path: path.clone(), is_aside: true }], "{place}");
            }
            std::fs::remove_file(machine.at(&format!("{ASIDE}.1"))).unwrap();
            assert_eq!(found(), []);
        }
    }

    /// All names for what lies aside are taken.
    #[test]
    fn what_became_of_one_text_is_told_also_where_another_one_is_stuck() {
        let machine = Machine::new("/etc/f");
        machine.edit("old, and theirs");
        let first = machine.killed_behind_the_exchange();
        machine.edit("ours, and theirs");
        let second = format!("{}{NOTHING}.0", prefix(&machine.place));
        machine.write(&second, "more of theirs");
        (2..=MOST_ASIDE).for_each(|number| machine.write(&format!("{ASIDE}.{number}"), ""));
        let rescued = machine.place.sweep().unwrap();
        let is_aside = |how: &&Rescued| matches!(how, Rescued::Aside(path) if path.ends_with(format!("{ASIDE}.1")));
        let is_left = |how: &&Rescued| {
            matches!(how, Rescued::NotPutBack { path, .. }
            if path.ends_with(&first.name) || path.ends_with(&second))
        };
        assert_eq!((rescued.iter().filter(is_aside).count(), rescued.iter().filter(is_left).count()), (1, 1));
        assert_eq!(rescued.len(), 2, "{rescued:?}");
    }

    #[test]
    fn a_link_goes_only_as_it_was_looked_at() {
        use std::os::unix::fs::symlink;
        for inside in PLACES {
            let machine = Machine::new(inside);
            std::fs::remove_file(machine.at(OURS)).unwrap();
            let file = machine.dir.path().join(&inside[1..]);
            let (words, place) = (Path::new("/gone"), &machine.place);
            let link = || std::fs::read_link(&file).ok();
            // A file, or another link, has its place by then.
            assert!(!place.remove_link(words, &|| true).unwrap());
            assert_eq!((machine.text().as_deref(), machine.beside()), (Some("old"), Vec::new()), "{inside}");
            std::fs::remove_file(&file).unwrap();
            assert!(!place.remove_link(words, &|| true).unwrap(), "there is none");
            symlink("/other", &file).unwrap();
            assert!(!place.remove_link(words, &|| true).unwrap());
            assert_eq!(link().as_deref(), Some(Path::new("/other")));
            // What it leads to has come back in between.
            std::fs::remove_file(&file).unwrap();
            symlink(words, &file).unwrap();
            assert!(!place.remove_link(words, &|| false).unwrap());
            assert_eq!(link().as_deref(), Some(words));
            // A killed call has taken it out, and others have made it again.
            let left = format!("{}{NOTHING}.{}", prefix(place), link_digest(words));
            symlink(words, machine.at(&left)).unwrap();
            let root = Root::new(machine.dir.path()).unwrap();
            assert_eq!(root.displaced_in(Path::new("/etc")).unwrap(), [], "it is what was looked at");
            assert!(place.remove_link(words, &|| true).unwrap());
            assert_eq!((link(), std::fs::symlink_metadata(machine.at(&left)).is_ok()), (None, false), "{inside}");
        }
    }

    #[test]
    fn what_is_of_another_place_in_the_folder_is_left_to_it() {
        let (machine, other) = (Machine::new("/etc/f"), "/etc/g");
        machine.edit("theirs");
        machine.killed_behind_the_exchange();
        let root = Root::new(machine.dir.path()).unwrap();
        assert_eq!(root.pin(Path::new(other)).unwrap().unwrap().sweep().unwrap(), []);
        assert_eq!(machine.place.sweep().unwrap(), [Rescued::Back]);
    }
}
