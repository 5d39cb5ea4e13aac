//! Prerequisites of containerd's other snapshotters, and their configuration: a pool of thin volumes, a file to copy, a
//! kernel with EROFS.
//!
//! Each has an instance of containerd of its own, because some versions fail all requests that list snapshotters if one
//! of them lacks a prerequisite.

use super::settings::Settings;
use operator::process::{Invocation, ProcessError, ProcessOutput};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::check::{Check, Stop};
use suites::containers::Snapshotter;
use suites::loop_device::LoopDevice;
use suites::outcome::Component;

/// Time limit of a program that makes something for a snapshotter.
const TOOL: Duration = Duration::from_secs(60);
/// Sizes of the pool's data and metadata, in bytes of sparse files.
const POOL: u64 = 512 << 20;
const METADATA: u64 = 16 << 20;
/// Size of the file that is copied for each root filesystem, in bytes: a root filesystem has only the probe.
const SCRATCH: u64 = 96 << 20;
/// Size of a thin volume, in containerd's format.
const VOLUME: &str = "128MB";
/// Size of a sector in device mapper, in bytes.
const SECTOR: u64 = 512;

/// Prerequisites of a snapshotter, removed when this value is dropped.
pub(super) struct Prepared {
    /// Name of the snapshotter.
    pub(super) name: &'static str,
    /// Section of containerd's configuration.
    pub(super) section: String,
    /// Kept for as long as containerd runs.
    _pool: Option<Pool>,
}

/// Returns containerd's name of the plugin.
pub(super) fn plugin(name: &str) -> String {
    format!("io.containerd.snapshotter.v1.{name}")
}

/// Makes the prerequisites of a snapshotter, in a directory of the instance of that name.
///
/// # Errors
/// A skip if containerd has no such snapshotter, or the environment lacks a program; a failure that blames the kernel
/// if the kernel lacks a feature.
pub(super) fn prepare(
    snapshotter: Snapshotter,
    settings: &Settings,
    instance: &str,
    disk: &Path,
) -> Result<Prepared, Stop> {
    let name = snapshotter.name();
    is_known(settings, name)?;
    let folder = disk.join(name);
    fs::create_dir_all(&folder).map_err(|e| Stop::error(format!("making {}: {e}", folder.display())))?;
    let section = |lines: &str| format!("\n[plugins.{:?}]\n{lines}", plugin(name));
    let (section, pool) = match snapshotter {
        Snapshotter::Devmapper => {
            let pool = Pool::make(&folder, instance)?;
            let lines = format!("pool_name = {:?}\nbase_image_size = {VOLUME:?}\nasync_remove = false\n", pool.name);
            (section(&lines), Some(pool))
        }
        Snapshotter::Blockfile => {
            let file = scratch(&folder)?;
            (section(&format!("scratch_file = {:?}\nfs_type = \"ext4\"\n", file.to_string_lossy())), None)
        }
        Snapshotter::Erofs => {
            has_erofs()?;
            // The differs that unpack layers are tried in this order.
            let lines = "default = [\"erofs\", \"walking\"]\n";
            (format!("\n[plugins.\"io.containerd.service.v1.diff-service\"]\n{lines}"), None)
        }
    };
    Ok(Prepared { name, section, _pool: pool })
}

/// Skips if this containerd has no such snapshotter.
fn is_known(settings: &Settings, name: &str) -> Check {
    let shown = run(&settings.containerd.to_string_lossy(), &["config", "default"])?;
    // A containerd that fails here reports the reason when it is started.
    if !shown.is_ok() || shown.stdout.contains(&plugin(name)) {
        return Ok(());
    }
    let since = "devmapper since 1.3, blockfile since 1.7, erofs since 2.1";
    Err(Stop::skip(format!("the release's containerd has no {name} snapshotter (upstream has {since})")))
}

/// Returns whether the plugin is loaded, from the output of `ctr plugins list`: each line has type, id, platforms and
/// status.
pub(super) fn is_loaded(listed: &str, name: &str) -> bool {
    let mut rows = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.any(|row| {
        row.first() == Some(&"io.containerd.snapshotter.v1") && row.get(1) == Some(&name) && row.last() == Some(&"ok")
    })
}

/// A device mapper pool for thin volumes, in two files.
struct Pool {
    instance: String,
    name: String,
    _disks: [LoopDevice; 2],
}

impl Pool {
    fn make(folder: &Path, instance: &str) -> Result<Pool, Stop> {
        // A failure does not matter if the module is built in or already loaded.
        for module in ["dm-mod", "dm-thin-pool"] {
            let _ = run("modprobe", &[module]);
        }
        // Without device mapper, dmsetup would make a node in `/dev` without a device.
        if !fs::read_to_string("/proc/misc").unwrap_or_default().contains("device-mapper") {
            return Err(lacking("device mapper"));
        }
        let targets = needed("dmsetup", &["targets"], "dmsetup")?;
        if !targets.stdout.lines().any(|line| line.starts_with("thin-pool")) {
            return Err(lacking(&format!("target thin-pool of device mapper ({})", targets.last_words())));
        }
        let attached = |name: &str, size: u64| {
            let file = sparse(&folder.join(name), size)
                .map_err(|e| Stop::error(format!("making a file for a pool of thin volumes: {e}")))?;
            LoopDevice::of_host(&file)
        };
        let disks = [attached("metadata", METADATA)?, attached("data", POOL)?];
        let name = pool_of(instance);
        // Blocks of 64 KiB, and a warning when 16 MiB are left.
        let table = format!(
            "0 {} thin-pool {} {} 128 256 1 skip_block_zeroing",
            POOL / SECTOR,
            disks[0].path.display(),
            disks[1].path.display()
        );
        // From here on dropping the pool removes it.
        let pool = Pool { instance: instance.to_owned(), name: name.clone(), _disks: disks };
        let made = needed("dmsetup", &["create", &name, "--table", &table], "dmsetup")?;
        if made.is_ok() {
            return Ok(pool);
        }
        Err(Stop::blame(Component::Kernel, format!("making a pool of thin volumes: {}", made.last_words())))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        remove_volumes(&self.instance);
    }
}

