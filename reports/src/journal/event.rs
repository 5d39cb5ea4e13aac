//! Events of the journal, and the names of cells and phases.

use super::evidence::{Accelerator, Candidate, ProbeAnswer};
use super::run_facts::RunFacts;
use jiff::Timestamp;
use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion, Target};
use model::kernel::KernelRelease;
use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::test_id::TestId;
use model::verified::Basis;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use suites::outcome::{Component, Outcome};

pub use model::environment::Environment;

/// A target in an environment: `debian:13/x86_64/container`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId {
    /// `debian`.
    pub distro: DistroId,
    /// `13`, `testing`.
    pub release: ReleaseVersion,
    /// Its architecture.
    pub arch: Arch,
    /// The environment that is brought up.
    pub environment: Environment,
}

impl CellId {
    /// Its release.
    pub fn target(&self) -> Target {
        Target { distro: self.distro.clone(), version: self.release.clone() }
    }
}

/// A text is not the name of a cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a cell: expected DISTRO:RELEASE/ARCHITECTURE/ENVIRONMENT, for example debian:13/x86_64/container"
)]
pub struct CellIdError(pub String);

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}/{}", self.distro, self.release, self.arch, self.environment)
    }
}

impl FromStr for CellId {
    type Err = CellIdError;

    fn from_str(text: &str) -> Result<CellId, CellIdError> {
        parse_cell(text).ok_or_else(|| CellIdError(text.to_owned()))
    }
}

fn parse_cell(text: &str) -> Option<CellId> {
    let mut parts = text.split('/');
    let (distro, release) = parts.next()?.split_once(':')?;
    let arch = parts.next()?;
    let environment = parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    Some(CellId {
        distro: distro.parse().ok()?,
        release: release.parse().ok()?,
        arch: Arch::ALL.iter().copied().find(|a| a.name() == arch)?,
        environment: Environment::ALL.iter().copied().find(|e| e.name() == environment)?,
    })
}

impl Serialize for CellId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for CellId {
    fn schema_name() -> Cow<'static, str> {
        "CellId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "A target in an environment: `debian:13/x86_64/container`.",
            "type": "string",
            "pattern": "^[^:/]+:[^/]+/[^/]+/[^/]+$",
        })
    }
}

impl<'de> Deserialize<'de> for CellId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CellId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A phase of work on a cell; an error in one phase is never reported as a failure of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Making or finding the release's image.
    Image,
    /// Bringing the environment up.
    Environment,
    /// Probing the environment.
    Probe,
    /// Running tests.
    Tests,
}

