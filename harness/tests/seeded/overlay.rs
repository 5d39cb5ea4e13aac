//! Overlays that break a release.

use super::corpus::{Means, Program};
use model::arch::Arch;
use model::database::Database;
use model::release::Release;
use model::share::Share;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

/// A release whose image is in the cache.
pub(crate) struct Subject {
    release: Release,
    tree: PathBuf,
}

impl Subject {
    /// Returns a release, e.g. `debian:13`; a minimal run makes its image.
    pub(crate) fn new(name: &str) -> Subject {
        static KNOWN: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
        let (distro, version) = name.split_once(':').unwrap();
        let release = Database::embedded().record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        let mut known = model::sync::locked(&KNOWN);
        let tree = known.entry(name.to_owned()).or_insert_with(|| tree(name, &release)).clone();
        Subject { release, tree }
    }

    /// Returns a program's path relative to `/`.
    fn path(&self, program: Program) -> String {
        let path = match program {
            Program::Qemu => self.release.qemu().map(|vmm| vmm.path.to_string()),
            Program::Virtiofsd => {
                self.release.filesystem(Share::VirtioFs).and_then(|fs| Some(fs.path.as_ref()?.to_string()))
            }
            Program::PackageQuery => Some("/usr/bin/dpkg-query".to_owned()),
        };
        path.unwrap().trim_start_matches('/').to_owned()
    }

    /// Returns the first file or directory of the tree that matches a path relative to `/`, one part of which may have
    /// a `*`.
    fn find_path(&self, pattern: &str) -> String {
        let parts: Vec<&str> = pattern.split('/').collect();
        let Some(at) = parts.iter().position(|part| part.contains('*')) else {
            let exists = self.tree.join(pattern).symlink_metadata().is_ok();
            assert!(exists, "{} has no {pattern}: nothing is broken", self.release.name());
            return pattern.to_owned();
        };
        let (before, after) = parts[at].split_once('*').unwrap();
        let folder = self.tree.join(parts[..at].join("/"));
        let names = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut matching: Vec<String> = names
            .filter(|name| name.starts_with(before) && name.ends_with(after))
            .map(|name| [&parts[..at], &[name.as_str()], &parts[at + 1..]].concat().join("/"))
            .filter(|path| self.tree.join(path).exists())
            .collect();
        matching.sort();
        matching.into_iter().next().unwrap_or_else(|| panic!("{} has no {pattern}", self.release.name()))
    }
}

/// Returns the tree of a release's unmodified image.
fn tree(name: &str, release: &Release) -> PathBuf {
    let dir = tempfile::tempdir().unwrap();
    let mut run = crate::command::kata_qualify(dir.path());
    let minimal_options = ["--profile", "go-3.29", "--test", "packages_are_installed", "--out", "out"];
    let output = crate::command::run_to_end(run.args(["run", name]).args(minimal_options));
    let images = images::cache::list(&crate::command::cache());
    let is_image_of_release = |image: &images::Image| {
        let manifest = &image.manifest;
        let plain = manifest.distro == release.distro && manifest.version == release.version;
        plain && manifest.derived_from.is_none() && image.rootfs().join("usr/bin").is_dir()
    };
    let newest = images.into_iter().filter(is_image_of_release).max_by_key(|image| image.made);
    newest.unwrap_or_else(|| panic!("no image of {name}: {}", output.stderr)).rootfs()
}

/// A directory that is laid over a release.
pub(crate) struct Overlay {
    folder: TempDir,
    /// Packages to install before the overlay is applied.
    packages: Vec<&'static str>,
}

impl Overlay {
    fn new() -> Overlay {
        Overlay { folder: tempfile::tempdir().unwrap(), packages: Vec::new() }
    }

    /// Returns the overlay that breaks the release, if the means changes its tree.
    pub(crate) fn of(means: &Means, subject: &Subject) -> Option<Overlay> {
        let mut overlay = Overlay::new();
        match means {
            Means::Hidden { name } => overlay.wrap(subject, Program::Qemu, &hiding_script(name)),
            Means::Script { program, run } => overlay.wrap(subject, *program, run),
            Means::Arguments { program, each } => overlay.wrap(subject, *program, &arguments_script(each)),
            Means::Parameter { text } => {
                // Every profile has `panic=1` in the kernel's parameters, and nowhere else.
                let each = format!("case $a in *panic=1*) a=\"$a {text}\";; esac");
                overlay.wrap(subject, Program::Qemu, &arguments_script(&each));
            }
            Means::Signal { program, signal, seconds } => {
                overlay.wrap(subject, *program, &signal_script(*program, signal, *seconds));
            }
            Means::Calls { inject } => {
                overlay.wrap(subject, Program::Virtiofsd, &system_call_script(inject));
                overlay.packages.push("strace");
            }
            Means::Preloaded { program, functions } => {
                let library = "usr/lib/kata-qualify-lies.so";
                overlay.write(library, &super::library(functions), 0o755);
                overlay.wrap(subject, *program, &format!("export LD_PRELOAD=/{library}"));
            }
            Means::Bytes { program, from, to } => {
                let path = subject.path(*program);
                let bytes = std::fs::read(subject.tree.join(&path)).unwrap();
                overlay.write(&path, &replace_bytes(bytes, from.as_bytes(), to.as_bytes()), 0o755);
            }
            Means::Replaced { path, text } => {
                let path = if path.contains('*') { subject.find_path(path) } else { path.clone() };
                overlay.write(&path, text.as_bytes(), 0o755);
            }
            Means::Removed { path } => overlay.whiteout(&subject.find_path(path)),
            Means::Module { name } => {
                let modules = modules(subject, name);
                assert!(!modules.is_empty(), "{} has no module {name}: it is built in", subject.release.name());
                for module in modules {
                    overlay.whiteout(&module);
                }
            }
            Means::Edited { path, from, to } => {
                let path = subject.find_path(path);
                let text = std::fs::read_to_string(subject.tree.join(&path)).unwrap();
                assert!(text.contains(from.as_str()), "{path} has no {from:?}: nothing is broken");
                overlay.write(&path, text.replace(from.as_str(), to).as_bytes(), 0o644);
            }
            Means::Bundle { .. }
            | Means::Process { .. }
            | Means::Containerd { .. }
            | Means::AddedComponent { .. }
            | Means::Lent { .. }
            | Means::NoMirror
            | Means::Mirror { .. }
            | Means::SmallDisk
            | Means::During { .. }
            | Means::Clock { .. } => return None,
        }
        Some(overlay)
    }

