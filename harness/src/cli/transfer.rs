//! `kata-qualify images`: copies cached images from one machine to another, one file each.

use crate::cli::arguments::{self, ImagesCommand};
use crate::cli::{Exit, UsageError, print, records, request, usage};
use crate::interrupt;
use crate::progress::tell;
use anyhow::Context as _;
use images::cache::transfer::{self, Imported};
use images::external_file::ExternalFile;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Runs the command.
pub(super) fn images(what: &ImagesCommand) -> anyhow::Result<Exit> {
    match what {
        ImagesCommand::Export { targets, out, records, cache } => {
            let cache = arguments::cache(cache.as_deref())?;
            export(targets, out.as_deref().unwrap_or(Path::new(".")), records.as_deref(), &cache)
        }
        ImagesCommand::Import { files, cache } => import(files, &arguments::cache(cache.as_deref())?),
    }
}

fn export(targets: &[String], out: &Path, records: Option<&Path>, cache: &Path) -> anyhow::Result<Exit> {
    let database = records::database(records)?;
    let arch = request::machine()?;
    let releases = request::named(targets, &database, arch)?;
    let mut chosen = Vec::new();
    for (target, _) in &releases {
        let images = transfer::of_release(cache, target);
        let Some(plain) = images.first() else {
            let why = format!(
                "{target}: no image in the cache {}; run `kata-qualify run` first to make one",
                cache.display()
            );
            return Err(UsageError(why).into());
        };
        tell(format_args!("{target}: {} images, made {}", images.len(), plain.made.strftime("%F")));
        chosen.extend(images);
    }
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    for image in chosen {
        let manifest = &image.manifest;
        let key = image.key().get(..12).unwrap_or(image.key());
        let name = format!("{}-{}-{}-{key}.tar.zst", manifest.distro, manifest.version, manifest.arch);
        let file = out.join(name);
        let sum = transfer::export(&image, &file)?;
        print(&format!("{}#{sum}\n", file.display()))?;
    }
    Ok(Exit::AsRecorded)
}

fn import(files: &[String], cache: &Path) -> anyhow::Result<Exit> {
    let parse = |text: &String| ExternalFile::parse(text).map_err(|e| usage(&e));
    let files = files.iter().map(parse).collect::<Result<Vec<ExternalFile>, UsageError>>()?;
    if let Some(file) = files.iter().find(|file| file.checksum.is_none() || file.is_address()) {
        let why = "expected a local file with the checksum that `images export` printed: FILE#sha256:HEX";
        return Err(UsageError(format!("{}: {why}", file.name())).into());
    }
    let interrupted = interrupt::flag(Exit::Interrupted as i32).context("listening for signals")?;
    for file in &files {
        let Imported { image, was_there } = match transfer::import(file, cache, &interrupted) {
            Err(_) if interrupted.load(Ordering::Relaxed) => {
                tell(format_args!("{}: interrupted, not imported", file.name()));
                return Ok(Exit::Interrupted);
            }
            imported => imported?,
        };
        let what = if was_there { "already in the cache" } else { "imported" };
        tell(format_args!("{}: {}, made {}: {what}", file.name(), image.release(), image.made.strftime("%F")));
    }
    Ok(Exit::AsRecorded)
}
