//! Kata's agent, and the initrd of a guest of Kata's on a distro's kernel.
//!
//! Kata's agent has to be PID 1 itself and inserts no modules, and a distro's kernel has vsock and more as modules. So
//! the harness's agent is `/init`: it inserts the modules and executes Kata's agent.
//!
//! Kata's own initrd is taken whole, so that an agent that is linked dynamically, as in 4.0.0 and 4.1.0, finds its
//! loader and libraries.
//! It is read as the kernel would unpack it, but only to learn where the agent is.
//! An agent that came by itself, and is static, gets a root of its own.
//! What is ours lies over that as one more archive: `/init` and one folder.
//! More would do harm: where a folder is a link there, as where `/usr` is merged, an entry for the folder would take
//! the link away.
//! `/init` stands in it twice, first as a link, because the kernel would otherwise write through a file that is the
//! agent's second name.
//!
//! # Whole, or the agent alone: what it costs
//!
//! | in the guest | initrd, compressed | start | CPU time of the start | memory touched | least memory |
//! |---|---|---|---|---|---|
//! | Kata's initrd, whole | 59 MB | 18.8 s | 8.9 s | 395 MiB | 472 MiB |
//! | its agent alone, with loader and libraries | 42 MB | 13.4 s | 6.1 s | 275 MiB | 248 MiB |
//! | ratio | 1.4 | 1.40 | 1.45 | 1.4 | 1.9 |
//!
//! The rule was to take the agent alone if the whole initrd needs more memory than Kata's default, 2048 MiB, or 1.5
//! times the time.
//! Measured on 28 November 2026 without hardware virtualization, on two cores that were busy with other work: Debian
//! 13's QEMU and kernel 6.12.118, one vCPU and 2048 MiB, the arguments of `rs-4.1` without share, vsock and network,
//! from QEMU's start to the agent's `ttRPC server started`.
//! Five starts of each kind, in turns, in one run; the numbers are medians; the least memory was found by halving, down
//! to 16 MiB.
//! The agent is 4.1.0, built from its source for `gnu`, 28 MB; the initrd has the packages of Kata's own recipe for
//! Ubuntu in Debian 13's versions, 129 MB, compressed by `gzip -9`.
//! Most of the difference is the unpacking, so the ratio of the starts would reach 1.5 with an initrd of about 63 MB as it
//! is in the archive, some 140 MB unpacked (by CPU time 60 and 130 MB).
//! That is close, and initrds of Kata's own have been larger: 113 MB compressed in 2.3.0, some 320 MB unpacked
//! (<https://github.com/kata-containers/kata-containers/issues/3216>); with such a one the rule would take the agent alone.

use super::folder::{Folder, OpenedFile};
use super::{ArtifactsError, MAX_PROGRAM, doing};
use crate::boot::initramfs::{self, ExtraFile};
use crate::boot::initrd::Initrd;
use crate::boot::modules::Resolution;
use crate::error::{Context as _, Failure, ImageError};
use object::Endianness;
use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader as _};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// Where Kata's agent is as a file of its own, below an archive's prefix.
const ALONE: [&str; 5] =
    ["bin/kata-agent", "usr/bin/kata-agent", "kata-agent", "libexec/kata-agent", "share/kata-agent"];
/// Where it is put if it came by itself.
const ALONE_AT: &str = "/sbin/init";
/// Where it is inside Kata's initrd: as a program beside systemd, or as the init itself.
const IN_INITRD: [&str; 4] = ["usr/bin/kata-agent", "sbin/init", "usr/sbin/init", "bin/kata-agent"];
/// The folder of the harness inside the initrd; the agent's `containers::init` reads it.
const FOLDER: &str = "kata-qualify";

/// Kata's agent, and what it needs to run.
///
/// All of it is in files: in memory it would take more than all else of a run.
#[derive(Debug, Clone)]
pub enum Agent {
    /// A program that needs nothing else.
    Alone(OpenedFile),
    /// The one of Kata's own initrd.
    InInitrd {
        /// Its path there, absolute.
        path: String,
        /// The program, if it needs nothing else either.
        alone: Option<OpenedFile>,
        /// The initrd, as it is.
        initrd: OpenedFile,
    },
}

impl Agent {
    /// The program, if it runs by itself on any system.
    pub fn alone(&self) -> Option<&OpenedFile> {
        match self {
            Agent::Alone(program) => Some(program),
            Agent::InInitrd { alone, .. } => alone.as_ref(),
        }
    }
}

/// Finds Kata's agent below a prefix: a file of its own if that is static, or the one of Kata's initrd.
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
    let initrd = doing(Initrd::read(&mut BufReader::new(file.reader()), is_agent), "reading", from)?;
    let agent = IN_INITRD.into_iter().find_map(|path| {
        let (bytes, _) = initrd.file(path)?;
        is_agent(bytes).then_some((path, bytes))
    });
    let (path, bytes) = agent.ok_or_else(|| ArtifactsError::Missing {
        what: "kata-agent",
        place: from.display().to_string(),
        expected: IN_INITRD.join(", "),
    })?;
    let path = format!("/{path}");
    let alone = match doing(is_static(bytes), "reading", Path::new(&path))? {
        true => Some(doing(OpenedFile::made(Path::new(&path), bytes), "keeping", Path::new(&path))?),
        false => None,
    };
    Ok(Agent::InInitrd { path, alone, initrd: file.clone() })
}

/// Whether a file's content is Kata's agent: systemd is an init, too, and no agent.
fn is_agent(content: &[u8]) -> bool {
    content.starts_with(&elf::ELFMAG) && memchr::memmem::find(content, b"kata-agent").is_some()
}

/// Whether a program needs no other file to run, as what is no ELF file does. One that cannot be read is an
/// error, because what passes for static must be static.
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

/// The initrd of a guest: Kata's own, or one with nothing but its agent, and over it the harness's agent as `/init` and the
/// modules.
///
/// Taking the agent alone out of Kata's initrd, with its loader and libraries, would save a third of the start; taken whole
/// nothing that it relies on can be left behind (the top of this file has the measurement).
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
                |path: &str, mode, content: Vec<u8>| ExtraFile { path: path.to_owned(), mode, content: content.into() };
            // The agent reads the second one to name the guest.
            let files = [file(ALONE_AT, 0o755, content), file("/etc/hostname", 0o644, b"kata\n".to_vec())];
            let mut root = Vec::new();
            initramfs::root(&files, &mut root)?;
            drop(files);
            lay_over(&mut root.as_slice(), init, modules, ALONE_AT, out)
        }
    })
}

/// An initrd with the harness's agent as `/init` and the modules over it; `next` is what that agent executes.
///
/// # Errors
/// As [`initramfs::layer`].
fn lay_over(
    below: &mut dyn Read,
    init: &[u8],
    modules: &Resolution,
    next: &str,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let copied = io::copy(below, out).and_then(|length| {
        // An archive that is not compressed has to begin at a multiple of four bytes (`init/initramfs.c`).
        (length..length.next_multiple_of(4)).try_for_each(|_| out.write_all(&[0]))
    });
    copied.context("writing", Path::new("a guest's initrd"))?;
    initramfs::layer(init, modules, FOLDER, &[("next", next.as_bytes())], out)
}

#[cfg(test)]
pub(super) mod tests;
