//! Conversion of the arguments of `kata-qualify run` into a valid request.

mod foreign;
mod noted;

pub(super) use foreign::{architecture, bases, cannot, lacks as lacks_for, machine};

use crate::cli::arguments::{ImageArguments, In, RunArguments, RunFormat, SourceArgument, budget, cache};
use crate::cli::components::components;
use crate::cli::{UsageError, usage, vouched};
use crate::environments::vm::Size;
use crate::environments::vm::cloud::CloudImage;
use crate::environments::vm::pinned::Pinned;
use crate::environments::{Keep, host};
use crate::progress::tell;
use crate::record_places::RecordPlaces;
use crate::run::RunRequest;
use crate::schedule::Attempts;
use crate::scope::RunScope;
use crate::sweep::locks_folder;
use anyhow::Context as _;
use images::ExtraPackage;
use images::base::BaseProvider;
use images::base::oci_image::OciImage;
use images::external_file::ExternalFile;
use model::arch::Arch;
use model::database::Database;
use model::diagnostic::error_chain;
use model::distro::Target;
use model::profile::Profile;
use model::record::ResolveError;
use model::release::Release;
use model::target;
use reports::journal::Environment;
use root::Root;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suites::capability::Capability;
use suites::catalogue;
use suites::environment::Effort;

/// Makes a valid request from the arguments.
///
/// # Errors
/// If the arguments are invalid, before anything runs.
pub(super) fn request(arguments: &RunArguments, database: &Database) -> anyhow::Result<RunRequest> {
    let environments = environments(&arguments.environments)?;
    let arch = architecture(arguments.arch, &arguments.images, &environments)?;
    let (releases, relative) = releases(arguments, &environments, database, arch)?;
    let profiles = profiles(&arguments.profiles)?;
    foreign::suits(arguments, &releases, &profiles)?;
    arguments.filters.iter().try_for_each(|filter| applies(filter, &profiles))?;
    let by_caller = vouched::caller_source(&arguments.images, arguments.records.as_deref(), &releases);
    if let Some(what) = by_caller.as_deref().filter(|_| arguments.write_back) {
        vouched::is_not_shipped(what, arguments.records.as_deref())?;
    }
    let (mut images, pinned) = images(&arguments.images, arguments.offline, &environments, &releases, database)?;
    bases(arch, &mut images);
    // A run with a component that was brought along is not a candidate: the evidence names the component, and only
    // Kata's own results are written back.
    let candidate = images.overlay.is_some() || !images.extra_packages.is_empty() || !images.updates.is_empty();
    if !images.updates.is_empty() && environments.contains(&Environment::Host) {
        let why = "--with-packages: --in host tests this machine as it is: use --in container or --in vm";
        return Err(UsageError(why.to_owned()).into());
    }
    if candidate && arguments.write_back {
        return Err(UsageError(
            "--write-back cannot be used with --install, --with-packages or --overlay: a record says what the distro \
             ships"
                .into(),
        )
        .into());
    }
    if !arguments.components.is_empty() && arguments.kata.is_empty() && arguments.write_back {
        return Err(UsageError(
            "--write-back can be used with --component only if --kata is given, too: a record says what the distro \
             ships, and a run with other components can only add results of Kata itself"
                .into(),
        )
        .into());
    }
    let cpus = std::thread::available_parallelism().map_or(2, usize::from).min(7);
    let memory_mib = arguments.vm_memory;
    let kata = kata(arguments, &environments)?;
    let (replacements, donations) = components(&arguments.components, database, arch)?;
    let locks = locks_folder(&images.cache);
    Ok(RunRequest {
        kata,
        replacements,
        donations,
        record_places: RecordPlaces::of(database, &releases),
        releases,
        environments,
        size: Size { memory_mib, cpus: u32::try_from(cpus).unwrap_or(1).min(4) },
        profiles,
        filters: arguments.filters.clone(),
        scope: RunScope::default(),
        out: out(arguments.out.as_deref())?,
        images,
        pinned,
        jobs: arguments.jobs.map_or(cpus, usize::from),
        attempts: Attempts { retries: arguments.retries, repeat: arguments.repeat },
        effort: Effort { seed: arguments.seed, thorough: arguments.thorough },
        keep: Keep::of(arguments.keep, arguments.keep_failed),
        visit: None,
        streams: arguments.format == RunFormat::Ndjson,
        options: noted::options(arguments),
        facts: noted::facts(arguments),
        candidate: candidate || relative,
        shaped: by_caller.is_some(),
        locks,
        budget: budget(arguments.cache_size)?,
    })
}

