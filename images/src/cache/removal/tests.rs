use super::super::tests::{make, manifest};
use super::super::{Image, ImageOrigin, Turn, list, trim};
use super::*;
use crate::manifest::FORMAT;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// Returns a name in the form of a key.
fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Makes entries such as power cuts, other versions and people leave in the place of an image; a link leads to
/// `precious`.
fn damaged(store: &Store, precious: &Path) -> Vec<String> {
    store.check().unwrap();
    let whole = serde_json::to_string(&manifest(&key('0'), "13", "2026-11-01T00:00:00Z")).unwrap();
    let older = whole.replace(&format!("\"format\":{FORMAT}"), "\"format\":0");
    assert_ne!(older, whole);
    let newer = whole.replacen('{', "{\"of-tomorrow\":1,", 1);
    let place = |digit| store.images.join(key(digit));
    // An empty manifest, another format, an unknown field, another image's manifest, and no manifest.
    let texts = [Some(""), Some(older.as_str()), Some(newer.as_str()), Some(whole.as_str()), None];
    for (digit, text) in ('1'..='5').zip(texts) {
        std::fs::create_dir_all(place(digit).join("rootfs/etc")).unwrap();
        std::fs::write(place(digit).join("rootfs/etc/hostname"), "kata\n").unwrap();
        if let Some(text) = text {
            std::fs::write(place(digit).join("manifest.json"), text).unwrap();
        }
    }
    std::fs::create_dir_all(place('6').join("manifest.json")).unwrap();
    std::fs::write(place('7'), "").unwrap();
    symlink(precious, place('8')).unwrap();
    ('1'..='8').map(key).collect()
}

fn precious() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data"), "precious").unwrap();
    dir
}

/// Returns the names in the directory of images without the cache's own.
fn names(store: &Store) -> Vec<String> {
    let all = std::fs::read_dir(&store.images).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = all.filter(|name| !super::super::OWN.contains(&name.as_str())).collect();
    names.sort();
    names
}

#[test]
fn unreadable_images_are_removed_like_any_other() {
    let (cache, precious) = (tempfile::tempdir().unwrap(), precious());
    let store = Store::new(cache.path());
    let keys = damaged(&store, precious.path());
    let whole = make(&store, &key('9'), "13", "2026-11-01T00:00:00Z");
    assert_eq!(list(cache.path()), [Image { origin: ImageOrigin::Cached, ..whole }]);
    let mut done = clean(cache.path(), &CleanScope::Superseded).unwrap();
    done.removed.sort();
    assert_eq!(done, CleanReport { removed: keys.clone(), ..CleanReport::default() });
    damaged(&store, precious.path());
    let mut done = clean(cache.path(), &CleanScope::All).unwrap();
    done.removed.sort();
    assert_eq!(done, CleanReport { removed: [&keys[..], &[key('9')]].concat(), ..CleanReport::default() });
    assert_eq!(names(&store), Vec::<String>::new());
    damaged(&store, precious.path());
    let done = trim(cache.path(), 0).unwrap();
    assert!(done.bytes == 0 && done.leftovers.is_empty(), "{done:?}");
    let is_removed = |key: String| done.removed.iter().any(|image| image.key == key && image.release.is_none());
    // A directory with a file in it takes space on every filesystem.
    assert!(('1'..='5').map(key).all(is_removed), "{:?}", done.removed);
    assert!(precious.path().join("data").exists(), "a link was followed");
}

#[test]
fn unreadable_images_are_rebuilt() {
    let (cache, precious) = (tempfile::tempdir().unwrap(), precious());
    let store = Store::new(cache.path());
    let cancel = std::sync::atomic::AtomicBool::new(false);
    for key in damaged(&store, precious.path()) {
        assert_eq!(store.find(&key).unwrap(), None, "{key}");
        let turn = store.turn(&crate::fixtures::runner(&cancel, 20), &key).unwrap();
        assert!(matches!(turn, Turn::Ours { .. }), "{key}");
        let image = make(&store, &key, "13", "2026-11-01T00:00:00Z");
        assert_eq!(store.find(&key).unwrap().unwrap().manifest, image.manifest);
    }
    assert!(precious.path().join("data").exists(), "a link was followed");
}

#[test]
fn a_damaged_image_is_not_removed_while_in_use() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let image = make(&store, &key('1'), "13", "2026-11-01T00:00:00Z");
    let hold = image.hold().unwrap();
    std::fs::write(image.dir.join("manifest.json"), "").unwrap();
    assert_eq!(clean(cache.path(), &CleanScope::All).unwrap().in_use, [key('1')]);
    assert!(trim(cache.path(), 0).unwrap().removed.is_empty());
    let cancel = std::sync::atomic::AtomicBool::new(false);
    assert!(store.turn(&crate::fixtures::runner(&cancel, 1), &key('1')).is_err(), "it is in use");
    assert!(image.rootfs().exists());
    drop(hold);
    // A process that another test starts keeps a copy of the lock until it calls exec.
    let mut tries = (0..100).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        clean(cache.path(), &CleanScope::All).unwrap().removed
    });
    assert_eq!(tries.find(|removed| !removed.is_empty()), Some(vec![key('1')]));
}

