//! Checks that the container manager exists: a handler is not written for a manager that is not installed.
//!
//! Its configuration is no sign of it: Debian's `apt remove` leaves it behind.

use super::super::{Exit, Failed};
use model::component::Component;
use model::release::Release;
use operator::configure::find_containerd_config;
use root::{Root, RootError};
use std::path::Path;

/// Checks that containerd exists: the machine's own, or that of a Kubernetes distribution.
pub(super) fn require_containerd(root: &Root, release: &Release) -> anyhow::Result<()> {
    match find_containerd_config(root, None) {
        Ok(place) if place.is_standard() => {}
        // Errors in the configuration that was found are reported by the code that uses it.
        Ok(_) | Err(_) => return Ok(()),
    }
    let of_record = release.container_manager.as_ref().filter(|manager| manager.name == Component::Containerd);
    let signs: Vec<&str> =
        of_record.map(|manager| manager.path.as_str()).into_iter().chain(["/run/containerd/containerd.sock"]).collect();
    let hint = "install containerd first, or pass the version that will be installed with --containerd-version";
    require_program(root, "containerd", &signs, hint)
}

/// Checks that CRI-O exists.
pub(super) fn require_crio(root: &Root) -> anyhow::Result<()> {
    require_program(root, "crio", &["/run/crio/crio.sock"], "install CRI-O first")
}

/// Checks that a program exists, or another sign of it.
fn require_program(root: &Root, program: &str, signs: &[&str], hint: &str) -> anyhow::Result<()> {
    if root.which(program)?.is_some() || any(root, signs)? {
        return Ok(());
    }
    let message =
        format!("--handler: {program} is not installed: found no program of that name, and no {}", signs.join(", no "));
    Err(Failed::new(Exit::Missing, "no-container-manager", message).hint(hint).into())
}

fn any(root: &Root, signs: &[&str]) -> Result<bool, RootError> {
    for sign in signs {
        if root.look(Path::new(sign))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
