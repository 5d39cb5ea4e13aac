//! Files of a git repository at a tag.
//!
//! The checkout may be untrusted, and git acts on the configuration of a repository.
//! Therefore only commands are run that read references and objects. None of them looks at an index or a work tree, so
//! monitors, filters, text conversions, hooks and aliases are never run.
//! One way remains for the configuration to start a program: a partial clone fetches missing objects. Such fetches are
//! refused ([`ENVIRONMENT`]).

use model::kata_version::KataVersion;
use operator::process::{Invocation, ProcessError};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The branch that is read after the newest release.
pub(crate) const MAIN: &str = "main";

const GIT: &str = "/usr/bin/git";
/// Time limit for one call of git.
const CALL: Duration = Duration::from_secs(60);

/// Maximum length of all texts together, in bytes; Kata's are a tenth of it.
const MAX_TEXTS: usize = 512 << 20;

/// Environment of git in addition to its path and language. Nothing is inherited from the caller, whose `GIT_DIR` would
/// name another repository.
const ENVIRONMENT: &[(&str, &str)] = &[
    // Use only the repository's own configuration.
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    // Fetch nothing: git before 2.39.4 knows only the second variable, which allows no protocol for fetching.
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_ALLOW_PROTOCOL", ""),
    ("GIT_TERMINAL_PROMPT", "0"),
    // Read the original objects of a tag, not their replacements.
    ("GIT_NO_REPLACE_OBJECTS", "1"),
];

/// Options before each command. The checkout may belong to another user. The switched-off features are used by none of
/// these commands, and must not be used by a later git either.
const OPTIONS: &[&str] = &[
    "-c",
    "safe.directory=*",
    "-c",
    "core.fsmonitor=",
    "-c",
    "core.hooksPath=/dev/null",
    "--no-optional-locks",
    "--no-pager",
];

/// A git repository with Kata's source, bare or not.
#[derive(Debug)]
pub struct Checkout {
    dir: PathBuf,
    within: Duration,
    /// `None` if the clock cannot represent the deadline.
    deadline: Option<Instant>,
    /// Text of a file by its object, because most files do not change from one release to the next.
    texts: RefCell<BTreeMap<String, Rc<str>>>,
    /// Total length of the texts.
    length: Cell<usize>,
}

/// Reasons why a checkout cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckoutError {
    /// The directory is no git repository.
    #[error("{dir} is no git repository with Kata's source: {message}")]
    NoRepository {
        /// The directory.
        dir: String,
        /// git's error text.
        message: String,
    },
    /// git could not be run or did not finish.
    #[error("reading the checkout")]
    Process(#[from] ProcessError),
    /// The checkout was not read in time.
    #[error("the checkout was not read to its end within {} s", .within.as_secs())]
    Deadline {
        /// The time limit.
        within: Duration,
    },
    /// The files are longer than Kata's can be.
    #[error("the files of the checkout are longer than {} MiB together, which Kata's are not", MAX_TEXTS >> 20)]
    TooLong,
    /// An object that a tag names is missing.
    #[error("git cannot read {object}: {message}")]
    Object {
        /// The object.
        object: String,
        /// git's error text.
        message: String,
    },
}

/// Error text of a failed git command.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct GitComplaint(String);

/// Some files at one tag, by path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, Rc<str>>,
}

impl Tree {
    /// Returns the first of these files that exists, with its path. Files move between releases.
    pub(crate) fn first<'a>(&'a self, paths: &[&'a str]) -> Option<(&'a str, &'a str)> {
        paths.iter().find_map(|path| self.files.get(*path).map(|text| (*path, &**text)))
    }

    /// Returns all files below a directory, by their relative paths.
    pub(crate) fn within<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let inside = move |file: &'a str| file.strip_prefix(folder)?.strip_prefix('/');
        self.files.iter().filter_map(move |(file, text)| Some((inside(file)?, &**text)))
    }

    #[cfg(test)]
    pub(crate) fn made(files: BTreeMap<String, Rc<str>>) -> Tree {
        Tree { files }
    }

    /// Returns the file with this path, or the files with this suffix below the directory with this path. Each has its
    /// path, its directory relative to `path` (`signing/`), and its text.
    pub(crate) fn below<'a>(
        &'a self,
        path: &'a str,
        end: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.files.iter().filter_map(move |(file, text)| {
            let inside = file.strip_prefix(path)?;
            let folder = match inside.strip_prefix('/') {
                Some(name) if name.ends_with(end) => &name[..name.rfind('/').map_or(0, |at| at + 1)],
                None if inside.is_empty() => "",
                _ => return None,
            };
            Some((file.as_str(), folder, &**text))
        })
    }
}

impl GitComplaint {
    /// Converts the complaint into the error that this object cannot be read.
    fn about(self, object: &str) -> CheckoutError {
        CheckoutError::Object { object: object.to_owned(), message: self.0 }
    }
}

