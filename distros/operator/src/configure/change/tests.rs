use super::super::lock::lock;
use super::super::revert::revert;
use super::super::state::{ManagedConfiguration, STATE};
use super::*;

fn change(path: &str, before: Option<&str>, after: &str) -> FileChange {
    FileChange { path: path.into(), before: before.map(str::to_owned), after: after.to_owned() }
}

fn configured(config: &str) -> ManagedConfiguration {
    ManagedConfiguration {
        config: config.into(),
        profile: "p".into(),
        production: true,
        notes: Vec::new(),
        files: Vec::new(),
        handler: Vec::new(),
    }
}

fn new(files: Vec<FileChange>) -> State {
    let paths = files.iter().map(|f| f.path.clone()).collect();
    let this = ManagedConfiguration { files: paths, ..configured("/k/configuration.toml") };
    State { version: VERSION, configurations: vec![this], files, ..State::default() }
}

/// Returns every path below a directory, with its text.
fn tree(dir: &Path) -> Vec<(PathBuf, Option<String>)> {
    let mut all = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path.clone());
            }
            all.push((path.clone(), std::fs::read_to_string(path).ok()));
        }
    }
    all.sort();
    all
}

#[test]
fn revert_restores_every_file_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path()).unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("etc/main"), "old\r\nno newline").unwrap();
    let before = tree(dir.path());
    let first = vec![change("/etc/main", Some("old\r\nno newline"), "new\n"), change("/etc/a/b/c", None, "x\n")];
    apply(&root, &lock(&root).unwrap(), None, new(first), &[]).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("etc/main")).unwrap(), "new\n");
    // A second call with other files: originals stay recorded, and files no longer wanted are removed.
    let old = state::read(&root).unwrap().unwrap();
    let again = original(&root, Some(&old), Path::new("/etc/main")).unwrap();
    assert_eq!(again.as_deref(), Some("old\r\nno newline"));
    let files = vec![change("/etc/main", again.as_deref(), "newer\n")];
    apply(&root, &lock(&root).unwrap(), Some(&old), new(files), &[]).unwrap();
    assert!(!dir.path().join("etc/a/b/c").exists());
    let last = state::read(&root).unwrap().unwrap();
    let restored = revert(&root, None, &last, false).unwrap().restored;
    assert_eq!(restored.len(), 1);
    assert!(restored[0].diff().contains("-newer"), "{}", restored[0].diff());
    assert_ne!(tree(dir.path()), before, "a dry run takes nothing back");
    let reverted = revert(&root, Some(&lock(&root).unwrap()), &last, false).unwrap();
    assert_eq!(reverted.kept, []);
    assert_eq!(tree(dir.path()), before);
    assert!(state::read(&root).unwrap().is_none());
}

#[test]
fn files_changed_by_others_are_reverted_only_by_force() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path()).unwrap();
    let ours = "# `kata-osinfo unconfigure` removes it.\nx = 1\n";
    let files = vec![change("/f", None, ours), change("/g", None, ours)];
    apply(&root, &lock(&root).unwrap(), None, new(files), &[]).unwrap();
    std::fs::write(dir.path().join("f"), ours.replace('1', "2")).unwrap();
    let old = state::read(&root).unwrap().unwrap();
    let error = original(&root, Some(&old), Path::new("/f")).unwrap_err();
    assert!(matches!(error, ChangeError::Changed { .. }), "{error}");
    assert!(error.to_string().contains("(`x = 1` is gone, line 2 `x = 2` is new)"), "{error}");
    // The rest is reverted anyway, and the remaining file can be reverted later.
    let reverted = revert(&root, Some(&lock(&root).unwrap()), &old, false).unwrap();
    assert_eq!(reverted.kept.iter().map(|k| k.path.as_path()).collect::<Vec<_>>(), [Path::new("/f")]);
    assert!(dir.path().join("f").exists() && !dir.path().join("g").exists());
    let old = state::read(&root).unwrap().unwrap();
    assert_eq!(old.files.len(), 1);
    let reverted = revert(&root, Some(&lock(&root).unwrap()), &old, true).unwrap();
    assert_eq!(reverted.kept, []);
    assert_eq!(tree(dir.path()), []);
}

