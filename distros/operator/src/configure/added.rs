//! Additions of others to files that are wholly kata-osinfo's: they move to a file of the admin's, which this program
//! leaves alone.
//!
//! Additions move only if they can be separated: every key of kata-osinfo's has the value that was written, and every
//! new key, comment and table fits into the new file. Every other change is reported line by line, for the admin to
//! move. With `force`, changed keys of kata-osinfo's are dropped, and the additions still move.

use super::edit::plain;
use super::keys::{is_marked_as_ours, is_whole, tables, take_back, without};
use super::merged::settings_in;
use super::runtime_files::NAME;
use super::secrets::hidden;
use super::state::{ChangeError, FileChange, ManagedConfiguration, State};
use super::today::{FileState, today};
use super::{KeyValue, comments, containerd, copy};
use model::redact::SECRET;
use root::{FileContents, MAX_CONFIGURATION, PinnedPath, Root};
use similar::{ChangeTag, TextDiff};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use toml_edit::DocumentMut;

/// Numbers tried for the new file's name; every name sorts next to kata-osinfo's file, with no other file between them.
const NUMBERS: RangeInclusive<u32> = 1..=9;

/// Maximum number of changed lines in a message.
const SHOWN: usize = 4;

/// Additions of others to one of kata-osinfo's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignAdditions {
    /// kata-osinfo's file, with the text that was written.
    ours: FileChange,
    /// Its current text.
    now: String,
    /// The new file with the additions; `None` if only empty lines were added.
    theirs: Option<FileChange>,
    /// The file that imports kata-osinfo's by name, with its current text and that with an import of the new file.
    import: Option<FileChange>,
    /// Keys of kata-osinfo's that others have changed, and that are dropped with `force`.
    changed: Vec<String>,
}

impl ForeignAdditions {
    /// Returns others' additions to kata-osinfo's `file` with the current text `now`; they move to a file that none of
    /// `others` uses. `None` if they cannot be separated; `force` drops changed values of kata-osinfo's.
    fn of(
        root: &Root,
        state: &State,
        file: &FileChange,
        now: &str,
        others: &[ForeignAdditions],
        force: bool,
    ) -> Option<ForeignAdditions> {
        let (text, changed) = separated_additions(file, now, force)?;
        let theirs = match text.is_empty() {
            true => None,
            false => Some(FileChange { path: free_path(root, file, &text, others)?, before: None, after: text }),
        };
        let import = theirs.as_ref().and_then(|theirs| import(root, state, file, theirs));
        Some(ForeignAdditions { ours: file.clone(), now: now.to_owned(), theirs, import, changed })
    }

    /// Returns the new file, if one is needed.
    pub fn theirs(&self) -> Option<&FileChange> {
        self.theirs.as_ref()
    }

    /// Returns a one-line message about where the additions go.
    pub fn words(&self) -> Option<String> {
        let theirs = self.theirs.as_ref()?.path.display();
        let how = differences(&self.ours.after, &self.now);
        let import = self.import.as_ref().map(|main| format!(" (imported by {})", main.path.display()));
        let (ours, import) = (self.ours().display(), import.unwrap_or_default());
        Some(format!("what others added to {ours} is kept in {theirs}, which kata-osinfo leaves alone{import}: {how}"))
    }

    /// Returns a one-line message about changed keys that are dropped by force.
    pub(super) fn forced_words(&self) -> Option<String> {
        let (ours, theirs) = (self.ours().display(), self.theirs.as_ref()?.path.display());
        let keys = self.changed.join(", ");
        (!keys.is_empty()).then(|| {
            format!("--force discards others' changes to {ours} ({keys}); what they added is kept in {theirs}")
        })
    }

    /// Returns the path of kata-osinfo's file.
    pub(super) fn ours(&self) -> &Path {
        &self.ours.path
    }

    /// Returns the file that is to import the new file.
    pub(super) fn import(&self) -> Option<&FileChange> {
        self.import.as_ref()
    }

    /// Returns the path of the file that is to import the new file.
    pub(super) fn imported_by(&self) -> Option<&Path> {
        self.import().map(|main| main.path.as_path())
    }

    /// Explains why kata-osinfo's file stays if the new file would not be read.
    pub(super) fn would_be_lost(&self) -> String {
        let (ours, how) = (self.ours().display(), differences(&self.ours.after, &self.now));
        format!("what others added to {ours} would have no effect any more ({how}): move it to a file that Kata reads")
    }

