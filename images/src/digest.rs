//! Hashes of an image's inputs.

use crate::error::{Context, Failure, ImageErrorKind};
use model::hex::hex;
use sha2::{Digest, Sha256, Sha512};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use root::sha256::{of_bytes, of_reader};

/// Hashes labelled fields: the same bytes with another label or another split give another key.
#[derive(Default)]
pub(crate) struct Fields(Sha256);

impl Fields {
    pub(crate) fn add(mut self, label: &str, value: impl AsRef<[u8]>) -> Fields {
        for part in [label.as_bytes(), value.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    pub(crate) fn all<T: AsRef<[u8]>>(self, label: &str, values: impl IntoIterator<Item = T>) -> Fields {
        values.into_iter().fold(self.add(label, ""), |fields, value| fields.add("-", value))
    }

    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

pub(crate) fn of_file(path: &Path) -> Result<String, Failure> {
    sha256_of_file(path, &AtomicBool::new(false))
}

/// Hashes a file that may be so large that the user cancels.
pub(crate) fn sha256_of_file(path: &Path, cancel: &AtomicBool) -> Result<String, Failure> {
    sha256_of_opened(&File::open(path).context("opening", path)?, path, cancel)
}

/// Hashes an open file from its current position; `path` is for messages.
pub(crate) fn sha256_of_opened(file: &File, path: &Path, cancel: &AtomicBool) -> Result<String, Failure> {
    hashed::<Sha256>(file, path, cancel)
}

/// As [`sha256_of_opened`].
pub(crate) fn sha512_of_opened(file: &File, path: &Path, cancel: &AtomicBool) -> Result<String, Failure> {
    hashed::<Sha512>(file, path, cancel)
}

fn hashed<D: Digest>(mut file: &File, path: &Path, cancel: &AtomicBool) -> Result<String, Failure> {
    let mut hash = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(ImageErrorKind::Cancelled.into());
        }
        match file.read(&mut buffer).context("reading", path)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}