/// Returns the releases to qualify, and whether one stands in for a derivative that this machine runs.
fn releases(
    arguments: &RunArguments,
    environments: &[Environment],
    database: &Database,
    arch: Arch,
) -> anyhow::Result<(Vec<Release>, bool)> {
    let mut releases: Vec<Release> = Vec::new();
    // The results of a derivative are not evidence about the distro that it resembles.
    let mut relative = false;
    if environments.contains(&Environment::Host) {
        if !arguments.targets.is_empty() {
            return Err(
                UsageError("--in host takes no target: it tests the release that this machine runs".into()).into()
            );
        }
        let runs = host::release(&Root::default(), database, arch).map_err(|e| usage(&e))?;
        if let Some(relative) = &runs.relative {
            tell(format_args!("note: this machine runs {relative}; it is judged as {}", runs.release.name()));
            if arguments.write_back {
                return Err(UsageError(format!(
                    "--write-back: this machine runs {relative}, but the record of {} is about that distro only",
                    runs.release.distro
                ))
                .into());
            }
        }
        relative = runs.relative.is_some();
        releases.push(runs.release);
    } else if arguments.targets.is_empty() {
        return Err(UsageError("name what to qualify, for example debian:13".into()).into());
    }
    for (_, release) in named(&arguments.targets, database, arch)? {
        releases.push(release.map_err(|e| usage(&e))?);
    }
    Ok((releases, relative))
}

/// A named release, with the record's data for an architecture.
type Named = (Target, Result<Release, ResolveError>);

/// Returns the named releases, each once.
pub(super) fn named(targets: &[String], database: &Database, arch: Arch) -> Result<Vec<Named>, UsageError> {
    let mut all: Vec<Named> = Vec::new();
    for text in targets {
        for target in target::parse(text, database).map_err(|e| usage(&e))? {
            let record = database.record(&target.distro).map_err(|e| usage(&e))?;
            if !all.iter().any(|(other, _)| *other == target) {
                let release = record.release(&target.version, arch);
                all.push((target, release));
            }
        }
    }
    Ok(all)
}

/// Checks that a filter chooses a test that applies under the profiles.
fn applies(filter: &str, profiles: &[Profile]) -> Result<(), UsageError> {
    let chosen = |t: &&catalogue::Test| catalogue::chooses(filter, t);
    if !chooses_any_test(filter) {
        return Err(no_such_test(filter));
    }
    if !catalogue::tests().iter().filter(chosen).any(|t| profiles.iter().any(|p| t.applies_to(&p.name))) {
        let names: Vec<&str> = profiles.iter().map(|p| p.name.as_str()).collect();
        return Err(UsageError(format!("no test that matches `{filter}` applies to {}", names.join(", "))));
    }
    Ok(())
}

/// Returns the options for making images of the releases, and the QEMU that boots virtual machines.
pub(super) fn images(
    arguments: &ImageArguments,
    offline: bool,
    environments: &[Environment],
    releases: &[Release],
    database: &Database,
) -> anyhow::Result<(images::Options, Arc<Pinned>)> {
    let mut images = image_options(arguments)?;
    images.offline = offline;
    if images.mirror.is_some()
        && let Some(other) = releases.iter().find(|release| release.distro != releases[0].distro)
    {
        let (one, other) = (&releases[0].distro, &other.distro);
        let why = format!(
            "--mirror names the archive of one distro, but releases of {one} and {other} were given: use one run for \
             each distro"
        );
        return Err(UsageError(why).into());
    }
    let pinned = Arc::new(Pinned::new(images.clone(), releases));
    images.base = base(arguments, environments, releases, database, &pinned, &images)?;
    Ok((images, pinned))
}

