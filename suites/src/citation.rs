//! Citations of Kata's source: where it asks for what a test proves.
//!
//! A body's doc comment cites the places that ask for its property, each a file and the tag at which it was read:
//! `src/agent/src/rpc.rs@4.1.0`.
//! Much of what programs do with files Kata only passes on, and no line of its source asks for it. Such a body cites
//! nothing, and the share that the test is about says, once for all of them, where Kata gives containers their files by
//! it.
//! A body that Kata asks for in neither way is marked in its row (`guards`).

use crate::share::Share;
use model::kata_version::KataVersion;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A file of Kata's source, and the tag at which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    file: Cow<'static, str>,
    tag: Tag,
}

/// The tag of a citation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// The tag of a release or a pre-release.
    Version(KataVersion),
    /// The branch after the newest release.
    Main,
}

/// Error for a text that is no citation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place in Kata's source: expected a file and a tag, such as `src/agent/src/rpc.rs@4.1.0`")]
pub struct NotACitation(String);

/// Where Kata asks for what a test proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedFor {
    /// In the places that the body's doc comment cites.
    Body(Vec<Citation>),
    /// In the places where Kata gives containers their files by the test's share, whose programs expect of it what they
    /// expect of any filesystem.
    Share(&'static [Citation]),
    /// Nowhere: the body guards what other tests rest on.
    Nowhere,
}

const KATA_3_28: KataVersion = KataVersion::new(3, 28, 0);
const KATA_4_1: KataVersion = KataVersion::new(4, 1, 0);

/// A container's root filesystem and volumes are on it, and its better POSIX compliance is a reason for it (the
/// document); `ShareRootFilesystem` and `ShareFsRootfs`.
static FILES_BY_VIRTIO_FS: [Citation; 3] = [
    Citation::at("docs/how-to/how-to-use-virtio-fs-with-kata.md", KATA_4_1),
    Citation::at("src/runtime/virtcontainers/fs_share_linux.go", KATA_4_1),
    Citation::at("src/runtime-rs/crates/resource/src/rootfs/share_fs_rootfs.rs", KATA_4_1),
];

/// `ShareRootFilesystem` and `Virtio9pHandler`, in the last release whose agent mounts 9p.
static FILES_BY_VIRTIO_9P: [Citation; 2] = [
    Citation::at("src/runtime/virtcontainers/fs_share_linux.go", KATA_3_28),
    Citation::at("src/agent/src/storage/fs_handler.rs", KATA_3_28),
];

/// `hotplugDrive`, `BlockRootfs` and `handle_block_storage`.
static FILES_BY_VIRTIO_BLK: [Citation; 3] = [
    Citation::at("src/runtime/virtcontainers/container.go", KATA_4_1),
    Citation::at("src/runtime-rs/crates/resource/src/rootfs/block_rootfs.rs", KATA_4_1),
    Citation::at("src/agent/src/storage/block_handler.rs", KATA_4_1),
];

impl Citation {
    const fn at(file: &'static str, release: KataVersion) -> Citation {
        Citation { file: Cow::Borrowed(file), tag: Tag::Version(release) }
    }

    /// Returns the path of the file in Kata's repository.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the tag, `4.1.0`, or `main`.
    pub fn tag(&self) -> String {
        self.tag.to_string()
    }
}

impl AskedFor {
    /// Returns where Kata asks for what a test with this doc comment proves.
    pub(crate) fn of(doc: &str, share: Option<Share>, guards: bool) -> AskedFor {
        if guards {
            return AskedFor::Nowhere;
        }
        let cited: Vec<Citation> = candidates(doc).filter_map(|word| word.parse().ok()).collect();
        match share {
            Some(share) if cited.is_empty() => AskedFor::Share(files_by(share)),
            Some(_) | None => AskedFor::Body(cited),
        }
    }

