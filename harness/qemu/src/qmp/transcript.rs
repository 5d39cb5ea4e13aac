//! Transcript of a QMP connection.

use serde::{Deserialize, Serialize};

/// Maximum bytes of a line; longer lines are cut.
const MAX_LINE: usize = 64 << 10;
/// Maximum bytes of all lines; further lines are only counted.
const MAX_ALL: usize = 4 << 20;

/// Both sides of a QMP connection, bounded, as evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transcript {
    /// Lines in order.
    pub lines: Vec<TranscriptLine>,
    /// Lines that came after the transcript was full.
    pub dropped: u64,
    #[serde(skip)]
    size: usize,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TranscriptLine {
    /// The sender.
    pub direction: Direction,
    /// The text, cut at 64 KiB, invalid UTF-8 replaced.
    pub text: String,
    /// Length of the uncut line in bytes.
    pub length: usize,
}

/// The sender of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The harness.
    Sent,
    /// QEMU.
    Received,
}

impl Transcript {
    pub(super) fn push(&mut self, direction: Direction, line: &[u8]) {
        let beginning = &line[..line.len().min(MAX_LINE)];
        if self.size + beginning.len() > MAX_ALL {
            self.dropped += 1;
            return;
        }
        self.size += beginning.len();
        self.lines.push(TranscriptLine {
            direction,
            text: String::from_utf8_lossy(beginning).into_owned(),
            length: line.len(),
        });
    }
}

impl std::fmt::Display for Transcript {
    /// One line a message: `> {"execute": …}`, `< {"return": …}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            let sign = match line.direction {
                Direction::Sent => '>',
                Direction::Received => '<',
            };
            let cut = if line.text.len() < line.length { " … (cut)" } else { "" };
            writeln!(f, "{sign} {}{cut}", line.text)?;
        }
        match self.dropped {
            0 => Ok(()),
            n => writeln!(f, "({n} more lines are not kept)"),
        }
    }
}
