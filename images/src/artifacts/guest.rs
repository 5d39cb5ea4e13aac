//! Kata's agent, and the initrd of a Kata guest with a distro's kernel.
//!
//! Kata's agent has to be PID 1 itself and loads no modules, but a distro's kernel has vsock and other drivers as
//! modules. So the harness's agent is `/init`: it loads the modules and executes Kata's agent.
//!
//! Kata's own initrd is used whole, so that an agent that is linked dynamically, as in 4.0.0 and 4.1.0, finds its
//! loader and libraries.
//! The initrd is read as the kernel would unpack it, but only to find the agent.
//! A separate, static agent gets a root of its own.
//! The harness's files are appended as one more archive: `/init` and one directory.
//! More entries would do harm: if a directory is a link in the initrd, as with a merged `/usr`, an entry for that
//! directory would replace the link.
//! `/init` is in the archive twice, first as a link, because the kernel would otherwise write through an `/init` that
//! is a hard link to the agent.
//!
//! # Cost of the whole initrd and of the agent alone
//!
//! | in the guest | initrd, compressed | start | CPU time of the start | memory touched | least memory |
//! |---|---|---|---|---|---|
//! | Kata's initrd, whole | 59 MB | 18.8 s | 8.9 s | 395 MiB | 472 MiB |
//! | its agent alone, with loader and libraries | 42 MB | 13.4 s | 6.1 s | 275 MiB | 248 MiB |
//! | ratio | 1.4 | 1.40 | 1.45 | 1.4 | 1.9 |
//!
//! The rule was to use the agent alone if the whole initrd needs more memory than Kata's default, 2048 MiB, or 1.5
//! times the time.
//! Measured on 28 November 2026 without hardware virtualization, on two cores that were busy with other work: Debian
//! 13's QEMU and kernel 6.12.118, one vCPU and 2048 MiB, the arguments of `rs-4.1` without share, vsock and network,
//! from QEMU's start to the agent's `ttRPC server started`.
//! Five starts of each kind, in turns, in one run; the numbers are medians; the least memory was found by halving, down
//! to 16 MiB.
//! The agent is 4.1.0, built from its source for `gnu`, 28 MB; the initrd has the packages of Kata's own recipe for
//! Ubuntu in Debian 13's versions, 129 MB, compressed by `gzip -9`.
//! Most of the difference is the unpacking, so the ratio of the starts would reach 1.5 with an initrd of about 63 MB
//! compressed, some 140 MB unpacked (by CPU time 60 and 130 MB).
//! That is close, and initrds of Kata's own have been larger: 113 MB compressed in 2.3.0, some 320 MB unpacked
//! (<https://github.com/kata-containers/kata-containers/issues/3216>); with an initrd of that size the rule would use
//! the agent alone.

use super::folder::{Folder, OpenedFile};
use super::{ArtifactsError, MAX_PROGRAM, doing};
use crate::boot::initramfs::{self, ExtraFile};
use crate::boot::initrd::InitrdFiles;
use crate::boot::modules::Resolution;
use crate::error::{Context as _, Failure, ImageError};
use object::Endianness;
use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader as _};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Paths of Kata's agent as a separate file, below an archive's prefix.
const ALONE: [&str; 5] =
    ["bin/kata-agent", "usr/bin/kata-agent", "kata-agent", "libexec/kata-agent", "share/kata-agent"];
/// Path in the guest of a separate agent.
const ALONE_AT: &str = "/sbin/init";
/// Paths of the agent inside Kata's initrd: a program next to systemd, or the init itself.
const IN_INITRD: [&str; 4] = ["usr/bin/kata-agent", "sbin/init", "usr/sbin/init", "bin/kata-agent"];
/// Directory of the harness inside the initrd; the agent's `containers::init` reads it.
const FOLDER: &str = "kata-qualify";

/// Kata's agent, and the files that it needs to run.
///
/// All content is in files: in memory it would take more than everything else in a run.
#[derive(Debug, Clone)]
pub enum Agent {
    /// A program that needs nothing else.
    Alone(OpenedFile),
    /// The agent inside Kata's own initrd.
    InInitrd {
        /// Absolute path of the agent in the initrd.
        path: PathBuf,
        /// The agent's program, if it needs no other file either.
        alone: Option<OpenedFile>,
        /// The initrd, unchanged.
        initrd: OpenedFile,
    },
}

impl Agent {
    /// Returns the program, if it runs by itself on any system.
    pub fn alone(&self) -> Option<&OpenedFile> {
        match self {
            Agent::Alone(program) => Some(program),
            Agent::InInitrd { alone, .. } => alone.as_ref(),
        }
    }
}

