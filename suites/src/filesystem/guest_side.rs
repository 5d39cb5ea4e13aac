//! The guest's side of a pair: performing the actions that the host's side requests.

use super::expect::errno_name;
use super::mapping::Mapping;
use super::random_writes;
use super::user::create_as;
use crate::environment::{Action, Bytes, Reply, Status};
use model::sync::locked;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid, XattrFlags, getxattr, listxattr, setxattr};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

/// The files that [`Action::Hold`] keeps open.
static HELD: Mutex<BTreeMap<String, File>> = Mutex::new(BTreeMap::new());

/// The longest value, and the longest list of names, that Linux accepts (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const MOST_ATTRIBUTES: usize = 65_536;

/// An action that was not tried on the filesystem, because it makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action:?}: {why}")]
pub struct BadAction {
    /// The requested action.
    pub action: Action,
    /// The reason: an absolute path, an unknown handle.
    pub why: String,
}

/// Performs the action under `root`, following `..` and symlinks wherever this process's own root lets them lead.
///
/// # Errors
///
/// Only if the action makes no sense; a refusal by the filesystem is [`Reply::Refused`].
pub fn perform(root: &Path, action: &Action) -> Result<Reply, BadAction> {
    match attempt(root, action) {
        Ok(reply) => Ok(reply),
        Err(error) if error.raw_os_error().is_some() => Ok(Reply::Refused { errno: errno_name(&error) }),
        Err(error) => Err(BadAction { action: action.clone(), why: error.to_string() }),
    }
}

fn attempt(root: &Path, action: &Action) -> io::Result<Reply> {
    let at = |path: &Bytes| below(root, path);
    match action {
        Action::Write { path, data, append, sync } => {
            let mut options = OpenOptions::new();
            options.write(true).create(true).append(*append).truncate(!append);
            let mut file = options.open(at(path)?)?;
            file.write_all(&data.0)?;
            if *sync {
                file.sync_all()?;
            }
        }
        Action::CreateNew { path, data } => {
            OpenOptions::new().write(true).create_new(true).open(at(path)?)?.write_all(&data.0)?;
        }
        Action::CreateAs { path, uid, gid } => create_as(&at(path)?, *uid, *gid)?,
        Action::KeepWriting { path, seed } => random_writes::start(&at(path)?, *seed)?,
        Action::Synced { path } => return Ok(Reply::Count { count: random_writes::synced(&at(path)?)? }),
        Action::Missing { path, seed, synced } => {
            let missing = random_writes::missing(&at(path)?, *seed, *synced)?;
            return Ok(Reply::Data { data: Bytes(missing.unwrap_or_default().into_bytes()) });
        }
        Action::SetAttribute { path, name, value } => {
            setxattr(at(path)?, name.as_str(), &value.0, XattrFlags::empty())?;
        }
        Action::Attributes { path } => {
            let mut buffer = vec![0; MOST_ATTRIBUTES];
            let length = listxattr(at(path)?, &mut buffer[..])?;
            let names = buffer[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
            let mut names: Vec<Bytes> = names.map(|name| Bytes(name.to_vec())).collect();
            names.sort();
            return Ok(Reply::Names { names });
        }
        Action::Attribute { path, name } => {
            let mut value = vec![0; MOST_ATTRIBUTES];
            let length = getxattr(at(path)?, name.as_str(), &mut value[..])?;
            value.truncate(length);
            return Ok(Reply::Data { data: Bytes(value) });
        }
        Action::MmapWrite { path, offset, data } => {
            let file = OpenOptions::new().read(true).write(true).open(at(path)?)?;
            let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            let offset = usize::try_from(*offset).map_err(io::Error::other)?;
            if offset.saturating_add(data.0.len()) > length {
                return Err(io::Error::other(format!("the file has only {length} bytes")));
            }
            let mapping = Mapping::shared(&file, length)?;
            mapping.write(offset, &data.0);
            mapping.sync()?;
        }
        Action::Read { path } => {
            return Ok(Reply::Data { data: Bytes(fs::read(at(path)?)?) });
        }
        Action::Stat { path } => {
            return Ok(Reply::Status { status: Status::of(&fs::symlink_metadata(at(path)?)?) });
        }
        Action::List { path } => {
            let names: io::Result<Vec<Bytes>> =
                fs::read_dir(at(path)?)?.map(|entry| Ok(Bytes(entry?.file_name().into_vec()))).collect();
            let mut names = names?;
            names.sort();
            return Ok(Reply::Names { names });
        }
        Action::ReadLink { path } => {
            return Ok(Reply::Data { data: Bytes::from(&fs::read_link(at(path)?)?) });
        }
        Action::Remove { path } => {
            let path = at(path)?;
            if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir(path)? } else { fs::remove_file(path)? }
        }
        Action::Mkdir { path } => fs::create_dir(at(path)?)?,
        Action::Rename { from, to } => fs::rename(at(from)?, at(to)?)?,
        Action::Symlink { target, path } => std::os::unix::fs::symlink(target.to_path(), at(path)?)?,
        Action::Link { from, to } => fs::hard_link(at(from)?, at(to)?)?,
        Action::Chmod { path, mode } => {
            rustix::fs::chmodat(CWD, at(path)?, Mode::from_raw_mode(*mode), AtFlags::empty())?;
        }
        Action::Chown { path, uid, gid } => {
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            rustix::fs::chownat(CWD, at(path)?, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Action::Truncate { path, length } => OpenOptions::new().write(true).open(at(path)?)?.set_len(*length)?,
        Action::SyncDirectory { path } => File::open(at(path)?)?.sync_all()?,
        Action::Hold { path, handle } => {
            let file = OpenOptions::new().read(true).write(true).open(at(path)?)?;
            locked(&HELD).insert(handle.clone(), file);
        }
        Action::ReadHeld { handle } => {
            let mut held = locked(&HELD);
            let file = held.get_mut(handle).ok_or_else(|| unknown(handle))?;
            let mut data = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut data)?;
            return Ok(Reply::Data { data: Bytes(data) });
        }
        Action::AppendHeld { handle, data } => {
            let mut held = locked(&HELD);
            let file = held.get_mut(handle).ok_or_else(|| unknown(handle))?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&data.0)?;
        }
        Action::Release { handle } => {
            locked(&HELD).remove(handle).ok_or_else(|| unknown(handle))?;
        }
    }
    Ok(Reply::Done)
}

