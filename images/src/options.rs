//! What the caller may choose.

use crate::base::BaseProvider;
use crate::package::ExtraPackage;
use crate::source::Source;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How an image is to be prepared.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cache folder; images are in `images/` below it.
    pub cache: PathBuf,
    /// Where the base comes from.
    pub source: Source,
    /// What the caller reads the base from, instead of `source`.
    pub base: Option<Arc<dyn BaseProvider>>,
    /// The main archive, instead of the one that the machine's apt uses; of RPMs the folder that has `repodata`, instead
    /// of the repositories that the base names.
    pub mirror: Option<String>,
    /// The security archive, likewise; of RPMs a second repository.
    pub security_mirror: Option<String>,
    /// Files of the keys that sign what the mirrors have, where neither the release's base nor this machine has them.
    pub keys: Vec<PathBuf>,
    /// Packages laid over the release: candidates under test.
    pub extra_packages: Vec<ExtraPackage>,
    /// Files of packages, each laid over the release where the release's image has a package of that name.
    pub updates: Vec<PathBuf>,
    /// A folder laid over the tree like an OCI layer.
    pub overlay: Option<PathBuf>,
    /// No network at all: the newest cached image.
    pub offline: bool,
    /// Accept a mirror whose signed index is past its `Valid-Until`; recorded.
    pub accept_expired: bool,
    /// Set by the caller to stop everything that runs.
    pub cancel: Arc<AtomicBool>,
    /// The longest that one call may take.
    pub deadline: Duration,
}

impl Options {
    /// The defaults: automatic source, the machine's mirror, half an hour.
    pub fn new(cache: impl Into<PathBuf>) -> Options {
        Options {
            cache: cache.into(),
            source: Source::Auto,
            base: None,
            mirror: None,
            security_mirror: None,
            keys: Vec::new(),
            extra_packages: Vec::new(),
            updates: Vec::new(),
            overlay: None,
            offline: false,
            accept_expired: false,
            cancel: Arc::new(AtomicBool::new(false)),
            deadline: Duration::from_secs(1800),
        }
    }

    /// The options for another release as its distro ships it, without candidates or a base of the caller's; mirrors
    /// and keys stay only where they are of that distro.
    pub fn plain(&self, same_distro: bool) -> Options {
        let plain =
            Options { extra_packages: Vec::new(), updates: Vec::new(), overlay: None, base: None, ..self.clone() };
        match same_distro {
            true => plain,
            false => Options { mirror: None, security_mirror: None, keys: Vec::new(), ..plain },
        }
    }
}
