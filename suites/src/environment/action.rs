//! The actions that the environment's side of a [`Pair`](super::Pair) requests of the guest, and their results.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Characters that are written as `%XX` in addition to all non-ASCII ones: those that JSON would escape, and the escape
/// itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b'"').add(b'\\');

/// The bytes of a file or a path; in messages, printable ASCII is unchanged and the rest is written as `%XX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// Returns these bytes as a path.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.0.clone()))
    }
}

impl<T: AsRef<Path> + ?Sized> From<&T> for Bytes {
    fn from(path: &T) -> Bytes {
        Bytes(path.as_ref().as_os_str().as_bytes().to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&percent_encode(&self.0, ESCAPED))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Vec<u8> = percent_decode_str(&text).collect();
        match percent_encode(&bytes, ESCAPED).to_string() == text {
            true => Ok(Bytes(bytes)),
            false => Err(serde::de::Error::custom("expected printable ASCII, and `%` with two digits for all else")),
        }
    }
}

/// One action for the guest; paths are relative to the share's root unless documented otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Creates the file if needed and replaces its contents or appends to them; with `sync`, calls fsync(2) afterwards.
    Write {
        /// The file.
        path: Bytes,
        /// The bytes to write.
        data: Bytes,
        /// Whether to append to the old contents instead of replacing them.
        append: bool,
        /// Whether to call fsync(2) before the reply.
        sync: bool,
    },
    /// Creates the file with O_EXCL and writes to it.
    CreateNew {
        /// The new name, which must not exist.
        path: Bytes,
        /// The bytes to write.
        data: Bytes,
    },
    /// Creates an empty file with O_EXCL as another user, who has no capabilities and no other groups.
    CreateAs {
        /// The new name, which must not exist, in a directory that anybody may write to.
        path: Bytes,
        /// The user.
        uid: u32,
        /// The user's group.
        gid: u32,
    },
    /// Writes random blocks to a file in the background, syncing each before the next, until a write or a sync fails.
    KeepWriting {
        /// The file, which is created.
        path: Bytes,
        /// The seed of all places and contents.
        seed: u64,
    },
    /// Returns the number of synced blocks of a file that [`Action::KeepWriting`] writes: [`Reply::Count`].
    Synced {
        /// The file.
        path: Bytes,
    },
    /// Reads a file that [`Action::KeepWriting`] wrote and describes the missing synced blocks: [`Reply::Data`], empty
    /// if none is missing.
    Missing {
        /// The file.
        path: Bytes,
        /// The seed that the file was written with.
        seed: u64,
        /// The number of blocks that had been synced.
        synced: u64,
    },
    /// setxattr(2).
    SetAttribute {
        /// The file.
        path: Bytes,
        /// The attribute's name: `security.selinux`.
        name: String,
        /// The attribute's value.
        value: Bytes,
    },
    /// Lists the names of a file's extended attributes, sorted: [`Reply::Names`].
    Attributes {
        /// The file.
        path: Bytes,
    },
    /// getxattr(2): [`Reply::Data`].
    Attribute {
        /// The file.
        path: Bytes,
        /// The attribute's name: `security.selinux`.
        name: String,
    },
    /// Changes bytes through a shared mapping and calls msync(2); the file must be long enough.
    MmapWrite {
        /// The file.
        path: Bytes,
        /// The first byte to change.
        offset: u64,
        /// The new bytes.
        data: Bytes,
    },
    /// Reads the whole file: [`Reply::Data`].
    Read {
        /// The file.
        path: Bytes,
    },
    /// lstat(2): [`Reply::Status`].
    Stat {
        /// The name.
        path: Bytes,
    },
    /// Lists the names in a directory, sorted: [`Reply::Names`].
    List {
        /// The directory.
        path: Bytes,
    },
    /// Reads the unchanged target of a symlink: [`Reply::Data`].
    ReadLink {
        /// The symlink.
        path: Bytes,
    },
    /// unlink(2), or rmdir(2) of an empty directory.
    Remove {
        /// The name.
        path: Bytes,
    },
    /// mkdir(2).
    Mkdir {
        /// The name.
        path: Bytes,
    },
    /// rename(2).
    Rename {
        /// The old name.
        from: Bytes,
        /// The new name.
        to: Bytes,
    },
    /// symlink(2); `target` is not changed.
    Symlink {
        /// The target of the link.
        target: Bytes,
        /// The link.
        path: Bytes,
    },
    /// link(2).
    Link {
        /// The existing name.
        from: Bytes,
        /// The new name.
        to: Bytes,
    },
    /// chmod(2).
    Chmod {
        /// The name.
        path: Bytes,
        /// The mode bits.
        mode: u32,
    },
    /// lchown(2).
    Chown {
        /// The name.
        path: Bytes,
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// truncate(2).
    Truncate {
        /// The file.
        path: Bytes,
        /// The new length.
        length: u64,
    },
    /// fsync(2) of a directory.
    SyncDirectory {
        /// The directory.
        path: Bytes,
    },
    /// Opens a file for reading and writing and keeps it open under a name that the caller chooses.
    Hold {
        /// The file.
        path: Bytes,
        /// The name for the open file.
        handle: String,
    },
    /// Reads a held file from its beginning: [`Reply::Data`].
    ReadHeld {
        /// The name of the open file.
        handle: String,
    },
    /// Appends to a held file.
    AppendHeld {
        /// The name of the open file.
        handle: String,
        /// The bytes to write.
        data: Bytes,
    },
    /// Closes a held file.
    Release {
        /// The name of the open file.
        handle: String,
    },
}

