//! Everything that a cell's tests need, made before they run: image, kernel, initramfs, and what is claimed of them.

use crate::cell::{Cell, ask, error_chain};
use crate::line::Line;
use crate::run::Shared;
use agent::protocol::{Bytes, CHUNK, EnvironmentReply, EnvironmentRequest};
use images::{ExtraFile, Image, Origin, container, initramfs, kernel, modules};
use kata_osinfo::profile::Profile;
use kata_osinfo::verified::Basis;
use reports::journal::Facts;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use suites::environment::{Claims, ModuleSet};

/// The agent: a static binary, built with the harness.
pub const AGENT: &[u8] = include_bytes!(env!("KATA_QUALIFY_AGENT"));
/// Where the initramfs lies in an environment.
const INITRAMFS: &str = "/kata-qualify/initramfs";

/// A cell, ready to be started.
pub struct Prepared {
    /// The image.
    pub image: Image,
    /// Its name for Docker.
    pub docker_image: String,
    /// What is known of it.
    pub claims: Claims,
    /// The guests' initramfs, until it has been sent.
    pub initramfs: Vec<u8>,
    /// pjdfstest, where it was built.
    pub pjdfstest: Option<&'static [u8]>,
}

/// Prepares image and initramfs; the error says what failed and what to do.
pub async fn prepare(shared: &Shared, cell: &Cell) -> Result<Prepared, String> {
    let (release, options, line) = (cell.release.clone(), shared.images.clone(), cell.line.clone());
    let profiles = cell.profiles.clone();
    let blocking = tokio::task::spawn_blocking(move || {
        let image = images::prepare(&release, &options, &move |progress: images::Progress| match progress.detail {
            None => line.doing(&format!("image: {}", progress.phase.name())),
            Some(detail) => line.detail(&format!("image: {}: {detail}", progress.phase.name())),
        })
        .map_err(|e| error_chain(&e))?;
        let (claims, initramfs) = boot_files(&image, &release, &profiles)?;
        Ok::<_, String>((image, claims, initramfs))
    });
    let (image, claims, initramfs) = blocking.await.map_err(|e| e.to_string())??;
    cell.line.doing("importing the image into Docker");
    let docker_image = container::ensure_imported(&shared.docker, &image).await.map_err(|e| error_chain(&e))?;
    Ok(Prepared { image, docker_image, claims, initramfs, pjdfstest: crate::pjdfstest::BINARY })
}

