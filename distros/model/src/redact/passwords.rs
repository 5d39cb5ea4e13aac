//! Passwords in all the ways in which programs write them.

use super::MAX_TEXT;
use super::controls::printable;

/// A password as it was given, as it is meant, and as programs write it.
pub(super) fn spellings(password: &str) -> Vec<String> {
    let meant = percent_decoded(password);
    let encoded = |upper: bool| {
        let code = |byte: u8| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => (b as char).to_string(),
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        };
        meant.bytes().map(code).collect::<String>()
    };
    let json = serde_json::to_string(&meant).unwrap_or_default();
    vec![
        password.to_owned(),
        encoded(true),
        encoded(false),
        json.trim_matches('"').to_owned(),
        meant.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        meant.chars().filter(|c| !c.is_control()).collect(),
        printable(&meant, MAX_TEXT),
        meant,
    ]
}

/// Decodes `%40` to `@`; text that is no such code stays.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        let (byte, left) = match (first, code) {
            (b'%', Some(byte)) => (byte, &after[2..]),
            (byte, _) => (*byte, after),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
