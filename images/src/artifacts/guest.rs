//! Kata's agent, and the initrd of a guest of Kata's on a distro's kernel.
//!
//! Kata's agent has to be PID 1 itself and inserts no modules, and a distro's kernel has vsock and more as modules. So
//! the harness's agent is `/init`: it inserts the modules and executes Kata's agent.

use super::{ArtifactsError, doing};
use crate::ImageError;
use crate::initramfs::{self, ExtraFile};
use crate::initrd::Initrd;
use crate::modules::Resolution;
use object::Endianness;
use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// Where Kata's agent lies by itself, below an archive's prefix.
const ALONE: [&str; 5] =
    ["bin/kata-agent", "usr/bin/kata-agent", "kata-agent", "libexec/kata-agent", "share/kata-agent"];
/// Where it lies inside Kata's initrd: as a program beside systemd, or as the init itself.
const IN_INITRD: [&str; 4] = ["usr/bin/kata-agent", "sbin/init", "usr/sbin/init", "bin/kata-agent"];
/// Where the loaders of glibc and musl look by themselves, on Debian, Ubuntu, Alpine and Fedora.
const LIBRARIES: [&str; 8] = [
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib64",
    "usr/lib64",
    "lib",
    "usr/lib",
    "usr/local/lib",
    "usr/local/lib/x86_64-linux-gnu",
];
/// The folder of the harness inside the initrd; the agent's `containers::init` reads it.
const FOLDER: &str = "kata-qualify";

/// Kata's agent with all that it needs to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Where it has to lie, absolute.
    pub path: String,
    /// Itself first, then its loader and libraries, if it has any.
    pub files: Vec<ExtraFile>,
}

impl Agent {
    /// The program, if it runs by itself on any system.
    pub fn alone(&self) -> Option<&[u8]> {
        match self.files.as_slice() {
            [agent] => Some(&agent.content),
            _ => None,
        }
    }
}

/// Finds Kata's agent below a prefix: a file of its own if that is static, or the one of Kata's initrd with the libraries
/// that it has there.
pub(super) fn find(prefix: &Path, initrd: Option<&Path>) -> Result<Agent, ArtifactsError> {
    let alone = ALONE.iter().map(|name| prefix.join(name)).find(|path| path.is_file());
    let mut dynamic = None;
    if let Some(path) = alone {
        let content = doing(fs::read(&path), "reading", &path)?;
        if doing(needs(&content), "reading", &path)?.is_none() {
            let path = "/sbin/init".to_owned();
            return Ok(Agent { path: path.clone(), files: vec![ExtraFile { path, mode: 0o755, content }] });
        }
        dynamic = Some(path);
    }
    let Some(initrd) = initrd else {
        return Err(match dynamic {
            Some(path) => ArtifactsError::DynamicAgent { path: path.display().to_string() },
            None => ArtifactsError::Missing {
                what: "kata-agent",
                place: prefix.display().to_string(),
                expected: format!("one of {}, or an initrd with one", ALONE.join(", ")),
            },
        });
    };
    let read = Initrd::read(doing(fs::read(initrd), "reading", initrd)?);
    in_initrd(&doing(read, "reading", initrd)?, initrd)
}

fn in_initrd(initrd: &Initrd, from: &Path) -> Result<Agent, ArtifactsError> {
    let missing = |what: &'static str, expected: String| ArtifactsError::Missing {
        what,
        place: from.display().to_string(),
        expected,
    };
    // systemd is an init, too, and no agent.
    let is_agent = |path: &&str| {
        let file = initrd.file(path);
        file.is_some_and(|(b, _)| b.starts_with(b"\x7fELF") && memchr::memmem::find(b, b"kata-agent").is_some())
    };
    let path = IN_INITRD.into_iter().find(is_agent).ok_or_else(|| missing("kata-agent", IN_INITRD.join(", ")))?;
    let mut files = BTreeMap::new();
    let mut wanted = vec![path.to_owned()];
    let mut asked = BTreeSet::new();
    while let Some(path) = wanted.pop() {
        let (bytes, mode) = initrd.file(&path).ok_or_else(|| missing("loader of kata-agent's", path.clone()))?;
        let needs = doing(needs(bytes), "reading", Path::new(&path))?.unwrap_or_default();
        wanted.extend(needs.loader);
        for name in needs.libraries {
            if !asked.insert(name.clone()) {
                continue;
            }
            let folders = needs.folders.iter().map(String::as_str).chain(LIBRARIES);
            let place = folders.map(|folder| format!("{folder}/{name}")).find(|place| initrd.file(place).is_some());
            wanted.push(place.ok_or_else(|| missing("library of kata-agent's", name))?);
        }
        let place = format!("/{}", path.trim_start_matches('/'));
        files.insert(place.clone(), ExtraFile { path: place, mode, content: bytes.to_owned() });
    }
    let path = format!("/{path}");
    let mut all: Vec<ExtraFile> = files.remove(&path).into_iter().collect();
    all.extend(files.into_values());
    Ok(Agent { path, files: all })
}

