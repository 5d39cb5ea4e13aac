//! Why a capability has its verdict, and whom that blames.

use crate::component::Component;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a capability has its verdict; one text where it is written, `qemu: exited with 1`.
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

    /// The component at fault; `None` where it could not be shown that any is.
    pub fn blames(&self) -> Option<Component> {
        self.blames
    }

    /// The word that stands where a component would, and names none.
    pub(super) fn unknown_component(&self) -> Option<&str> {
        let (word, _) = self.message.split_once(": ").filter(|_| self.blames.is_none())?;
        (!word.contains(' ')).then_some(word)
    }
}

impl From<String> for VerifiedCause {
    fn from(text: String) -> VerifiedCause {
        let blamed = text.split_once(": ").and_then(|(name, message)| Some((Component::of_name(name)?, message)));
        match blamed {
            Some((component, message)) => VerifiedCause::new(component, message),
            None => VerifiedCause { blames: None, message: text },
        }
    }
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
        for text in ["the environment lacks vhost-net: no such file", "qemu", "qmeu: exited"] {
            let cause = VerifiedCause::from(text);
            assert_eq!((cause.blames(), cause.to_string().as_str()), (None, text));
        }
    }
}
