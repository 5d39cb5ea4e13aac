//! A run for the tests of the reports, with everything that a run can have.

use crate::journal::{
    Accelerator, CellFacts, CellId, Environment, Event, Journal, JournalEntry, Phase, ProbeAnswer, RunFilter, SCHEMA,
};
use crate::standing::{Recorded, Standings};
use jiff::Timestamp;
use model::arch::Arch;
use model::distro::DistroId;
use model::profile::{Profile, ProfileName};
use model::verified::{Basis, VerifiedEntry};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::LazyLock;
use suites::capability::Capability;
use suites::catalogue::{Place, Suite, Test};
use suites::citation::AskedFor;
use suites::outcome::{Component, Failure, Outcome};
use suites::share::Share;

pub(crate) fn profile(name: &str, range: &str, maintained: bool, shares: &[Share]) -> Profile {
    let mut profile = Profile::all()[0].clone();
    profile.name = name.parse().unwrap();
    profile.range = range.to_owned();
    profile.maintained = maintained;
    profile.shares = shares.to_vec();
    profile
}

pub(crate) fn profiles() -> Vec<Profile> {
    vec![
        profile("go-3.2", "3.2–3.28", false, &[Share::VirtioFs, Share::Virtio9p]),
        profile("go-3.29", "3.29 on", true, &[Share::VirtioFs]),
        profile("rs-4.0", "4.0 on", true, &[Share::VirtioFs]),
    ]
}

pub(crate) fn test(
    id: &str,
    proves: &[Capability],
    blames: Component,
    blocked_by: &[&str],
    only: &'static [&'static str],
) -> Test {
    Test {
        id: id.parse().unwrap(),
        name: "name",
        suite: if id.starts_with("smoke") { Suite::Smoke } else { Suite::Filesystem },
        place: Place::Environment,
        share: None,
        setting: None,
        proves: proves.to_vec(),
        blames,
        needs: &[],
        blocked_by: blocked_by.iter().map(|b| b.parse().unwrap()).collect(),
        profiles: only,
        environments: &[],
        loads: None,
        seconds: 60,
        reproducer: None,
        random: false,
        excluded: None,
        asked_for: AskedFor::Body(Vec::new()),
        doc: format!("What `{id}` proves.\n\nWhy Kata needs it."),
    }
}

pub(crate) const INSTALL: &str = "smoke::packages_install";
pub(crate) const BOOT: &str = "smoke::guest_boots";
pub(crate) const QMP: &str = "smoke::qmp_replies_parse";
pub(crate) const VSOCK: &str = "smoke::vsock_connects";
pub(crate) const DAEMON: &str = "smoke::daemon_accepts_flags";
pub(crate) const RENAME: &str = "filesystem::virtio_fs::rename_is_atomic";
pub(crate) const POSIX: &str = "filesystem::virtio_fs::pjdfstest";
pub(crate) const NINE: &str = "filesystem::virtio_9p::rename_is_atomic";
pub(crate) const BLK: &str = "filesystem::virtio_blk::rename_is_atomic";
pub(crate) const HOTPLUG: &str = "smoke::memory_is_hotplugged";
pub(crate) const TDX: &str = "smoke::tdx_guest_exists";

pub(crate) fn catalogue() -> Vec<Test> {
    use Capability as C;
    use Component::{Kernel, Packages, Qemu, Virtiofsd};
    vec![
        test(INSTALL, &[C::PackagesInstall], Packages, &[], &[]),
        test(BOOT, &[C::VmmBoot, C::KernelGuest], Qemu, &[], &[]),
        test(QMP, &[C::VmmQmp], Qemu, &[], &[]),
        test(VSOCK, &[C::VmmVsock], Kernel, &[BOOT], &[]),
        test(HOTPLUG, &[C::VmmHotplugMemory, C::VmmHotplugBlk, C::VmmHotplugNet], Qemu, &[BOOT], &[]),
        test(TDX, &[C::VmmTdx], Qemu, &[], &[]),
        test(DAEMON, &[], Virtiofsd, &[], &[]),
        test(RENAME, &[C::FsVirtioFs], Virtiofsd, &[BOOT, DAEMON], &[]),
        test(POSIX, &[C::FsVirtioFsPosix], Virtiofsd, &[RENAME], &[]),
        test(NINE, &[C::FsVirtio9p], Qemu, &[BOOT], &["go-3.2"]),
        test(BLK, &[C::FsVirtioBlk], Kernel, &[BOOT], &[]),
    ]
}

