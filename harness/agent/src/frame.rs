//! Frames: how messages travel over an exec's stdio, a virtio-serial port or a pipe.
//!
//! A frame is a magic number, the payload's length and CRC-32 (both little-endian `u32`), and the payload.
//! Whatever stands between two frames is foreign (a kernel's or a firmware's babble on the same line): the reader
//! skips it, counts it, and finds the next magic number again, also after a torn or damaged frame.

use std::io::{self, Read, Write};

/// Starts every frame; the NUL keeps it out of ordinary text.
const MAGIC: [u8; 4] = [0x00, b'K', b'Q', 0x1f];
const HEADER: usize = 12;

/// The largest payload, in bytes: a chunk of a file with its base64 overhead, and room.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// Why no further frame can be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The payload is larger than any frame may be.
    #[error("sending a message of {0} bytes, more than the {MAX_PAYLOAD} that fit a frame")]
    TooLarge(usize),
    /// The line broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Wraps a payload into a frame.
pub fn encode(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLarge(payload.len()));
    }
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Writes one frame and flushes.
pub fn write(to: &mut impl Write, payload: &[u8]) -> Result<(), FrameError> {
    to.write_all(&encode(payload)?)?;
    Ok(to.flush()?)
}

/// Takes bytes as they come and gives back whole payloads.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes skipped because they belonged to no frame.
    pub foreign: u64,
}

impl Decoder {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole payload, if it has arrived.
    pub fn next_payload(&mut self) -> Option<Vec<u8>> {
        loop {
            let start = find_magic(&self.buffer);
            self.skip(start);
            if self.buffer.len() < HEADER {
                return None;
            }
            let length = word(&self.buffer[4..8]) as usize;
            if length > MAX_PAYLOAD {
                self.skip(1);
                continue;
            }
            if self.buffer.len() < HEADER + length {
                return None;
            }
            let payload = &self.buffer[HEADER..HEADER + length];
            if crc32fast::hash(payload) != word(&self.buffer[8..12]) {
                self.skip(1);
                continue;
            }
            let payload = payload.to_vec();
            self.buffer.drain(..HEADER + length);
            return Some(payload);
        }
    }

    fn skip(&mut self, count: usize) {
        self.buffer.drain(..count);
        self.foreign += count as u64;
    }
}

/// Reads the next payload; `None` at a clean end of the line.
pub fn read(from: &mut impl Read, decoder: &mut Decoder) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = vec![0; 64 << 10];
    loop {
        if let Some(payload) = decoder.next_payload() {
            return Ok(Some(payload));
        }
        match from.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => decoder.push(&chunk[..count]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Where a magic number, or what may be the beginning of one, starts; else the buffer's length.
fn find_magic(buffer: &[u8]) -> usize {
    (0..buffer.len())
        .find(|&at| {
            let rest = &buffer[at..];
            let shared = rest.len().min(MAGIC.len());
            rest[..shared] == MAGIC[..shared]
        })
        .unwrap_or(buffer.len())
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| (value << 8) | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(bytes: &[u8], chunk: usize) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::default();
        let mut payloads = Vec::new();
        for part in bytes.chunks(chunk.max(1)) {
            decoder.push(part);
            while let Some(payload) = decoder.next_payload() {
                payloads.push(payload);
            }
        }
        payloads
    }

    #[test]
    fn an_oversized_length_is_foreign_not_an_allocation() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&encode(b"after").unwrap());
        assert_eq!(decode_all(&bytes, 3), vec![b"after".to_vec()]);
    }

    #[test]
    fn a_clean_end_is_none() {
        let mut decoder = Decoder::default();
        assert!(read(&mut &b"babble"[..], &mut decoder).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn frames_survive_babble_between_them(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5),
            babble in "[ -~\n]{0,40}",
            chunk in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                bytes.extend_from_slice(babble.as_bytes());
                bytes.extend_from_slice(&encode(payload).unwrap());
            }
            prop_assert_eq!(decode_all(&bytes, chunk), payloads);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..500), chunk in 1usize..50) {
            decode_all(&bytes, chunk);
        }

        #[test]
        fn a_damaged_frame_does_not_take_the_next_one_down(at in 0usize..17, flip in 1u8..=255) {
            let mut bytes = encode(b"first").unwrap();
            bytes[at] ^= flip;
            // Enough frames behind it that a damaged length cannot wait for more than arrives.
            let second = encode(&[7; 1000]).unwrap();
            bytes.extend_from_slice(&second);
            let payloads = decode_all(&bytes, 64);
            let length_damaged = (4..8).contains(&at);
            prop_assert!(length_damaged || payloads.contains(&vec![7; 1000]));
        }
    }
}
