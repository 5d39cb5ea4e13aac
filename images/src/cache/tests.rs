use super::*;
use crate::manifest::FORMAT;
use crate::source::BaseSource;
use model::arch::Arch;

pub(crate) fn manifest(key: &str, version: &str, made: &str) -> Manifest {
    Manifest {
        format: FORMAT,
        key: key.to_owned(),
        request: format!("request-{version}"),
        distro: "debian".parse().unwrap(),
        version: version.parse().unwrap(),
        arch: Arch::X86_64,
        source: BaseSource::Bootstrap,
        oci_digest: None,
        cloud_sha256: None,
        derived_from: None,
        made: made.parse().unwrap(),
        accepted_expired: vec![],
        indexes: vec![],
        requested: vec![],
        packages: vec![],
        origins: vec![],
        owners: vec![],
        timings: vec![],
    }
}

pub(crate) fn make(store: &Store, key: &str, version: &str, made: &str) -> Image {
    let workshop = store.workshop(key).unwrap();
    std::fs::create_dir(workshop.rootfs()).unwrap();
    workshop.finish(store, &manifest(key, version, made)).unwrap()
}

#[test]
fn a_waiting_process_gets_the_image_while_its_maker_holds_it() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    store.check().unwrap();
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let runner = crate::fixtures::runner(&cancel, 20);
    let turn = store.turn(&runner, "aaaa").unwrap();
    assert!(matches!(turn, Turn::Ours { .. }));
    let waits = crate::fixtures::runner(&cancel, 1);
    assert!(store.turn(&waits, "aaaa").is_err(), "it is being made");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| store.turn(&crate::fixtures::runner(&cancel, 20), "aaaa"));
        let image = make(&store, "aaaa", "13", "2026-11-01T00:00:00Z");
        drop(turn);
        // A cell holds the image like this for its lifetime.
        let _hold = image.hold().unwrap();
        assert!(matches!(second.join().unwrap(), Ok(Turn::Made(_))));
    });
}

#[test]
fn a_finished_image_is_found_and_an_abandoned_one_is_not() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let image = make(&store, "aaaa", "13", "2026-11-01T00:00:00Z");
    assert!(!image.dir.join("lock").exists());
    assert_eq!(store.find("aaaa").unwrap().unwrap().manifest, image.manifest);
    let abandoned = store.workshop("bbbb").unwrap();
    std::fs::write(abandoned.dir.join("manifest.json"), "{").unwrap();
    let dir = abandoned.dir.clone();
    drop(abandoned);
    assert!(!dir.exists());
    assert!(store.find("bbbb").unwrap().is_none());
}

#[test]
fn the_newest_image_of_a_request_is_used_offline() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    make(&store, "old", "13", "2026-11-01T00:00:00Z");
    make(&store, "new", "13", "2026-11-09T00:00:00Z");
    make(&store, "other", "12", "2026-11-10T00:00:00Z");
    let found = store.newest(|m| m.request == "request-13").unwrap();
    assert_eq!((found.key(), found.origin), ("new", ImageOrigin::Offline));
    assert!(store.newest(|m| m.request == "request-11").is_none());
}

/// Environment variable with the cache directory for [`make_one_image`].
const PLACE: &str = "KATA_QUALIFY_TEST_PLACE";

#[test]
#[ignore = "a part of an_image_is_synced_to_disk_before_it_is_renamed, which runs it under strace"]
fn make_one_image() {
    if let Some(cache) = std::env::var_os(PLACE) {
        make(&Store::new(Path::new(&cache)), "aaaa", "13", "2026-11-01T00:00:00Z");
    }
}

/// Otherwise a power cut leaves an empty manifest under a key, or a complete one next to an empty tree.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn an_image_is_synced_to_disk_before_it_is_renamed() {
    let strace = || std::process::Command::new("strace");
    let dir = tempfile::tempdir().unwrap();
    let (cache, log) = (dir.path().join("cache"), dir.path().join("log"));
    let calls = "trace=syncfs,fsync,fdatasync,rename,renameat,renameat2";
    let ended = strace()
        .args(["-f", "-y", "-qq", "-e", calls, "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "cache::tests::make_one_image", "--ignored", "--test-threads=1"])
        .env(PLACE, &cache)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    // `1234 fsync(7</…/images/.tmp/aaaa-x1y2z3/manifest.json>) = 0`
    let step = |line: &str| {
        let (call, about) = line.split_once('(')?;
        let call = call.rsplit(' ').next()?;
        let (call, quote) = if call.starts_with("rename") { ("rename", ['"', '"']) } else { (call, ['<', '>']) };
        let name = about.split(quote).nth(1)?.rsplit('/').next()?;
        Some(format!("{call} {}", if name.starts_with("aaaa-") { "workshop" } else { name }))
    };
    let text = std::fs::read_to_string(&log).unwrap();
    let steps: Vec<String> = text.lines().filter_map(step).collect();
    let expected = ["syncfs workshop", "fsync manifest.json", "fsync workshop", "rename workshop", "fsync images"];
    assert_eq!(steps, expected, "{text}");
}

#[test]
fn an_image_survives_serialisation() {
    let cache = tempfile::tempdir().unwrap();
    let image = make(&Store::new(cache.path()), "k", "13", "2026-11-01T00:00:00Z");
    let text = serde_json::to_string(&image).unwrap();
    assert_eq!(serde_json::from_str::<Image>(&text).unwrap(), image);
}
