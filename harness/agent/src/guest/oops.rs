//! Kernel modules that do harm when they are loaded, for a rehearsal of how an oops, a panic and a hang are
//! distinguished.

use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// x86's undefined instruction, which the kernel reports as "invalid opcode".
pub(super) const OOPS: &[u8] = &[0x0f, 0x0b];
/// Interrupts off, then a jump to itself: the CPU does nothing else from then on. Spinning in a process, even at the
/// highest real-time priority, is not enough: since 6.12 the kernel keeps a share of the CPU for ordinary processes.
pub(super) const SPIN: &[u8] = &[0xfa, 0xeb, 0xfe];
/// End of a signed module; without it the module is unsigned, which taints the kernel but loads.
const SIGNATURE: &[u8] = b"~Module signature appended~\n";

/// Reasons why a module cannot be given other instructions.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotPoisoned {
    #[error("reading the module: {0}")]
    Unreadable(object::read::Error),
    #[error("the module has no init_module")]
    NoFunction,
    #[error("init_module is in no section")]
    NoSection,
    #[error("init_module's section has no bytes in the file")]
    NoBytes,
    #[error("init_module's section is cut off")]
    CutOff,
    #[error("init_module has no room for an instruction")]
    NoRoom,
    /// An offset exceeds this machine's address space.
    #[error(transparent)]
    Offset(#[from] std::num::TryFromIntError),
}

/// Returns the module with these instructions at the beginning of its initialisation.
pub(super) fn poisoned(module: &[u8], instructions: &[u8]) -> Result<Vec<u8>, NotPoisoned> {
    let file: ElfFile64 = ElfFile64::parse(module).map_err(NotPoisoned::Unreadable)?;
    let symbol = file.symbols().find(|s| s.name() == Ok("init_module")).ok_or(NotPoisoned::NoFunction)?;
    let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
    let section = section.ok_or(NotPoisoned::NoSection)?;
    let (offset, size) = section.file_range().ok_or(NotPoisoned::NoBytes)?;
    let begin = usize::try_from(offset)?;
    let code = usize::try_from(size).ok().and_then(|size| module.get(begin..begin + size));
    let code = code.ok_or(NotPoisoned::CutOff)?;
    let mut at = usize::try_from(symbol.address())?;
    // After the landing pad (endbr64), and after calls: tracing rewrites the first call, and relocation fills calls in.
    if code.get(at..).is_some_and(|rest| rest.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa])) {
        at += 4;
    }
    while code.get(at) == Some(&0xe8) {
        at += 5;
    }
    if code.len() < at + instructions.len() {
        return Err(NotPoisoned::NoRoom);
    }
    let mut poisoned = module.strip_suffix(SIGNATURE).unwrap_or(module).to_vec();
    poisoned[begin + at..begin + at + instructions.len()].copy_from_slice(instructions);
    Ok(poisoned)
}

#[cfg(test)]
mod tests {
    use super::poisoned;

    #[test]
    fn a_file_that_is_not_a_module_is_refused() {
        assert!(poisoned(b"", super::OOPS).is_err());
        assert!(poisoned(b"\x7fELF and nothing else", super::SPIN).is_err());
    }
}
