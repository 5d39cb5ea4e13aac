//! The main files that may contain kata-osinfo's handler.

use super::super::config::{ContainerdConfig, Unread};
use root::{Root, RootError};
use std::path::PathBuf;

/// An existing main file, as it was read before anything was reverted.
pub(in super::super::super) struct Main<'p> {
    pub(super) place: &'p ContainerdConfig,
    /// The path with links resolved.
    pub(super) path: PathBuf,
    /// The path of the drop-in next to it, with links resolved; `None` if its directory cannot be resolved.
    pub(super) drop_in: Option<PathBuf>,
    /// The text; `None` if the file is not text, and so has no effect.
    pub(super) text: Option<String>,
}

impl<'p> Main<'p> {
    fn read(root: &Root, place: &'p ContainerdConfig) -> Result<Main<'p>, RootError> {
        let path = root.resolve_new(&place.main)?;
        let text = root.text_if_any(&path)?;
        let drop_in = match root.resolve_new(&place.drop_in) {
            Err(error) if error.is_unreadable() => return Err(error),
            resolved => resolved.ok(),
        };
        Ok(Main { place, path, drop_in, text })
    }
}

/// Reads the main files of some containerds.
///
/// # Errors
///
/// The errors of `unread` for files that cannot be read.
pub(in super::super::super) fn mains<'p>(
    root: &Root,
    places: &'p [ContainerdConfig],
    unread: &mut Unread<'_>,
) -> Result<Vec<Main<'p>>, RootError> {
    let mut mains = Vec::new();
    for place in places {
        match Main::read(root, place) {
            Ok(main) => mains.push(main),
            Err(error) => unread(&place.main, error)?,
        }
    }
    Ok(mains)
}
