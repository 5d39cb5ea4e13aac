//! How a test's failure can be shown without this program: what the script of a bug report is made of.
//!
//! Which way a test has stands on its row, beside its body; what differs from failure to failure (the option that QEMU
//! refuses, the names that it does not list) the script takes from the failure.

use model::profile::Profile;
use serde_json::Value;

/// How a test's failure can be shown by a script.
#[derive(Debug, Clone, Copy)]
pub enum Reproducer {
    /// QEMU's own lists (`-device help`) lack what the failure names.
    QemuLists,
    /// QEMU refuses a property, or an argument that stands alone, which the failure quotes.
    QemuRefuses,
    /// virtiofsd refuses the profile's flags.
    DaemonRefuses,
    /// The kernel's configuration lacks the options that the failure names.
    KernelOptions,
    /// QEMU refuses, without a guest, to plug what the test plugs.
    Plugs(fn(&Profile) -> Plug),
    /// A guest of the distro's kernel and a busybox: what it is given and does.
    Guest(GuestCommands),
    /// The text of a C program of at most [`MOST_LINES`] lines, for the test's share.
    ///
    /// It takes a folder, and ends with 0 where the property holds there, with 1 where it does not, and else with 2.
    SystemCalls(&'static str),
}

/// Lines of a C program that a stranger still reads.
pub const MOST_LINES: usize = 60;

impl Reproducer {
    /// The kind, for people.
    pub fn kind(self) -> &'static str {
        match self {
            Reproducer::QemuLists
            | Reproducer::QemuRefuses
            | Reproducer::DaemonRefuses
            | Reproducer::KernelOptions
            | Reproducer::Plugs(_) => "command line",
            Reproducer::Guest(_) => "guest boot",
            Reproducer::SystemCalls(_) => "system calls",
        }
    }

    /// What such a script does, in a sentence.
    pub fn does(self) -> &'static str {
        match self {
            Reproducer::QemuLists
            | Reproducer::QemuRefuses
            | Reproducer::DaemonRefuses
            | Reproducer::KernelOptions
            | Reproducer::Plugs(_) => "It boots nothing.",
            Reproducer::Guest(_) => "It boots the release's own kernel with a busybox as its initrd.",
            Reproducer::SystemCalls(_) => {
                "It compiles a C program, and runs it natively, in the memory of a guest with the release's own kernel, and \
                 on the guest's share."
            }
        }
    }
}

/// A device that is plugged into a QEMU whose guest does not run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plug {
    /// QEMU's arguments for what the device is plugged into and what is behind it.
    pub arguments: Vec<String>,
    /// The arguments of `device_add`, as Kata writes them.
    pub device: Value,
    /// The same with switches and numbers as JSON has them: the control, where that differs.
    pub typed: Value,
    /// What it takes the place of, where Kata plugs something else there: in words.
    pub instead: Option<&'static str>,
}

/// What a guest is given and does.
#[derive(Debug, Clone, Copy)]
pub struct GuestCommands {
    /// QEMU's arguments besides machine, kernel and console.
    pub arguments: &'static [&'static str],
    /// The modules that are loaded first, with all that they need.
    pub modules: &'static [&'static str],
    /// What busybox's shell is given; it ends with 0 where the property holds.
    pub commands: &'static str,
    /// Whether a guest that does not come up shows the failure; else nothing can be told then.
    pub is_about_booting: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::{Command, Output};

    /// The programs of the catalogue, by their tests' names.
    fn programs() -> BTreeMap<&'static str, &'static str> {
        let of = |test: &'static catalogue::Test| match test.reproducer {
            Some(Reproducer::SystemCalls(text)) => Some((test.name, text)),
            _ => None,
        };
        catalogue::tests().iter().filter_map(of).collect()
    }

    fn run(command: &mut Command) -> Output {
        command.env("LC_ALL", "C").output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// Compiles a program, as a script does it but with every warning an error.
    fn compile(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let (source, program) = (folder.join(format!("{name}.c")), folder.join(name));
        std::fs::write(&source, text).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(&source);
        let said = run(&mut compiler);
        assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
        program
    }

    #[test]
    fn programs_are_short_and_say_what_they_are() {
        let programs = programs();
        assert!(programs.len() >= 4, "{:?}", programs.keys());
        for (name, text) in programs {
            assert!(text.lines().count() <= MOST_LINES, "{name}: {} lines", text.lines().count());
            assert!(text.starts_with("/* ") && text.contains("Ends with 0 if that holds there"), "{name}");
        }
    }

    #[test]
    #[cfg_attr(lacks = "c-compiler", ignore = "needs cc")]
    #[cfg_attr(lacks = "nodes", ignore = "needs root that may make device nodes")]
    fn programs_pass_natively() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in programs() {
            let (program, folder) = (compile(dir.path(), name, text), dir.path().join("folder"));
            std::fs::create_dir(&folder).unwrap();
            let said = run(Command::new(&program).arg(&folder));
            assert_eq!(said.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&said.stdout));
            assert_eq!(run(Command::new(&program).arg("/nowhere")).status.code(), Some(2), "{name}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// A filesystem that lies is told from one that does not.
    #[test]
    #[cfg_attr(lacks = "c-compiler", ignore = "needs cc")]
    #[cfg_attr(lacks = "strace", ignore = "needs strace")]
    #[cfg_attr(lacks = "nodes", ignore = "needs root that may make device nodes")]
    fn programs_fail_where_the_filesystem_does() {
        let dir = tempfile::tempdir().unwrap();
        let programs = programs();
        let lies = [
            ("fifos_pass_bytes", "mknod,mknodat:error=ENXIO", "making a fifo: No such device or address"),
            ("device_nodes_keep_their_numbers", "mknod,mknodat:error=ENXIO", "mknod null: No such device or address"),
            ("unlinked_but_open_files_stay_usable", "ftruncate:retval=0", "truncated to 6 bytes, it has 16"),
            ("times_keep_nanoseconds", "utimensat:retval=0", "mtime: expected 1600000000.123456789, saw "),
        ];
        assert_eq!(programs.len(), lies.len(), "each has a lie that it finds");
        for (name, lie, expected) in lies {
            let (program, folder) = (compile(dir.path(), name, programs[name]), dir.path().join("folder"));
            std::fs::create_dir(&folder).unwrap();
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={lie}")]).arg(&program).arg(&folder);
            let said = run(&mut strace);
            let text = String::from_utf8_lossy(&said.stdout);
            assert!(said.status.code() == Some(1) && text.contains(expected), "{name}: {text}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// The device without a guest is the one of the test, and the control differs only where Kata writes text.
    #[test]
    fn what_is_plugged_alone_has_a_place_to_go() {
        let plugs = catalogue::tests().iter().filter_map(|test| match test.reproducer {
            Some(Reproducer::Plugs(plug)) => Some(plug),
            _ => None,
        });
        let plugs: Vec<fn(&Profile) -> Plug> = plugs.collect();
        assert_eq!(plugs.len(), 4);
        for profile in Profile::all() {
            for plug in &plugs {
                let Plug { arguments, device, typed, .. } = plug(profile);
                let bus = device["bus"].as_str().unwrap().split('.').next().unwrap();
                assert!(arguments.iter().any(|word| word.contains(&format!("id={bus}"))), "{bus}: {arguments:?}");
                let has_text = device.to_string().contains("\"on\"") || device.to_string().contains("\"off\"");
                assert!(device != typed || !has_text, "{}: {device}", profile.name);
            }
        }
    }
}
