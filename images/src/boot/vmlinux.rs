//! The uncompressed kernel of a distro's image: an ELF file for VMMs that cannot load a bzImage.
//!
//! An x86 image's header has the position of the compressed kernel (Documentation/arch/x86/boot.rst). Unpacked it is
//! the ELF file that the kernel's build calls vmlinux, without its symbols; a relocatable kernel is followed by its
//! relocation table, which loaders ignore.

use crate::error::{Failure, ImageError, ImageErrorKind};
use crate::progress::ImagePhase;
use crate::unpack::ZSTD;
use memchr::memmem;
use std::fs::File;
use std::io::{self, Read, Write as _};

/// Size limit of an unpacked kernel, in bytes; usual ones have some 60 MB without debug information.
const MAX_KERNEL: u64 = 1 << 30;
/// First bytes of a 64-bit ELF file.
const ELF: &[u8] = b"\x7fELF\x02";

/// A kernel as an ELF file.
#[derive(Debug)]
pub struct Vmlinux {
    /// Temporary file without a name.
    pub file: File,
    /// Whether the kernel has a note with the entry point for guests without firmware (`XEN_ELFNOTE_PHYS32_ENTRY`,
    /// `CONFIG_PVH`).
    pub has_pvh_entry: bool,
}

/// Returns the ELF file in a kernel's image, or the image itself if it is an ELF file; `None` if the image unpacks to
/// something else.
///
/// # Errors
/// If the format of the image is unknown, or the file cannot be written.
pub fn of(image: &[u8]) -> Result<Option<Vmlinux>, ImageError> {
    let extract = || -> Result<Option<Vmlinux>, Failure> {
        let io = |source| ImageErrorKind::Io { context: "unpacking the kernel".to_owned(), source };
        let Some(elf) = elf(image).map_err(io)? else { return Ok(None) };
        let mut file = tempfile::tempfile().map_err(io)?;
        file.write_all(&elf).map_err(io)?;
        Ok(Some(Vmlinux { file, has_pvh_entry: has_pvh_entry(&elf) }))
    };
    extract().map_err(|failure| ImageError::new("the kernel as an ELF file", ImagePhase::Record, failure))
}

fn elf(image: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if image.starts_with(ELF) {
        return Ok(Some(image.to_vec()));
    }
    let packed = compressed(image).ok_or_else(|| io::Error::other("the kernel is not a bzImage"))?;
    let kernel = unpacked(packed)?;
    Ok(kernel.starts_with(ELF).then_some(kernel))
}

/// Looks for the note by its header: the length of its name, the length of an address, the type 18, and the name `Xen`.
fn has_pvh_entry(elf: &[u8]) -> bool {
    [4_u8, 8].into_iter().any(|size| {
        let head = [4, 0, 0, 0, size, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0];
        memmem::find(elf, &head).is_some()
    })
}

/// Returns the compressed kernel in an image, which follows the setup sectors.
pub(super) fn compressed(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let four = image.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*four)).ok()
    };
    image.get(0x202..)?.starts_with(b"HdrS").then_some(())?;
    // Old images have 0 instead of 4.
    let sectors = match usize::from(*image.get(0x1f1)?) {
        0 => 4,
        sectors => sectors,
    };
    let from = ((sectors + 1) * 512).checked_add(number(0x248)?)?;
    image.get(from..from.checked_add(number(0x24c)?)?)
}

/// Unpacks a kernel by its magic bytes; some compressions are followed by the kernel's size.
pub(super) fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut kernel = Vec::new();
    let kind: Box<dyn Read + '_> = match packed {
        _ if packed.starts_with(&ZSTD) => Box::new(zstd::stream::read::Decoder::new(packed)?.single_frame()),
        [0xfd, b'7', b'z', ..] => Box::new(liblzma::read::XzDecoder::new(packed)),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(packed)),
        _ => return Err(io::Error::other("expected a kernel compressed with zstd, xz or gzip")),
    };
    kind.take(MAX_KERNEL).read_to_end(&mut kernel)?;
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;

    fn image(kernel: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(kernel).unwrap();
        let packed = gz.finish().unwrap();
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c..0x250].copy_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        [image, packed].concat()
    }

    fn read(mut vmlinux: Vmlinux) -> Vec<u8> {
        let mut bytes = Vec::new();
        vmlinux.file.rewind().unwrap();
        vmlinux.file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_elf_kernel_is_extracted_from_the_image() {
        let kernel = [ELF, b" code ", &[4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0], b"Xen\0 more"].concat();
        let vmlinux = of(&image(&kernel)).unwrap().unwrap();
        assert!(vmlinux.has_pvh_entry);
        assert_eq!(read(vmlinux), kernel);
        let plain = [ELF, b" code"].concat();
        let vmlinux = of(&plain).unwrap().unwrap();
        assert!(!vmlinux.has_pvh_entry, "no note");
        assert_eq!(read(vmlinux), plain);
    }

    #[test]
    fn an_unreadable_image_is_an_error_and_one_without_elf_is_none() {
        let error = |image: &[u8]| of(image).unwrap_err().cause.to_string();
        assert!(error(b"MZ").contains("unpacking the kernel"), "{}", error(b"MZ"));
        assert!(of(&image(b"no ELF file")).unwrap().is_none());
    }
}