/// The distro of all samples.
pub(crate) static DEBIAN: LazyLock<DistroId> = LazyLock::new(|| "debian".parse().unwrap());

pub(crate) fn cell(release: &str) -> CellId {
    CellId {
        distro: DEBIAN.clone(),
        release: release.parse().unwrap(),
        arch: Arch::X86_64,
        environment: Environment::Container,
    }
}

fn map<K: FromStr<Err: Debug> + Ord, V: FromStr<Err: Debug>>(items: &[(&str, &str)]) -> BTreeMap<K, V> {
    items.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect()
}

pub(crate) fn facts(basis: Basis) -> CellFacts {
    CellFacts {
        basis,
        accelerator: if basis == Basis::Emulated { Accelerator::Tcg } else { Accelerator::Kvm },
        versions: map(&[("qemu-system-x86", "1:10.0.2+ds-2"), ("virtiofsd", "1.13.2-1")]),
        suites: map(&[("qemu-system-x86", "trixie"), ("virtiofsd", "trixie")]),
        kernel: Some("6.12.41+deb13-amd64".parse().unwrap()),
        image: "kata-qualify/debian:13".to_owned(),
        image_made: Some(at(0)),
        image_cached: true,
        image_manifest: Some("images/debian-13.json".to_owned()),
        image_options: vec!["accepted an expired Release from http://user:pass@mirror.example/debian".to_owned()],
        environment: [("dev-shm", "1 GiB"), ("io_uring", "blocked by seccomp")]
            .map(|(probe, words)| (probe.to_owned(), ProbeAnswer::Words(words.to_owned())))
            .into_iter()
            .chain(if basis == Basis::Hardware { answers_of_hardware() } else { BTreeMap::new() })
            .collect(),
        candidates: BTreeMap::new(),
        notes: vec![],
    }
}

/// The answers without which nobody believes that a cell ran on hardware.
pub(crate) fn answers_of_hardware() -> BTreeMap<String, ProbeAnswer> {
    let processor = ProbeAnswer::Words("the processor is no virtual one".to_owned());
    [("kvm".to_owned(), ProbeAnswer::Yes), ("processor".to_owned(), processor)].into()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_785_000_000 + seconds).unwrap()
}

/// Builder of a journal, with one second for each event.
#[derive(Default)]
pub(crate) struct Maker {
    pub(crate) journal: Journal,
}

impl Maker {
    pub(crate) fn push(&mut self, event: Event) -> &mut Maker {
        let at = at(self.journal.entries.len() as i64);
        self.journal.entries.push(JournalEntry { at, event });
        self
    }

    pub(crate) fn start(&mut self, profiles: &[&str], releases: &[&str]) -> &mut Maker {
        self.push(Event::RunStarted {
            schema: SCHEMA,
            run: "20260725-172000".to_owned(),
            harness: "0.1.0".to_owned(),
            commit: "0123456789ab".to_owned(),
            argv: strings(&["kata-qualify", "run", "--mirror", "http://user:pass@mirror.example/debian"]),
            records: "c1a0d3f5b6e7".to_owned(),
            catalogue: "d0ce6a24b342".to_owned(),
            profiles: profile_names(profiles),
            cells: releases.iter().map(|r| cell(r)).collect(),
            planned: releases.iter().map(|r| (cell(r), 11)).collect(),
            filter: None,
            candidate: false,
            shaped: false,
            options: vec![],
            facts: None,
        })
    }

