//! Why a capability has its verdict, and whom that blames.

use crate::component::Component;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Stands before a cause that blames nobody and would be read as if it did.
const NOBODY: &str = "nobody: ";

/// Why a capability has its verdict; one text where it is written, `qemu: exited with 1`.
///
/// One that blames nobody is its message alone; a message that begins as if it blamed somebody, `kernel: too old`, is
/// written after `nobody: `.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct VerifiedCause {
    blames: Option<Component>,
    message: String,
}

impl VerifiedCause {
    /// What a component is at fault for.
    pub fn new(blames: Component, message: impl Into<String>) -> VerifiedCause {
        VerifiedCause { blames: Some(blames), message: message.into() }
    }

    /// What no component could be shown to be at fault for.
    pub fn of_nobody(message: impl Into<String>) -> VerifiedCause {
        VerifiedCause { blames: None, message: message.into() }
    }

    /// It with another message.
    pub(super) fn with_message(&self, change: impl FnOnce(&str) -> String) -> VerifiedCause {
        VerifiedCause { blames: self.blames, message: change(&self.message) }
    }

    /// The component at fault; `None` where it could not be shown that any is.
    pub fn blames(&self) -> Option<Component> {
        self.blames
    }

    /// The word that stands where a component would, and names none.
    pub(super) fn unknown_component(&self) -> Option<&str> {
        let text = if self.is_ambiguous() { NOBODY } else { self.message.as_str() };
        let (word, _) = text.split_once(": ").filter(|_| self.blames.is_none())?;
        (!word.contains(' ')).then_some(word)
    }

    /// Whether it blames nobody, and its message alone would be read as if it did.
    fn is_ambiguous(&self) -> bool {
        self.blames.is_none() && blamed(self.message.trim_start_matches(NOBODY)).is_some()
    }
}

impl From<String> for VerifiedCause {
    fn from(text: String) -> VerifiedCause {
        if let Some((component, message)) = blamed(&text) {
            return VerifiedCause::new(component, message);
        }
        match text.strip_prefix(NOBODY).map(VerifiedCause::of_nobody).filter(VerifiedCause::is_ambiguous) {
            Some(cause) => cause,
            None => VerifiedCause::of_nobody(text),
        }
    }
}

/// The component that a text begins with, and what it is at fault for.
fn blamed(text: &str) -> Option<(Component, &str)> {
    let (name, message) = text.split_once(": ")?;
    Some((Component::of_name(name)?, message))
}

impl From<&str> for VerifiedCause {
    fn from(text: &str) -> VerifiedCause {
        VerifiedCause::from(text.to_owned())
    }
}

impl From<VerifiedCause> for String {
    fn from(cause: VerifiedCause) -> String {
        cause.to_string()
    }
}

impl fmt::Display for VerifiedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blames {
            Some(component) => write!(f, "{component}: {}", self.message),
            None if self.is_ambiguous() => write!(f, "{NOBODY}{}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_read_as_it_is_written() {
        for component in Component::ALL {
            let cause = VerifiedCause::new(*component, "it: exited");
            assert_eq!(VerifiedCause::from(cause.to_string()), cause);
            let json = serde_json::to_string(&cause).unwrap();
            assert_eq!(json, format!("\"{component}: it: exited\""));
            assert_eq!(serde_json::from_str::<VerifiedCause>(&json).unwrap(), cause);
        }
        for text in ["the environment lacks vhost-net: no such file", "qemu", "qmeu: exited", "nobody: exited"] {
            let cause = VerifiedCause::from(text);
            assert_eq!((cause.blames(), cause.to_string().as_str()), (None, text));
            assert_eq!(cause, VerifiedCause::of_nobody(text));
        }
    }

    #[test]
    fn what_blames_nobody_blames_nobody_when_it_is_read_again() {
        for component in Component::ALL {
            for message in [format!("{component}: too old"), format!("nobody: {component}: too old")] {
                let cause = VerifiedCause::of_nobody(message.as_str());
                let text = cause.to_string();
                assert_eq!(text, format!("nobody: {message}"));
                let read = VerifiedCause::from(text.as_str());
                assert_eq!((read.blames(), &read), (None, &cause), "{text}");
                assert_eq!(read.to_string(), text);
                assert_eq!(read.unknown_component(), Some("nobody"));
            }
        }
        assert_eq!(VerifiedCause::from("qmeu: exited").unknown_component(), Some("qmeu"));
        assert_eq!(VerifiedCause::from("qemu: exited").unknown_component(), None);
    }
}
