//! Kata's configuration in an environment: what came with it, and a drop-in from the configuration core beside it.
//!
//! The same code configures a machine for `kata-osinfo configure`; what differs is that nothing known beforehand keeps
//! Kata from being tried, because only use decides a verdict.
//!
//! The shipped file goes where its runtime looks first, the settings beside it in a drop-in, and both are read again as
//! the runtime would read them; what does not take effect is an `error`.
//! A daemon of the wrong kind is configured and tried, although the record knows that it cannot work.
//! Under emulation Kata's own deadlines are stretched, which is a deviation on record.
//! The guest's initrd on the distro's kernel has our agent as PID 1, which inserts the modules and then executes Kata's
//! agent.

use model::profile::{Profile, Runtime};
use model::virtiofsd::Flavour;
use operator::configure::{
    DROP_IN, Guest, Inputs, Inventory, KataConfiguration, LocatedConfiguration, MergedConfiguration, PlanError,
    Setting, drop_in, edited, locate, plan, reads_drop_ins, settings,
};
use root::{Root, RootError};
use std::path::{Path, PathBuf};
use suites::check::Stop;
use suites::containers::Kata;
use suites::environment::Claims;
use suites::outcome::Component;

/// Bytes of a configuration that comes with Kata.
const MAX_SHIPPED: u64 = 4 << 20;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredKata {
    /// The file with the settings, in the environment.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// What a reader of the report should know.
    pub notes: Vec<String>,
}

/// Puts the shipped configuration where its runtime reads it, the settings for this release beside it, and reads both
/// again as the runtime would; `root` is `/` in an environment.
///
/// # Errors
/// A failure that blames the record where a path of its is not there; an error where the configuration that was made
/// would not take effect.
pub fn configure(root: &Root, claims: &Claims, profile: &Profile, kata: &Kata) -> Result<Option<ConfiguredKata>, Stop> {
    let kernel = claims.candidates.get(&Component::Kernel).unwrap_or(&claims.vmlinuz).clone();
    let guest = Guest::Own { kernel: Some(kernel), initrd: kata.initrd.clone() };
    configure_guest(root, claims, profile, kata, &guest, Vec::new())
}

/// The same for guests of a kernel of Kata's own and an image, which is handed over as the shipped configuration says.
///
/// # Errors
/// As [`configure`].
pub fn configure_image(
    root: &Root,
    claims: &Claims,
    profile: &Profile,
    kata: &Kata,
    kernel: &str,
    image: &str,
) -> Result<Option<ConfiguredKata>, Stop> {
    // What the shipped configuration names is where its archive would be unpacked to; an initrd excludes an image.
    let files = [("kernel", kernel), ("image", image), ("initrd", "")].map(|(key, value)| Setting {
        table: ["hypervisor", "qemu"].map(str::to_owned).to_vec(),
        key: key.to_owned(),
        value: value.into(),
        why: "Kata's own guest".to_owned(),
    });
    configure_guest(root, claims, profile, kata, &Guest::Kata, files.to_vec())
}

/// Configures Kata for a guest, with settings besides those that are planned for it.
fn configure_guest(
    root: &Root,
    claims: &Claims,
    profile: &Profile,
    kata: &Kata,
    guest: &Guest,
    besides: Vec<Setting>,
) -> Result<Option<ConfiguredKata>, Stop> {
    let Some(shipped) = &kata.shipped else { return Ok(None) };
    let doing = |what: &str| {
        let what = format!("{what} for Kata {}", kata.version);
        move |e: &dyn std::fmt::Display| Stop::error(format!("{what}: {e}"))
    };
    copy(root, Path::new(shipped), Path::new(&kata.configuration))
        .map_err(|e| doing("copying the configuration")(&e))?;
    let configuration = planned(root, claims, profile, kata, guest)?;
    let located = locate(root, kata.kind, None).map_err(|e| doing("looking for the configuration")(&e))?;
    if located.named != Path::new(&kata.configuration) {
        let (found, ours) = (located.named.display(), &kata.configuration);
        return Err(Stop::error(format!("Kata {} would read {found} and not {ours}", kata.version)));
    }
    let settings = [besides, settings(&configuration)].concat();
    let (file, text) = written(root, &located, &configuration, &settings, &doing("configuring"))?;
    let merged = MergedConfiguration::read(root, &located, kata.kind, kata.version)
        .map_err(|e| doing("reading the configuration")(&e))?;
    took_effect(root, &merged, kata.kind, &settings)?;
    let mut notes = vec![format!("Kata {} reads {} with {}", kata.version, located.path.display(), file.display())];
    notes.extend(configuration.notes.iter().map(|note| format!("{}: {}", note.about, note.text)));
    if kata.emulated {
        notes.push("deviation: Kata's own deadlines are stretched, because nothing is accelerated here".to_owned());
    }
    Ok(Some(ConfiguredKata { file, text, notes }))
}

