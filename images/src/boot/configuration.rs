//! The configuration that a kernel's image has in itself: Arch's has it there alone.
//!
//! An image of x86 says in its header where the compressed kernel is (Documentation/arch/x86/boot.rst), and in the kernel
//! the configuration lies compressed between two marks (kernel/configs.c, `CONFIG_IKCONFIG`).

use crate::unpack::ZSTD;
use memchr::memmem;
use std::io::{self, Read};

/// Bytes of a kernel as it is unpacked, some 60 MB without debug information, and of a configuration, some 300 KB.
const MAX_KERNEL: u64 = 1 << 30;
const MAX_CONFIGURATION: u64 = 1 << 20;

/// The configuration in an image; none where there is none, or the image is of a form that is not known.
pub(super) fn of(image: &[u8]) -> Option<String> {
    let kernel = unpacked(compressed(image)?).ok()?;
    let begin = memmem::find(&kernel, b"IKCFG_ST")? + 8;
    let rest = kernel.get(begin..)?;
    let packed = rest.get(..memmem::find(rest, b"IKCFG_ED")?)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).take(MAX_CONFIGURATION).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The compressed kernel in an image, behind the sectors that set it up.
fn compressed(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let four = image.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*four)).ok()
    };
    image.get(0x202..)?.starts_with(b"HdrS").then_some(())?;
    // 0 is what old ones have instead of 4.
    let sectors = match usize::from(*image.get(0x1f1)?) {
        0 => 4,
        sectors => sectors,
    };
    let from = ((sectors + 1) * 512).checked_add(number(0x248)?)?;
    image.get(from..from.checked_add(number(0x24c)?)?)
}

/// A kernel unpacked by what it begins with; its size stands behind what some compress.
fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut kernel = Vec::new();
    let kind: Box<dyn Read + '_> = match packed {
        _ if packed.starts_with(&ZSTD) => Box::new(zstd::stream::read::Decoder::new(packed)?.single_frame()),
        [0xfd, b'7', b'z', ..] => Box::new(liblzma::read::XzDecoder::new(packed)),
        [0x1f, 0x8b, ..] => Box::new(flate2::read::GzDecoder::new(packed)),
        _ => return Err(io::Error::other("expected a kernel that zstd, xz or gzip has compressed")),
    };
    kind.take(MAX_KERNEL).read_to_end(&mut kernel)?;
    Ok(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TEXT: &str = "# Linux/x86 6.17.1-arch1 Kernel Configuration\nCONFIG_IKCONFIG=y\nCONFIG_VIRTIO_FS=m\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(bytes).unwrap();
        xz.finish().unwrap()
    }

    /// An image with one sector that sets it up, and this kernel a little behind it.
    fn image(kernel: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(kernel.len()).unwrap().to_le_bytes());
        [image, kernel.to_vec(), b"what follows".to_vec()].concat()
    }

    #[test]
    fn a_kernel_has_its_configuration_in_itself_or_none() {
        let kernel = [b"code IKCFG_ST".as_slice(), &gzip(TEXT.as_bytes()), b"IKCFG_ED more code"].concat();
        let sized = |packed: Vec<u8>| [packed, vec![1, 2, 3, 4]].concat();
        let zst = zstd::encode_all(kernel.as_slice(), 1).unwrap();
        for packed in [sized(zst), sized(xz(&kernel)), gzip(&kernel)] {
            assert_eq!(of(&image(&packed)).as_deref(), Some(TEXT));
        }
        assert_eq!(of(&image(&gzip(b"code without one"))), None);
        assert_eq!(of(&image(b"not compressed")), None);
        assert_eq!(of(&image(&gzip(&kernel))[..1100]), None, "cut off");
        assert_eq!(of(b"a kernel of another architecture"), None);
    }
}
