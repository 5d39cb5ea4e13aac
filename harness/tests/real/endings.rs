//! Endings of a guest are told apart: each is provoked on a real release, in a real guest.
//!
//! Needs root, mmdebstrap and Docker, as `kata-qualify doctor` says.

use futures_util::stream::{self, StreamExt as _};
use harness::environments::container;
use harness::{line, setup, sweep};
use model::arch::Arch;
use model::database::Database;
use model::profile::Profile;
use protocol::fault::Fault;
use protocol::message::{EnvironmentReply, EnvironmentRequest};
use std::path::PathBuf;
use suites::environment::Ending;

/// Returns the image cache that tests share.
fn cache() -> PathBuf {
    let default_cache = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache");
    std::env::var_os("KATA_QUALIFY_CACHE").map_or_else(default_cache, PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(lacks = "containers", ignore = "needs root, x86_64, mmdebstrap and Docker")]
async fn each_kind_of_guest_failure_is_recognised() {
    let docker = container::connect().await.unwrap();
    let record = Database::embedded();
    let release = record.record("debian").unwrap().release("13", Arch::of_machine().unwrap()).unwrap();
    let profile = Profile::find("go-3.29").unwrap().clone();
    let (requested, options) = (release.clone(), images::Options::new(cache()));
    let prepared = tokio::task::spawn_blocking(move || images::prepare(&requested, &options, &|_| {})).await.unwrap();
    let image = prepared.unwrap();
    let (claims, initramfs) = setup::boot_files_of(&image, &release, std::slice::from_ref(&profile)).unwrap();
    let docker_image = images::docker::ensure_imported(&docker, &image).await.unwrap();
    let prepared = setup::PreparedCell {
        base: setup::EnvironmentBase::Container { image: Box::new(image), docker_image: docker_image.clone() },
        holds: Vec::new(),
        claims,
        initramfs,
        files: Vec::new(),
    };
    let id = format!("endings-{}", std::process::id());
    let lock = sweep::RunLock::take(&sweep::locks_folder(&cache()), &id).unwrap();
    let lock_path = lock.path().to_string_lossy().into_owned();
    let cache_name = images::cache::id(&cache()).unwrap();
    let owner = container::OwningRun { run: id, lock: lock_path, cache: cache_name, kept: None };
    let container = container::start(&docker, &docker_image, harness::built_in::AGENT, &owner, None).await.unwrap();
    setup::send(&container.line, &prepared).await.unwrap();
    let rehearsals = Fault::ALL.iter().map(|fault| {
        let request = EnvironmentRequest::Rehearse { profile: Box::new(profile.clone()), fault: *fault };
        let agent = &container.line;
        async move { (*fault, line::ask(agent, request, 300).await) }
    });
    // Two guests run at the same time: a spinning guest is waited for until it counts as hung, and meanwhile all others
    // boot.
    let replies: Vec<_> = stream::iter(rehearsals).buffer_unordered(2).collect().await;
    container.remove().await.unwrap();
    for (fault, reply) in replies {
        let Ok(EnvironmentReply::Rehearsed { ending }) = reply else { panic!("{fault:?}: {reply:?}") };
        let is_expected = match fault {
            Fault::Panic => matches!(&ending, Ending::Panicked { line } if line.contains("sysrq triggered crash")),
            Fault::Oops => matches!(&ending, Ending::Oopsed { .. }),
            Fault::Spin => matches!(&ending, Ending::Hung { silent } if *silent >= 20),
            Fault::StopVmm => matches!(&ending, Ending::VmmStopped { .. }),
            Fault::KillVmm => ending == Ending::VmmKilled { signal: 9 },
            Fault::EndVmm => ending == Ending::VmmKilled { signal: 15 },
            Fault::CrashVmm => ending == Ending::VmmKilled { signal: 11 },
            Fault::KillDaemon => ending == Ending::DaemonKilled { signal: 9 },
            Fault::StopDaemon => ending == Ending::DaemonStopped,
        };
        assert!(is_expected, "{fault:?} looks like {ending:?}");
        eprintln!("{fault:?}: {ending:?}");
    }
}