/// What a program or library asks its loader for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    loader: Option<String>,
    libraries: Vec<String>,
    /// Where to look for them first.
    folders: Vec<String>,
}

/// What a program needs; `None` if it needs nothing, or is no ELF file. One that cannot be read is an error, for what
/// passes for static must be.
fn needs(bytes: &[u8]) -> io::Result<Option<Needs>> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Ok(None);
    }
    let unreadable = |e: object::read::Error| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(unreadable)?;
    let (endian, headers) = (file.endian(), file.elf_program_headers());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let loader = headers.iter().find_map(|header| header.interpreter(endian, bytes).ok().flatten()).map(text);
    let dynamic = headers.iter().find_map(|header| header.dynamic(endian, bytes).ok().flatten()).unwrap_or_default();
    let value = |tag: i64| {
        dynamic.iter().find(|entry| entry.d_tag.get(endian) as i64 == tag).map(|entry| entry.d_val.get(endian))
    };
    let (at, size) = (value(elf::DT_STRTAB.into()).unwrap_or(0), value(elf::DT_STRSZ.into()).unwrap_or(0));
    let loaded = headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD);
    let strings = loaded.filter_map(|header| header.data_range(endian, bytes, at, size).ok().flatten()).next();
    let string = |offset: u64| {
        let rest = usize::try_from(offset).ok().and_then(|offset| strings?.get(offset..)).unwrap_or_default();
        text(rest.split(|byte| *byte == 0).next().unwrap_or_default())
    };
    let mut needs = Needs { loader, ..Needs::default() };
    for entry in dynamic {
        let value = entry.d_val.get(endian);
        match u32::try_from(entry.d_tag.get(endian)) {
            Ok(elf::DT_NEEDED) => needs.libraries.push(string(value)),
            // A place relative to the program's own is not Kata's way.
            Ok(elf::DT_RUNPATH | elf::DT_RPATH) => {
                let folders = string(value);
                needs.folders.extend(folders.split(':').filter(|f| f.starts_with('/')).map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok((needs.loader.is_some() || !needs.libraries.is_empty()).then_some(needs))
}

/// The initrd of a guest: Kata's agent with what it needs and nothing else, and over it the harness's agent as `/init` and
/// the modules.
///
/// # Errors
/// As [`initramfs::layer`].
pub fn guest_initrd(init: &[u8], modules: &Resolution, agent: &Agent) -> Result<Vec<u8>, ImageError> {
    let mut files = agent.files.clone();
    // The agent reads it to name the guest.
    files.push(ExtraFile { path: "/etc/hostname".to_owned(), mode: 0o644, content: b"kata\n".to_vec() });
    lay_over(&initramfs::root(&files)?, init, modules, &agent.path)
}

/// An initrd with the harness's agent as `/init` and the modules over it; `next` is what that agent executes.
///
/// # Errors
/// As [`initramfs::layer`].
pub fn lay_over(below: &[u8], init: &[u8], modules: &Resolution, next: &str) -> Result<Vec<u8>, ImageError> {
    let mut all = below.to_vec();
    // An archive that is not compressed has to begin at a multiple of four bytes (`init/initramfs.c`).
    all.resize(all.len().next_multiple_of(4), 0);
    all.extend(initramfs::layer(init, modules, FOLDER, &[("next", next.as_bytes())])?);
    Ok(all)
}

#[cfg(test)]
pub(super) mod tests;