impl Phase {
    /// Returns the phase's name.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Image => "image",
            Phase::Environment => "environment",
            Phase::Probe => "probe",
            Phase::Tests => "tests",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The facts that a cell's verdicts rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CellFacts {
    /// Hardware virtualization or emulation.
    pub basis: Basis,
    /// `kvm`, `tcg`.
    #[schemars(with = "String")]
    pub accelerator: Accelerator,
    /// Component package → exact version.
    pub versions: BTreeMap<PackageName, PackageVersion>,
    /// Component package → the package suite it came from.
    pub suites: BTreeMap<PackageName, String>,
    /// The kernel that guests boot: `uname -r`.
    pub kernel: Option<KernelRelease>,
    /// The image's name.
    pub image: String,
    /// When the image was made.
    #[schemars(with = "Option<String>")]
    pub image_made: Option<Timestamp>,
    /// Whether the image came from the cache.
    pub image_cached: bool,
    /// The manifest of all packages in the image and how the image was made: a file next to the journal, relative to
    /// its directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_manifest: Option<String>,
    /// Exceptions that were accepted to make the image: "accepted an expired Release".
    pub image_options: Vec<String>,
    /// The environment's answers to probes.
    #[schemars(with = "BTreeMap<String, String>")]
    pub environment: BTreeMap<String, ProbeAnswer>,
    /// The components that replaced the distro's own: the file's name and checksum, in words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<Component, String>")]
    pub candidates: BTreeMap<Component, Candidate>,
    /// Other notes for the reader.
    pub notes: Vec<String>,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    /// The time of the event.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run began.
    RunStarted {
        /// [`SCHEMA`](crate::journal::SCHEMA).
        schema: u32,
        /// The run's id.
        run: String,
        /// The harness's version.
        harness: String,
        /// The commit that the harness was built from, or `unknown`.
        #[serde(default)]
        commit: String,
        /// The command line.
        #[serde(default)]
        argv: Vec<String>,
        /// A digest of the records of the releases.
        #[serde(default)]
        records: String,
        /// A digest of the requirements in the catalogue.
        #[serde(default)]
        catalogue: String,
        /// The profiles asked for.
        profiles: Vec<ProfileName>,
        /// The cells asked for.
        cells: Vec<CellId>,
        /// The number of planned tests of each cell; a test that runs in several configurations counts once for each.
        #[serde(default)]
        planned: BTreeMap<CellId, u64>,
        /// The test filter in words, if not all tests were asked for.
        filter: Option<String>,
        /// Whether the run was about candidates or another record: such a run is never written back.
        candidate: bool,
        /// Whether the caller's own keys, image or records vouched for packages: the results are not attributed to the
        /// distro.
        #[serde(default)]
        shaped: bool,
        /// Options that the results depend on, in words.
        options: Vec<String>,
        /// The parts of filter and options that decisions depend on; an older journal has only their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts: Option<RunFacts>,
    },
    /// Work on a cell began.
    CellStarted {
        /// The cell.
        cell: CellId,
    },
    /// A cell entered a phase.
    PhaseStarted {
        /// The cell.
        cell: CellId,
        /// The phase.
        phase: Phase,
    },
    /// Facts about a cell; later ones add to earlier ones.
    CellFacts {
        /// The cell.
        cell: CellId,
        /// The facts.
        facts: CellFacts,
    },
    /// A guest was started, or failed to start.
    #[serde(alias = "launched")]
    GuestStarted {
        /// The cell.
        cell: CellId,
        /// The guest's number in the cell, from 1; 0 in journals of schema 2 and older, which have no numbers.
        #[serde(default)]
        guest: u32,
        /// The test that the guest was started for; others may run in it later.
        #[serde(default, with = "text_of_test")]
        #[schemars(with = "String")]
        test: Option<TestId>,
        /// The number of the attempt at the test, from 1.
        #[serde(default)]
        attempt: u32,
        /// The profiles that share the configuration.
        profiles: Vec<ProfileName>,
        /// The configuration's name.
        configuration: String,
        /// QEMU's arguments.
        argv: Vec<String>,
        /// The filesystem daemon's arguments, if there is one.
        daemon: Vec<String>,
        /// Deviations of the arguments from Kata's.
        deviations: Vec<String>,
    },
    /// An attempt at a test began.
    TestStarted {
        /// The cell.
        cell: CellId,
        /// The profiles that the result counts for; empty if it counts for none.
        profiles: Vec<ProfileName>,
        /// The test's id.
        test: TestId,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// An attempt at a test ended; one that never began may end too (skipped, blocked).
    TestFinished {
        /// The cell.
        cell: CellId,
        /// The profiles, as at the start.
        profiles: Vec<ProfileName>,
        /// The test's id.
        test: TestId,
        /// The number of the attempt, from 1.
        attempt: u32,
        /// Number of the virtual machine in the cell, from 1; 0 if no machine is involved.
        #[serde(default)]
        machine: u32,
        /// The guests that the attempt ran in or started itself, by their numbers.
        #[serde(default)]
        guests: Vec<u32>,
        /// The outcome.
        outcome: Outcome,
        /// How long the attempt took, in milliseconds.
        millis: u64,
        /// Notes for the reader, such as pjdfstest's differences by name.
        notes: Vec<String>,
        /// Files next to the journal, relative to its directory.
        artifacts: Vec<String>,
    },
    /// A cell could not go on; says nothing about the distro.
    CellError {
        /// The cell.
        cell: CellId,
        /// The phase of the error.
        phase: Phase,
        /// The error message.
        message: String,
    },
    /// Work on a cell ended.
    CellFinished {
        /// The cell.
        cell: CellId,
    },
    /// The run ended; a killed run has no such event.
    RunFinished {
        /// Whether somebody stopped it.
        interrupted: bool,
    },
    /// Merged runs contradict each other in a cell; only a merged journal has this event, after all others.
    Conflict {
        /// The cell.
        cell: CellId,
        /// How the runs differ, and which of them counts.
        what: String,
        /// Whether a whole run was left out because of the conflict, so that its results for the cell are not judged.
        #[serde(default)]
        refused: bool,
    },
}

/// The form of a test that may be unknown, as in journals of schema 2 and older: its id, or an empty text.
mod text_of_test {
    use super::TestId;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(test: &Option<TestId>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(test.as_deref().unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TestId>, D::Error> {
        match String::deserialize(deserializer)? {
            text if text.is_empty() => Ok(None),
            text => text.parse().map(Some).map_err(D::Error::custom),
        }
    }
}

impl Event {
    /// Returns the cells that the event is about.
    pub fn cells(&self) -> &[CellId] {
        match self {
            Event::RunStarted { cells, .. } => cells,
            Event::RunFinished { .. } => &[],
            Event::CellStarted { cell }
            | Event::PhaseStarted { cell, .. }
            | Event::CellFacts { cell, .. }
            | Event::GuestStarted { cell, .. }
            | Event::TestStarted { cell, .. }
            | Event::TestFinished { cell, .. }
            | Event::CellError { cell, .. }
            | Event::CellFinished { cell }
            | Event::Conflict { cell, .. } => std::slice::from_ref(cell),
        }
    }
}