/// Returns the options for making images, except for a base that is brought along.
fn image_options(arguments: &ImageArguments) -> anyhow::Result<images::Options> {
    let mut images = images::Options::new(cache(arguments.cache.as_deref())?);
    images.source = match arguments.source {
        SourceArgument::Auto => images::BaseSource::Auto,
        SourceArgument::Bootstrap => images::BaseSource::Bootstrap,
        SourceArgument::Oci => images::BaseSource::Oci,
    };
    for (option, value, mirror) in [
        ("--mirror", &arguments.mirror, &mut images.mirror),
        ("--security-mirror", &arguments.security_mirror, &mut images.security_mirror),
    ] {
        if let Some(url) = value {
            images::check_mirror(url).map_err(|why| UsageError(format!("{option}: {why}")))?;
        }
        mirror.clone_from(value);
    }
    if let Some(key) = arguments.mirror_keys.iter().find(|key| !key.is_file()) {
        return Err(UsageError(format!("--mirror-key {}: expected a file", key.display())).into());
    }
    images.keys.clone_from(&arguments.mirror_keys);
    images.accept_expired = arguments.accept_expired;
    images.extra_packages =
        arguments.install.iter().map(|p| p.parse::<ExtraPackage>().map_err(|e| usage(&e))).collect::<Result<_, _>>()?;
    let updates = images::upload::packages(&arguments.with_packages);
    images.updates = updates.map_err(|e| UsageError(format!("--with-packages: {}", error_chain(&e))))?;
    if images.updates.is_empty() && !arguments.with_packages.is_empty() {
        return Err(UsageError(
            "--with-packages: these files contain no package to test (debug symbols and sources are left out)".into(),
        )
        .into());
    }
    if let Some(overlay) = &arguments.overlay {
        if !overlay.is_dir() {
            return Err(UsageError(format!("--overlay {}: expected a folder", overlay.display())).into());
        }
        let absolute = std::path::absolute(overlay);
        images.overlay = Some(absolute.with_context(|| format!("--overlay {}", overlay.display()))?);
    }
    Ok(images)
}

/// Returns the base that is brought along, if any, checked as far as possible before anything runs.
fn base(
    arguments: &ImageArguments,
    environments: &[Environment],
    releases: &[Release],
    database: &Database,
    pinned: &Arc<Pinned>,
    images: &images::Options,
) -> Result<Option<Arc<dyn BaseProvider>>, UsageError> {
    let (option, text) = match (&arguments.cloud_image, &arguments.oci_image) {
        (Some(text), _) => ("--cloud-image", text),
        (None, Some(text)) => ("--oci-image", text),
        (None, None) => return Ok(None),
    };
    let failed = |why: String| UsageError(format!("{option}: {why}"));
    if environments.contains(&Environment::Host) {
        return Err(failed("--in host tests this machine as it is: use --in container or --in vm".to_owned()));
    }
    let [release] = releases else {
        let count = releases.len();
        return Err(failed(format!(
            "the image is for one release, but {count} were given: name one, for example debian:13"
        )));
    };
    let source = ExternalFile::parse(text).map_err(|e| failed(e.to_string()))?;
    let cancel = Arc::clone(&images.cancel);
    if arguments.oci_image.is_some() {
        let opened = OciImage::open(source, release, database, cancel);
        return Ok(Some(Arc::new(opened.map_err(|e| failed(error_chain(&e)))?)));
    }
    let opened = CloudImage::open(source, release, database, Arc::clone(pinned), cancel);
    Ok(Some(Arc::new(opened.map_err(|e| failed(error_chain(&e)))?)))
}

/// Returns the sources of Kata, checked as far as possible without opening them.
fn kata(arguments: &RunArguments, environments: &[Environment]) -> Result<Vec<ExternalFile>, UsageError> {
    let failed = |why: String| UsageError(format!("--kata: {why}"));
    if !arguments.kata.is_empty() && !environments.contains(&Environment::Vm) {
        return Err(failed("Kata runs only in virtual machines here: add --in vm".to_owned()));
    }
    let mut sources = Vec::new();
    for text in &arguments.kata {
        let source = ExternalFile::parse(text).map_err(|e| failed(e.to_string()))?;
        source.is_pinned().map_err(|e| failed(e.to_string()))?;
        if !source.is_address() && !Path::new(&source.place).exists() {
            return Err(failed(format!(
                "{} does not exist: expected a release archive, an unpacked one, or an https:// address",
                source.place
            )));
        }
        sources.push(source);
    }
    Ok(sources)
}

/// Returns the requested environments, each once; containers by default.
pub(super) fn environments(requested: &[In]) -> Result<Vec<Environment>, UsageError> {
    let mut all: Vec<Environment> = Vec::new();
    for environment in requested.iter().map(|place| Environment::from(*place)) {
        if !all.contains(&environment) {
            all.push(environment);
        }
    }
    if all.contains(&Environment::Host) && all.len() > 1 {
        return Err(UsageError("--in host cannot be combined with other environments".into()));
    }
    if all.is_empty() {
        all.push(Environment::Container);
    }
    Ok(all)
}

