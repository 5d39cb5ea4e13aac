//! The kernel as an ELF file, for virtual machines that try a VMM which accepts no other format.

use super::{EnvironmentBase, PreparedCell, SetupError};
use crate::donor::Donors;
use crate::seed::{Content, SeedFile};
use images::boot::{kernel, vmlinux};
use model::diagnostic::error_chain;
use model::other_vmm::OtherVmm;
use std::sync::Arc;
use suites::environment::ElfKernel;
use suites::outcome::Component;

/// The file's name in the agent's directory.
const NAME: &str = "vmlinux";

/// Extracts the kernel that guests boot from its image, if the release has such a VMM or the user supplies one. The
/// claims have the result, for tests to judge.
///
/// # Errors
/// If the image cannot be read.
pub(super) fn supply(donors: &Donors, prepared: &mut PreparedCell) -> Result<(), SetupError> {
    let EnvironmentBase::Vm { disk } = &prepared.base else { return Ok(()) };
    let mut tried = OtherVmm::all().iter().filter(|vmm| vmm.tried).filter_map(|vmm| vmm.vmm.component());
    if !tried.any(|component| prepared.claims.other_vmm(component).is_some()) {
        return Ok(());
    }
    // The kernel must match the modules in the initramfs.
    let (tree, release) = match donors.of(Component::Kernel) {
        Some(donor) => (donor.tree.clone(), &donor.release),
        None => (disk.image.rootfs(), &prepared.claims.release),
    };
    let image = kernel::read(&tree, &kernel::find(&tree, release)?)?;
    let claimed = match vmlinux::of(&image) {
        Ok(Some(made)) => {
            let path = prepared.folder().join(NAME).to_string_lossy().into_owned();
            let content = Content::Unnamed(Arc::new(made.file));
            prepared.files.push(SeedFile { name: NAME.to_owned(), content });
            ElfKernel::Made { path, has_pvh_entry: made.has_pvh_entry }
        }
        Ok(None) => ElfKernel::Absent,
        Err(e) => ElfKernel::Refused { why: error_chain(&e) },
    };
    prepared.claims.elf_kernel = Some(claimed);
    Ok(())
}