    pub(crate) fn done(&mut self, release: &str, profiles: &[&str], test: &str, outcome: Outcome) -> &mut Maker {
        self.attempt(release, profiles, test, 1, outcome)
    }

    pub(crate) fn attempt(
        &mut self,
        release: &str,
        profiles: &[&str],
        test: &str,
        attempt: u32,
        outcome: Outcome,
    ) -> &mut Maker {
        self.push(Event::TestStarted {
            cell: cell(release),
            profiles: profile_names(profiles),
            test: test.parse().unwrap(),
            attempt,
        });
        self.push(Event::TestFinished {
            cell: cell(release),
            profiles: profile_names(profiles),
            test: test.parse().unwrap(),
            attempt,
            machine: 0,
            guests: vec![1],
            outcome,
            millis: 1234,
            notes: vec![],
            artifacts: vec![format!("{release}/{attempt}/serial.log")],
        })
    }
}

pub(crate) fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|s| (*s).to_owned()).collect()
}

pub(crate) fn profile_names(names: &[&str]) -> Vec<ProfileName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn fail(blames: Component, message: &str) -> Outcome {
    Outcome::Fail(Failure::new(blames, message))
}

pub(crate) fn skip(reason: &str) -> Outcome {
    Outcome::Skip { reason: reason.to_owned() }
}

pub(crate) fn blocked(by: &str) -> Outcome {
    Outcome::Blocked { by: by.parse().unwrap() }
}

pub(crate) fn error(message: &str) -> Outcome {
    Outcome::Error { message: message.to_owned() }
}

/// Output by which a guest may try to break a report.
pub(crate) const HOSTILE: &str = "\u{1b}[31mred\u{1b}[0m \0 ]]> <script>alert(1)</script> | `x` **b** \u{fffe}\u{ffff} & \"q\" http://user:pass@mirror.example/debian";

/// Returns a journal of several releases: a good one on hardware, an emulated one with failures, one killed half-way,
/// and one that never came up.
pub(crate) fn journal() -> Journal {
    let all: &[&str] = &["go-3.2", "go-3.29", "rs-4.0"];
    let mut maker = Maker::default();
    maker.start(all, &["12", "13", "testing", "sid"]);

    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::PhaseStarted { cell: cell("13"), phase: Phase::Image });
    maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Hardware) });
    maker.push(Event::PhaseStarted { cell: cell("13"), phase: Phase::Tests });
    maker.push(launched());
    for test in [INSTALL, BOOT, QMP, HOTPLUG, DAEMON, BLK] {
        maker.done("13", all, test, Outcome::Pass);
    }
    maker.done("13", all, VSOCK, skip("the environment has no /dev/vhost-vsock"));
    maker.done("13", all, TDX, fail(Component::Qemu, "-object help lists no tdx-guest"));
    maker.attempt("13", &["go-3.2", "go-3.29"], RENAME, 1, fail(Component::Virtiofsd, "a reader saw neither name"));
    maker.attempt("13", &["go-3.2", "go-3.29"], RENAME, 2, Outcome::Pass);
    maker.done("13", &["rs-4.0"], RENAME, Outcome::Pass);
    maker.done("13", &["go-3.2"], NINE, Outcome::Pass);
    maker.push(posix_differs(all));
    maker.push(Event::CellFinished { cell: cell("13") });

    maker.push(Event::CellStarted { cell: cell("12") });
    maker.push(Event::CellFacts { cell: cell("12"), facts: facts(Basis::Emulated) });
    for test in [INSTALL, BOOT, BLK] {
        maker.done("12", all, test, Outcome::Pass);
    }
    maker.done("12", all, TDX, fail(Component::Qemu, "-object help lists no tdx-guest"));
    maker.done("12", all, VSOCK, skip("the environment has no /dev/vhost-vsock"));
    maker.done("12", all, QMP, fail(Component::Qemu, HOSTILE));
    maker.done("12", all, HOTPLUG, Outcome::Pass);
    maker.attempt(
        "12",
        all,
        DAEMON,
        1,
        fail(Component::Virtiofsd, "--shared-dir: unknown option\nusage: virtiofsd [options]"),
    );
    maker.attempt(
        "12",
        all,
        DAEMON,
        2,
        fail(Component::Virtiofsd, "--shared-dir: unknown option\nusage: virtiofsd [options]"),
    );
    maker.done("12", all, RENAME, blocked(DAEMON));
    maker.done("12", all, POSIX, blocked(RENAME));
    maker.done("12", &["go-3.2"], NINE, error("the guest's console went silent"));
    maker.push(Event::CellFinished { cell: cell("12") });

    maker.push(Event::CellStarted { cell: cell("testing") });
    maker.push(Event::PhaseStarted { cell: cell("testing"), phase: Phase::Image });
    maker.push(Event::CellError {
        cell: cell("testing"),
        phase: Phase::Image,
        message: "bootstrapping debian testing: Could not resolve 'mirror.example'".to_owned(),
    });
    maker.push(Event::CellFinished { cell: cell("testing") });

    maker.push(Event::CellStarted { cell: cell("sid") });
    maker.push(Event::CellFacts { cell: cell("sid"), facts: facts(Basis::Emulated) });
    maker.done("sid", all, INSTALL, Outcome::Pass);
    maker.push(Event::TestStarted {
        cell: cell("sid"),
        profiles: profile_names(all),
        test: BOOT.parse().unwrap(),
        attempt: 1,
    });
    maker.journal
}