/// Whether a key of the table `runtime` is on in what this Kata reads; `root` is `/` in an environment.
///
/// # Errors
/// When that cannot be read.
pub fn is_set(root: &Root, kata: &Kata, key: &str) -> Result<bool, Stop> {
    let failed = |e: &dyn std::fmt::Display| Stop::error(format!("reading what Kata {} reads: {e}", kata.version));
    let located = locate(root, kata.kind, None).map_err(|e| failed(&e))?;
    let merged = MergedConfiguration::read(root, &located, kata.kind, kata.version).map_err(|e| failed(&e))?;
    Ok(merged.get(&["runtime", key]) == Some(&true.into()))
}

fn copy(root: &Root, from: &Path, to: &Path) -> Result<(), RootError> {
    root.write(to, &root.read(from, MAX_SHIPPED)?)
}

fn planned(
    root: &Root,
    claims: &Claims,
    profile: &Profile,
    kata: &Kata,
    guest: &Guest,
) -> Result<KataConfiguration, Stop> {
    let release = claims.in_use();
    let mut found = Inventory::gather(root, &release, guest)
        .map_err(|e| Stop::error(format!("looking for what Kata {} needs: {e}", kata.version)))?;
    // Which of the two daemons it is would decide before it has been tried.
    if let Some(daemon) = &mut found.daemon {
        daemon.flavour = Flavour::Unknown;
    }
    let inputs = Inputs {
        release: &release,
        verified: &[],
        profile,
        kata: kata.version,
        found: &found,
        guest,
        emulated: kata.emulated,
        force: true,
        no_shared_fs: false,
    };
    plan(&inputs).map_err(|e| match &e {
        PlanError::Missing { missing } => {
            let packages = missing.packages.iter().map(ToString::to_string);
            Stop::blame_record(packages.chain(missing.path.clone()), e.to_string())
        }
        PlanError::NotPackaged { .. } => Stop::blame(Component::Record, e.to_string()),
        // Nothing is refused when it is forced, and an initrd is nothing that this release ships.
        PlanError::WrongInitrd { .. } => Stop::error(e.to_string()),
        PlanError::Unsupported { .. } | PlanError::NothingWorks { .. } => Stop::fail(e.to_string()),
    })
}

/// A drop-in where the runtime reads one, else the settings in the configuration itself.
fn written(
    root: &Root,
    located: &LocatedConfiguration,
    configuration: &KataConfiguration,
    settings: &[Setting],
    failed: &dyn Fn(&dyn std::fmt::Display) -> Stop,
) -> Result<(PathBuf, String), Stop> {
    let (path, text) = if reads_drop_ins(configuration.runtime, configuration.kata) {
        (located.drop_ins().join(DROP_IN), drop_in(configuration, settings))
    } else {
        let text = root.utf8(&located.path).map_err(|e| failed(&e))?;
        (located.path.clone(), edited(&text, settings).map_err(|e| failed(&e))?)
    };
    root.write(&path, text.as_bytes()).map_err(|e| failed(&e))?;
    Ok((path, text))
}

fn took_effect(root: &Root, merged: &MergedConfiguration, runtime: Runtime, settings: &[Setting]) -> Result<(), Stop> {
    let differs = merged.not_effective(settings).into_iter().map(|n| {
        let file = n.file.map(|file| file.display().to_string()).unwrap_or_default();
        format!("{} is {} by {file}, not {}", n.key, n.found.unwrap_or_default(), n.wanted)
    });
    let missing = merged.missing_files(root, runtime);
    let missing = missing.map_err(|e| Stop::error(format!("looking for Kata's files: {e}")))?;
    let problems = merged.problems().iter().cloned().chain(missing);
    let wrong: Vec<String> = differs.chain(problems.map(|p| format!("{}: {}", p.file.display(), p.message))).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Stop::error(format!("Kata's configuration did not take effect: {}", wrong.join("; "))))
}

#[cfg(test)]
pub(crate) mod tests;