fn pool_of(instance: &str) -> String {
    format!("{instance}-pool")
}

/// Removes the volumes of an instance's pool, and the pool, if they exist.
pub(super) fn remove_volumes(instance: &str) {
    if !Path::new("/dev/mapper/control").exists() {
        return;
    }
    let listed = run("dmsetup", &["ls"]).map(|listed| listed.stdout).unwrap_or_default();
    for name in volumes(&listed, &pool_of(instance)) {
        let _ = run("dmsetup", &["remove", "--retry", name]);
    }
}

/// Returns a pool and its volumes from the output of `dmsetup ls`, with a name first in each line; the pool comes last,
/// because a pool in use cannot be removed.
fn volumes<'a>(listed: &'a str, pool: &str) -> Vec<&'a str> {
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let is_of_it = |name: &&str| name.strip_prefix(pool).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let mut names: Vec<&str> = names.filter(is_of_it).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names
}

/// Makes a file with an empty ext4, for containerd to copy.
fn scratch(folder: &Path) -> Result<PathBuf, Stop> {
    let failed = |e: String| Stop::error(format!("making a filesystem to copy: {e}"));
    let path = folder.join("scratch");
    let file = sparse(&path, SCRATCH).map_err(|e| failed(e.to_string()))?;
    let shown = path.to_string_lossy();
    let made = needed("mke2fs", &["-q", "-F", "-t", "ext4", &shown], "e2fsprogs")?;
    if !made.is_ok() {
        return Err(failed(made.last_words()));
    }
    // containerd mounts the file by a loop device, and its message for a kernel without them blames no component.
    LoopDevice::of_host(&file)?;
    Ok(path)
}

/// Checks that layers can be made and mounted.
fn has_erofs() -> Check {
    needed("mkfs.erofs", &["--version"], "erofs-utils")?;
    let _ = run("modprobe", &["erofs"]);
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.trim() == "erofs") { Ok(()) } else { Err(lacking("EROFS")) }
}

/// Returns the verdict on a missing feature of the kernel: if its modules are installed, it is the release's kernel,
/// and to blame.
fn lacking(what: &str) -> Stop {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if Path::new("/lib/modules").join(&release).is_dir() {
        return Stop::blame(Component::Kernel, format!("the kernel {release} has no {what}"));
    }
    Stop::skip(format!("the environment's kernel has no {what}, and its modules are not here"))
}

fn sparse(path: &Path, size: u64) -> io::Result<File> {
    let file = File::create_new(path)?;
    file.set_len(size)?;
    Ok(file)
}

/// Runs a program of a package that may be missing in the environment.
fn needed(program: &str, arguments: &[&str], package: &str) -> Result<ProcessOutput, Stop> {
    run(program, arguments).map_err(|stop| match stop {
        Stop::Skip { reason } => Stop::skip(format!("{reason}: install {package}")),
        other => other,
    })
}

/// Runs a program to its end; a missing program is a skip.
fn run(program: &str, arguments: &[&str]) -> Result<ProcessOutput, Stop> {
    Invocation::new(Path::new(program), arguments).run(TOOL, None).map_err(|e| match e {
        ProcessError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Stop::skip(format!("the environment has no {program}"))
        }
        other => Stop::error(format!("{program} {}: {other}", arguments.join(" "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshotter_is_loaded_only_if_its_row_is_ok() {
        let listed = "TYPE                            ID         PLATFORMS     STATUS\n\
                      io.containerd.snapshotter.v1    devmapper  linux/amd64   error\n\
                      io.containerd.snapshotter.v1    overlayfs  linux/amd64   ok\n\
                      io.containerd.differ.v1         erofs      linux/amd64   ok\n\
                      io.containerd.snapshotter.v1    blockfile  -             ok\n";
        assert!(is_loaded(listed, "overlayfs") && is_loaded(listed, "blockfile"));
        assert!(!is_loaded(listed, "devmapper") && !is_loaded(listed, "erofs") && !is_loaded("", "erofs"));
    }

    #[test]
    fn a_pools_volumes_are_listed_before_it_and_no_others() {
        let listed = "kq1x1-pool\t(253:0)\nkq1x1-pool-snap-2\t(253:1)\nkq1x10-pool\t(253:2)\nroot\t(253:3)\n";
        assert_eq!(volumes(listed, &pool_of("kq1x1")), ["kq1x1-pool-snap-2", "kq1x1-pool"]);
        assert!(volumes("No devices found\n", &pool_of("kq1x1")).is_empty());
    }

    #[test]
    fn a_missing_program_is_a_skip_that_names_its_package() {
        let Err(Stop::Skip { reason }) = needed("kata-qualify-no-such-program", &[], "its-package") else {
            panic!("no skip");
        };
        assert!(reason.ends_with("install its-package"), "{reason}");
    }
}