fn unknown(handle: &str) -> io::Error {
    io::Error::other(format!("no file is held as {handle:?}"))
}

fn below(root: &Path, path: &Bytes) -> io::Result<PathBuf> {
    let path = path.to_path();
    if path.components().any(|c| matches!(c, Component::RootDir | Component::Prefix(_))) {
        return Err(io::Error::other("expected a path relative to the share's root"));
    }
    Ok(root.join(path))
}

#[cfg(test)]
mod tests {
    use super::{HELD, perform};
    use crate::environment::{Action, Bytes, Reply};
    use model::sync::locked;
    use std::path::Path;

    #[test]
    fn a_refusal_is_a_reply_and_an_invalid_action_an_error() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let missing = perform(dir.path(), &Action::Read { path: Bytes::from("none") });
        assert_eq!(missing, Ok(Reply::Refused { errno: "ENOENT".to_owned() }));
        assert!(perform(dir.path(), &Action::Read { path: Bytes::from("/etc/passwd") }).is_err());
        assert!(perform(Path::new("/"), &Action::Release { handle: "nobody holds this".to_owned() }).is_err());
    }

    #[test]
    fn files_can_be_held_after_a_thread_panicked_with_the_lock() {
        let panicked = std::thread::spawn::<_, ()>(|| {
            let _held = locked(&HELD);
            panic!("with the files locked");
        });
        panicked.join().unwrap_err();
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("file"), "text").expect("written");
        let handle = "held after a panic".to_owned();
        let hold = Action::Hold { path: Bytes::from("file"), handle: handle.clone() };
        assert_eq!(perform(dir.path(), &hold), Ok(Reply::Done));
        assert_eq!(perform(dir.path(), &Action::Release { handle }), Ok(Reply::Done));
    }
}
