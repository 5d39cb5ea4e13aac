//! The files that an environment's agent is given.

use images::artifacts::OpenedFile;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;

/// The most bytes of a file. A kernel with debug information has some hundred MB, and a part of an archive of Kata's may be
/// a hole.
const MAX_SIZE: u64 = 2 << 30;

/// A file, by its name in the agent's folder.
#[derive(Debug, Clone)]
pub struct SeedFile {
    /// `kata/go-3.29/initrd`.
    pub name: String,
    /// The content.
    pub content: Content,
}

/// Where a file's content is: never in memory, of which the files of all cells would take most.
#[derive(Debug, Clone)]
pub enum Content {
    /// In the program.
    Static(&'static [u8]),
    /// In a file without a name, which goes with its last owner.
    Unnamed(Arc<File>),
    /// In a file here.
    File(PathBuf),
    /// In a file of strangers, opened where no link led elsewhere.
    Opened(OpenedFile),
}

impl Content {
    /// The number of bytes, and a reader of them; readers do not disturb each other.
    ///
    /// # Errors
    /// A file that cannot be read or has too many bytes, with its name.
    pub fn open(&self) -> io::Result<(u64, Box<dyn Read + Send>)> {
        let (size, reader): (u64, Box<dyn Read + Send>) = match self {
            Content::Static(bytes) => (bytes.len() as u64, Box::new(*bytes)),
            Content::Unnamed(file) => {
                // A description of its own has a position of its own.
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
    fn what_cannot_be_given_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let hole = dir.path().join("hole");
        File::create(&hole).unwrap().set_len(MAX_SIZE + 1).unwrap();
        let refused = |path: PathBuf| Content::File(path).open().err().unwrap().to_string();
        assert!(refused(hole).ends_with("hole: it has more than 2147483648 bytes"));
        assert!(refused("/nonexistent/x".into()).contains("/nonexistent/x"));
    }
}