pub(crate) fn matrix() -> crate::matrix::Matrix {
    crate::matrix::matrix(&journal(), &catalogue(), &profiles())
}

/// Returns the tests of the small run.
pub(crate) fn small_catalogue() -> Vec<Test> {
    catalogue().into_iter().filter(|test| [VSOCK, RENAME, POSIX].contains(&test.id.as_str())).collect()
}

/// Returns a run that a person can read completely: one release, one profile, a test that passed when repeated, one
/// that failed and one that was skipped.
pub(crate) fn small_journal() -> Journal {
    let profile: &[&str] = &["go-3.29"];
    let mut maker = Maker::default();
    maker.start(profile, &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::PhaseStarted { cell: cell("13"), phase: Phase::Tests });
    maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Hardware) });
    maker.push(launched());
    maker.attempt("13", profile, RENAME, 1, fail(Component::Virtiofsd, "a reader saw neither name"));
    maker.attempt("13", profile, RENAME, 2, Outcome::Pass);
    maker.push(posix_differs(profile));
    maker.done("13", profile, VSOCK, skip("the environment has no /dev/vhost-vsock"));
    maker.push(Event::CellFinished { cell: cell("13") });
    maker.push(Event::RunFinished { interrupted: false });
    maker.journal
}

pub(crate) fn small_matrix() -> crate::matrix::Matrix {
    crate::matrix::matrix(&small_journal(), &small_catalogue(), &profiles())
}

/// Returns the start of a guest of release 13 with a deviation.
fn launched() -> Event {
    Event::GuestStarted {
        cell: cell("13"),
        guest: 1,
        test: Some(RENAME.parse().unwrap()),
        attempt: 1,
        profiles: profile_names(&["go-3.29"]),
        configuration: "virtio-fs".to_owned(),
        argv: strings(&["qemu-system-x86_64", "-machine", "q35,accel=kvm", "-append", "console=hvc0 panic=1"]),
        daemon: strings(&["/usr/libexec/virtiofsd", "--fd=3", "--shared-dir=/share"]),
        deviations: strings(&["daemon sandbox none: the container has no user namespaces"]),
    }
}