    /// Writes the new file.
    pub(super) fn write(&self, root: &Root) -> Result<(), ChangeError> {
        let Some(theirs) = &self.theirs else { return Ok(()) };
        // A user who may read kata-osinfo's file may read the new one.
        let like = root.pin(self.ours())?.as_ref().map(PinnedPath::attributes).transpose()?.flatten();
        let place = root.make_pinned(&theirs.path)?;
        let existing = place.read(MAX_CONFIGURATION)?;
        if existing.as_ref().is_some_and(|existing| existing.bytes == theirs.after.as_bytes()) {
            return Ok(());
        }
        match existing.is_none() && place.write_over(None, theirs.after.as_bytes(), like.as_ref())? {
            true => Ok(()),
            false => Err(ChangeError::Meanwhile(theirs.path.clone())),
        }
    }

    /// Imports the new file before kata-osinfo's is rewritten or removed: the additions are read at all times.
    ///
    /// Returns the importing file with its new content; `None` if no import is needed.
    pub(super) fn write_import(&self, root: &Root) -> Result<Option<FileContents>, ChangeError> {
        let Some(main) = &self.import else { return Ok(None) };
        let meanwhile = || ChangeError::Meanwhile(main.path.clone());
        let place = root.pin(&main.path)?.ok_or_else(meanwhile)?;
        let existing = place.read(MAX_CONFIGURATION)?.ok_or_else(meanwhile)?;
        if Some(existing.bytes.as_slice()) != main.before.as_ref().map(String::as_bytes) {
            return Err(meanwhile());
        }
        match place.write_over(Some(&existing), main.after.as_bytes(), Some(&existing.attributes))? {
            true => Ok(Some(FileContents { bytes: main.after.clone().into_bytes(), ..existing })),
            false => Err(meanwhile()),
        }
    }
}

/// Returns all separable additions of others to a state's files; `by_force` selects files in which changed keys of
/// kata-osinfo's are dropped.
pub(super) fn all(root: &Root, state: &State, by_force: &dyn Fn(&PathBuf) -> bool) -> Vec<ForeignAdditions> {
    let mut all = Vec::new();
    for file in state.files.iter().filter(|f| is_whole(f)) {
        // A file that cannot be read is reported when it is written.
        let Ok(Some(now)) = root.text_if_any(&file.path) else { continue };
        if today(state, file, Some(&now)) == FileState::Foreign {
            // An interrupted call may have left kata-osinfo's earlier text in the file.
            let earlier = state.earlier.get(&file.path).map(|text| FileChange { after: text.clone(), ..file.clone() });
            let of = |file: &FileChange, force| ForeignAdditions::of(root, state, file, &now, &all, force);
            let added = of(file, false).or_else(|| of(&earlier?, false)).or_else(|| of(file, by_force(&file.path)));
            all.extend(added);
        }
    }
    all
}

/// Returns a state in which files whose additions have moved count as unchanged.
///
/// A file that imports kata-osinfo's by name also imports the new file, and none of the moved files that were removed
/// since.
pub(super) fn noted(root: &Root, state: &State, added: &[ForeignAdditions]) -> State {
    let mut noted = state.clone();
    noted.earlier.extend(added.iter().map(|a| (a.ours.path.clone(), a.now.clone())));
    let ours = state.files.iter().filter(|f| is_whole(f));
    let moved: Vec<PathBuf> = ours.flat_map(|f| NUMBERS.map(move |number| numbered_path(f, number))).collect();
    for main in state.configurations.iter().flat_map(|c| mains(state, c)) {
        let import = added.iter().filter_map(|a| a.import.as_ref()).find(|import| import.path == main.path);
        let text = import.map(|import| import.after.clone()).or_else(|| {
            let now = root.text_if_any(&main.path).ok()??;
            containerd::without_dangling_imports(root, &now, &|path| moved.iter().any(|m| m == path))
        });
        noted.instead.extend(text.map(|text| (main.path.clone(), text)));
    }
    noted
}

/// Returns others' files that make a configuration the handler.
fn mains<'s>(state: &'s State, configured: &'s ManagedConfiguration) -> impl Iterator<Item = &'s FileChange> {
    state.files.iter().filter(move |f| !is_whole(f) && configured.handler.contains(&f.path))
}

