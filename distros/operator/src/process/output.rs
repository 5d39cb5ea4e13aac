//! A stream of a program, read by a thread of its own: its beginning is kept up to a limit, and the rest is read and
//! dropped, so that the program does not block on a full pipe.

use model::sync::{locked, waited};
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The output that a program wrote to one stream so far.
#[derive(Debug, Clone, Default)]
pub struct CollectedOutput(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    /// Notified at the end of the stream.
    end: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl CollectedOutput {
    /// Reads a stream to its end and keeps at most `limit` bytes; `show` gets all bytes as they arrive. Without a
    /// stream, there is no output.
    pub fn of(stream: Option<impl Read + Send + 'static>, limit: usize, show: Option<fn(&[u8])>) -> CollectedOutput {
        let output = CollectedOutput::default();
        let Some(mut stream) = stream else {
            locked(&output.0.kept).has_ended = true;
            return output;
        };
        let shared = Arc::clone(&output.0);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let new = &buffer[..count];
                if let Some(show) = show {
                    show(new);
                }
                let mut kept = locked(&shared.kept);
                let room = limit.saturating_sub(kept.bytes.len());
                kept.bytes.extend_from_slice(&new[..room.min(count)]);
            }
            locked(&shared.kept).has_ended = true;
            shared.end.notify_all();
        });
        output
    }

    /// Returns a copy of the kept bytes.
    pub fn bytes(&self) -> Vec<u8> {
        locked(&self.0.kept).bytes.clone()
    }

    /// Returns the kept bytes as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&locked(&self.0.kept).bytes).into_owned()
    }

    /// Waits until `until` for the end of the stream, which comes after the program's own end if another process still
    /// holds the stream.
    pub fn wait(&self, until: Instant) {
        let mut kept = locked(&self.0.kept);
        while !kept.has_ended {
            let remaining = until.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return;
            }
            kept = waited(&self.0.end, kept, remaining);
        }
    }
}

/// Waits for the ends of the streams of a program that has ended, together at most this long.
pub fn wait_for_ends(streams: [&CollectedOutput; 2], within: Duration) {
    let until = Instant::now() + within;
    streams.iter().for_each(|stream| stream.wait(until));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_kept_up_to_its_limit_and_read_to_its_end() {
        let output = CollectedOutput::of(Some(std::io::repeat(b'x').take(3 << 20)), 5, None);
        output.wait(Instant::now() + Duration::from_secs(20));
        assert_eq!((output.text().as_str(), output.bytes().len()), ("xxxxx", 5));
        let none = CollectedOutput::of(None::<std::io::Empty>, 5, None);
        none.wait(Instant::now() + Duration::from_secs(20));
        assert_eq!(none.text(), "");
    }

    #[test]
    fn waiting_for_an_open_stream_ends_at_the_deadline() {
        let (reader, writer) = std::io::pipe().unwrap();
        let output = CollectedOutput::of(Some(reader), 5, None);
        let began = Instant::now();
        wait_for_ends([&output, &output], Duration::from_millis(100));
        assert!(began.elapsed() >= Duration::from_millis(100));
        drop(writer);
        output.wait(Instant::now() + Duration::from_secs(20));
        assert!(locked(&output.0.kept).has_ended);
    }
}
