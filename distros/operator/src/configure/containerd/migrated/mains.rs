//! The main files in which a handler of ours may be.

use super::super::config::{ContainerdConfig, Unread};
use root::{Root, RootError};
use std::path::PathBuf;

/// A main file that is there, as it was read before anything was taken back.
pub(in super::super::super) struct Main<'p> {
    pub(super) place: &'p ContainerdConfig,
    /// With no links in it.
    pub(super) path: PathBuf,
    /// Our drop-in beside it, with no links in it; `None` where its folder leads nowhere.
    pub(super) drop_in: Option<PathBuf>,
    /// `None` where it is no text, and so has no effect.
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

/// The main files of some containerds.
///
/// # Errors
///
/// What `unread` makes of those that cannot be read.
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
