//! A profile's QEMU arguments for a sandbox, for comparison with those that Kata passes.

use crate::system;
use model::profile::Profile;
use qemu::sandbox::{SHARE_TAG, Sandbox, SharedFilesystem, Vsock};
use suites::check::Stop;
use suites::environment::Claims;

/// Returns the arguments for a sandbox of that id, with `<placeholders>` for parts that differ from run to run.
///
/// # Errors
/// If no arguments can be made for the profile.
pub(super) fn arguments(claims: &Claims, profile: &Profile, id: &str) -> Result<Vec<String>, Stop> {
    let qemu = claims.in_use().qemu().map(|vmm| vmm.path.to_string()).unwrap_or_default();
    let mut guest = Sandbox::new(profile, qemu, id, "kernel");
    guest.arch = claims.release.arch;
    guest.initrd = Some("initrd".to_owned());
    guest.shared = SharedFilesystem::VirtioFs { socket: "socket".to_owned(), tag: SHARE_TAG.to_owned() };
    guest.vsock = Some(Vsock { guest_cid: 3 });
    guest.for_host_with(system::cpus(), profile);
    guest.nested = system::is_under_a_hypervisor();
    let launch = qemu::argv::launch(profile, &guest);
    launch
        .map(|launch| launch.normalised())
        .map_err(|e| Stop::error(format!("the profile's arguments for the sandbox {id}: {e}")))
}
