//! The newest of a root's kernels.

use crate::root::Root;
use std::path::PathBuf;

/// The file with the highest version that a pattern of a record matches: `/boot/vmlinuz-*`, `/lib/modules/*/vmlinuz`.
pub(crate) fn newest(root: &Root, pattern: &str) -> Option<PathBuf> {
    let images = root.glob(pattern).into_iter().filter(|image| {
        let path = image.to_string_lossy();
        // What maintainers' scripts and admins leave beside kernels, and Fedora's, which is for rescue only.
        let leftover = [".old", ".bak", ".dpkg-tmp", ".dpkg-new"].iter().any(|e| path.ends_with(e));
        !leftover && !path.contains("-0-rescue-") && root.has_file(image)
    });
    images.max_by_key(|image| parts(&image.to_string_lossy()))
}

/// A version's parts: numbers by value, everything else by its letters.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number(u128),
}

fn parts(version: &str) -> Vec<Part> {
    let runs = version.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let part = |run: &[u8]| {
        let text = String::from_utf8_lossy(run).into_owned();
        match text.parse() {
            Ok(number) if run[0].is_ascii_digit() => Part::Number(number),
            _ => Part::Text(text),
        }
    };
    runs.map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_the_one_with_the_highest_version() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "boot/vmlinuz-6.1.0-9-amd64",
            "boot/vmlinuz-6.1.0-28-amd64",
            "boot/vmlinuz-6.12.43.old",
            "boot/vmlinuz-0-rescue-abc",
            "boot/config-7",
            "lib/modules/6.9.1/vmlinuz",
            "lib/modules/6.12.1/vmlinuz",
            // A directory of that name is no kernel.
            "boot/vmlinuz-9/file",
        ];
        for name in names {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let newest = |pattern: &str| newest(&root, pattern).map(|p| p.display().to_string());
        assert_eq!(newest("/boot/vmlinuz-*").as_deref(), Some("/boot/vmlinuz-6.1.0-28-amd64"));
        assert_eq!(newest("/boot/vmlinux-*"), None);
        assert_eq!(newest("/boot/config-7").as_deref(), Some("/boot/config-7"));
        assert_eq!(newest("/lib/modules/*/vmlinuz").as_deref(), Some("/lib/modules/6.12.1/vmlinuz"));
    }
}