/// Returns the file that imports kata-osinfo's by name, with an import of the new file added; `None` if the new file is
/// read without one, or has no settings.
fn import(root: &Root, state: &State, ours: &FileChange, theirs: &FileChange) -> Option<FileChange> {
    let configured = state.owner(&ours.path).filter(|_| !settings_in(&theirs.after).is_empty())?;
    mains(state, configured).find_map(|main| {
        let existing = root.pin(&main.path).ok()??.read(MAX_CONFIGURATION).ok()??;
        // A file with several hard links is written in place: half of it would be taken for an edit of others.
        let now = String::from_utf8(existing.bytes).ok().filter(|_| existing.links == 1)?;
        let after = containerd::with_import_beside(root, &main.path, &now, &ours.path, theirs)?;
        Some(FileChange { path: main.path.clone(), before: Some(now), after })
    })
}

/// Returns files of kata-osinfo's with inseparable changes of others, with their current texts.
pub(super) fn changed_otherwise(root: &Root, state: &State, added: &[ForeignAdditions]) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for file in state.files.iter().filter(|f| is_whole(f) && !added.iter().any(|a| a.ours() == f.path)) {
        let Ok(Some(now)) = root.text_if_any(&file.path) else { continue };
        if today(state, file, Some(&now)) == FileState::Foreign {
            all.insert(file.path.clone(), now);
        }
    }
    all
}

/// Returns a message that others' changes to a file of kata-osinfo's are lost.
pub(super) fn forced(file: &FileChange, now: &str) -> String {
    let how = differences(&file.after, now);
    format!("--force discards others' changes to {}: {how}", file.path.display())
}

/// Returns a message that the text of a file of kata-osinfo's which no state lists is lost; `None` if its settings are
/// the ones to be written.
pub(super) fn unknown(file: &FileChange, now: &str) -> Option<String> {
    if !is_marked_as_ours(now) || settings_in(now) == settings_in(&file.after) {
        return None;
    }
    let (path, how) = (file.path.display(), differences(now, &file.after));
    Some(format!(
        "{path} was written by kata-osinfo, but no state file records its contents: it is overwritten, and {how}"
    ))
}

/// Returns the error for a changed file of kata-osinfo's.
pub(super) fn changed(file: &FileChange, now: &str) -> ChangeError {
    ChangeError::Changed { path: file.path.clone(), how: differences(&file.after, now), to: local_override_path(file) }
}

/// Like [`changed`], for a message that already names the file.
pub(super) fn changed_words(file: &FileChange, now: &str) -> String {
    format!(
        "it was changed after kata-osinfo wrote it ({}): undo the change, and put your own settings into a file that is read later, such as {} (if that directory is read)",
        differences(&file.after, now),
        local_override_path(file).display()
    )
}

