//! Volumes of huge pages, as kubelet gives them to a container.

use super::files::parse_file;
use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::{Container, ContainerLimits, ContainerMount, ContainerRuntime, ContainerSandbox, Containers};
use crate::row::{Row, row};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = include_str!("huge_pages.rs");

/// The kernel's counter of reserved pages of 2 MiB, and the number of pages in the volume.
const RESERVED: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const PAGES: u64 = 4;
const PAGE: u64 = 2 << 20;

pub(super) static ROWS: &[Row] =
    &[row!(Containers(an_empty_dir_has_huge_pages), &[Capability::KataHugePages], Kernel).seconds(240)];

/// A volume of huge pages is a hugetlbfs in the container, provides as many pages as its limit says, and refuses one
/// more.
///
/// `emptyDir` with `medium: HugePages` is a hugetlbfs on the host in kubelet's directory of a pod's volumes. Kata
/// recognises it by its path and its filesystem, and the agent reserves pages of the guest and mounts a hugetlbfs of
/// the guest's there (`IsHugePageEmptyDir` in src/runtime/virtcontainers/mount.go@4.1.0,
/// src/runtime-rs/crates/resource/src/volume/hugepage.rs@4.1.0, `allocate_hugepages` in
/// src/agent/src/storage/ephemeral_handler.rs@4.1.0).
fn an_empty_dir_has_huge_pages(containers: &dyn Containers) -> Check {
    let is_kata = containers.runtime() == ContainerRuntime::Kata;
    let volume = Volume::mount(containers.folder()?, is_kata)?;
    let limits = ContainerLimits { huge_pages: Some(PAGES * PAGE), ..ContainerLimits::default() };
    let mount = ContainerMount::Bind { from: volume.folder.clone(), to: "/mnt/pages".to_owned(), read_only: false };
    let container = Container { limits, ..Container::new(&["stay"]).within(ContainerSandbox::Alone) }.with(mount);
    let task = containers.start(&container)?;
    let seen = parse_file(&task.exec(&["stat", "/mnt/pages"], &[])?)?;
    ensure!(seen.filesystem == "hugetlbfs", "a volume of huge pages is of {} in the container", seen.filesystem);
    if is_kata {
        let reserved = task.exec(&["read", RESERVED], &[])?;
        let expected = PAGES.to_string();
        ensure!(reserved.text() == expected, "{PAGES} huge pages were to be the guest's: {}", reserved.summary());
    }
    let allocated = task.exec(&["allocate", "/mnt/pages/all", &(PAGES * PAGE).to_string()], &[])?;
    ensure!(allocated.code == 0, "a volume of {PAGES} huge pages gives a file no {PAGES}: {}", allocated.summary());
    let more = task.exec(&["allocate", "/mnt/pages/more", &PAGE.to_string()], &[])?;
    ensure!(
        more.refusal().as_deref() == Some("ENOSPC"),
        "of {PAGES} huge pages one more was given: {}",
        more.summary()
    );
    Ok(())
}

/// A hugetlbfs of the host's that stands for a pod's volume. Dropping it unmounts it and restores the number of
/// reserved pages.
struct Volume {
    folder: PathBuf,
    /// The number of pages that were reserved before, if it was changed.
    before: Option<u64>,
}

impl Volume {
    /// Mounts a hugetlbfs below a directory. Under Kata no pages are reserved, because the host's pages stay unused.
    fn mount(below: PathBuf, is_kata: bool) -> Result<Volume, Stop> {
        let folder = below.join("volumes/kubernetes.io~empty-dir/pages");
        fs::create_dir_all(&folder).doing("making a volume's folder")?;
        let before = if is_kata { None } else { Some(reserve()?) };
        let volume = Volume { folder, before };
        if !is_kata && reserved()? < volume.before.unwrap_or(0) + PAGES {
            return Err(Stop::skip("the environment has no memory left for huge pages"));
        }
        let options = c"pagesize=2M,size=8M";
        mount("nodev", &volume.folder, "hugetlbfs", MountFlags::empty(), options)
            .map_err(|e| Stop::skip(format!("the environment mounts no hugetlbfs: {e}")))?;
        Ok(volume)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = unmount(&self.folder, UnmountFlags::DETACH);
        if let Some(before) = self.before {
            let _ = fs::write(RESERVED, before.to_string());
        }
    }
}

/// Reserves additional pages for the volume; returns how many were reserved before.
fn reserve() -> Result<u64, Stop> {
    // Without this controller runc refuses the limit, and the control would fail for a lack of the environment.
    let groups = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !groups.split_whitespace().any(|name| name == "hugetlb") && !Path::new("/sys/fs/cgroup/hugetlb").is_dir() {
        return Err(Stop::skip("the environment has no control group for huge pages"));
    }
    let before = reserved()?;
    fs::write(RESERVED, (before + PAGES).to_string())
        .map_err(|e| Stop::skip(format!("the environment lets nobody reserve huge pages: {e}")))?;
    Ok(before)
}

/// Returns the number of huge pages that the host has.
fn reserved() -> Result<u64, Stop> {
    let text = fs::read_to_string(RESERVED)
        .map_err(|e| Stop::skip(format!("the environment's kernel has no huge pages of 2 MiB: {e}")))?;
    text.trim().parse().map_err(|_| Stop::error(format!("{RESERVED} is {:?}", text.trim())))
}
