//! An instance's files on disk: created before containerd starts, and removed with the rest of the instance.

use super::RUN;
use crate::containers::host;
use crate::containers::network;
use crate::containers::settings::Settings;
use crate::containers::snapshotters::{self, Prepared};
use crate::process;
use model::sha256;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use suites::loop_device;

/// Time limit for a shim's cleanup after a killed shim: the default is 5 s, too short for an emulated machine to stop a
/// sandbox.
const CLEAN_UP: &str = "90s";

/// Owner of an instance, stored next to its socket: the next agent removes the remains of a killed one.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    started: u64,
    name: String,
    disk: PathBuf,
}

/// Removes everything of an instance: processes, mounts, control groups, bridges, volumes, sockets, directories.
///
/// `ids` is the highest number that the instance has given to a container.
pub(in crate::containers) fn clean_up(name: &str, disk: &Path, ids: u64) {
    let run = Path::new(RUN).join(name);
    for number in 1..=ids {
        for letter in ['r', 'k'] {
            let _ = fs::remove_file(shims_socket(&run.join("sock"), name, &format!("{name}{letter}-{number}")));
        }
    }
    for id in [format!("{name}r-"), format!("{name}k-"), name.to_owned()] {
        host::remove(&id, &[]);
    }
    network::remove_bridges(name);
    snapshotters::remove_volumes(name);
    loop_device::free_below(disk);
    for folder in [&run, disk, &Path::new("/run/containerd/runc").join(name)] {
        let _ = fs::remove_dir_all(folder);
    }
    // Empty directories are the harness's; those of the machine's own containerd have content and stay.
    for folder in ["/run/containerd/runc", "/run/containerd/s", "/run/containerd", RUN, "/run/kata-qualify"] {
        let _ = fs::remove_dir(folder);
    }
}

/// Returns the path of a container's shim socket (`SocketAddress` in containerd's `runtime/v2/shim/util_unix.go`): a
/// Kata shim that refuses its first container leaves its socket behind.
fn shims_socket(address: &Path, namespace: &str, id: &str) -> PathBuf {
    let hashed = address.join(namespace).join(id);
    Path::new("/run/containerd/s").join(sha256::of_bytes(hashed.as_os_str().as_encoded_bytes()))
}

/// Removes the remains of killed agents.
pub(in crate::containers) fn sweep() {
    for entry in fs::read_dir(RUN).into_iter().flatten().flatten() {
        let text = fs::read(entry.path().join("owner")).unwrap_or_default();
        if let Ok(owner) = serde_json::from_slice::<Owner>(&text)
            && process::started(owner.pid) != Some(owner.started)
            && entry.file_name().to_str() == Some(&owner.name)
        {
            // The real number is unknown: this is more than the containers of a run.
            clean_up(&owner.name, &owner.disk, 1000);
        }
    }
}

/// Makes the directories, the links to Kata's shims, and containerd's configuration with this text.
pub(in crate::containers) fn lay_out(
    name: &str,
    settings: &Settings,
    run: &Path,
    disk: &Path,
    configuration: &str,
) -> io::Result<()> {
    for folder in [run.join("state"), run.join("fifo"), run.join("bin"), disk.join("root"), disk.join("containers")] {
        fs::create_dir_all(folder)?;
    }
    let pid = std::process::id();
    let started = process::started(pid).ok_or_else(|| io::Error::other("reading the own start time"))?;
    let owner = Owner { pid, started, name: name.to_owned(), disk: disk.to_owned() };
    fs::write(run.join("owner"), serde_json::to_vec(&owner)?)?;
    for (name, shim) in &settings.kata_shims {
        symlink(shim, run.join("bin").join(name))?;
    }
    fs::write(run.join("config.toml"), configuration)
}

/// Returns the configuration in version 2, which containerd 1.3 to 2.x read. Plugins that listen elsewhere or write
/// outside the instance's directories are off.
pub(in crate::containers) fn configuration(run: &Path, disk: &Path, prepared: Option<&Prepared>) -> String {
    const CRI: [&str; 3] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"];
    plugins_but_for(run, disk, &CRI, prepared) + prepared.map_or("", |prepared| prepared.section.as_str())
}

/// Returns the configuration with only the given plugins off in addition to the usual ones.
pub(in crate::containers) fn with_plugins(run: &Path, disk: &Path, without: &[&str]) -> String {
    plugins_but_for(run, disk, without, None)
}

fn plugins_but_for(run: &Path, disk: &Path, without: &[&str], prepared: Option<&Prepared>) -> String {
    const DISABLED: [&str; 6] = [
        "io.containerd.internal.v1.opt",
        "io.containerd.nri.v1.nri",
        // Without a filesystem of their own, these plugins make some versions fail all requests that list snapshotters.
        "io.containerd.snapshotter.v1.btrfs",
        "io.containerd.snapshotter.v1.zfs",
        "io.containerd.snapshotter.v1.devmapper",
        "io.containerd.snapshotter.v1.blockfile",
    ];
    let quoted = |path: PathBuf| format!("{:?}", path.to_string_lossy());
    let needed_plugin = prepared.map(|prepared| snapshotters::plugin(prepared.name));
    let disabled = without.iter().chain(&DISABLED).copied();
    let disabled: Vec<&str> = disabled.filter(|plugin| needed_plugin.as_deref() != Some(*plugin)).collect();
    format!(
        "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = {disabled:?}\n\n[grpc]\naddress = {}\n\n\
         [timeouts]\n\"io.containerd.timeout.shim.cleanup\" = \"{CLEAN_UP}\"\n",
        quoted(disk.join("root")),
        quoted(run.join("state")),
        quoted(run.join("sock")),
    )
}

/// Returns the search path of containerd, `ctr` and the shims for programs.
pub(in crate::containers) fn search_path(run: &Path, programs: &[PathBuf]) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = programs.to_vec();
    folders.push(run.join("bin"));
    folders.extend(std::env::split_paths(&inherited));
    // The agent's own PATH may be shorter than that of a login.
    folders.extend(std::env::split_paths(root::PATH));
    std::env::join_paths(folders).unwrap_or(inherited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_keeps_everything_in_its_folders() {
        let (run, disk) = (Path::new("/run/x"), Path::new("/disk/x"));
        for text in [configuration(run, disk, None), with_plugins(run, disk, &["io.containerd.grpc.v1.cri"])] {
            let paths: Vec<&str> = text.split('"').filter(|word| word.starts_with('/')).collect();
            assert_eq!(paths, ["/disk/x/root", "/run/x/state", "/run/x/sock"], "{text}");
        }
        let text = configuration(run, disk, None);
        assert!(text.starts_with("version = 2\nroot = \"/disk/x/root\"\nstate = \"/run/x/state\"\n"), "{text}");
        assert!(text.contains("address = \"/run/x/sock\""), "{text}");
        // Each of these plugins has a path or a socket of its own elsewhere.
        let disabled = text.lines().find(|line| line.starts_with("disabled_plugins = ")).unwrap();
        for plugin in ["grpc.v1.cri", "cri.v1.images", "cri.v1.runtime", "internal.v1.opt", "nri.v1.nri"] {
            assert!(disabled.contains(&format!("\"io.containerd.{plugin}\"")), "{plugin}: {disabled}");
        }
    }
}