/// Returns the new file's text, empty if none is needed, and the changed keys of kata-osinfo's. `None` if the additions
/// cannot be separated, or if keys were changed and `force` is not set.
fn separated_additions(file: &FileChange, now: &str, force: bool) -> Option<(String, Vec<String>)> {
    let (written, now) = (plain(&file.after), plain(now));
    // The additions may stand before the line that marks the file.
    let head = written.lines().next().filter(|line| line.starts_with('#'));
    let has_head = head.is_some_and(|head| now.lines().any(|line| line == head));
    if !is_whole(file) || !has_head && !is_marked_as_ours(&now) {
        return None;
    }
    // Parsing and printing gives each table that both use one spelling.
    let now = now.parse::<DocumentMut>().map_or(now, |document| document.to_string());
    let (ours, all) = (settings_in(&written), settings_in(&now));
    let is_key_of = |settings: &[KeyValue], s: &KeyValue| settings.iter().any(|o| o.path() == s.path());
    // Parts of kata-osinfo's handler mean nothing without the rest, and CRI-O takes them for the whole handler.
    let is_of_handler = |s: &KeyValue| s.table.windows(2).any(|names| names == ["runtimes", NAME]);
    let (other, new): (Vec<&KeyValue>, Vec<&KeyValue>) =
        all.iter().filter(|s| !ours.contains(s)).partition(|s| is_key_of(&ours, s) || is_of_handler(s));
    let removed = ours.iter().filter(|s| !is_key_of(&all, s));
    let changed: Vec<String> = other.iter().copied().chain(removed).map(|s| s.path().join(".")).collect();
    // A table in place of a value, or a value in place of a table, is not an addition.
    let is_in_place =
        |s: &&KeyValue| ours.iter().any(|o| o.path().starts_with(&s.path()) || s.path().starts_with(&o.path()));
    if !changed.is_empty() && (!force || new.is_empty() || new.iter().any(is_in_place)) {
        return None;
    }
    let rest = take_back(&now, None, &written, force).ok()?.text.unwrap_or_default();
    let in_handler: Vec<Vec<String>> = other.iter().filter(|s| is_of_handler(s)).map(|s| s.path()).collect();
    let rest = without(&rest, &in_handler).ok()?;
    let is_our_comment = |line: &str| line.starts_with('#') && written.lines().any(|l| l == line);
    let rest = rest.lines().filter(|line| !is_our_comment(line)).collect::<Vec<_>>().join("\n");
    // Comments next to kata-osinfo's keys, or inside its lists, move too.
    let comments = comments::lost(&now, &written, &rest).join("\n");
    let name = file.path.file_name().unwrap_or_default().display();
    let head = format!("# Others have added this to {name}; kata-osinfo has moved it here and leaves it alone.");
    let lines = format!("{comments}\n{rest}");
    let text = format!("{head}\n{}\n", lines.trim());
    // The content of a text is its values, its comments, and tables without values.
    let moved_settings = settings_in(&text);
    let [of_ours, of_all, of_theirs] = [&written, &now, &text].map(|text| tables(text));
    let mut tables = of_all.iter().filter(|table| !of_ours.contains(table));
    // With `force`, tables of kata-osinfo's handler are dropped.
    let is_whole = (!changed.is_empty() || tables.all(|table| of_theirs.contains(table)))
        && !moved_settings.iter().any(is_of_handler)
        && comments::lost(&now, &written, &text).is_empty()
        && new.iter().all(|s| moved_settings.contains(s));
    let is_nothing = lines.trim().is_empty();
    is_whole.then(|| (if is_nothing { String::new() } else { text }, changed))
}

/// Returns a path next to kata-osinfo's file that is free, or holds exactly this text.
fn free_path(root: &Root, file: &FileChange, text: &str, others: &[ForeignAdditions]) -> Option<PathBuf> {
    let is_free = |path: &PathBuf| match root.look(path) {
        Ok(None) => true,
        Ok(Some(_)) => root.text_if_any(path).is_ok_and(|existing| existing.as_deref() == Some(text)),
        Err(_) => false,
    };
    let is_anothers = |path: &PathBuf| others.iter().filter_map(ForeignAdditions::theirs).any(|c| c.path == *path);
    let paths = NUMBERS.filter_map(|number| root.resolve_new(&numbered_path(file, number)).ok());
    paths.filter(|path| !is_anothers(path)).find(is_free)
}

/// Returns a path next to a drop-in, or among a configuration's drop-ins, for keys that others added. It is read before
/// kata-osinfo's file, as a hyphen sorts before a dot, so that it cannot override the file.
fn numbered_path(file: &FileChange, number: u32) -> PathBuf {
    let number = if number == 1 { String::new() } else { format!("-{number}") };
    in_folder(file, &format!("50-kata-osinfo-added{number}"))
}

/// Returns the path for an admin's own file, which is read after kata-osinfo's and so overrides it.
fn local_override_path(file: &FileChange) -> PathBuf {
    in_folder(file, "60-local")
}

fn in_folder(file: &FileChange, stem: &str) -> PathBuf {
    let folder = file.path.with_file_name("");
    let is_drop_in = folder.file_name().is_some_and(|name| name == "config.d");
    let folder = if copy::source(&file.after).is_some() && !is_drop_in { folder.join("config.d") } else { folder };
    let extension = file.path.extension().map(|e| format!(".{}", e.display())).unwrap_or_default();
    folder.join(format!("{stem}{extension}"))
}

