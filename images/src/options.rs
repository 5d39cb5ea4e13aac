//! Options of the caller.

use crate::base::BaseProvider;
use crate::package::ExtraPackage;
use crate::source::BaseSource;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Options for the preparation of an image.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of the cache; images are in `images/` below it.
    pub cache: PathBuf,
    /// Source of the base.
    pub source: BaseSource,
    /// The caller's own base reader, instead of `source`.
    pub base: Option<Arc<dyn BaseProvider>>,
    /// Main archive, instead of the one that the machine's apt uses; for RPMs the directory that has `repodata`,
    /// instead of the repositories that the base names.
    pub mirror: Option<String>,
    /// Security archive, instead of the one that the machine's apt uses; for RPMs a second repository.
    pub security_mirror: Option<String>,
    /// Key files for the signatures of the mirrors' content, if neither the release's base nor this machine has them.
    pub keys: Vec<PathBuf>,
    /// Packages laid over the release: candidates under test.
    pub extra_packages: Vec<ExtraPackage>,
    /// Package files, each laid over the release if the release's image has a package of that name.
    pub updates: Vec<PathBuf>,
    /// Directory laid over the tree like an OCI layer.
    pub overlay: Option<PathBuf>,
    /// Use no network, but the newest cached image.
    pub offline: bool,
    /// Accept a mirror whose signed index is past its `Valid-Until`; the manifest records it.
    pub accept_expired: bool,
    /// Set by the caller to stop all running work.
    pub cancel: Arc<AtomicBool>,
    /// Time limit of one call.
    pub deadline: Duration,
}

impl Options {
    /// Returns the defaults: automatic source, the machine's mirror, half an hour.
    pub fn new(cache: impl Into<PathBuf>) -> Options {
        Options {
            cache: cache.into(),
            source: BaseSource::Auto,
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

    /// Returns the options for another release as its distro ships it, without candidates or a base from the caller;
    /// mirrors and keys stay only if the release is of the same distro.
    pub fn plain(&self, same_distro: bool) -> Options {
        let plain =
            Options { extra_packages: Vec::new(), updates: Vec::new(), overlay: None, base: None, ..self.clone() };
        match same_distro {
            true => plain,
            false => Options { mirror: None, security_mirror: None, keys: Vec::new(), ..plain },
        }
    }
}