/// Returns the named profiles in their order; by default the maintained ones.
pub(super) fn profiles(names: &[String]) -> Result<Vec<Profile>, UsageError> {
    let all = Profile::all();
    if names.is_empty() {
        return Ok(all.iter().filter(|p| p.maintained).cloned().collect());
    }
    if names.iter().any(|n| n == "all") {
        return Ok(all.to_vec());
    }
    let mut chosen: Vec<Profile> = Vec::new();
    for name in names {
        let profile = Profile::find(name).map_err(|e| usage(&e))?;
        if !chosen.contains(profile) {
            chosen.push(profile.clone());
        }
    }
    Ok(chosen)
}

/// Checks whether a filter chooses any test.
pub(super) fn chooses_any_test(filter: &str) -> bool {
    catalogue::tests().iter().any(|test| catalogue::chooses(filter, test))
}

/// Returns the error that `filter` is in no test's id and names no capability, with the nearest of these names.
pub(super) fn no_such_test(filter: &str) -> UsageError {
    let distance = |name: &str| strsim::damerau_levenshtein(name, filter);
    let tests = catalogue::tests().iter().map(|t| (distance(&t.id).min(distance(t.name)), t.id.as_str()));
    let capabilities = Capability::ALL.iter().map(|c| (distance(c.name()), c.name()));
    let nearest = tests.chain(capabilities).min_by_key(|(distance, _)| *distance);
    let hint = nearest.map(|(_, name)| format!("; the nearest is {name}")).unwrap_or_default();
    UsageError(format!(
        "no test id contains `{filter}`, and no capability has that name{hint} (`kata-qualify list` shows all)"
    ))
}

/// Returns the output directory. A directory that is not empty is refused, because its journal belongs to another run,
/// unless that run was killed before it began.
fn out(option: Option<&Path>) -> Result<PathBuf, UsageError> {
    let dir = match option {
        Some(dir) => dir.to_owned(),
        None => {
            let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
            Path::new("kata-qualify-out").join(now)
        }
    };
    let failed = |e: std::io::Error| UsageError(format!("--out {}: {e}", dir.display()));
    if dir.exists() && !is_as_empty(&dir).map_err(failed)? {
        return Err(UsageError(format!("--out {}: expected an empty folder", dir.display())));
    }
    Ok(dir)
}

/// Checks whether a directory has nothing, or only a journal without a single event.
fn is_as_empty(dir: &Path) -> std::io::Result<bool> {
    let names = std::fs::read_dir(dir)?.take(2).map(|entry| entry.map(|entry| entry.file_name()));
    match &names.collect::<std::io::Result<Vec<_>>>()?[..] {
        [] => Ok(true),
        [name] if name == reports::journal::FILE => reports::journal::is_unbegun(&dir.join(name)),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Command};
    use clap::Parser as _;

    #[test]
    fn each_archive_has_its_own_mirror_and_options_omit_their_urls() {
        let dir = tempfile::tempdir().unwrap();
        let [cache, out] = ["cache", "out"].map(|name| dir.path().join(name).display().to_string());
        let (main, security) = ("http://a.example/debian", "http://b.example/debian-security");
        // Offline, so that this machine does not have to be able to make an image.
        let words = ["kata-qualify", "run", "debian:13", "--in", "container", "--offline", "--cache", &cache];
        let words = words.into_iter().chain(["--out", &out, "--mirror", main, "--security-mirror", security]);
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
        let request = request(&arguments, &Database::embedded()).unwrap();
        let mirrors = [request.images.mirror.as_deref(), request.images.security_mirror.as_deref()];
        assert_eq!(mirrors, [Some(main), Some(security)]);
        assert_eq!(request.options, ["--offline", "--mirror", "--security-mirror"]);
        let secret = images::addresses(&request.images);
        assert!([main, security].iter().all(|url| secret.iter().any(|known| known == url)), "{secret:?}");
    }

    #[test]
    fn a_mirror_for_two_distros_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().display().to_string();
        let words = ["kata-qualify", "run", "debian:13", "ubuntu:24.04", "--offline", "--cache", &cache];
        let words = words.into_iter().chain(["--mirror", "http://a.example/debian"]);
        let Command::Run(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
        let refused = request(&arguments, &Database::embedded()).err().unwrap().to_string();
        assert!(refused.starts_with("--mirror names the archive of one distro"), "{refused}");
    }
}