#[test]
fn foreign_files_in_the_cache_are_kept_and_reported() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    make(&store, &key('1'), "13", "2026-11-01T00:00:00Z");
    std::fs::create_dir(store.images.join("photos")).unwrap();
    std::fs::write(store.images.join("photos/manifest.json"), "{}").unwrap();
    std::fs::write(store.images.join("notes"), "").unwrap();
    let mut done = clean(cache.path(), &CleanScope::All).unwrap();
    done.others.sort();
    let others = ["notes", "photos"].map(|name| store.images.join(name)).to_vec();
    assert_eq!(done, CleanReport { removed: vec![key('1')], others, ..CleanReport::default() });
    assert_eq!(names(&store), ["notes", "photos"]);
}

#[test]
fn entries_with_unusable_locks_are_left_and_reported() {
    let (cache, precious) = (tempfile::tempdir().unwrap(), precious());
    let store = Store::new(cache.path());
    for digit in ['1', '2'] {
        make(&store, &key(digit), "13", "2026-11-01T00:00:00Z");
    }
    let (tmp, locks) = (store.images.join(".tmp"), store.images.join(".locks"));
    std::fs::create_dir(tmp.join("x")).unwrap();
    for lock in [tmp.join("x/lock"), locks.join(key('1')), locks.join(key('3'))] {
        symlink("/dev/null", lock).unwrap();
    }
    symlink(precious.path(), tmp.join("y")).unwrap();
    std::fs::write(tmp.join("z"), "").unwrap();
    let swept = sweep(cache.path()).unwrap();
    assert_eq!(swept.removed, 2, "neither the file nor the link has a maker");
    let messages: Vec<String> = swept.leftovers.iter().map(ToString::to_string).collect();
    let expected =
        format!("{}: cannot find out from its lock whether it is in use: {}", tmp.join("x").display(), tmp.display());
    assert!(
        messages.len() == 2 && messages[0].starts_with(&expected) && messages[0].contains("is a link"),
        "{messages:?}"
    );
    assert_eq!(swept.leftovers[1].path, locks.join(key('3')));
    let lock = locks.join(key('3')).display().to_string();
    assert_eq!(
        messages[1],
        format!("{lock}: is a link: expected a folder or file that belongs to you and that nobody else may write to")
    );
    let done = clean(cache.path(), &CleanScope::All).unwrap();
    assert_eq!(done.removed, [key('2')]);
    let paths: Vec<PathBuf> = done.leftovers.iter().map(|leftover| leftover.path.clone()).collect();
    assert_eq!(paths, [store.images.join(key('1')), locks.join(key('3'))]);
    assert!(precious.path().join("data").exists(), "a link was followed");
}

#[test]
fn sweep_removes_only_the_workshops_of_dead_processes() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    let living = store.workshop("aaaa").unwrap();
    let dead = store.workshop("bbbb").unwrap();
    let dead_dir = dead.dir.clone();
    // As after `kill -9`: the lock goes with the process, the directory stays.
    let lock = dead_dir.join("lock");
    std::mem::forget(dead);
    std::fs::remove_file(&lock).unwrap();
    File::create(&lock).unwrap();
    assert_eq!(sweep(cache.path()).unwrap(), SweptImages { removed: 1, leftovers: vec![] });
    assert!(living.dir.exists());
    assert!(!dead_dir.exists());
}

#[test]
fn clean_leaves_images_in_use() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    make(&store, "old", "13", "2026-11-01T00:00:00Z");
    let new = make(&store, "new", "13", "2026-11-09T00:00:00Z");
    make(&store, "other", "12", "2026-11-10T00:00:00Z");
    let done = clean(cache.path(), &CleanScope::Superseded).unwrap();
    assert_eq!(done.removed, ["old"]);
    let hold = new.hold().unwrap();
    let done = clean(cache.path(), &CleanScope::All).unwrap();
    let in_use = vec!["new".to_owned()];
    assert_eq!(done, CleanReport { removed: vec!["other".to_owned()], in_use, ..CleanReport::default() });
    drop(hold);
    assert_eq!(clean(cache.path(), &CleanScope::Release("debian:13".parse().unwrap())).unwrap().removed, ["new"]);
    assert!(list(cache.path()).is_empty());
    // Nothing is left of the images, including their locks.
    assert_eq!(std::fs::read_dir(store.images.join(".locks")).unwrap().count(), 0);
}

/// A maker that was killed before there was an image leaves such a lock.
#[test]
fn sweep_removes_locks_without_an_image() {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::new(cache.path());
    make(&store, "made", "13", "2026-11-01T00:00:00Z");
    let locks = store.images.join(".locks");
    std::fs::write(locks.join("never"), "").unwrap();
    sweep(cache.path()).unwrap();
    assert!(!locks.join("never").exists() && list(cache.path()).len() == 1);
}

#[test]
fn a_cache_with_links_is_refused_and_their_targets_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("precious");
    std::fs::create_dir_all(precious.join("data")).unwrap();
    let (cache, images) = (dir.path().join("cache"), dir.path().join("cache/images"));
    std::fs::create_dir_all(&images).unwrap();
    let link = |name: &str| symlink(precious.join("data"), images.join(name)).unwrap();
    link(".tmp");
    for done in [sweep(&cache).map(drop), clean(&cache, &CleanScope::All).map(drop), trim(&cache, 0).map(drop)] {
        let chain = format!("{:?}", done.unwrap_err());
        assert!(chain.contains("is a link"), "{chain}");
    }
    assert!(precious.join("data").exists());
    std::fs::remove_file(images.join(".tmp")).unwrap();
    symlink(precious.join("made"), images.join(".gate")).unwrap();
    assert!(clean(&cache, &CleanScope::All).is_err());
    assert!(!precious.join("made").exists());
}