/// The kind of file that a name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device node.
    Device,
}

/// The fields of lstat(2) that the tests use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The kind of file.
    pub kind: FileKind,
    /// The mode's lower 12 bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The length in bytes.
    pub size: u64,
    /// The number of names.
    pub links: u64,
    /// The inode number.
    pub inode: u64,
    /// The time of the last modification, in nanoseconds since 1970.
    pub modified: i64,
}

impl Status {
    /// Converts the result of lstat(2).
    pub(crate) fn of(metadata: &fs::Metadata) -> Status {
        let kind = metadata.file_type();
        Status {
            kind: if kind.is_file() {
                FileKind::File
            } else if kind.is_dir() {
                FileKind::Directory
            } else if kind.is_symlink() {
                FileKind::Symlink
            } else if kind.is_fifo() {
                FileKind::Fifo
            } else if kind.is_socket() {
                FileKind::Socket
            } else {
                FileKind::Device
            },
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.size(),
            links: metadata.nlink(),
            inode: metadata.ino(),
            modified: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
        }
    }
}

/// The result of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// The action succeeded.
    Done,
    /// The bytes that were read.
    Data {
        /// The bytes.
        data: Bytes,
    },
    /// The result of lstat(2).
    Status {
        /// The status.
        status: Status,
    },
    /// The names in a directory, sorted.
    Names {
        /// The names.
        names: Vec<Bytes>,
    },
    /// A number of items.
    Count {
        /// The number.
        count: u64,
    },
    /// The filesystem refused the action; many tests expect a refusal.
    Refused {
        /// The errno's name: `ENOENT`.
        errno: String,
    },
}

#[cfg(test)]
mod tests {
    use super::{Action, Bytes};

    #[test]
    fn any_bytes_survive_json_and_text_remains_readable() {
        let all = Bytes((0..=255).collect());
        let json = serde_json::to_string(&all).expect("bytes serialize");
        assert_eq!(serde_json::from_str::<Bytes>(&json).expect("bytes deserialize"), all);
        let action = Action::Read { path: Bytes::from("a b/c%") };
        let json = serde_json::to_string(&action).expect("an action serializes");
        assert_eq!(json, r#"{"action":"read","path":"a b/c%25"}"#);
        assert_eq!(serde_json::from_str::<Action>(&json).expect("an action deserializes"), action);
        for other in ["%4", "%zz", "%41", "caf\u{e9}"] {
            assert!(serde_json::from_str::<Bytes>(&format!("\"{other}\"")).is_err(), "{other}");
        }
    }
}