    /// Returns the options of `kata-qualify run` that apply the overlay.
    pub(crate) fn options(&self) -> Vec<String> {
        let overlay = ["--overlay".to_owned(), self.folder.path().to_str().unwrap().to_owned()];
        let packages = self.packages.iter().flat_map(|package| ["--install".to_owned(), (*package).to_owned()]);
        overlay.into_iter().chain(packages).collect()
    }

    /// Puts a script in the program's place, and the program in the same directory.
    fn wrap(&self, subject: &Subject, program: Program, script: &str) {
        let path = subject.path(program);
        let real = format!("{path}.real");
        std::fs::copy(subject.tree.join(&path), self.prepare_path(&real)).unwrap();
        let text = format!("#!/bin/bash\nreal=/{real}\n{script}\nexec \"$real\" \"$@\"\n");
        self.write(&path, text.as_bytes(), 0o755);
    }

    fn whiteout(&self, path: &str) {
        let (folder, name) = path.rsplit_once('/').unwrap();
        self.write(&format!("{folder}/.wh.{name}"), b"", 0o644);
    }

    fn write(&self, path: &str, content: &[u8], mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.prepare_path(path);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn prepare_path(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

/// Returns a script that makes QEMU behave as if it had been built without this device or option.
fn hiding_script(name: &str) -> String {
    format!(
        r#"for a in "$@"; do
    case $a in
    help)
        "$real" "$@" >/tmp/qemu-help.$$ || exit
        grep -v -w -e '{name}' /tmp/qemu-help.$$
        exec rm /tmp/qemu-help.$$
        ;;
    {name}*|driver={name}*)
        a=${{a#driver=}}
        echo "$0: $a: '${{a%%,*}}' is not a valid device model name" >&2
        exit 1
        ;;
    esac
done"#
    )
}

/// Returns a script that runs `each` for each argument.
fn arguments_script(each: &str) -> String {
    format!(
        "new=()\n\
         drop() {{ a=; keep=; }}\n\
         drop_option() {{ drop; unset 'new[-1]'; }}\n\
         for a in \"$@\"; do\n    keep=yes\n    {each}\n    [ -z \"$keep\" ] || new+=(\"$a\")\ndone\n\
         set -- \"${{new[@]}}\""
    )
}

/// Returns a script that sends a signal later. The shell's `$$` is the program's process id after exec.
fn signal_script(program: Program, signal: &str, seconds: u32) -> String {
    let later = format!("(sleep {seconds}; kill -{signal} $$) </dev/null >/dev/null 2>&1 &");
    match program {
        Program::Qemu => format!("case \"$*\" in *-append*) {later} ;; esac"),
        Program::Virtiofsd | Program::PackageQuery => later,
    }
}

/// Returns a script that injects faults into system calls. strace replaces a call by a nonexistent one, for which
/// virtiofsd's own filter would kill it.
fn system_call_script(inject: &str) -> String {
    let names = inject.split(':').next().unwrap_or(inject);
    format!("exec strace -f -qq -o /dev/null -e 'trace={names}' -e 'inject={inject}' \"$real\" \"$@\" --seccomp none")
}

/// Replaces a word in a program's bytes.
pub(crate) fn replace_bytes(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "a program's words stay where they are");
    let last = bytes.len().saturating_sub(from.len());
    let places: Vec<usize> = (0..=last).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "the program has no {:?}: nothing is broken", String::from_utf8_lossy(from));
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

/// Returns the files of a module, for all kernels.
fn modules(subject: &Subject, name: &str) -> Vec<String> {
    let mut folders = vec![PathBuf::from("usr/lib/modules")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(subject.tree.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let below = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(below);
            } else if is_module(&below, name) {
                found.push(below.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Returns whether a path is a file of this module: `virtio-fs.ko.xz` for `virtio_fs`.
fn is_module(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap().to_string_lossy();
    file.split_once(".ko").is_some_and(|(stem, _)| stem.replace('-', "_") == name)
}
