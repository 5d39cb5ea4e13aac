//! UEFI firmware for guests, as distros package it.

use model::arch::Arch;

/// Returns the paths at which distros install a firmware with code and variables in one file. Both runtimes pass
/// `firmware` as QEMU's `-bios`, which takes no other kind. POWER and IBM Z have no UEFI.
///
/// The packages are Debian's and Ubuntu's ovmf and qemu-efi-aarch64, Arch's edk2-ovmf, and openSUSE's qemu-ovmf-x86_64.
/// QEMU 7.2 refuses Debian's `OVMF_CODE_4M.fd` ("could not load PC BIOS"), because it holds the code without the
/// variables.
pub fn files(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => {
            &["/usr/share/ovmf/OVMF.fd", "/usr/share/edk2/x64/OVMF.4m.fd", "/usr/share/qemu/ovmf-x86_64.bin"]
        }
        Arch::Aarch64 => &["/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"],
        Arch::Ppc64le | Arch::S390x => &[],
    }
}
