//! Places in Kata's source that ask for what a test proves, or where a container gets its files by the test's share.

use super::block::Block;
use model::profile::{Profile, Runtime};
use model::share::Share;
use std::collections::BTreeSet;
use suites::catalogue::Test;
use suites::citation::AskedFor;

/// What follows from a share's use, whatever Kata's source asks for.
const EXPECTED: &str = "where programs expect of it what they expect of any filesystem";

/// Says where Kata asks for what a test proves, and that it uses the test's share; if no line of its source asks for
/// it, the places are those of the share.
pub(super) fn asked_for(test: &Test, profile: &Profile, sources: Vec<String>) -> Vec<Block> {
    let place = test.share.and_then(|share| place(share, profile));
    match (&test.asked_for, test.share) {
        (AskedFor::Share(_), Some(share)) => {
            let places: BTreeSet<String> = sources.into_iter().chain(place).collect();
            let text = format!("{}, {EXPECTED}. It does so in (file@tag):", carries(share));
            vec![Block::Text(text), list(&places)]
        }
        (_, share) => {
            let used = share.zip(place).map(|(share, place)| format!("{} ({place}), {EXPECTED}.", carries(share)));
            let mut all: Vec<Block> = used.map(Block::Text).into_iter().collect();
            if !sources.is_empty() {
                all.push(Block::Text("Kata Containers asks for it in (file@tag):".to_owned()));
                all.push(list(&sources.into_iter().collect()));
            }
            all
        }
    }
}

fn list(places: &BTreeSet<String>) -> Block {
    Block::Lines(places.iter().map(|place| format!("  {place}")).collect::<Vec<_>>().join("\n"))
}

/// Begins a sentence that says that Kata uses a share.
fn carries(share: Share) -> String {
    match share {
        Share::VirtioFs | Share::Virtio9p => {
            format!("With `shared_fs = \"{share}\"` Kata Containers gives a container its files by such a share")
        }
        Share::VirtioBlk => "Kata Containers also gives a container its files by such a disk".to_owned(),
    }
}

/// Returns the place where the profile's Kata uses a share that the host serves.
fn place(share: Share, profile: &Profile) -> Option<String> {
    let file = match (share, profile.runtime) {
        (Share::Virtio9p, Runtime::Go) => "src/runtime/virtcontainers/qemu_arch_base.go",
        (Share::VirtioFs, Runtime::Go) => "src/runtime/virtcontainers/qemu.go",
        (Share::VirtioFs, Runtime::Rs) => "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs",
        (Share::Virtio9p, Runtime::Rs) | (Share::VirtioBlk, _) => return None,
    };
    Some(format!("{file}@{}", profile.tag))
}
