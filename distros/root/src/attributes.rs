//! A file's owner, mode and extended attributes.

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A file's owner, mode and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// Names and values: labels, access lists, notes.
    pub extended: BTreeMap<String, Vec<u8>>,
}

impl Attributes {
    /// The attributes of a file that only this process's user may read.
    pub fn private() -> Attributes {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Attributes { uid, gid, mode: 0o600, extended: BTreeMap::new() }
    }

    pub(crate) fn of(file: &File) -> io::Result<Attributes> {
        let meta = file.metadata()?;
        Ok(Attributes { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, extended: extended(file)? })
    }

    /// Sets the attributes of a file. Those it already has are not set, so an unprivileged user can write their own
    /// files.
    pub(crate) fn apply_to(&self, file: &File) -> io::Result<()> {
        let meta = file.metadata()?;
        if (meta.uid(), meta.gid()) != (self.uid, self.gid) {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        let current = extended(file)?;
        for (name, value) in self.extended.iter().filter(|(name, value)| current.get(*name) != Some(value)) {
            rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
                .map_err(|e| io::Error::other(format!("setting the attribute {name}: {}", io::Error::from(e))))?;
        }
        // After the owner, because changing the owner clears the setuid bit.
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?)
    }
}

/// Reads a file's extended attributes, except those that sign its content.
fn extended(file: &File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    /// Linux's limit, both for the list of names and for one value.
    const MOST: usize = 64 << 10;
    let mut names = Vec::with_capacity(MOST);
    match rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(errno.into()),
    }
    let mut all = BTreeMap::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(name) = str::from_utf8(name) else { continue };
        if name == "security.ima" || name == "security.evm" {
            continue;
        }
        let mut value = Vec::with_capacity(MOST);
        match rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => {
                all.insert(name.to_owned(), value);
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(all)
}
