//! A row of a suite's table: a test's body and its entry in the catalogue.
//!
//! A module with bodies lists them in `ROWS`, above the bodies, and holds its own text in `SOURCE`, from which the doc
//! comments of bodies are read.
//! A row is one test, or one for each place and share that it names.

use crate::capability::Capability;
use crate::citation::AskedFor;
use crate::docs::doc_of;
use crate::environment::Environment;
use crate::outcome::Component;
use crate::reproducer::Reproducer;
use crate::share::{Share, served_by};
use crate::test::{Body, ExcludedArchitectures, Need, Place, Suite, Test};
use crate::under::Names;
use model::profile::{DaemonSetting, ModuleUse};
use model::test_id::TestId;

/// A body and its entry in the catalogue.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// The body's name, which ends the ids of its tests.
    pub(crate) name: &'static str,
    /// The body.
    pub(crate) body: Body,
    /// The text of the module that holds the body.
    source: &'static str,
    /// The places where the body runs, a test for each.
    pub(crate) places: &'static [Place],
    /// The capabilities that the body proves; in the filesystem suite also the shares that it is tried on, a test for
    /// each.
    pub(crate) proves: &'static [Capability],
    /// The component that a failure blames unless the body knows better; `None` means the one that serves the share.
    blames: Option<Component>,
    /// The requirements that the environment must meet.
    pub(crate) needs: &'static [Need],
    /// The environments that can show the property; empty means all.
    environments: &'static [Environment],
    /// The ids of the tests that must have passed first; `None` means those that block the whole suite, if any.
    pub(crate) blocked_by: Option<&'static [&'static str]>,
    /// The profiles that the body applies to; `None` means all.
    under: Option<&'static Names>,
    /// The modules that the shared guest loads before the body.
    loads: Option<ModuleUse>,
    /// The time that the body may take under emulation, seconds.
    seconds: u32,
    /// The kind of script that shows the failure.
    reproducer: Option<Reproducer>,
    /// Settings of virtiofsd that the body is tried with, a test for each.
    pub(crate) settings: &'static [DaemonSetting],
    /// Whether the body is also tried with virtiofsd as shipped.
    pub(crate) as_shipped: bool,
    /// Whether the body's work depends on the run's seed and effort.
    random: bool,
    /// The architectures whose releases the body says nothing about, whatever it proves.
    excluded: Option<ExcludedArchitectures>,
    /// Whether the body guards what other tests rest on, and Kata does not ask for it.
    guards: bool,
    /// A lying system call, in strace's syntax (`--inject`), that makes the body fail.
    pub(crate) finds: Option<&'static str>,
}

