//! Texts that are shown while an image is made.

use images::Phase;

/// Describes the current work in a phase.
pub(super) fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "checking the mirror",
        Phase::Wait => "waiting for another run that makes the same image",
        Phase::Bootstrap => "bootstrapping",
        Phase::Pull => "pulling the OCI image",
        Phase::Read => "reading the base",
        Phase::Copy => "copying the plain release's image",
        Phase::Install => "installing packages",
        Phase::Overlay => "adding the overlay",
        Phase::Record => "writing the image's manifest",
        Phase::Disk => "making the disk",
        Phase::Store => "moving the image into the cache",
        Phase::Import => "importing the image",
    }
}
