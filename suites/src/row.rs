//! One row of a suite's table: a test's body with all that the catalogue says of it.
//!
//! A module that holds bodies lists them in `ROWS`, above the bodies, and holds its own text in `SOURCE`: the doc comment
//! of a body is read from there.
//! A row is one test, or one for each place and share that it names.

use crate::capability::Capability;
use crate::docs::doc_of;
use crate::environment::Environment;
use crate::outcome::Component;
use crate::reproducer::Reproducer;
use crate::share::{Share, served_by};
use crate::test::{Body, Need, Place, Suite, Test, Untold};
use crate::under::Names;
use model::profile::{DaemonSetting, ModuleUse};

/// A body with what the catalogue says of it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// The body's name, with which each of its tests' ids ends.
    pub(crate) name: &'static str,
    /// The body.
    pub(crate) body: Body,
    /// The text of the module that holds the body.
    source: &'static str,
    /// Where it runs, a test for each.
    pub(crate) places: &'static [Place],
    /// What it is required for; in the filesystem suite also the shares that it is tried on, a test for each.
    pub(crate) proves: &'static [Capability],
    /// The component that a failure blames unless the body knows better; `None` is what serves the share.
    blames: Option<Component>,
    /// What the environment must provide.
    pub(crate) needs: &'static [Need],
    /// The environments that can show it; empty is all.
    environments: &'static [Environment],
    /// The ids of the tests that must have passed first; `None` is what blocks the whole suite, if anything does.
    pub(crate) blocked_by: Option<&'static [&'static str]>,
    /// The profiles it applies to; `None` is all.
    under: Option<&'static Names>,
    /// What the shared guest loads before it.
    loads: Option<ModuleUse>,
    /// Seconds it may take under emulation.
    seconds: u32,
    /// How its failure can be shown by a script.
    reproducer: Option<Reproducer>,
    /// Settings of virtiofsd that it is tried with, a test for each.
    pub(crate) settings: &'static [DaemonSetting],
    /// Whether it is also tried with virtiofsd as shipped.
    pub(crate) as_shipped: bool,
    /// Whether what it does depends on the run's seed and effort.
    random: bool,
    /// Of which architectures' releases it says nothing, whatever it proves.
    untold: Option<Untold>,
    /// A system call that lies, in strace's words (`--inject`), which makes it fail.
    pub(crate) finds: Option<&'static str>,
}

impl Row {
    /// What [`row!`] makes: a body in the place that its kind has.
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
            untold: None,
            finds: None,
        }
    }

    /// It runs elsewhere than its kind says: in a guest of its own, on a vCPU of its own, under one runtime only.
    pub(crate) const fn places(mut self, places: &'static [Place]) -> Row {
        self.places = places;
        self
    }

    /// The environment must provide these.
    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Row {
        self.needs = needs;
        self
    }

    /// Only these environments can show it.
    pub(crate) const fn environments(mut self, environments: &'static [Environment]) -> Row {
        self.environments = environments;
        self
    }

    /// The tests with these ids must have passed first, and no others.
    pub(crate) const fn blocked_by(mut self, ids: &'static [&'static str]) -> Row {
        self.blocked_by = Some(ids);
        self
    }

    /// It applies to these profiles only.
    pub(crate) const fn under(mut self, profiles: &'static Names) -> Row {
        self.under = Some(profiles);
        self
    }

    /// The shared guest loads the modules of this use before it.
    pub(crate) const fn loads(mut self, used_for: ModuleUse) -> Row {
        self.loads = Some(used_for);
        self
    }

    /// It may take so many seconds under emulation.
    pub(crate) const fn seconds(mut self, seconds: u32) -> Row {
        self.seconds = seconds;
        self
    }

    /// Its failure can be shown by a script of this kind.
    pub(crate) const fn reproduced(mut self, by: Reproducer) -> Row {
        self.reproducer = Some(by);
        self
    }

    /// On virtio-fs it is also tried with each of these settings of virtiofsd, for what the setting proves.
    pub(crate) const fn also_with(mut self, settings: &'static [DaemonSetting]) -> Row {
        self.settings = settings;
        self
    }

    /// It is tried with these settings of virtiofsd, and not as shipped.
    pub(crate) const fn only_with(mut self, settings: &'static [DaemonSetting]) -> Row {
        self.settings = settings;
        self.as_shipped = false;
        self
    }

    /// What it does depends on the run's seed and effort.
    pub(crate) const fn random(mut self) -> Row {
        self.random = true;
        self
    }

    /// It says nothing of releases of these architectures, whatever it proves.
    pub(crate) const fn untold(mut self, architectures: Untold) -> Row {
        self.untold = Some(architectures);
        self
    }

    /// It fails where a system call is made to succeed without being done, or to fail: `/^rename:retval=0`, as
    /// `strace --inject` takes it.
    pub(crate) const fn finds(mut self, lie: &'static str) -> Row {
        self.finds = Some(lie);
        self
    }

    /// The test that it is at a place, and on a share if it is about one; `module` comes before its name in the id.
    pub(crate) fn test(&self, suite: Suite, module: &str, place: Place, share: Option<Share>) -> Test {
        let blames = self.blames.or(share.map(served_by)).unwrap_or(Component::Record);
        Test {
            id: format!("{module}::{}", self.name),
            name: self.name,
            suite,
            place,
            share,
            setting: None,
            proves: self.proves.to_vec(),
            blames,
            needs: self.needs,
            blocked_by: self.blocked_by.unwrap_or_default().iter().map(|id| (*id).to_owned()).collect(),
            profiles: match self.under {
                Some(names) => names.as_slice(),
                None => &[],
            },
            environments: self.environments,
            loads: self.loads,
            seconds: self.seconds,
            reproducer: self.reproducer,
            random: self.random,
            untold: self.untold,
            doc: doc_of(self.source, self.name),
        }
    }
}

/// A row for a body of this module: `row!(KIND(BODY), CAPABILITIES, COMPONENT)`.
///
/// The kind is a variant of [`Body`], the component is whom a failure blames. A body on a share names none: what serves the
/// share is to blame.
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