    /// Returns the cited places.
    pub fn places(&self) -> &[Citation] {
        match self {
            AskedFor::Body(places) => places,
            AskedFor::Share(places) => places,
            AskedFor::Nowhere => &[],
        }
    }
}

/// Returns the places where Kata gives containers their files by a share.
fn files_by(share: Share) -> &'static [Citation] {
    match share {
        Share::VirtioFs => &FILES_BY_VIRTIO_FS,
        Share::Virtio9p => &FILES_BY_VIRTIO_9P,
        Share::VirtioBlk => &FILES_BY_VIRTIO_BLK,
    }
}

/// Returns the words of a text that have the sign of a citation, without the punctuation around them.
pub(crate) fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_whitespace().filter(|word| word.contains('@'));
    words.map(|word| word.trim_start_matches(['(', '`']).trim_end_matches(['.', ',', ';', ':', ')', '`']))
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.file, self.tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tag::Version(version) => version.fmt(f),
            Tag::Main => f.write_str("main"),
        }
    }
}

impl FromStr for Citation {
    type Err = NotACitation;

    fn from_str(text: &str) -> Result<Citation, NotACitation> {
        let parsed = text.split_once('@').and_then(|(file, tag)| {
            let file = is_file(file).then(|| Cow::Owned(file.to_owned()))?;
            Some(Citation { file, tag: tag_of(tag)? })
        });
        parsed.ok_or_else(|| NotACitation(text.to_owned()))
    }
}

/// Checks for a path in a repository: `src/runtime/Makefile`, or `versions.yaml` at its top.
fn is_file(path: &str) -> bool {
    let is_name = |name: &str| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
        plain && !matches!(name, "" | "." | "..")
    };
    path.contains(['/', '.']) && path.split('/').all(is_name)
}

fn tag_of(text: &str) -> Option<Tag> {
    if text == "main" {
        return Some(Tag::Main);
    }
    // `4.1` is also read as a version, and is no tag.
    let version: KataVersion = text.parse().ok()?;
    (version.to_string() == text).then_some(Tag::Version(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_is_a_file_and_a_tag() {
        for text in ["src/runtime/Makefile@4.1.0", "versions.yaml@3.2.0-rc0", "src/runtime-rs/crates/x_y.rs@main"] {
            let citation: Citation = text.parse().unwrap();
            assert_eq!(citation.to_string(), text);
            assert_eq!(format!("{}@{}", citation.file(), citation.tag()), text);
        }
        let wrong = [
            "src/runtime/Makefile",
            "src/runtime/Makefile@",
            "src/runtime/Makefile@4.1",
            "src/runtime/Makefile@stable",
            "/src/runtime/Makefile@4.1.0",
            "src//Makefile@4.1.0",
            "src/../Makefile@4.1.0",
            "src/`Makefile@4.1.0",
            "somebody@4.1.0",
            "@4.1.0",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Citation>(), Err(NotACitation(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_doc_comment_comes_before_the_share() {
        let cited = |doc: &str, share, guards| {
            let asked_for = AskedFor::of(doc, share, guards);
            asked_for.places().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let doc = "What.\n\nWhy (`f` in a/b.go@4.1.0,\n`c.md@4.0.0`).";
        assert_eq!(cited(doc, None, false), ["a/b.go@4.1.0", "c.md@4.0.0"]);
        assert_eq!(cited(doc, Some(Share::VirtioFs), false), ["a/b.go@4.1.0", "c.md@4.0.0"]);
        assert_eq!(cited("What.", None, false), [""; 0]);
        assert_eq!(cited("What.", None, true), [""; 0]);
        for share in Share::ALL {
            assert_eq!(AskedFor::of("What.", Some(*share), false), AskedFor::Share(files_by(*share)));
        }
    }

    #[test]
    fn the_places_of_shares_have_the_form_of_citations() {
        for place in Share::ALL.iter().flat_map(|share| files_by(*share)) {
            assert_eq!(place.to_string().parse::<Citation>(), Ok(place.clone()));
        }
    }
}
