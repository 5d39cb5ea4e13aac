//! Texts that are shown while an image is made.

use images::ImagePhase;

/// Describes the current work in a phase.
pub(super) fn doing(phase: ImagePhase) -> &'static str {
    match phase {
        ImagePhase::Resolve => "checking the mirror",
        ImagePhase::Wait => "waiting for another run that makes the same image",
        ImagePhase::Bootstrap => "bootstrapping",
        ImagePhase::Pull => "pulling the OCI image",
        ImagePhase::Read => "reading the base",
        ImagePhase::Copy => "copying the plain release's image",
        ImagePhase::Install => "installing packages",
        ImagePhase::Overlay => "adding the overlay",
        ImagePhase::Record => "writing the image's manifest",
        ImagePhase::Disk => "making the disk",
        ImagePhase::Store => "moving the image into the cache",
        ImagePhase::Import => "importing the image",
    }
}
