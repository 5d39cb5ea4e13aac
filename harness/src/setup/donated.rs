//! Components of other releases in a prepared cell, instead of its own release's.

use super::{PreparedCell, SetupError, boot_files};
use crate::donor::Donors;
use crate::seed::{Content, SeedFile};
use images::boot::kernel;
use model::profile::Profile;
use root::InsidePath;
use suites::outcome::Component;

/// Gives the cell all components that donors have.
///
/// A kernel is swapped as a whole: image, configuration, modules, and with them the guests' initramfs.
///
/// # Errors
/// If a tree cannot be read or an initramfs cannot be made.
pub(super) fn supply(donors: &Donors, prepared: &mut PreparedCell, profiles: &[Profile]) -> Result<(), SetupError> {
    let folder = prepared.folder().to_owned();
    let files = donors.claim_programs(&mut prepared.claims, &folder)?;
    prepared.files.extend(files);
    let Some(donor) = donors.of(Component::Kernel) else { return Ok(()) };
    let versions = prepared.claims.versions.clone();
    let (donated, initramfs) = boot_files(&donor.tree, &folder, versions, &donor.release, profiles)?;
    let (image, configuration) = donor.kernel(&kernel::find(&donor.tree, &donor.release)?)?;
    let name = format!("donor/{}", Component::Kernel);
    let path = InsidePath::try_from(folder.join(&name).as_path())?;
    prepared.files.push(SeedFile { name, content: Content::File(image) });
    prepared.initramfs = initramfs;
    let claims = &mut prepared.claims;
    claims.kernel = donated.kernel;
    // The file with the configuration exists only in the donor's tree.
    claims.kernel_config = configuration.or(donated.kernel_config);
    claims.modules = donated.modules;
    claims.vmlinuz = path.to_string();
    // Kata's guests find the kernel by its path.
    claims.candidates.insert(Component::Kernel, path);
    Ok(())
}
