//! What each distro offers Kata Containers, what each Kata version demands, and what was verified: types and their YAML.

// The words.
pub mod arch; // architectures by Kata's names
pub mod capability; // capabilities, the columns of the matrix: the one table of them
pub mod component; // what a failure blames: the parts of a distro, its record, Kata itself
pub mod distro; // ids of distros and versions of releases, checked where they are made
pub mod environment; // where a release is brought up: container, virtual machine, host
pub mod kata_version; // versions of Kata, in their order
pub mod package; // names and versions of packages, checked where they are made
pub mod package_manager; // package managers, and what their distros call packages and architectures
pub mod share; // the ways a directory of the host reaches a guest
pub mod target; // what people name on the command line: `debian:13`, `all`
pub mod version_order; // which of two versions is the later one, as a package manager counts
pub mod virtiofsd; // the two daemons of that name, and how they are told apart

// What a distro offers, and what was verified of it.
pub mod database; // all records that are known, layer on layer
mod fact; // a value, how well it is known, and where it stands
pub mod known_issues; // failures that somebody knows of, each with its address and its end
pub mod record; // one distro's record, as its YAML file states it
pub mod release; // one release on one architecture, with the record's defaults applied
mod source; // files that records are read from, and why they cannot be used
pub mod sources; // where the facts of a record are from
pub mod verified; // what runs proved: files that the harness writes

// What a Kata demands.
pub mod kernel; // the options of Kata's own guest kernel, what they are for, and a kernel held against them
pub mod other_vmm; // VMMs besides QEMU: what Kata asks of them, and which of them guests are started by here
pub mod profile; // ranges of Kata versions, derived from a base and what changed at which release

// From YAML to values, with a place for each mistake.
mod decode; // from nodes to values, collecting every mistake
pub mod diagnostic; // one finding, its place, and how it is shown
pub mod fix; // lists whose dashes are missing, and how fixes are made
pub mod lint; // everything that is wrong with a file, or looks wrong
#[cfg(feature = "schema")]
pub mod schema; // the JSON Schemas of both kinds of files
mod suggest; // what somebody may have meant
pub mod syntax; // YAML as a tree that keeps every scalar's text and place

// What every crate needs.
pub mod hex; // bytes as people read digests
pub mod procfs; // what the kernel says in files of /proc: mounts, memory, limits, the processor
pub mod redact; // what may be told: no mirror, no password, no control character
pub mod shell; // words of a shell's command line
pub mod sync; // locks that survive a panic

// For tests alone: whether lists of all variants have all of them.
#[cfg(test)]
mod lists;