/// Describes the first lines that differ.
fn differences(ours: &str, now: &str) -> String {
    let (ours, now) = (plain(ours), plain(now));
    let diff = TextDiff::from_lines(ours.as_str(), now.as_str());
    // Only the whole text shows whether a line belongs to a secret.
    let (was, is) = (hidden(&ours), hidden(&now));
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let lines: Vec<String> = diff
        .iter_all_changes()
        .filter_map(|change| match (change.tag(), change.old_index(), change.new_index()) {
            _ if change.value().trim().is_empty() => None,
            (ChangeTag::Insert, _, Some(at)) => Some(format!("line {} `{}` is new", at + 1, shown(&is, at))),
            (ChangeTag::Delete, Some(at), _) => Some(format!("`{}` is gone", shown(&was, at))),
            _ => None,
        })
        .collect();
    let more = match lines.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let first: Vec<String> = lines.into_iter().take(SHOWN).collect();
    format!("{}{more}", first.join(", "))
}

/// Returns a line without secrets; a text with odd line ends may have fewer lines than its diff counts.
fn shown<'t>(lines: &[&'t str], at: usize) -> &'t str {
    lines.get(at).copied().map_or(SECRET, str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "\
# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.
# shared_fs: a note

[hypervisor.qemu]
# the distro's QEMU
path = \"/q\"

[runtime]
# why
x = true
";
    const HANDLER: &str = "\
# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.
version = 3

[plugins.\"p\".containerd.runtimes.kata]
runtime_type = \"k\"
";
    const HEAD: &str = "# Others have added this to 50.toml; kata-osinfo has moved it here and leaves it alone.\n";

    fn ours(after: &str) -> FileChange {
        FileChange { path: "/config.d/50.toml".into(), before: None, after: after.to_owned() }
    }

    fn moved_text(after: &str, now: &str) -> Option<String> {
        Some(separated_additions(&ours(after), now, false)?.0)
    }

    #[test]
    fn settings_added_by_others_move_with_their_comments() {
        let now = format!("{OURS}# theirs\ny = 1 # too\n\n[agent.kata]\nz = [\"a\"]\n");
        let moved = format!("{HEAD}[runtime]\n# theirs\ny = 1 # too\n\n[agent.kata]\nz = [\"a\"]\n");
        assert_eq!(moved_text(OURS, &now), Some(moved));
        // In the first table, whose comments begin with kata-osinfo's; and a comment next to a key of kata-osinfo's.
        let now = OURS.replace("\n[runtime]\n", "y = 1\n\n[runtime]\n# theirs\n");
        assert_eq!(moved_text(OURS, &now), Some(format!("{HEAD}# theirs\n\n[hypervisor.qemu]\ny = 1\n")));
        assert_eq!(moved_text(OURS, &format!("{OURS}# mine\n")), Some(format!("{HEAD}# mine\n")));
        assert_eq!(moved_text(OURS, &format!("{OURS}\n\n")), Some(String::new()));
        let theirs = "[plugins.\"p\".containerd.runtimes.mine]\nruntime_type = \"m\"\n";
        let moved = format!("{HEAD}version = 3\n\n{theirs}");
        assert_eq!(moved_text(HANDLER, &format!("{HANDLER}\n{theirs}")), Some(moved));
    }

    /// containerd 2 itself writes single quotes.
    #[test]
    fn added_settings_move_however_their_tables_are_spelled() {
        let value = "runtime_type = \"m\"";
        for theirs in [
            format!("[plugins.'p'.containerd.runtimes.mine]\n{value}\n"),
            format!("[ plugins . \"p\" . containerd . 'runtimes' . mine ]\n{value}\n"),
            format!("[\"plugins\".p.containerd.runtimes]\nmine.{value}\n"),
            format!("[plugins.p.containerd.runtimes]\nmine = {{ {value} }}\n"),
            format!(
                "[plugins.'p'.containerd.runtimes.mine.options] # empty\n[plugins.p.containerd.runtimes.'mine']\n{value}\n"
            ),
        ] {
            let moved = moved_text(HANDLER, &format!("{HANDLER}\n# why\n{theirs}"));
            let moved = moved.unwrap_or_else(|| panic!("stays: {theirs}"));
            let mut set: Vec<Vec<String>> = settings_in(&moved).iter().map(KeyValue::path).collect();
            set.sort();
            let path = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(set, [path("plugins.p.containerd.runtimes.mine.runtime_type"), path("version")], "{moved}");
            assert!(moved.contains("# why\n") && moved.contains("# empty") == theirs.contains("# empty"), "{moved}");
        }
    }

    #[test]
    fn text_added_before_our_first_line_moves() {
        assert_eq!(moved_text(OURS, &format!("# mine\n{OURS}")), Some(format!("{HEAD}# mine\n")));
        let now = format!("oom_score = -5 # mine\n{HANDLER}");
        assert_eq!(moved_text(HANDLER, &now), Some(format!("{HEAD}oom_score = -5 # mine\nversion = 3\n")));
    }

    #[test]
    fn comments_beside_our_keys_and_in_our_lists_move_and_layout_does_not() {
        let list = format!("{OURS}list = [\"a\", \"b\"]\n");
        let now = list.replace("[\"a\", \"b\"]", "[ # one\n  # two\n  \"a\", # three\n  \"b\"\n] # four");
        assert_eq!(moved_text(&list, &now), Some(format!("{HEAD}# one\n# two\n# three\n# four\n")));
        let and = format!("{now}y = 1 # five\n");
        let moved = format!("{HEAD}# one\n# two\n# three\n# four\n\n[runtime]\ny = 1 # five\n");
        assert_eq!(moved_text(&list, &and), Some(moved));
        let laid_out = list.replace("[\"a\", \"b\"]", "[\n  \"a\",\n  \"b\",\n]");
        assert_eq!(moved_text(&list, &laid_out), Some(String::new()));
        let now = OURS.replace("x = true", "x = true # mine").replace("[runtime]", "[runtime] # too");
        assert_eq!(moved_text(OURS, &now), Some(format!("{HEAD}# too\n# mine\n")));
        // A table without keys is content, too.
        assert_eq!(moved_text(OURS, &format!("{OURS}[agent.kata]\n")), Some(format!("{HEAD}[agent.kata]\n")));
    }

    #[test]
    fn crlf_line_ends_and_a_byte_order_mark_are_not_changes_by_others() {
        let dos = |text: &str| text.replace('\n', "\r\n");
        let marked = |text: &str| format!("\u{feff}{}", dos(text));
        let state = State { files: vec![ours(OURS)], ..State::default() };
        for now in [dos(OURS), marked(OURS), OURS.replacen('\n', "\r\n", 3)] {
            assert_eq!(today(&state, &state.files[0], Some(&now)), FileState::Ours);
        }
        let moved = Some(format!("{HEAD}[runtime]\n# theirs\ny = 1\n"));
        let now = format!("{OURS}# theirs\ny = 1\n");
        assert_eq!((moved_text(OURS, &dos(&now)), moved_text(OURS, &marked(&now))), (moved.clone(), moved));
        let reported = differences(OURS, &dos(&now));
        assert_eq!(reported, "line 11 `# theirs` is new, line 12 `y = 1` is new");
    }

    #[test]
    fn text_that_cannot_be_separated_from_ours_does_not_move() {
        for now in [
            OURS.replace("\"/q\"", "\"/mine\""),
            OURS.replace("x = true\n", ""),
            OURS.replace("# Written", "# Once written").replace("unconfigure`", "`"),
            format!("{OURS}x = [\n"),
            format!("{OURS}[runtime]\n"),
            "# mine\n".to_owned(),
        ] {
            assert_eq!(moved_text(OURS, &now), None, "{now}");
        }
        assert_eq!(moved_text(HANDLER, &format!("{HANDLER}snapshotter = \"s\"\n")), None);
    }

    #[test]
    fn force_moves_additions_and_drops_changes_to_our_keys() {
        let by_force = |after: &str, now: &str| separated_additions(&ours(after), now, true);
        let moved = |text: &str, keys: &[&str]| {
            Some((format!("{HEAD}{text}"), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()))
        };
        let now = format!("{}# theirs\ny = 1\n", OURS.replace("\"/q\"", "\"/mine\" # too"));
        assert_eq!(by_force(OURS, &now), moved("# too\n\n[runtime]\n# theirs\ny = 1\n", &["hypervisor.qemu.path"]));
        let now = OURS.replace("path = \"/q\"\n", "y = 1\n");
        assert_eq!(by_force(OURS, &now), moved("[hypervisor.qemu]\ny = 1\n", &["hypervisor.qemu.path"]));
        // The same for kata-osinfo's handler, which is dropped as a whole.
        let theirs = "[plugins.\"p\".containerd.runtimes.mine]\nruntime_type = \"m\"\n";
        let now = HANDLER.replace("\"k\"", "\"other\"\nsnapshotter = \"s\"");
        let keys = ["runtime_type", "snapshotter"].map(|key| format!("plugins.p.containerd.runtimes.kata.{key}"));
        let keys = keys.each_ref().map(String::as_str);
        assert_eq!(by_force(HANDLER, &format!("{now}\n{theirs}")), moved(&format!("version = 3\n\n{theirs}"), &keys));
        // Nothing was added, or nothing can be separated.
        let table = OURS.replace("path = \"/q\"\n", "[hypervisor.qemu.path]\ny = 1\n");
        for now in [OURS.replace("\"/q\"", "\"/mine\""), format!("{OURS}x = [\n"), table] {
            assert_eq!(by_force(OURS, &now), None, "{now}");
        }
    }

    #[test]
    fn differences_are_reported_line_by_line() {
        let now = OURS.replace("\"/q\"", "\"/mine\"");
        assert_eq!(differences(OURS, &now), "`path = \"/q\"` is gone, line 6 `path = \"/mine\"` is new");
        let now = format!("{OURS}a = 1\nb = 1\nc = 1\nd = 1\ne = 1\n");
        assert!(differences(OURS, &now).ends_with("line 14 `d = 1` is new, and 1 more"), "{}", differences(OURS, &now));
        let error = changed(&ours(OURS), &now).to_string();
        assert!(error.contains("such as /config.d/60-local.toml (if that directory is read)"), "{error}");
    }

    #[test]
    fn differences_are_reported_without_secrets() {
        let ours = format!("{OURS}password = \"hunter2\"\n");
        for (theirs, expected) in [
            ("password = \"\"\"\nhunter2\n\"\"\"", "line 12 `<redacted>` is new, line 13 `<redacted>` is new"),
            ("env = [\n\"API_KEY=hunter2\",\n]", "line 12 `\"<redacted>\",` is new, line 13 `]` is new"),
            ("token = [\n\"hunter2\", # hunter2\n]", "line 12 `<redacted>` is new, line 13 `<redacted>` is new"),
            ("a = \"b\"\nx = [\n\"hunter2\"", "line 12 `<redacted>` is new, line 13 `<redacted>` is new"),
        ] {
            let reported = differences(&ours, &format!("{OURS}{theirs}\n"));
            assert!(reported.starts_with("`password = \"<redacted>\"` is gone, line 11 `"), "{reported}");
            assert!(reported.contains(expected) && !reported.contains("hunter2"), "{reported}");
        }
        // A changed secret is reported as a change.
        let reported = differences(&ours, &ours.replace("hunter2", "hunter3"));
        assert_eq!(reported, "`password = \"<redacted>\"` is gone, line 11 `password = \"<redacted>\"` is new");
    }

    #[test]
    fn the_file_for_additions_overwrites_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let folder = dir.path().join("config.d");
        std::fs::create_dir(&folder).unwrap();
        let state = State { files: vec![ours(OURS)], ..State::default() };
        let file_names = || {
            let added = all(&root, &state, &|_| false);
            added.iter().filter_map(|a| Some(a.theirs()?.path.file_name()?.to_str()?.to_owned())).collect::<Vec<_>>()
        };
        std::fs::write(folder.join("50.toml"), OURS).unwrap();
        assert_eq!(file_names(), Vec::<String>::new());
        std::fs::write(folder.join("50.toml"), format!("{OURS}y = 1\n")).unwrap();
        assert_eq!(file_names(), ["50-kata-osinfo-added.toml"]);
        // A crash leaves the new file before kata-osinfo's is rewritten.
        all(&root, &state, &|_| false)[0].write(&root).unwrap();
        assert_eq!(file_names(), ["50-kata-osinfo-added.toml"]);
        std::fs::write(folder.join("50.toml"), format!("{OURS}y = 2\n")).unwrap();
        assert_eq!(file_names(), ["50-kata-osinfo-added-2.toml"]);
        (2..=9).for_each(|n| std::fs::create_dir(folder.join(format!("50-kata-osinfo-added-{n}.toml"))).unwrap());
        assert_eq!(file_names(), Vec::<String>::new());
    }
}
