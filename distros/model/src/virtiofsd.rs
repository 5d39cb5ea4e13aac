//! The two programs named virtiofsd, and how to tell them apart.

use serde::Serialize;
use std::fmt;

/// Implementation of a virtiofsd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// Part of QEMU 4.2 to 7.2; `-o` options only.
    C,
    /// The virtio-fs project's implementation; `--shared-dir` and `-o` options.
    Rust,
    /// Not recognised as either: a wrapper, perhaps.
    Unknown,
}

impl Flavour {
    /// Detects the implementation from strings in the program, without running it: an option that only the Rust daemon
    /// has, and a message that only libfuse has.
    pub fn of_program(has: impl Fn(&str) -> bool) -> Flavour {
        match (has("shared-dir"), has("fuse: unknown option(s)")) {
            (true, _) => Flavour::Rust,
            (false, true) => Flavour::C,
            (false, false) => Flavour::Unknown,
        }
    }

    /// Detects the implementation from its answer to `--version`.
    ///
    /// The C daemon prints its FUSE interface and, before QEMU 6.0, not its own name (`fuse_lowlevel_version` in
    /// `tools/virtiofsd/fuse_lowlevel.c`); the Rust one prints `virtiofsd 1.13.2`, older ones `virtiofsd backend 1.1.0`
    /// (`src/main.rs`).
    pub fn of_version(output: &str) -> Flavour {
        let names_itself = |line: &str| {
            let rest = line.strip_prefix("virtiofsd ").map(|rest| rest.strip_prefix("backend ").unwrap_or(rest));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        match output.contains("FUSE kernel interface") {
            true => Flavour::C,
            false if output.lines().any(names_itself) => Flavour::Rust,
            false => Flavour::Unknown,
        }
    }
}

/// Beginnings of libfuse's messages about arguments that a program does not know, seen with the C daemon of QEMU 5.2
/// and 7.2; the Rust daemon, without libfuse, never prints them.
const OF_LIBFUSE: [&str; 2] = ["fuse: unknown option", "fuse: invalid argument"];

/// Returns the C daemon's words about an argument that it does not know, from a text that quotes them at its end.
pub fn refused_argument(text: &str) -> Option<&str> {
    let begin = OF_LIBFUSE.iter().filter_map(|beginning| text.find(beginning)).min()?;
    Some(&text[begin..])
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::C => "C",
            Flavour::Rust => "Rust",
            Flavour::Unknown => "neither the C nor the Rust one",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_flavour_is_detected_from_strings_in_the_program() {
        let of = |program: &str| Flavour::of_program(|sign| program.contains(sign));
        assert_eq!(of("..fuse: unknown option(s): `.."), Flavour::C);
        assert_eq!(of("..--shared-dir.."), Flavour::Rust);
        assert_eq!(of("#!/bin/sh\nexec real \"$@\"\n"), Flavour::Unknown);
    }

    #[test]
    fn the_c_daemons_words_about_an_argument_are_separated_from_others() {
        let unknown = "fuse: unknown option(s): ` | --cache=auto'";
        assert_eq!(refused_argument(unknown), Some(unknown));
        assert_eq!(refused_argument(&format!("exit code 1: a line | {unknown}")), Some(unknown));
        assert!(refused_argument("fuse: invalid argument `/run/x'").is_some());
        assert_eq!(refused_argument("error: Found argument '--nonsense' which wasn't expected"), None);
    }

    #[test]
    fn the_daemon_flavour_is_detected_from_its_version_output() {
        for (output, expected) in [
            ("virtiofsd version 7.2.22 (Debian 1:7.2)\nusing FUSE kernel interface version 7.36\n", Flavour::C),
            ("using FUSE kernel interface version 7.31\n", Flavour::C),
            ("virtiofsd 1.13.2\n", Flavour::Rust),
            ("virtiofsd backend 1.1.0\n", Flavour::Rust),
            ("virtiofsd version 9.0\n", Flavour::Unknown),
            ("wrapper 3\n", Flavour::Unknown),
            ("", Flavour::Unknown),
        ] {
            assert_eq!(Flavour::of_version(output), expected, "{output}");
        }
    }
}
