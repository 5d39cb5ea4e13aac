//! Reads the version of a Go runtime of Kata from its file: the program is never run.
//!
//! Kata's Makefile writes the version into a variable of the program (`src/runtime/pkg/katautils/config-settings.go.in`
//! at 2.2.0 to 4.1.0), and the symbol table has the variable's address. A search for the text would not do: Go stores
//! its strings back to back with no separator, so that only the variable tells where the version begins and ends. The
//! Rust runtime has no such variable.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

const VARIABLE: &[u8] = b"github.com/kata-containers/kata-containers/src/runtime/pkg/katautils.VERSION";

/// Longest accepted version, in bytes.
const MAX: usize = 64;

/// Returns the version; `None` if the program was stripped, or is not Kata's.
pub(super) fn version(program: &[u8]) -> Option<String> {
    let file = object::File::parse(program).ok().filter(|f| f.is_64())?;
    let variable = file.symbols().find(|s| s.name_bytes() == Ok(VARIABLE))?.address();
    let text = |at: u64, size: usize| {
        let mut sections = file.sections();
        sections.find_map(|s| s.data_range(at, size as u64).ok().flatten().filter(|bytes| bytes.len() == size))
    };
    let word = |at: u64| {
        let bytes = text(at, 8)?.try_into().ok()?;
        Some(if file.is_little_endian() { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    };
    // A Go string is a pointer and a length; in a position-independent program the loader fills in the pointer.
    let place = match word(variable)? {
        0 => {
            let mut relocations = file.dynamic_relocations()?;
            let (_, filled) = relocations.find(|(at, _)| *at == variable)?;
            u64::try_from(filled.addend()).ok()?
        }
        place => place,
    };
    let length = usize::try_from(word(variable.checked_add(8)?)?).ok().filter(|length| (1..=MAX).contains(length))?;
    Some(str::from_utf8(text(place, length)?).ok()?.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::process::Command;

    /// Builds a program with Go's mark and the version variable.
    pub(crate) fn program(version: &str, how: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let (source, program) = (dir.path().join("shim.c"), dir.path().join("shim"));
        let (name, length) = (str::from_utf8(VARIABLE).unwrap(), version.len());
        let text = format!(
            "struct text {{ const char *at; long length; }};\n\
             struct text version __asm__(\"\\\"{name}\\\"\") = {{ \"{version}0123456789\", {length} }};\n\
             const char mark[] = \"\\xff Go buildinf:\";\n\
             int main(void) {{ return mark[0] == (char)version.length; }}\n"
        );
        std::fs::write(&source, text).unwrap();
        let built = Command::new("cc").args(how).arg("-o").arg(&program).arg(&source).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        std::fs::read(&program).unwrap()
    }

    #[test]
    fn the_go_version_variable_is_read_with_and_without_pie() {
        for how in ["-no-pie", "-pie"] {
            let bytes = program("3.30.0-rc0", &[how]);
            assert_eq!(version(&bytes).as_deref(), Some("3.30.0-rc0"), "{how}");
            let stripped = program("3.30.0", &[how, "-s"]);
            assert_eq!(version(&stripped), None, "{how}");
            // No truncated or damaged program causes a panic or takes long.
            for cut in (0..bytes.len()).step_by(97) {
                version(&bytes[..cut]);
                let mut odd = bytes.clone();
                odd[cut] ^= 0xff;
                version(&odd);
            }
        }
        let long = program(&"9".repeat(65), &["-pie"]);
        assert_eq!(version(&long), None);
        assert_eq!(version(b"\x7fELF"), None);
    }
}
