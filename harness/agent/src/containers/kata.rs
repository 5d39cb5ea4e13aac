//! Kata's configuration in an environment: the shipped file, and a drop-in from the configuration core next to it.
//!
//! The same code configures a machine for `kata-osinfo configure`; but here no known incompatibility keeps Kata from
//! being tried, because only a test decides the verdict.
//!
//! The shipped file goes where its runtime looks first, the settings go into a drop-in next to it, and both are read
//! back as the runtime would read them; a setting without effect is an `error`.
//! A daemon of the wrong kind is configured and tried, although the record knows that it cannot work.
//! Under emulation Kata's own deadlines are extended, which the report records as a deviation.
//! The guest's initrd on the distro's kernel has the harness's agent as PID 1, which loads the modules and then
//! executes Kata's agent.

use model::profile::{Profile, Runtime};
use model::virtiofsd::Flavour;
use operator::configure::{
    DROP_IN, GuestKernel, Inputs, Inventory, KataConfiguration, KeyValue, LocatedConfiguration, MergedConfiguration,
    PlanError, drop_in, edited, locate, plan, reads_drop_ins, settings,
};
use root::{Root, RootError};
use std::path::{Path, PathBuf};
use suites::check::Stop;
use suites::containers::Kata;
use suites::environment::Claims;
use suites::outcome::Component;

/// Size limit of a shipped configuration, in bytes.
const MAX_SHIPPED: u64 = 4 << 20;

/// A written configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredKata {
    /// Path of the file with the settings, in the environment.
    pub file: PathBuf,
    /// Text of the file.
    pub text: String,
    /// Notes for readers of the report.
    pub notes: Vec<String>,
}

/// Copies the shipped configuration to where its runtime reads it, writes the settings for this release next to it, and
/// reads both back as the runtime would; `root` is `/` in an environment.
///
/// # Errors
/// A failure that blames the record if one of its paths does not exist; an error if a setting would not take
/// effect.
pub fn configure(root: &Root, claims: &Claims, profile: &Profile, kata: &Kata) -> Result<Option<ConfiguredKata>, Stop> {
    let kernel = claims.katas_kernel().into();
    let guest = GuestKernel::Own { kernel: Some(kernel), initrd: kata.initrd.clone().into() };
    configure_guest(root, claims, profile, kata, &guest, Vec::new())
}

/// Configures Kata for guests with Kata's own kernel and an image, which is attached as the shipped configuration says.
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
    // The shipped configuration names the paths of an unpacked archive; an initrd excludes an image.
    let files = [("kernel", kernel), ("image", image), ("initrd", "")].map(|(key, value)| KeyValue {
        table: ["hypervisor", "qemu"].map(str::to_owned).to_vec(),
        key: key.to_owned(),
        value: value.into(),
        why: "Kata's own guest".to_owned(),
    });
    configure_guest(root, claims, profile, kata, &GuestKernel::Kata, files.to_vec())
}

/// Configures Kata for a guest, with settings in addition to the planned ones.
fn configure_guest(
    root: &Root,
    claims: &Claims,
    profile: &Profile,
    kata: &Kata,
    guest: &GuestKernel,
    besides: Vec<KeyValue>,
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
        let (found, expected) = (located.named.display(), &kata.configuration);
        return Err(Stop::error(format!("Kata {} would read {found} and not {expected}", kata.version)));
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

/// Returns whether a key of the table `runtime` is on in the configuration that this Kata reads; `root` is `/` in an
/// environment.
///
/// # Errors
/// If the configuration cannot be read.
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
    guest: &GuestKernel,
) -> Result<KataConfiguration, Stop> {
    let release = claims.in_use();
    let mut found = Inventory::gather(root, &release, guest)
        .map_err(|e| Stop::error(format!("looking for what Kata {} needs: {e}", kata.version)))?;
    // A known flavour of the daemon would decide the verdict without a test.
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
            Stop::blame_record(packages.chain(missing.path.clone().map(String::from)), e.to_string())
        }
        PlanError::NotPackaged { .. } => Stop::blame(Component::Record, e.to_string()),
        // A forced plan refuses nothing, and the initrd is not one that this release ships.
        PlanError::WrongInitrd { .. } => Stop::error(e.to_string()),
        PlanError::Unsupported { .. } | PlanError::NothingWorks { .. } => Stop::fail(e.to_string()),
    })
}

/// Writes a drop-in if the runtime reads drop-ins, or else writes the settings into the configuration itself.
fn written(
    root: &Root,
    located: &LocatedConfiguration,
    configuration: &KataConfiguration,
    settings: &[KeyValue],
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

fn took_effect(root: &Root, merged: &MergedConfiguration, runtime: Runtime, settings: &[KeyValue]) -> Result<(), Stop> {
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
