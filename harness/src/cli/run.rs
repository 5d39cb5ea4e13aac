//! `kata-qualify run`: from arguments to a valid request, and from its journal to reports, record and exit code.

use crate::admin::Admins;
use crate::cli::arguments::{In, RunArguments, SourceArgument, budget, cache};
use crate::cli::{Exit, UsageError, report, runtime, shut_down};
use crate::kata::Component;
use crate::progress::{Progress, tell};
use crate::run::{CLEANING, Ended, Request};
use crate::vm::Size;
use crate::vm::cloud::CloudImage;
use crate::vm::outer::Pinned;
use crate::{container, run};
use anyhow::Context as _;
use images::ImageError;
use images::artifacts::ExternalFile;
use images::base::Base;
use kata_osinfo::arch::Arch;
use kata_osinfo::database::Database;
use kata_osinfo::diagnostic::error_chain;
use kata_osinfo::profile::Profile;
use kata_osinfo::release::Release;
use kata_osinfo::root::Root;
use kata_osinfo::{target, verified};
use reports::journal::Environment;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suites::catalogue;

/// Runs the command.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<Exit> {
    let database = database(arguments.records.as_deref())?;
    let request = request(arguments, &database)?;
    let records = arguments.write_back.then(|| records_folder(arguments.records.as_deref())).transpose()?;
    let progress = Progress::new();
    let (out, profiles) = (request.out.clone(), request.profiles.clone());
    let asked = !arguments.environments.is_empty();
    let runtime = runtime()?;
    let over = runtime.block_on(async {
        let mut request = request;
        let docker = docker(&mut request.environments, asked).await?;
        run::run(docker, request, progress.clone()).await
    });
    let left = over.as_ref().map_or(CLEANING, |(_, left)| *left);
    if !shut_down(runtime, left) {
        let seconds = CLEANING.as_secs();
        progress.say(&format!(
            "warning: cleaning up has not ended within {seconds} s and is given up: the next run removes what is left, \
             and so does `kata-qualify clean`"
        ));
    }
    let (ended, _) = over?;
    let matrix = report::write(&out, &profiles)?;
    report::print(&matrix, arguments.format)?;
    tell(format_args!("journal and reports: {}", out.display()));
    if let Some(folder) = records {
        write_back(&matrix, &database, &folder)?;
    }
    match ended {
        Ended::Finished => {}
        Ended::Interrupted => return Ok(Exit::Interrupted),
        Ended::Broken => return Ok(Exit::Infrastructure),
    }
    let recorded: Vec<(String, Vec<verified::VerifiedEntry>)> =
        database.records().map(|record| (record.distro.clone(), record.verified.clone())).collect();
    let summary = reports::compare::summary(&matrix, arguments.strict, |cell, profile| {
        let entries = recorded.iter().find(|(distro, _)| *distro == cell.cell.distro);
        entries.and_then(|(_, entries)| reports::compare::entry_of(entries, cell, profile))
    });
    Ok(match summary.exit_code() {
        0 => Exit::AsRecorded,
        1 => Exit::Worse,
        _ => Exit::Infrastructure,
    })
}

/// The Docker engine, if a container is to be brought up; where none answers and nobody asked for containers, virtual
/// machines take their place.
async fn docker(environments: &mut Vec<Environment>, asked: bool) -> anyhow::Result<Option<bollard::Docker>> {
    if !environments.contains(&Environment::Container) {
        return Ok(None);
    }
    match container::connect().await {
        Ok(docker) => Ok(Some(docker)),
        Err(e) if asked => Err(anyhow::anyhow!(
            "no Docker engine answers, and --in container needs one: {} (`--in vm` needs none; `kata-qualify doctor` says more)",
            error_chain(&e)
        )),
        Err(_) => {
            tell(format_args!("note: no Docker engine answers: releases are booted as virtual machines (--in vm)"));
            *environments = vec![Environment::Vm];
            Ok(None)
        }
    }
}

/// The shipped records, with those of `--records` on top.
pub(super) fn database(records: Option<&Path>) -> Result<Database, UsageError> {
    let folders: Vec<PathBuf> = records.map(Path::to_owned).into_iter().collect();
    let database = Database::load(&folders).map_err(usage)?;
    let problems: Vec<String> = database.problems().iter().map(|problem| problem.human(false)).collect();
    if !problems.is_empty() {
        return Err(UsageError(problems.join("\n\n")));
    }
    Ok(database)
}

