//! The files that an environment's agent gets.

use images::artifacts::OpenedFile;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Size limit of a file in bytes. A kernel with debug information has some hundred MB, and a file in an archive of
/// Kata's may be one large hole.
const MAX_SIZE: u64 = 2 << 30;

/// A file and its name in the agent's directory.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// The name, such as `kata/go-3.29/initrd`.
    pub name: String,
    /// The content.
    pub content: Content,
}

/// The place of a file's content: never in memory, because the files of all cells would take most of it.
#[derive(Debug, Clone)]
pub enum Content {
    /// In the program.
    Static(&'static [u8]),
    /// In an unnamed file, which ends with its last owner.
    Unnamed(Arc<File>),
    /// In a file on this machine.
    File(PathBuf),
    /// In a file from somebody else, opened in a way in which no link could lead elsewhere.
    Opened(OpenedFile),
}

impl Content {
    /// Returns the number of bytes, and a reader of them; readers do not disturb each other.
    ///
    /// # Errors
    /// Names a file that cannot be read or has too many bytes.
    pub fn open(&self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        let (size, reader): (u64, Box<dyn Read + Send>) = match self {
            Content::Static(bytes) => (bytes.len() as u64, Box::new(*bytes)),
            Content::Unnamed(file) => {
                // Opening the file again gives each reader its own position.
                let file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
                (file.metadata()?.len(), Box::new(file))
            }
            Content::File(path) => {
                let named = |e: io::Error| io::Error::other(format!("{}: {e}", path.display()));
                let file = File::open(path).map_err(named)?;
                let size = file.metadata().map_err(named)?.len();
                if size > MAX_SIZE {
                    return Err(named(io::Error::other(format!("it has more than {MAX_SIZE} bytes"))));
                }
                (size, Box::new(file))
            }
            Content::Opened(file) => {
                let named = |e: io::Error| io::Error::other(format!("{}: {e}", file.path().display()));
                (file.size().map_err(named)?, Box::new(file.reader()))
            }
        };
        Ok((size, Box::new(reader.take(size))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn every_reader_begins_at_the_beginning() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        for content in [Content::Unnamed(Arc::new(file)), Content::Static(b"0123456789")] {
            let (size, mut first) = content.open().unwrap();
            assert_eq!(size, 10);
            first.read_exact(&mut [0; 4]).unwrap();
            let mut all = String::new();
            content.open().unwrap().1.read_to_string(&mut all).unwrap();
            assert_eq!(all, "0123456789");
        }
    }

    #[test]
    fn files_that_are_too_large_or_missing_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let hole = dir.path().join("hole");
        File::create(&hole).unwrap().set_len(MAX_SIZE + 1).unwrap();
        let refused = |path: PathBuf| Content::File(path).open().err().unwrap().to_string();
        assert!(refused(hole).ends_with("hole: it has more than 2147483648 bytes"));
        assert!(refused("/nonexistent/x".into()).contains("/nonexistent/x"));
    }
}
