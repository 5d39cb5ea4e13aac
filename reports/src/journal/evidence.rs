//! Evidence about a cell: words of a closed list, and free text.
//!
//! A journal has all of it as text, and another program's journal may have any text: unknown words are kept unchanged.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The accelerator that runs the guests' processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Accelerator {
    /// KVM of the machine that runs the tests.
    Kvm,
    /// KVM in a virtual machine of the harness that runs under KVM.
    KvmInKvm,
    /// KVM in a virtual machine of the harness that is emulated.
    KvmInTcg,
    /// Emulation.
    Tcg,
    /// Words that no version of the harness writes; empty if nothing is stated.
    Other(String),
}

impl Accelerator {
    /// Returns the word in the journal.
    pub fn name(&self) -> &str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::KvmInKvm => "kvm in kvm",
            Accelerator::KvmInTcg => "kvm in tcg",
            Accelerator::Tcg => "tcg",
            Accelerator::Other(text) => text,
        }
    }

    /// Checks whether guests run under KVM, on hardware or emulated.
    pub(crate) fn is_kvm(&self) -> bool {
        match self {
            Accelerator::Kvm | Accelerator::KvmInKvm | Accelerator::KvmInTcg => true,
            Accelerator::Tcg | Accelerator::Other(_) => false,
        }
    }
}

impl From<String> for Accelerator {
    fn from(text: String) -> Accelerator {
        let known = [Accelerator::Kvm, Accelerator::KvmInKvm, Accelerator::KvmInTcg, Accelerator::Tcg];
        known.into_iter().find(|one| one.name() == text).unwrap_or(Accelerator::Other(text))
    }
}

impl From<Accelerator> for String {
    fn from(accelerator: Accelerator) -> String {
        accelerator.to_string()
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A replacement of a distro's own component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Candidate {
    /// A component of another release, `debian:13 (linux-image-amd64 6.12)`: its kernel comes with its modules, for all
    /// guests.
    OfRelease(String),
    /// A file, by its name and checksum: `mine (sha256 0123)`.
    File(String),
}

/// Prefix of the words for a component of another release.
const OF_A_RELEASE: &str = "of ";

impl Candidate {
    /// Returns the text, to be cleaned.
    pub(crate) fn text_mut(&mut self) -> &mut String {
        match self {
            Candidate::OfRelease(text) | Candidate::File(text) => text,
        }
    }
}

impl From<String> for Candidate {
    fn from(text: String) -> Candidate {
        match text.strip_prefix(OF_A_RELEASE) {
            Some(release) => Candidate::OfRelease(release.to_owned()),
            None => Candidate::File(text),
        }
    }
}

impl From<Candidate> for String {
    fn from(candidate: Candidate) -> String {
        candidate.to_string()
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Candidate::OfRelease(release) => write!(f, "{OF_A_RELEASE}{release}"),
            Candidate::File(file) => f.write_str(file),
        }
    }
}

/// An environment's answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ProbeAnswer {
    /// The probed item exists or works.
    Yes,
    /// Words for people: why the item is missing, its amount, or its description.
    Words(String),
}

impl ProbeAnswer {
    /// Returns the answer in words.
    pub(crate) fn words(&self) -> &str {
        match self {
            ProbeAnswer::Yes => "yes",
            ProbeAnswer::Words(words) => words,
        }
    }

    /// Returns the words that are to be cleaned.
    pub(crate) fn words_mut(&mut self) -> Option<&mut String> {
        match self {
            ProbeAnswer::Yes => None,
            ProbeAnswer::Words(words) => Some(words),
        }
    }
}

impl From<String> for ProbeAnswer {
    fn from(words: String) -> ProbeAnswer {
        if words == ProbeAnswer::Yes.words() { ProbeAnswer::Yes } else { ProbeAnswer::Words(words) }
    }
}

impl From<ProbeAnswer> for String {
    fn from(answer: ProbeAnswer) -> String {
        answer.to_string()
    }
}

impl fmt::Display for ProbeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_answers_keep_their_serialised_form() {
        for (words, answer) in
            [("yes", ProbeAnswer::Yes), ("there is no /dev/kvm", ProbeAnswer::Words("there is no /dev/kvm".to_owned()))]
        {
            assert_eq!(serde_json::to_value(&answer).unwrap(), words);
            assert_eq!(serde_json::from_value::<ProbeAnswer>(words.into()).unwrap(), answer);
        }
    }

    #[test]
    fn candidates_keep_their_serialised_form() {
        for (words, candidate) in [
            ("of debian:13 (qemu 1:10)", Candidate::OfRelease("debian:13 (qemu 1:10)".to_owned())),
            ("mine (sha256 0123)", Candidate::File("mine (sha256 0123)".to_owned())),
        ] {
            assert_eq!(serde_json::to_value(&candidate).unwrap(), words);
            assert_eq!(serde_json::from_value::<Candidate>(words.into()).unwrap(), candidate);
        }
    }

    #[test]
    fn accelerators_keep_their_serialised_form() {
        for (word, accelerator) in [
            ("kvm", Accelerator::Kvm),
            ("kvm in kvm", Accelerator::KvmInKvm),
            ("kvm in tcg", Accelerator::KvmInTcg),
            ("tcg", Accelerator::Tcg),
            ("", Accelerator::Other(String::new())),
            ("kvm,tcg", Accelerator::Other("kvm,tcg".to_owned())),
        ] {
            assert_eq!(serde_json::to_value(&accelerator).unwrap(), word);
            assert_eq!(serde_json::from_value::<Accelerator>(word.into()).unwrap(), accelerator);
        }
    }
}