impl Checkout {
    /// Opens a repository, which must be read within this time.
    ///
    /// # Errors
    /// When the directory is no git repository.
    pub fn open(dir: &Path, within: Duration) -> Result<Checkout, CheckoutError> {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let deadline = Instant::now().checked_add(within);
        let checkout = Checkout { dir, within, deadline, texts: RefCell::default(), length: Cell::default() };
        let refused =
            |message: String| CheckoutError::NoRepository { dir: checkout.dir.display().to_string(), message };
        if !checkout.dir.is_dir() {
            return Err(refused("there is no such folder".to_owned()));
        }
        match checkout.git(&["rev-parse", "--git-dir"])? {
            Ok(_) => Ok(checkout),
            Err(GitComplaint(message)) => Err(refused(message)),
        }
    }

    /// Returns the tags of this release and of later ones, in their order.
    pub(crate) fn releases_from(&self, oldest: KataVersion) -> Result<Vec<KataVersion>, CheckoutError> {
        let tags = self.versions_from(oldest)?;
        let is_release = |(version, tag): &(KataVersion, String)| version.is_release() && version.to_string() == *tag;
        Ok(tags.into_iter().filter(is_release).map(|(version, _)| version).collect())
    }

    /// Returns the pre-releases of this release and of later ones with their tags, `3.2.0-rc0`, in the order of their
    /// releases.
    pub(crate) fn pre_releases_from(&self, oldest: KataVersion) -> Result<Vec<(KataVersion, String)>, CheckoutError> {
        let tags = self.versions_from(oldest)?;
        Ok(tags.into_iter().filter(|(version, _)| !version.is_release()).collect())
    }

    fn versions_from(&self, oldest: KataVersion) -> Result<Vec<(KataVersion, String)>, CheckoutError> {
        // Not `git tag`, whose output the configuration changes.
        let list = ["for-each-ref", "--format=%(refname:strip=2)", "refs/tags/[0-9]*.[0-9]*.[0-9]*"];
        let tags = self.git(&list)?.map_err(|complaint| complaint.about("refs/tags"))?;
        let mut versions: Vec<(KataVersion, String)> = tags
            .lines()
            .filter_map(|tag| tag.parse::<KataVersion>().ok().map(|version| (version, tag.to_owned())))
            .filter(|(version, _)| version.release() >= oldest)
            .collect();
        versions.sort();
        Ok(versions)
    }

    /// Returns those of these files that exist at a tag; `None` if there is no such tag.
    pub(crate) fn tree(&self, tag: &str, paths: &[&str]) -> Result<Option<Tree>, CheckoutError> {
        let references = ["refs/tags/", "refs/heads/", "refs/remotes/origin/"];
        let mut listed = None;
        for reference in references.map(|folder| format!("{folder}{tag}")) {
            let known = self.git(&["rev-parse", "--verify", "--quiet", &format!("{reference}^{{tree}}")])?;
            if let Ok(tree) = known {
                listed = Some(tree.trim().to_owned());
                break;
            }
        }
        let Some(tree) = listed else { return Ok(None) };
        let mut arguments = vec!["ls-tree", "-r", "--full-tree", &tree, "--"];
        arguments.extend(paths);
        let objects = self.git(&arguments)?.map_err(|complaint| complaint.about(tag))?;
        let mut files = BTreeMap::new();
        for line in objects.lines() {
            // `100644 blob OBJECT<tab>PATH`
            let Some((about, path)) = line.split_once('\t') else { continue };
            let Some(object) = about.split(' ').nth(2).filter(|_| about.contains(" blob ")) else { continue };
            files.insert(path.to_owned(), self.text(object)?);
        }
        Ok(Some(Tree { files }))
    }

    fn text(&self, object: &str) -> Result<Rc<str>, CheckoutError> {
        if let Some(text) = self.texts.borrow().get(object) {
            return Ok(Rc::clone(text));
        }
        let read = self.git(&["cat-file", "blob", object])?;
        let text: Rc<str> = read.map_err(|complaint| complaint.about(object))?.into();
        let length = self.length.get() + text.len();
        if length > MAX_TEXTS {
            return Err(CheckoutError::TooLong);
        }
        self.length.set(length);
        self.texts.borrow_mut().insert(object.to_owned(), Rc::clone(&text));
        Ok(text)
    }

    /// Runs git; returns its output, or its error text.
    fn git(&self, arguments: &[&str]) -> Result<Result<String, GitComplaint>, CheckoutError> {
        let remaining = self.deadline.map_or(CALL, |deadline| deadline.saturating_duration_since(Instant::now()));
        if remaining.is_zero() {
            return Err(CheckoutError::Deadline { within: self.within });
        }
        let dir = self.dir.display().to_string();
        let all = [&["-C", dir.as_str()][..], OPTIONS, arguments].concat();
        let mut call = Invocation::new(Path::new(GIT), &all);
        call.inherits = false;
        call.env.extend(ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let finished = call.run(remaining.min(CALL), None)?;
        Ok(match finished.code {
            Some(0) => Ok(finished.stdout),
            _ => Err(GitComplaint(finished.stderr.trim().to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_deadline_is_accepted_and_reported_as_passed() {
        let dir = tempfile::tempdir().unwrap();
        let error = |within| Checkout::open(dir.path(), within).unwrap_err().to_string();
        assert_eq!(error(Duration::ZERO), "the checkout was not read to its end within 0 s");
        assert!(error(Duration::MAX).contains("is no git repository"), "{}", error(Duration::MAX));
    }
}
