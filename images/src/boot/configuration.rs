//! The configuration embedded in a kernel's image; Arch has it nowhere else.
//!
//! In the uncompressed kernel, the configuration lies compressed between two marks (kernel/configs.c,
//! `CONFIG_IKCONFIG`).

use super::vmlinux::{compressed, unpacked};
use memchr::memmem;
use std::io::Read as _;

/// Size limit of a configuration, in bytes; usual ones have about 300 KB.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// Returns the configuration in an image; `None` if it has none, or the format of the image is unknown.
pub(super) fn of(image: &[u8]) -> Option<String> {
    let kernel = unpacked(compressed(image)?).ok()?;
    let begin = memmem::find(&kernel, b"IKCFG_ST")? + 8;
    let rest = kernel.get(begin..)?;
    let packed = rest.get(..memmem::find(rest, b"IKCFG_ED")?)?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).take(MAX_CONFIGURATION).read_to_string(&mut text).ok()?;
    Some(text)
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

    /// Returns an image with one setup sector, and the kernel a little after it.
    fn image(kernel: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(kernel.len()).unwrap().to_le_bytes());
        [image, kernel.to_vec(), b"what follows".to_vec()].concat()
    }

    #[test]
    fn the_embedded_kernel_configuration_is_extracted_if_present() {
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
