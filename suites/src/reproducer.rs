//! How a test's failure can be shown without this program: the source of a bug report's script.
//!
//! A test's row says which kind of script it has. The script takes from the failure everything that differs between
//! failures (the option that QEMU refuses, the names that QEMU does not list).

use model::profile::Profile;
use serde_json::Value;

/// How a test's failure can be shown by a script.
#[derive(Debug, Clone, Copy)]
pub enum Reproducer {
    /// QEMU's own lists (`-device help`) lack the names that the failure has.
    QemuLists,
    /// QEMU refuses a property, or an argument without properties, which the failure quotes.
    QemuRefuses,
    /// virtiofsd refuses the profile's flags.
    DaemonRefuses,
    /// The kernel's configuration lacks the options that the failure names.
    KernelOptions,
    /// QEMU refuses, without a guest, to plug the test's device.
    Plugs(fn(&Profile) -> Plug),
    /// A guest of the distro's kernel and a busybox, with these arguments and commands.
    Guest(GuestCommands),
    /// The text of a C program of at most [`MOST_LINES`] lines, for the test's share.
    ///
    /// The program takes a directory, and ends with 0 if the property holds there, with 1 if it does not, and else with
    /// 2.
    SystemCalls(&'static str),
}

/// The most lines of a C program that a stranger is willing to read.
pub const MOST_LINES: usize = 60;

impl Reproducer {
    /// Returns the kind, for people.
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

    /// Describes in a sentence what such a script does.
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

/// A device that is plugged into a QEMU whose guest is not running.
#[derive(Debug, Clone, PartialEq)]
pub struct Plug {
    /// QEMU's arguments for the bus and the back end of the device.
    pub arguments: Vec<String>,
    /// The arguments of `device_add`, as Kata writes them.
    pub device: Value,
    /// The arguments with switches and numbers as JSON types: the control, if they differ from Kata's.
    pub typed: Value,
    /// The device that this one stands in for, in words, if Kata plugs something else there.
    pub instead: Option<&'static str>,
}

/// The arguments and commands of a guest.
#[derive(Debug, Clone, Copy)]
pub struct GuestCommands {
    /// QEMU's arguments other than machine, kernel and console.
    pub arguments: &'static [&'static str],
    /// The modules to load first; their dependencies are loaded, too.
    pub modules: &'static [&'static str],
    /// The commands for busybox's shell, which ends with 0 if the property holds.
    pub commands: &'static str,
    /// Whether a guest that does not come up shows the failure; otherwise such a guest shows nothing.
    pub is_about_booting: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::{Command, Output};

    /// Returns the programs of the catalogue, by their tests' names.
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

    /// Compiles a program as a script does, but with every warning as an error.
    fn compile(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let (source, program) = (folder.join(format!("{name}.c")), folder.join(name));
        std::fs::write(&source, text).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(&source);
        let output = run(&mut compiler);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        program
    }

    #[test]
    fn programs_are_short_and_describe_themselves() {
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
            let output = run(Command::new(&program).arg(&folder));
            assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
            assert_eq!(run(Command::new(&program).arg("/nowhere")).status.code(), Some(2), "{name}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// Programs tell a filesystem that lies from one that does not.
    #[test]
    #[cfg_attr(lacks = "c-compiler", ignore = "needs cc")]
    #[cfg_attr(lacks = "strace", ignore = "needs strace")]
    #[cfg_attr(lacks = "nodes", ignore = "needs root that may make device nodes")]
    fn programs_fail_on_a_faulty_filesystem() {
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
            let output = run(&mut strace);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.code() == Some(1) && text.contains(expected), "{name}: {text}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// The device without a guest is the test's device, and the control differs only if Kata writes text.
    #[test]
    fn plug_reproducers_have_the_bus_of_their_device() {
        let plugs = catalogue::tests().iter().filter_map(|test| match test.reproducer {
            Some(Reproducer::Plugs(plug)) => Some(plug),
            _ => None,
        });
        let plugs: Vec<fn(&Profile) -> Plug> = plugs.collect();
        assert_eq!(plugs.len(), 4);
        let mut texts = 0;
        for profile in Profile::all() {
            for plug in &plugs {
                let Plug { arguments, device, typed, .. } = plug(profile);
                let bus = device["bus"].as_str().unwrap().split('.').next().unwrap();
                assert!(arguments.iter().any(|word| word.contains(&format!("id={bus}"))), "{bus}: {arguments:?}");
                let has_text = device.to_string().contains("\"on\"") || device.to_string().contains("\"off\"");
                assert!(device != typed || !has_text, "{}: {device}", profile.name);
                let mut strings = device.as_object().unwrap().values().filter_map(Value::as_str);
                let has_number = strings.any(|text| text.parse::<u64>().is_ok());
                assert!(device == typed || has_text || has_number, "{}: {device}", profile.name);
                texts += usize::from(has_text);
            }
        }
        assert!(texts > 0, "no profile writes a switch as text");
    }
}
