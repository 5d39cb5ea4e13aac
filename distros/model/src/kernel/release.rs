//! Releases of Linux, which name one built kernel.

use crate::checked_text::checked_text;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Longest release, in bytes: that of a file's name, because a release names the directory of the modules. Linux's own
/// limit for `uname -r` is 64.
const MAX: usize = 255;

/// The release of a kernel as `uname -r` prints it: `6.12.43+deb13-amd64`.
///
/// Linux's build joins version and distro's suffix to it (`include/config/kernel.release`), and names the directory of
/// the modules after it; packages name the image in `/boot` likewise.
/// Releases reach command lines and paths, so a text becomes a `KernelRelease` only after validation: one printable
/// word without `/`, and no `-` or `.` first.
///
/// They have no order of their own: how two compare depends on the package manager (`operator::kernel_image`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct KernelRelease(String);

/// Error for a text that is not the release of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kernel's release: expected one printable word without `/`, and no `-` or `.` first")]
pub struct NotAKernelRelease(String);

impl KernelRelease {
    /// Returns the release of the kernel whose modules are in this directory: `/lib/modules/6.12.43+deb13-amd64`.
    pub fn of_modules(folder: &Path) -> Option<KernelRelease> {
        folder.file_name()?.to_str()?.parse().ok()
    }
}

/// Whether a text has the form of a kernel's release.
fn is_kernel_release(text: &str) -> bool {
    let is_plain = |c: char| !(c == '/' || c.is_whitespace() || c.is_control());
    !text.is_empty() && text.len() <= MAX && text.chars().all(is_plain) && !text.starts_with(['-', '.'])
}

checked_text!(KernelRelease, NotAKernelRelease, is_kernel_release);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_one_word_that_can_name_a_directory() {
        for release in ["6.12.43+deb13-amd64", "5.14.0-503.el9.x86_64+rt", "7.2~rc1-amd64", "virt", "7.2^1"] {
            assert_eq!(release.parse::<KernelRelease>().unwrap(), release);
        }
        let long = "6".repeat(MAX + 1);
        for wrong in ["", "-k", ".", "..", "../x", "a/b", "6.12 43", "6.12\n", "6.12\u{1b}[m", "6.12\0", &long] {
            let error = wrong.parse::<KernelRelease>().unwrap_err().to_string();
            assert!(error.contains("is not a kernel's release") && !error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn the_directory_of_the_modules_names_the_release() {
        let of = |folder: &str| KernelRelease::of_modules(Path::new(folder));
        assert_eq!(of("/usr/lib/modules/6.12.13-0-virt").unwrap(), "6.12.13-0-virt");
        assert_eq!(of("/"), None);
    }

    #[test]
    fn a_release_serializes_as_its_text() {
        let release: KernelRelease = serde_json::from_str("\"6.12.43\"").unwrap();
        assert_eq!(serde_json::to_string(&release).unwrap(), "\"6.12.43\"");
        let error = serde_json::from_str::<KernelRelease>("\"../6.12\"").unwrap_err().to_string();
        assert!(error.starts_with("\"../6.12\" is not a kernel's release"), "{error}");
    }
}
