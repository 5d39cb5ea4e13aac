//! Spellings of passwords in the output of programs.

use super::MAX_TEXT;
use super::controls::without_controls;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters that are encoded by a program that encodes a whole password (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns a password as given, decoded, and in the encodings that programs write.
pub(super) fn spellings(password: &str) -> Vec<String> {
    let meant = percent_decoded(password);
    let encoded = || utf8_percent_encode(&meant, RESERVED);
    // The encoder yields each encoded byte as a part of its own.
    let in_small = |part: &str| if part.starts_with('%') { part.to_ascii_lowercase() } else { part.to_owned() };
    let json = serde_json::to_string(&meant).unwrap_or_default();
    vec![
        password.to_owned(),
        encoded().to_string(),
        encoded().map(in_small).collect(),
        json.trim_matches('"').to_owned(),
        meant.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        meant.chars().filter(|c| !c.is_control()).collect(),
        without_controls(&meant, MAX_TEXT),
        meant,
    ]
}

/// Decodes `%40` to `@`; text that is not a percent code stays.
pub fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