/// Finds Kata's agent below a prefix: a separate file if it is static, or else the agent in Kata's initrd.
pub(super) fn find(folder: &Folder, prefix: &Path, initrd: Option<&OpenedFile>) -> Result<Agent, ArtifactsError> {
    let alone = folder.first(prefix, &ALONE, MAX_PROGRAM)?;
    let mut dynamic = None;
    if let Some(file) = alone {
        if doing(is_static(&file.content()?), "reading", file.path())? {
            return Ok(Agent::Alone(file));
        }
        dynamic = Some(file);
    }
    let Some(initrd) = initrd else {
        return Err(match dynamic {
            Some(file) => ArtifactsError::DynamicAgent { path: file.path().display().to_string() },
            None => ArtifactsError::Missing {
                what: "kata-agent",
                place: folder.shown(prefix).display().to_string(),
                expected: format!("one of {}, or an initrd with one", ALONE.join(", ")),
            },
        });
    };
    in_initrd(initrd)
}

fn in_initrd(file: &OpenedFile) -> Result<Agent, ArtifactsError> {
    let from = file.path();
    let initrd = doing(InitrdFiles::read(&mut BufReader::new(file.reader()), is_agent), "reading", from)?;
    let agent = IN_INITRD.into_iter().find_map(|path| {
        let (bytes, _) = initrd.file(path)?;
        is_agent(bytes).then_some((path, bytes))
    });
    let (path, bytes) = agent.ok_or_else(|| ArtifactsError::Missing {
        what: "kata-agent",
        place: from.display().to_string(),
        expected: IN_INITRD.join(", "),
    })?;
    let path = Path::new("/").join(path);
    let alone = match doing(is_static(bytes), "reading", &path)? {
        true => Some(doing(OpenedFile::from_bytes(&path, bytes), "keeping", &path)?),
        false => None,
    };
    Ok(Agent::InInitrd { path, alone, initrd: file.clone() })
}

/// Returns whether the content of a file is Kata's agent; systemd is an init, too, but no agent.
fn is_agent(content: &[u8]) -> bool {
    content.starts_with(&elf::ELFMAG) && memchr::memmem::find(content, b"kata-agent").is_some()
}

/// Returns whether a program needs no other file to run, which is true for anything but an ELF file. An unreadable ELF
/// file is an error, because a program that passes for static must be static.
fn is_static(bytes: &[u8]) -> io::Result<bool> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Ok(true);
    }
    let unreadable = |e: object::read::Error| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(unreadable)?;
    let (endian, headers) = (file.endian(), file.elf_program_headers());
    let needed = |entry: &elf::Dyn64<Endianness>| entry.d_tag.get(endian) == u64::from(elf::DT_NEEDED);
    for header in headers {
        let dynamic = header.dynamic(endian, bytes).map_err(unreadable)?.unwrap_or_default();
        if header.p_type(endian) == elf::PT_INTERP || dynamic.iter().any(needed) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Builds the initrd of a guest: Kata's own, or one with nothing but the agent; the harness's agent as `/init` and the
/// modules are laid over it.
///
/// Using the agent alone from Kata's initrd, with its loader and libraries, would save a third of the start; using the
/// initrd whole leaves no dependency behind (the top of this file has the measurement).
///
/// # Errors
/// As [`initramfs::build`].
pub fn guest_initrd(init: &[u8], modules: &Resolution, agent: &Agent) -> Result<File, ImageError> {
    initramfs::in_file(modules, |out| match agent {
        Agent::InInitrd { path, initrd, .. } => lay_over(&mut initrd.reader(), init, modules, path, out),
        Agent::Alone(program) => {
            let mut content = Vec::new();
            program.reader().read_to_end(&mut content).context("reading", program.path())?;
            let file =
                |path: &str, mode, content: Vec<u8>| ExtraFile { path: path.into(), mode, content: content.into() };
            // The agent reads `/etc/hostname` to name the guest.
            let files = [file(ALONE_AT, 0o755, content), file("/etc/hostname", 0o644, b"kata\n".to_vec())];
            let mut root = Vec::new();
            initramfs::root(&files, &mut root)?;
            drop(files);
            lay_over(&mut root.as_slice(), init, modules, Path::new(ALONE_AT), out)
        }
    })
}

/// Writes an initrd with the harness's agent as `/init` and the modules laid over it; `next` is the program that the
/// harness's agent executes.
///
/// # Errors
/// As [`initramfs::layer`].
fn lay_over(
    below: &mut dyn Read,
    init: &[u8],
    modules: &Resolution,
    next: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let copied = io::copy(below, out).and_then(|length| {
        // An uncompressed archive has to begin at a multiple of four bytes (`init/initramfs.c`).
        (length..length.next_multiple_of(4)).try_for_each(|_| out.write_all(&[0]))
    });
    copied.context("writing", Path::new("a guest's initrd"))?;
    initramfs::layer(init, modules, FOLDER, &[("next", next.as_os_str().as_encoded_bytes())], out)
}

#[cfg(test)]
pub(super) mod tests;