/// The guest's initramfs and what the tests compare with: the record's claims, versions, modules.
///
/// # Errors
/// When the tree has no kernel or the archive cannot be made; modules that the kernel lacks are data for a test.
pub fn boot_files(
    image: &Image,
    release: &kata_osinfo::release::Release,
    profiles: &[Profile],
) -> Result<(Claims, Vec<u8>), String> {
    let tree = image.rootfs();
    let kernel = kernel::find(&tree, release).map_err(|e| error_chain(&e))?;
    let wanted = wanted_modules(profiles);
    let mut sets = BTreeMap::new();
    for (used_for, names) in &wanted {
        let found = modules::resolve(&kernel.modules_dir, names).map_err(|e| error_chain(&e))?;
        let load = found.load_order.iter().map(|m| m.name.clone()).collect();
        sets.insert(used_for.clone(), ModuleSet { wanted: names.clone(), load, missing: found.missing });
    }
    let every: Vec<String> = wanted.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let all = modules::resolve(&kernel.modules_dir, &every).map_err(|e| error_chain(&e))?;
    let at_boot = sets.get("boot").map(|set| set.load.join("\n")).unwrap_or_default();
    let mut extra = vec![
        file("/modules/boot", 0o644, at_boot.into_bytes()),
        file("/etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/false\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_vec()),
        file("/etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n".to_vec()),
        file("/etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\n".to_vec()),
    ];
    extra.extend(crate::pjdfstest::BINARY.map(|bytes| file("/pjdfstest", 0o755, bytes.to_vec())));
    let initramfs = initramfs::build(AGENT, &all, &extra).map_err(|e| error_chain(&e))?;
    let within =
        |path: &Path| Path::new("/").join(path.strip_prefix(&tree).unwrap_or(path)).to_string_lossy().into_owned();
    let claims = Claims {
        release: release.clone(),
        versions: versions(image, &release.packages()),
        kernel: kernel.release.clone(),
        vmlinuz: within(&kernel.vmlinuz),
        initramfs: INITRAMFS.to_owned(),
        modules: sets,
        kata: None,
    };
    Ok((claims, initramfs))
}

/// By use, what any of the profiles asks for.
fn wanted_modules(profiles: &[Profile]) -> BTreeMap<String, Vec<String>> {
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for profile in profiles {
        let modules = &profile.modules;
        for (used_for, names) in [
            ("boot", &modules.boot),
            ("vsock", &modules.vsock),
            ("virtio-fs", &modules.virtio_fs),
            ("virtio-9p", &modules.virtio_9p),
            ("virtio-blk", &modules.virtio_blk),
            ("other", &modules.other),
        ] {
            let list = wanted.entry(used_for.to_owned()).or_default();
            for name in names {
                if !list.contains(name) {
                    list.push(name.clone());
                }
            }
        }
    }
    wanted
}

fn file(path: &str, mode: u32, bytes: Vec<u8>) -> ExtraFile {
    ExtraFile { path: path.to_owned(), mode, content: bytes }
}

/// The installed versions of these packages.
fn versions(image: &Image, packages: &[String]) -> BTreeMap<String, String> {
    let version = |name: &String| image.manifest.package(name).map(|p| (name.clone(), p.version.clone()));
    packages.iter().filter_map(version).collect()
}

/// Hands everything to the environment's agent.
///
/// The initramfs is not kept: it is the largest thing that the harness would hold while a cell runs.
pub async fn send(line: &Line, prepared: &mut Prepared) -> Result<(), String> {
    put(line, INITRAMFS, 0o644, &std::mem::take(&mut prepared.initramfs)).await?;
    if let Some(pjdfstest) = prepared.pjdfstest {
        put(line, agent::environment::PJDFSTEST, 0o755, pjdfstest).await?;
    }
    let request = EnvironmentRequest::SetUp { claims: Box::new(prepared.claims.clone()) };
    done(ask(line, request, 30).await)
}

async fn put(line: &Line, path: &str, mode: u32, bytes: &[u8]) -> Result<(), String> {
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let offset = (index * CHUNK) as u64;
        let request = EnvironmentRequest::PutFile { path: path.to_owned(), mode, offset, bytes: Bytes(chunk.to_vec()) };
        done(ask(line, request, 60).await)?;
    }
    Ok(())
}

fn done(reply: Result<EnvironmentReply, crate::line::LineError>) -> Result<(), String> {
    match reply {
        Ok(EnvironmentReply::Done) => Ok(()),
        Ok(other) => Err(format!("setting the environment up: {other:?}")),
        Err(e) => Err(e.to_string()),
    }
}

/// The evidence of a cell: versions and where they came from, and what the environment provides.
pub fn facts(prepared: &Prepared, environment: &BTreeMap<String, String>) -> Facts {
    let image = &prepared.image;
    let packages = prepared.claims.release.packages();
    Facts {
        basis: Basis::Emulated,
        accelerator: "tcg".to_owned(),
        versions: versions(image, &packages),
        suites: image.manifest.origins.iter().map(|o| (o.package.clone(), o.suites.join(", "))).collect(),
        kernel: Some(prepared.claims.kernel.clone()),
        image: prepared.docker_image.clone(),
        image_made: Some(image.made),
        image_cached: image.origin != Origin::Built,
        image_options: image
            .manifest
            .accepted_expired
            .iter()
            .map(|s| format!("accepted the expired Release of {s}"))
            .collect(),
        environment: environment.clone(),
        notes: Vec::new(),
    }
}
