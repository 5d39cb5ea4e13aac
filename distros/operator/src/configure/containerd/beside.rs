//! Imports of files with others' additions, in a main file that imports kata-osinfo's drop-in by name.
//!
//! Such a main file has no pattern that matches a file next to the drop-in, so the new file must be imported by name,
//! too.

use super::super::edit::LineEnds;
use super::super::lists;
use super::super::state::FileChange;
use super::files::{Files, Replaced};
use super::imports;
use super::loaded::read;
use super::loading::Loading;
use root::Root;
use std::path::Path;
use toml_edit::{Array, DocumentMut};

/// Returns the text of a main file with an import of `theirs` behind that of `ours`; both lie in the same directory.
///
/// `None` if nothing imports `ours` by name, or if something imports `theirs` already.
pub(in super::super) fn with_import_beside(
    root: &Root,
    main: &Path,
    text: &str,
    ours: &Path,
    theirs: &FileChange,
) -> Option<String> {
    let all = imports(&text.parse::<DocumentMut>().ok()?);
    let at = all.iter().position(|import| leads_to(root, import, &|path| path == ours))?;
    let import = Path::new(&all[at]).with_file_name(theirs.path.file_name()?).display().to_string();
    let is_theirs = |path: &Path| path == theirs.path;
    let replaced =
        Replaced::from([(main.to_owned(), Some(text.to_owned())), (theirs.path.clone(), Some(theirs.after.clone()))]);
    // If containerd does not start for another reason, the code that writes its handler reports it.
    let files = read(&Files { root, replaced: &replaced }, main, Loading::MergesThenMigrates).unwrap_or_default();
    let is_read = files.iter().any(|file| root.resolve_new(&file.path).is_ok_and(|path| is_theirs(&path)));
    if is_read || !leads_to(root, &import, &is_theirs) {
        return None;
    }
    with_list(text, |list| lists::insert(list, at + 1, import.into()))
}

/// Returns the text of a main file without imports of files that additions had moved to and that no longer exist,
/// because containerd does not start with those. `None` if there are none.
pub(in super::super) fn without_dangling_imports(
    root: &Root,
    text: &str,
    is_moved: &dyn Fn(&Path) -> bool,
) -> Option<String> {
    let all = imports(&text.parse::<DocumentMut>().ok()?);
    let is_dangling = |import: &String| {
        leads_to(root, import, is_moved) && root.look(Path::new(import)).is_ok_and(|found| found.is_none())
    };
    let dangling: Vec<usize> = (0..all.len()).rev().filter(|at| is_dangling(&all[*at])).collect();
    if dangling.is_empty() {
        return None;
    }
    with_list(text, |list| dangling.iter().for_each(|at| lists::remove(list, *at)))
}

/// Returns whether an import is a single path that leads to a matching file.
fn leads_to(root: &Root, import: &str, is_it: &dyn Fn(&Path) -> bool) -> bool {
    import.starts_with('/')
        && !import.contains('*')
        && root.resolve_new(Path::new(import)).is_ok_and(|path| is_it(&path))
}

/// Returns a text with a changed list of imports; the rest of its layout stays.
fn with_list(text: &str, change: impl FnOnce(&mut Array)) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let line_ends = LineEnds::of(text, &document).ok()?;
    change(document.get_mut("imports")?.as_array_mut()?);
    Some(line_ends.put(document.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/etc/containerd/conf.d/50-kata-osinfo.toml";
    const THEIRS: &str = "/etc/containerd/conf.d/50-kata-osinfo-added.toml";

    fn machine() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/containerd/conf.d")).unwrap();
        std::fs::write(dir.path().join(&OURS[1..]), "").unwrap();
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    fn imported(text: &str) -> Option<String> {
        let (_dir, root) = machine();
        let theirs = FileChange { path: THEIRS.into(), before: None, after: "version = 3\n".to_owned() };
        with_import_beside(&root, Path::new("/etc/containerd/config.toml"), text, Path::new(OURS), &theirs)
    }

    #[test]
    fn the_added_file_is_imported_after_ours_unless_already_imported() {
        for (list, then) in [
            (format!("[\"{OURS}\"]"), format!("[\"{OURS}\", \"{THEIRS}\"]")),
            (format!("[\"{OURS}\", \"/b\"] # end"), format!("[\"{OURS}\", \"{THEIRS}\", \"/b\"] # end")),
            (format!("[\n  '{OURS}', # c\n]"), format!("[\n  '{OURS}', # c\n  \"{THEIRS}\",\n]")),
        ] {
            let text = |list: &str| format!("version = 3\nimports = {list}\n");
            assert_eq!(imported(&text(&list)), Some(text(&then)));
            let dos = |list: &str| text(list).replace('\n', "\r\n");
            assert_eq!(imported(&dos(&list)), Some(dos(&then)));
        }
        for text in [
            "version = 3\n".to_owned(),
            "imports = [\n".to_owned(),
            "imports = [\"/etc/containerd/conf.d/*.toml\"]\n".to_owned(),
            format!("imports = [\"{OURS}\", \"{THEIRS}\"]\n"),
            format!("imports = [\"{OURS}\", \"/etc/containerd/conf.d/*.toml\"]\n"),
        ] {
            assert_eq!(imported(&text), None, "{text}");
        }
    }

    #[test]
    fn an_import_of_a_moved_and_missing_file_is_dropped() {
        let (dir, root) = machine();
        let is_moved = |path: &Path| path == Path::new(THEIRS);
        let text = |list: &str| format!("version = 3\nimports = [{list}]\n");
        let both = text(&format!("\"{THEIRS}\", \"{OURS}\""));
        assert_eq!(without_dangling_imports(&root, &both, &is_moved), Some(text(&format!("\"{OURS}\""))));
        assert_eq!(without_dangling_imports(&root, &text("\"/gone.toml\""), &is_moved), None);
        std::fs::write(dir.path().join(&THEIRS[1..]), "").unwrap();
        assert_eq!(without_dangling_imports(&root, &both, &is_moved), None);
    }
}
