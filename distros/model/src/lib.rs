//! Types and their YAML: the offers of each distro to Kata Containers, the demands of each Kata version, the verdicts.

// Vocabulary.
pub mod arch; // architectures by Kata's names
pub mod capability; // capabilities, the columns of the matrix: the one table of them
mod checked_text; // what all types of checked texts have in common
pub mod component; // what a failure blames: the parts of a distro, its record, Kata itself
pub mod distro; // ids of distros and versions of releases, validated on construction
pub mod environment; // where a release is brought up: container, virtual machine, host
pub mod kata_version; // versions of Kata, in their order
pub mod package; // names and versions of packages, validated on construction
pub mod package_manager; // package managers, and their distros' names of packages and architectures
pub mod share; // the ways a directory of the host reaches a guest
pub mod target; // targets on the command line: `debian:13`, `all`
pub mod test_id; // ids of tests, validated on construction
pub mod version_order; // order of two versions of a package, as its package manager compares them
pub mod virtiofsd; // the two daemons named virtiofsd, and how to tell them apart

// Offers of a distro, and verdicts on them.
pub mod database; // all known records, layer on layer
mod fact; // a value, its confidence, and its place in the file
pub mod known_issues; // known failures, each with a URL and an expiry date
pub mod record; // one distro's record, as stated in its YAML file
pub mod release; // one release on one architecture, with the record's defaults applied
mod source; // files that records are read from, and why they cannot be used
pub mod sources; // origins of a record's facts
pub mod verified; // results that runs proved: files that the harness writes

// Demands of Kata.
pub mod kernel; // options of Kata's own guest kernel, their purposes, and the comparison of a kernel with them
pub mod other_vmm; // VMMs besides QEMU: Kata's demands on them, and which of them the harness starts guests with
pub mod profile; // ranges of Kata versions, derived from a base and the changes by release
pub mod program_version; // a program's own version

// From YAML to values, with a place for each mistake.
mod decode; // from nodes to values, collecting every mistake
pub mod diagnostic; // one finding: its place and its rendering
pub mod fix; // lists whose dashes are missing, and the application of fixes
pub mod lint; // all errors and suspicious content of a file
#[cfg(feature = "schema")]
pub mod schema; // the JSON Schemas of the files
mod suggest; // suggestions for unknown names
pub mod syntax; // YAML as a tree that keeps every scalar's text and place

// Utilities for all crates.
pub mod foreign; // messages of foreign programs that decide something: one module for each program
pub mod hex; // hexadecimal text of bytes
pub mod procfs; // files of /proc: mounts, memory, limits, the processor
pub mod redact; // redaction for reports: no mirror, no password, no control character
pub use root::sha256; // SHA-256 digests of bytes and readers
pub mod shell; // quoting of words for a shell's command line
pub mod sync; // locks that survive a panic
pub mod words; // words of messages: numbers with nouns, lists, durations, sizes

// Tests only: checks that lists of variants are complete.
#[cfg(test)]
mod lists;