#[test]
fn a_file_that_changes_meanwhile_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path()).unwrap();
    std::fs::write(dir.path().join("f"), "new").unwrap();
    let files = vec![change("/f", Some("as it was looked at"), "ours\n")];
    let error = apply(&root, &lock(&root).unwrap(), None, new(files), &[]).unwrap_err();
    assert!(matches!(error, ChangeError::Meanwhile(_)), "{error}");
    let step = PendingFile::new(&root, change("/f", None, "ours"), Some("ours".to_owned())).unwrap();
    std::fs::write(dir.path().join("f"), "newer").unwrap();
    assert!(matches!(step.take(&root, None), Err(ChangeError::Meanwhile(_))));
    assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "newer");
}

#[test]
fn a_fifo_is_removed_only_by_force_and_a_binary_file_or_directory_never() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path()).unwrap();
    std::fs::write(dir.path().join("b"), "old").unwrap();
    let files = vec![change("/a", None, "ours"), change("/b", Some("old"), "ours"), change("/c", None, "ours")];
    apply(&root, &lock(&root).unwrap(), None, new(files), &[]).unwrap();
    let path_of = |name: &str| dir.path().join(name);
    ["a", "b", "c"].iter().for_each(|name| std::fs::remove_file(path_of(name)).unwrap());
    mknodat(CWD, path_of("a"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    std::fs::write(path_of("b"), [0xff, 0xfe]).unwrap();
    std::fs::create_dir(path_of("c")).unwrap();
    let old = state::read(&root).unwrap().unwrap();
    let kept = revert(&root, Some(&lock(&root).unwrap()), &old, false).unwrap().kept;
    assert_eq!(kept.iter().map(|k| k.by_force).collect::<Vec<_>>(), [true, false, false], "{kept:?}");
    assert!(path_of("a").exists() && std::fs::read(path_of("b")).unwrap() == [0xff, 0xfe]);
    assert_eq!(revert(&root, None, &old, true).unwrap().restored.len(), 2);
    assert!(path_of("a").exists(), "a dry run removes nothing");
    let kept = revert(&root, Some(&lock(&root).unwrap()), &old, true).unwrap().kept;
    assert_eq!(kept.iter().map(|k| k.path.as_path()).collect::<Vec<_>>(), [Path::new("/b"), Path::new("/c")]);
    // The part of others in it cannot be determined.
    assert!(!path_of("a").exists() && std::fs::read(path_of("b")).unwrap() == [0xff, 0xfe]);
}

#[test]
fn a_state_file_with_unsafe_paths_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path()).unwrap();
    std::fs::create_dir_all(dir.path().join("var/lib/kata-osinfo")).unwrap();
    for odd in ["/../x", "x", "/a/../../x", "../../x"] {
        let files = vec![change(odd, None, "")];
        for state_of in [State { files, ..new(Vec::new()) }, State { directories: vec![odd.into()], ..new(Vec::new()) }]
        {
            std::fs::write(dir.path().join(&STATE[1..]), serde_json::to_string(&state_of).unwrap()).unwrap();
            let error = state::read(&root).unwrap_err().to_string();
            assert!(error.contains("not a plain absolute path"), "{error}");
        }
    }
}

#[test]
fn a_state_file_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::new(dir.path()).unwrap();
    std::fs::create_dir_all(dir.path().join("var/lib/kata-osinfo")).unwrap();
    std::fs::write(dir.path().join(&STATE[1..]), "{}").unwrap();
    assert!(matches!(state::read(&root), Err(ChangeError::State(_))));
    let next = State { version: VERSION + 1, ..State::default() };
    std::fs::write(dir.path().join(&STATE[1..]), serde_json::to_string(&next).unwrap()).unwrap();
    assert!(matches!(state::read(&root), Err(ChangeError::Version(4))));
}

#[test]
fn a_diff_names_new_files_as_new() {
    insta::assert_snapshot!(change("/etc/x", None, "a\nb\n").diff(), @r"
    --- /dev/null
    +++ b/etc/x
    @@ -0,0 +1,2 @@
    +a
    +b
    ");
}