fn request(arguments: &RunArguments, database: &Database) -> anyhow::Result<Request> {
    let arch =
        Arch::of_machine().ok_or_else(|| UsageError(format!("Kata does not support {}", std::env::consts::ARCH)))?;
    let environments = environments(&arguments.environments)?;
    let mut releases: Vec<Release> = Vec::new();
    // What a relative shows is never its distro's.
    let mut relative = false;
    if environments.contains(&Environment::Host) {
        if !arguments.targets.is_empty() {
            return Err(UsageError("--in host takes no target: it is what this machine runs".into()).into());
        }
        let runs = crate::host::release(&Root::default(), database, arch).map_err(UsageError)?;
        if let Some(relative) = &runs.relative {
            tell(format_args!("note: this machine runs {relative}, and is judged as {}", runs.release.name()));
            if arguments.write_back {
                return Err(UsageError(format!(
                    "--write-back: this machine runs {relative}, and the record of {} speaks of that distro alone",
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
    for text in &arguments.targets {
        for target in target::parse(text, database).map_err(usage)? {
            let record = database.record(&target.distro).map_err(usage)?;
            let release = record.release(&target.version, arch).map_err(usage)?;
            if !releases.contains(&release) {
                releases.push(release);
            }
        }
    }
    let profiles = profiles(&arguments.profiles)?;
    if let Some(filter) = &arguments.filter {
        let chosen = |t: &&catalogue::Test| t.id.contains(filter.as_str());
        if !catalogue::tests().iter().any(|t| chosen(&t)) {
            return Err(no_such_test(filter).into());
        }
        if !catalogue::tests().iter().filter(chosen).any(|t| profiles.iter().any(|p| t.applies_to(&p.name))) {
            let names: Vec<&str> = profiles.iter().map(|p| p.name.as_str()).collect();
            return Err(
                UsageError(format!("no test with `{filter}` in its name applies under {}", names.join(", "))).into()
            );
        }
    }
    let cache = cache(arguments.cache.as_deref())?;
    let mut images = images::Options::new(&cache);
    images.source = match arguments.source {
        SourceArgument::Auto => images::Source::Auto,
        SourceArgument::Bootstrap => images::Source::Bootstrap,
        SourceArgument::Oci => images::Source::Oci,
    };
    if let Some(mirror) = &arguments.mirror {
        images::check_mirror(mirror).map_err(|why| UsageError(format!("--mirror: {why}")))?;
    }
    images.mirror.clone_from(&arguments.mirror);
    images.offline = arguments.offline;
    images.accept_expired = arguments.accept_expired;
    images.extra_packages =
        arguments.install.iter().map(|p| p.parse().map_err(usage)).collect::<Result<_, UsageError>>()?;
    if let Some(overlay) = &arguments.overlay {
        if !overlay.is_dir() {
            return Err(UsageError(format!("--overlay {}: expected a folder", overlay.display())).into());
        }
        let absolute = std::path::absolute(overlay);
        images.overlay = Some(absolute.with_context(|| format!("--overlay {}", overlay.display()))?);
    }
    let candidate = images.overlay.is_some() || !images.extra_packages.is_empty() || !arguments.components.is_empty();
    if candidate && arguments.write_back {
        return Err(UsageError(
            "--write-back does not go with --install, --overlay or --component: a record says what the distro ships"
                .into(),
        )
        .into());
    }
    if arguments.filter.is_some() && arguments.write_back {
        return Err(
            UsageError("--write-back does not go with --test: a part of the tests verifies nothing".into()).into()
        );
    }
    let pinned = Arc::new(Pinned::new(images.clone()));
    if let Some(text) = &arguments.cloud_image {
        images.base = Some(cloud_image(text, &environments, &releases, database, &pinned, &images)?);
    }
    if !environments.contains(&Environment::Host) {
        attainable(&releases, &images)?;
    }
    let cpus = std::thread::available_parallelism().map_or(2, usize::from).min(7);
    let memory_mib = arguments.vm_memory;
    let kata = kata(arguments, &environments)?;
    let component = |text: &String| Component::parse(text).map_err(|e| UsageError(format!("--component {e}")));
    let components = arguments.components.iter().map(component).collect::<Result<_, _>>()?;
    Ok(Request {
        kata,
        components,
        admins: Admins::of(database, &releases),
        releases,
        environments,
        size: Size { memory_mib, cpus: u32::try_from(cpus).unwrap_or(1).min(4) },
        profiles,
        filter: arguments.filter.clone(),
        out: out(arguments.out.as_deref())?,
        images,
        pinned,
        jobs: arguments.jobs.map_or(cpus, usize::from),
        retries: arguments.retries,
        keep: arguments.keep,
        options: options(arguments),
        candidate: candidate || relative,
        locks: cache.join("runs"),
        budget: budget(arguments.cache_size)?,
    })
}

/// Refuses releases of which this machine cannot get an image by any way, before anything starts.
fn attainable(releases: &[Release], options: &images::Options) -> Result<(), UsageError> {
    let refused: Vec<ImageError> = releases.iter().filter_map(|r| images::attainable(r, options).err()).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = refused.iter().map(|e| format!("{}: {}", e.release, e.cause)).collect();
    let mut hints: Vec<String> = refused.iter().filter_map(ImageError::hint).collect();
    hints.dedup();
    lines.extend(hints.iter().map(|hint| format!("hint: {hint}")));
    Err(UsageError(lines.join("\n")))
}

/// The cloud image, checked as far as it can be before anything runs.
fn cloud_image(
    text: &str,
    environments: &[Environment],
    releases: &[Release],
    database: &Database,
    pinned: &Arc<Pinned>,
    images: &images::Options,
) -> Result<Arc<dyn Base>, UsageError> {
    let failed = |e: String| UsageError(format!("--cloud-image: {e}"));
    if environments.contains(&Environment::Host) {
        return Err(failed("--in host tests this machine as it is: use --in container or --in vm".to_owned()));
    }
    let [release] = releases else {
        let count = releases.len();
        return Err(failed(format!(
            "it is of one release, and {count} are named: name the one, for example debian:13"
        )));
    };
    let source = ExternalFile::parse(text).map_err(|e| failed(e.to_string()))?;
    let cancel = Arc::clone(&images.cancel);
    let opened = CloudImage::open(source, release, database, Arc::clone(pinned), cancel).map_err(failed)?;
    Ok(Arc::new(opened))
}

/// The sources of Kata, as far as they can be checked before anything is opened.
fn kata(arguments: &RunArguments, environments: &[Environment]) -> Result<Vec<ExternalFile>, UsageError> {
    let failed = |e: String| UsageError(format!("--kata: {e}"));
    if !arguments.kata.is_empty() && !environments.contains(&Environment::Vm) {
        return Err(failed("it runs in virtual machines only: add --in vm".to_owned()));
    }
    let mut sources = Vec::new();
    for text in &arguments.kata {
        let source = ExternalFile::parse(text).map_err(|e| failed(e.to_string()))?;
        source.is_pinned().map_err(|e| failed(e.to_string()))?;
        if !source.is_address() && !Path::new(&source.place).exists() {
            return Err(failed(format!(
                "{} is not there: expected a release archive, a folder like it, or an https:// address",
                source.place
            )));
        }
        sources.push(source);
    }
    Ok(sources)
}

/// Where to bring releases up, each once; containers unless said otherwise.
fn environments(asked: &[In]) -> Result<Vec<Environment>, UsageError> {
    let mut all: Vec<Environment> = Vec::new();
    for environment in asked.iter().map(|place| Environment::from(*place)) {
        if !all.contains(&environment) {
            all.push(environment);
        }
    }
    if all.contains(&Environment::Host) && all.len() > 1 {
        return Err(UsageError("--in host goes with no other environment".into()));
    }
    if all.is_empty() {
        all.push(Environment::Container);
    }
    Ok(all)
}

/// The named profiles in their order; by default the maintained ones.
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
        let profile = Profile::find(name).map_err(usage)?;
        if !chosen.contains(profile) {
            chosen.push(profile.clone());
        }
    }
    Ok(chosen)
}

/// No test has that in its id: what is nearest.
pub(super) fn no_such_test(filter: &str) -> UsageError {
    let distance = |name: &str| strsim::damerau_levenshtein(name, filter);
    let nearest = catalogue::tests().iter().min_by_key(|t| distance(&t.id).min(distance(t.name)));
    let hint = nearest.map(|t| format!("; the nearest is {}", t.id)).unwrap_or_default();
    UsageError(format!("no test has `{filter}` in its name{hint} (`kata-qualify list` shows all)"))
}

/// The output folder; one that is not empty is refused, its journal belongs to another run.
fn out(option: Option<&Path>) -> Result<PathBuf, UsageError> {
    let dir = match option {
        Some(dir) => dir.to_owned(),
        None => {
            let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
            Path::new("kata-qualify-out").join(now)
        }
    };
    let failed = |e: std::io::Error| UsageError(format!("--out {}: {e}", dir.display()));
    if dir.exists() && std::fs::read_dir(&dir).map_err(failed)?.next().is_some() {
        return Err(UsageError(format!("--out {}: expected an empty folder", dir.display())));
    }
    Ok(dir)
}

/// What the journal says of how the run was asked for; nothing secret, no host names.
fn options(arguments: &RunArguments) -> Vec<String> {
    let mut options = Vec::new();
    for (given, word) in [
        (arguments.accept_expired, "--accept-expired"),
        (arguments.offline, "--offline"),
        (arguments.mirror.is_some(), "--mirror"),
        (arguments.overlay.is_some(), "--overlay"),
        (arguments.records.is_some(), "--records"),
    ] {
        if given {
            options.push(word.to_owned());
        }
    }
    if arguments.environments.contains(&In::Vm) {
        options.push(format!("--vm-memory {}", arguments.vm_memory));
    }
    let cloud = arguments.cloud_image.iter().filter_map(|text| ExternalFile::parse(text).ok());
    options.extend(cloud.map(|source| format!("--cloud-image {}", source.name())));
    options.extend(arguments.install.iter().map(|package| format!("--install {package}")));
    options
}

/// Where the records to be written lie.
fn records_folder(option: Option<&Path>) -> Result<PathBuf, UsageError> {
    let dir = option.map_or_else(|| PathBuf::from("distros/records"), Path::to_owned);
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(UsageError(format!("--write-back: {} is not a folder of records; name one with --records", dir.display())))
}

/// Writes what was verified beside the records, each file at once or not at all.
fn write_back(matrix: &reports::matrix::Matrix, database: &Database, folder: &Path) -> anyhow::Result<()> {
    let old: Vec<(String, Vec<verified::VerifiedEntry>)> =
        database.records().map(|record| (record.distro.clone(), record.verified.clone())).collect();
    let (entries, withheld) = reports::record::verified_entries(matrix, |cell, profile| {
        let entries = old.iter().find(|(distro, _)| *distro == cell.cell.distro);
        entries.and_then(|(_, entries)| reports::compare::entry_of(entries, cell, profile))
    });
    for held in &withheld {
        let what = held.cell.as_ref().map_or_else(|| "the whole run".to_owned(), ToString::to_string);
        tell(format_args!("not written back: {what}: {}", held.reason));
    }
    let mut distros: Vec<&str> = entries.iter().map(|(distro, _)| distro.as_str()).collect();
    distros.dedup();
    for distro in distros {
        let path = folder.join(verified::FOLDER).join(format!("{distro}.yaml"));
        let old = if path.try_exists().with_context(|| format!("looking for {}", path.display()))? {
            Some(std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
        } else {
            None
        };
        let new: Vec<verified::VerifiedEntry> =
            entries.iter().filter(|(d, _)| d == distro).map(|(_, e)| e.clone()).collect();
        let record = database.record(distro)?;
        let releases: Vec<&str> = record.releases.iter().map(|release| release.version.as_str()).collect();
        let written = verified::apply(old.as_deref(), distro, &releases, &new)
            .with_context(|| format!("writing verdicts into {}", path.display()))?;
        std::fs::create_dir_all(folder.join(verified::FOLDER))
            .and_then(|()| verified::write_file(&path, &written))
            .with_context(|| format!("writing {}", path.display()))?;
        tell(format_args!("written back: {} entries into {}", new.len(), path.display()));
    }
    Ok(())
}

fn usage(error: impl std::fmt::Display) -> UsageError {
    UsageError(error.to_string())
}
