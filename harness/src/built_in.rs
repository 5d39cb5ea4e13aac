//! Data that is built into the program.

use model::arch::Arch;

/// The agent: a static binary, built with the harness.
pub const AGENT: &[u8] = include_bytes!(env!("KATA_QUALIFY_AGENT"));

include!(concat!(env!("OUT_DIR"), "/agents.rs"));

/// Returns the agent for an architecture; `None` if the program was built without a toolchain for it.
pub fn agent(arch: Arch) -> Option<&'static [u8]> {
    match Arch::of_machine() == Some(arch) {
        true => Some(AGENT),
        false => FOREIGN_AGENTS.iter().find(|(name, _)| *name == arch.name()).and_then(|(_, bytes)| *bytes),
    }
}

/// Names the Debian packages with which the program can be built with an agent for the architecture: its linker with a
/// C library, and Rust's standard library, which rustup has, too, under the name of the target.
pub fn toolchain(arch: Arch) -> String {
    let linker = format!("gcc-{}", arch.gnu_triplet().replace('_', "-"));
    format!("{linker} and libstd-rust-dev:{} (or `rustup target add {}`)", arch.debian_name(), target(arch))
}

fn target(arch: Arch) -> String {
    arch.gnu_triplet().replace("-linux-gnu", "-unknown-linux-gnu")
}

/// The commit that the program was built from, or `unknown`.
pub const COMMIT: &str = env!("KATA_QUALIFY_COMMIT");

/// The version that `--version` prints.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KATA_QUALIFY_COMMIT"), ")");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_an_agent_and_each_other_architecture_a_row() {
        let here = Arch::of_machine().unwrap();
        assert_eq!(agent(here), Some(AGENT));
        for arch in Arch::ALL.iter().filter(|arch| **arch != here) {
            assert!(FOREIGN_AGENTS.iter().any(|(name, _)| *name == arch.name()), "{arch}");
            if let Some(bytes) = agent(*arch) {
                let (little, machine) = arch.elf();
                let number = [bytes[18], bytes[19]];
                let number = if little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
                assert_eq!(number, machine, "{arch}");
            }
        }
    }

    #[test]
    fn a_missing_toolchain_is_named_as_debian_and_rust_name_it() {
        assert_eq!(
            toolchain(Arch::Ppc64le),
            "gcc-powerpc64le-linux-gnu and libstd-rust-dev:ppc64el (or `rustup target add powerpc64le-unknown-linux-gnu`)"
        );
    }
}
