//! Frames: how messages travel over an exec's stdio, a virtio-serial port or a pipe.
//!
//! A frame is a magic number, the payload's length and CRC-32 (both little-endian `u32`), and the payload.
//! Anything between two frames is foreign (output of a kernel or a firmware on the same line): the reader skips it,
//! counts it, and finds the next magic number again, also after a torn or damaged frame.

use std::io::{self, Read};

/// Starts every frame; the NUL keeps it out of ordinary text.
const MAGIC: [u8; 4] = [0x00, b'K', b'Q', 0x1f];
const HEADER: usize = 12;

/// The largest payload, in bytes: a chunk of a file with its base64 overhead, and some reserve.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// A payload that is too large for a frame: its length in bytes.
#[derive(Debug, thiserror::Error)]
#[error("sending a message of {0} bytes, more than the {MAX_PAYLOAD} that fit a frame")]
pub struct TooLarge(pub usize);

/// Wraps a payload into a frame.
///
/// # Errors
/// When the payload is too large for a frame.
pub fn encode(payload: &[u8]) -> Result<Vec<u8>, TooLarge> {
    if payload.len() > MAX_PAYLOAD {
        return Err(TooLarge(payload.len()));
    }
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Limit of bytes read for wrong checksums, as a multiple of the received bytes; see [`Decoder::next_payload`].
const PATIENCE: u64 = 16;

/// Decodes a byte stream into whole payloads. The time grows only with the number of bytes, because the peer may be a
/// malicious guest.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of the buffer that were processed.
    done: usize,
    /// Bytes received.
    taken: u64,
    /// Bytes that were read for checksums that were wrong.
    wasted: u64,
    /// Bytes examined or moved.
    work: u64,
    /// Bytes skipped because they belonged to no frame.
    pub foreign: u64,
}

impl Decoder {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moved only if more bytes were processed than are left, so that each byte is moved once on average.
        if self.done > self.buffer.len() / 2 {
            self.buffer.drain(..self.done);
            self.work += self.buffer.len() as u64;
            self.done = 0;
        }
        self.buffer.extend_from_slice(bytes);
        self.taken += bytes.len() as u64;
    }

    /// Returns the next whole payload, if it has arrived.
    ///
    /// After a wrong checksum only one byte is skipped, because a torn frame may be followed by a whole frame within
    /// its claimed payload. If this has led to too many wrong checksums, the whole frame is skipped.
    pub fn next_payload(&mut self) -> Option<Vec<u8>> {
        loop {
            let start = find_magic(&self.buffer[self.done..]);
            self.work += start as u64;
            self.skip(start);
            let frame = &self.buffer[self.done..];
            if frame.len() < HEADER {
                return None;
            }
            let length = word(&frame[4..8]) as usize;
            if length > MAX_PAYLOAD {
                self.skip(1);
                continue;
            }
            if frame.len() < HEADER + length {
                return None;
            }
            let payload = &frame[HEADER..HEADER + length];
            self.work += length as u64;
            if crc32fast::hash(payload) != word(&frame[8..12]) {
                self.wasted += length as u64;
                let patient = self.wasted <= PATIENCE * self.taken;
                self.skip(if patient { 1 } else { HEADER + length });
                continue;
            }
            let payload = payload.to_vec();
            self.done += HEADER + length;
            return Some(payload);
        }
    }

    fn skip(&mut self, count: usize) {
        self.done += count;
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

/// Returns the position of a magic number, or of what may be its beginning at the end of the buffer; else the buffer's
/// length.
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
    fn an_oversized_length_is_skipped_like_foreign_bytes() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&encode(b"after").unwrap());
        assert_eq!(decode_all(&bytes, 3), vec![b"after".to_vec()]);
    }

    #[test]
    fn a_stream_that_ends_without_a_frame_reads_as_none() {
        let mut decoder = Decoder::default();
        assert!(read(&mut &b"babble"[..], &mut decoder).unwrap().is_none());
    }

    /// Returns the bytes examined or moved for a stream, divided by its length.
    fn work_for(stream: &[u8]) -> u64 {
        let mut decoder = Decoder::default();
        for part in stream.chunks(64 << 10) {
            decoder.push(part);
            while decoder.next_payload().is_some() {}
        }
        decoder.work / stream.len() as u64
    }

    #[test]
    fn decoding_work_is_linear_in_the_stream_length() {
        let mut too_long = MAGIC.to_vec();
        too_long.extend_from_slice(&u32::MAX.to_le_bytes());
        let mut damaged = MAGIC.to_vec();
        damaged.extend_from_slice(&(1_u32 << 20).to_le_bytes());
        damaged.extend_from_slice(&[0; 4]);
        let frames = encode(b"x").unwrap();
        for part in [MAGIC.to_vec(), too_long, damaged, frames, vec![0], b"babble".to_vec()] {
            let stream: Vec<u8> = part.iter().copied().cycle().take(8 << 20).collect();
            let work = work_for(&stream);
            assert!(work <= 2 * PATIENCE + 4, "{part:?} costs {work} times its length");
        }
    }

    proptest! {
        #[test]
        fn frames_are_found_between_foreign_bytes(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5),
            foreign in "[ -~\n]{0,40}",
            chunk in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                bytes.extend_from_slice(foreign.as_bytes());
                bytes.extend_from_slice(&encode(payload).unwrap());
            }
            prop_assert_eq!(decode_all(&bytes, chunk), payloads);
        }

        #[test]
        fn decoding_arbitrary_bytes_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..500), chunk in 1usize..50) {
            decode_all(&bytes, chunk);
        }

        #[test]
        fn a_damaged_frame_does_not_lose_the_next_one(at in 0usize..17, flip in 1u8..=255) {
            let mut bytes = encode(b"first").unwrap();
            bytes[at] ^= flip;
            let claimed = word(&bytes[4..8]) as usize;
            bytes.extend_from_slice(&encode(&[7; 1000]).unwrap());
            // A decoder waits for as many bytes as a damaged length claims, unless it is more than a frame may have.
            if claimed <= MAX_PAYLOAD {
                bytes.resize(bytes.len() + claimed, b'x');
            }
            prop_assert_eq!(decode_all(&bytes, 4096), vec![vec![7; 1000]]);
        }
    }
}