impl Row {
    /// Builds the row of [`row!`]: a body in the default place of its kind.
    pub(crate) const fn new(
        name: &'static str,
        body: Body,
        source: &'static str,
        proves: &'static [Capability],
        blames: Option<Component>,
    ) -> Row {
        let places: &'static [Place] = match body {
            Body::Environment(_) => &[Place::Environment],
            Body::Machine(_) | Body::Inside(_) => &[Place::Machine],
            Body::Guest(_) | Body::BesideNative(_) => &[Place::Guest],
            Body::Pair(_) => &[Place::Pair],
            Body::Containers(_) => &[Place::Runc, Place::Kata],
        };
        let seconds = match body {
            Body::Environment(_) | Body::Machine(_) | Body::Inside(_) | Body::Guest(_) | Body::BesideNative(_) => 60,
            Body::Pair(_) => 90,
            Body::Containers(_) => 120,
        };
        Row {
            name,
            body,
            source,
            places,
            proves,
            blames,
            needs: &[],
            environments: &[],
            blocked_by: None,
            under: None,
            loads: None,
            seconds,
            reproducer: None,
            settings: &[],
            as_shipped: true,
            random: false,
            excluded: None,
            guards: false,
            finds: None,
        }
    }

    /// Sets other places than the kind's: a guest or a vCPU of the body's own, or one runtime only.
    pub(crate) const fn places(mut self, places: &'static [Place]) -> Row {
        self.places = places;
        self
    }

    /// Sets the requirements that the environment must meet.
    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Row {
        self.needs = needs;
        self
    }

    /// Limits the row to environments that can show the property.
    pub(crate) const fn environments(mut self, environments: &'static [Environment]) -> Row {
        self.environments = environments;
        self
    }

    /// Sets the ids of the tests that must have passed first; no others block it.
    pub(crate) const fn blocked_by(mut self, ids: &'static [&'static str]) -> Row {
        self.blocked_by = Some(ids);
        self
    }

    /// Limits the row to these profiles.
    pub(crate) const fn under(mut self, profiles: &'static Names) -> Row {
        self.under = Some(profiles);
        self
    }

    /// Makes the shared guest load the modules of this use before the body.
    pub(crate) const fn loads(mut self, used_for: ModuleUse) -> Row {
        self.loads = Some(used_for);
        self
    }

    /// Sets the time that the body may take under emulation, seconds.
    pub(crate) const fn seconds(mut self, seconds: u32) -> Row {
        self.seconds = seconds;
        self
    }

    /// Sets the kind of script that shows the failure.
    pub(crate) const fn reproduced(mut self, by: Reproducer) -> Row {
        self.reproducer = Some(by);
        self
    }

    /// Adds tests on virtio-fs with each of these settings of virtiofsd; they prove the setting's capability.
    pub(crate) const fn also_with(mut self, settings: &'static [DaemonSetting]) -> Row {
        self.settings = settings;
        self
    }

    /// Tries the body with these settings of virtiofsd, and not as shipped.
    pub(crate) const fn only_with(mut self, settings: &'static [DaemonSetting]) -> Row {
        self.settings = settings;
        self.as_shipped = false;
        self
    }

    /// Marks a body whose work depends on the run's seed and effort.
    pub(crate) const fn random(mut self) -> Row {
        self.random = true;
        self
    }

    /// Excludes releases of these architectures, whatever the body proves.
    pub(crate) const fn excluding(mut self, architectures: ExcludedArchitectures) -> Row {
        self.excluded = Some(architectures);
        self
    }

    /// Marks a body that guards what other tests rest on, and that no place in Kata's source asks for.
    pub(crate) const fn guards(mut self) -> Row {
        self.guards = true;
        self
    }

    /// Sets a lie that the body must detect: a system call that does nothing but succeeds, or that fails.
    /// `/^rename:retval=0`, in the syntax of `strace --inject`.
    pub(crate) const fn finds(mut self, lie: &'static str) -> Row {
        self.finds = Some(lie);
        self
    }

    /// Builds the test of this row at a place, and on a share if it is about one; `module` comes before the name in the
    /// id.
    pub(crate) fn test(&self, suite: Suite, module: &str, place: Place, share: Option<Share>) -> Test {
        let blames = self.blames.or(share.map(served_by)).unwrap_or(Component::Record);
        let doc = doc_of(self.source, self.name);
        Test {
            id: test_id(&format!("{module}::{}", self.name)),
            name: self.name,
            suite,
            place,
            share,
            setting: None,
            proves: self.proves.to_vec(),
            blames,
            needs: self.needs,
            blocked_by: self.blocked_by.unwrap_or_default().iter().map(|id| test_id(id)).collect(),
            profiles: match self.under {
                Some(names) => names.as_slice(),
                None => &[],
            },
            environments: self.environments,
            loads: self.loads,
            seconds: self.seconds,
            reproducer: self.reproducer,
            random: self.random,
            excluded: self.excluded,
            asked_for: AskedFor::of(&doc, share, self.guards),
            doc,
        }
    }
}

/// Returns the id of a test of the catalogue.
#[expect(clippy::expect_used, reason = "ids are made of names in this crate, and a test makes all of them")]
pub(crate) fn test_id(id: &str) -> TestId {
    id.parse().expect("modules and bodies have names that an id can have")
}

/// A row for a body of this module: `row!(KIND(BODY), CAPABILITIES, COMPONENT)`.
///
/// The kind is a variant of [`Body`], the component is the one that a failure blames. A body on a share names no
/// component: the one that serves the share is to blame.
macro_rules! row {
    (Guest($body:ident), $proves:expr) => {
        $crate::row::row!(@on_a_share Guest, $body, $proves)
    };
    (BesideNative($body:ident), $proves:expr) => {
        $crate::row::row!(@on_a_share BesideNative, $body, $proves)
    };
    (Pair($body:ident), $proves:expr) => {
        $crate::row::row!(@on_a_share Pair, $body, $proves)
    };
    (@on_a_share $kind:ident, $body:ident, $proves:expr) => {
        $crate::row::Row::new(stringify!($body), $crate::test::Body::$kind($body), SOURCE, $proves, None)
    };
    ($kind:ident($body:ident), $proves:expr, $blames:ident) => {
        $crate::row::Row::new(
            stringify!($body),
            $crate::test::Body::$kind($body),
            SOURCE,
            $proves,
            Some($crate::outcome::Component::$blames),
        )
    };
}

pub(crate) use row;
