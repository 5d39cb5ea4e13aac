//! UEFI firmware for guests, as distros package it.

use model::arch::Arch;

/// Where a firmware may lie that has its code and its variables in one file: QEMU's `-bios`, which is what both runtimes
/// pass for `firmware`, takes no other. POWER and IBM Z have no UEFI.
///
/// Debian's and Ubuntu's ovmf, Arch's edk2-ovmf, openSUSE's qemu-ovmf-x86_64; Debian's `OVMF_CODE_4M.fd` is refused
/// ("could not load PC BIOS", QEMU 7.2), because it is half of one. Debian's and Ubuntu's qemu-efi-aarch64.
pub fn files(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => {
            &["/usr/share/ovmf/OVMF.fd", "/usr/share/edk2/x64/OVMF.4m.fd", "/usr/share/qemu/ovmf-x86_64.bin"]
        }
        Arch::Aarch64 => &["/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"],
        Arch::Ppc64le | Arch::S390x => &[],
    }
}