/// Returns a failure on release 13 with notes.
fn posix_differs(profiles: &[&str]) -> Event {
    Event::TestFinished {
        cell: cell("13"),
        profiles: profile_names(profiles),
        test: POSIX.parse().unwrap(),
        attempt: 1,
        machine: 0,
        guests: vec![1],
        outcome: fail(Component::Virtiofsd, "2 of 398 tests differ from the native filesystem"),
        millis: 65_000,
        notes: strings(&["chflags::eperm", "utimensat::birth_time"]),
        artifacts: vec![],
    }
}

/// Gives a run the filter for tests that have a text in their ids.
pub(crate) fn filtered(matrix: &mut crate::matrix::Matrix, text: &str) {
    let filter = Some(RunFilter::Matching(text.to_owned()));
    matrix.cells.iter_mut().for_each(|cell| cell.filter.clone_from(&filter));
    matrix.filter = filter;
}

/// Compares a run with no record.
pub(crate) fn standings(matrix: &crate::matrix::Matrix) -> Standings<'_> {
    Standings::new(matrix, Recorded::default(), false)
}

/// Compares a run with the record of Debian.
pub(crate) fn compared_with_record<'m>(
    matrix: &'m crate::matrix::Matrix,
    entries: &'m [VerifiedEntry],
) -> Standings<'m> {
    Standings::new(matrix, Recorded::of_distro(&DEBIAN, entries), false)
}

/// Returns a complete run of release 13 under one profile; `change` may alter an outcome.
pub(crate) fn run(change: impl Fn(&str) -> Option<Outcome>) -> Maker {
    let mut maker = Maker::default();
    maker.start(&["go-3.29"], &["13"]);
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Emulated) });
    for test in [INSTALL, BOOT, QMP, HOTPLUG, DAEMON, RENAME, BLK, POSIX] {
        maker.done("13", &["go-3.29"], test, change(test).unwrap_or(Outcome::Pass));
    }
    let lacks = skip("the environment has no /dev/vhost-vsock");
    maker.done("13", &["go-3.29"], VSOCK, change(VSOCK).unwrap_or(lacks));
    let no_tdx = fail(Component::Qemu, "no tdx-guest");
    maker.done("13", &["go-3.29"], TDX, change(TDX).unwrap_or(no_tdx));
    maker.push(Event::CellFinished { cell: cell("13") });
    maker.push(Event::RunFinished { interrupted: false });
    maker
}

/// A run on release 13 that was asked for the tests that match these filters, with the outcomes of those that ran.
pub(crate) fn asked(filters: &str, outcomes: &[(&str, Outcome)]) -> Maker {
    let mut maker = Maker::default();
    maker.start(&["go-3.29"], &["13"]);
    if let Some(Event::RunStarted { filter, .. }) = maker.journal.entries.last_mut().map(|entry| &mut entry.event) {
        *filter = Some(filters.to_owned());
    }
    maker.push(Event::CellStarted { cell: cell("13") });
    maker.push(Event::CellFacts { cell: cell("13"), facts: facts(Basis::Emulated) });
    for (test, outcome) in outcomes {
        maker.done("13", &["go-3.29"], test, outcome.clone());
    }
    maker.push(Event::CellFinished { cell: cell("13") });
    maker.push(Event::RunFinished { interrupted: false });
    maker
}

/// Judges a run by the whole catalogue.
pub(crate) fn judged(maker: &Maker) -> crate::matrix::Matrix {
    crate::matrix::matrix(&maker.journal, &catalogue(), &profiles())
}

/// Returns the record that [`run`] writes if nothing is altered.
pub(crate) fn recorded() -> Vec<VerifiedEntry> {
    let matrix = judged(&run(|_| None));
    let (entries, _) = crate::views::record::verified_entries(&standings(&matrix));
    entries.into_iter().map(|(_, entry)| entry).collect()
}
