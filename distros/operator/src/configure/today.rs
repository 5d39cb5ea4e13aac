//! Comparison of a written file's current text with what was written.

use super::comments;
use super::containerd::migrated::{self, Changed};
use super::edit::{EditError, plain};
use super::keys::{self, StrippedText};
use super::state::{FileChange, State};
use root::may_be_half;
use std::path::Path;

/// The state of a file that this program wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Unchanged since it was written, or as an interrupted call left it.
    Ours,
    /// Restored to its original text.
    Back,
    /// Removed by hand; it was there before.
    Gone,
    /// Edited by others; kata-osinfo's keys can be separated from theirs.
    Edited(StrippedText),
    /// Completely different content.
    Foreign,
    /// An interrupted call wrote the file in place, and others have edited it since: missing lines and kata-osinfo's
    /// part cannot be determined.
    Torn,
}

/// Compares a file's current text with all known texts of the file.
pub(super) fn today(state: &State, file: &FileChange, now: Option<&str>) -> FileState {
    let earlier = state.earlier.get(&file.path);
    let Some(now) = now else {
        return if file.before.is_none() { FileState::Back } else { FileState::Gone };
    };
    let (stood, is_torn) = traced(state, &file.path, now.as_bytes());
    let now = stood.unwrap_or(now);
    if file.before.as_deref() == Some(now) {
        return FileState::Back;
    }
    if now == file.after || earlier.is_some_and(|e| e == now) {
        return FileState::Ours;
    }
    if is_torn && !keys::is_whole(file) {
        return FileState::Torn;
    }
    if keys::is_whole(file) {
        // A file that was emptied holds nothing of others.
        let is_ours = keys::is_blank(now) || plain(now) == plain(&file.after);
        return if is_ours { FileState::Ours } else { FileState::Foreign };
    }
    match edited(state, file, now, Changed::Stays) {
        Ok(stripped) => FileState::Edited(stripped),
        Err(_) if is_cut_short(state, &file.path) => FileState::Torn,
        Err(_) => FileState::Foreign,
    }
}

/// Returns a file that others have edited, without kata-osinfo's part.
fn edited(state: &State, file: &FileChange, now: &str, how: Changed) -> Result<StrippedText, EditError> {
    // If others edited the file after a crash, the earlier call's additions must be removed, too.
    let as_it_was = state.earlier.get(&file.path).map(|e| FileChange { after: e.clone(), ..file.clone() });
    let text = match as_it_was.map(|earlier| stripped_as(state, &earlier, now, how)) {
        Some(Ok(StrippedText { text: Some(text), .. })) => text,
        _ => now.to_owned(),
    };
    stripped_as(state, file, &text, how)
}

/// Returns the text of a file in which others have changed the handler, without kata-osinfo's keys, which are
/// rewritten.
///
/// # Errors
///
/// The text's layout cannot be preserved.
pub(super) fn without_our_keys(state: &State, file: &FileChange, now: &str) -> Result<Option<String>, EditError> {
    Ok(edited(state, file, now, Changed::KeepsTheirs)?.text)
}

/// Returns the text that a file with several hard links had before an interrupted call wrote it in place, if the
/// current text is a possible remainder of that write.
pub(super) fn halfway<'s>(state: &'s State, path: &Path, now: &[u8]) -> Option<&'s str> {
    traced(state, path, now).0
}

/// Like [`halfway`], and also returns whether others have edited a possibly half-written file: it has neither all lines
/// of the new text without a rest of a longer old text behind them, nor all lines of the old text.
fn traced<'s>(state: &'s State, path: &Path, now: &[u8]) -> (Option<&'s str>, bool) {
    let mut stood: Option<&'s str> = None;
    let all = interrupted_writes(state, path);
    // The text that the last call found may itself be half-written by the call before.
    for (was, new) in &all {
        let now = stood.map_or(now, str::as_bytes);
        if new.iter().any(|new| may_be_half(now, was.as_bytes(), new.as_bytes())) {
            stood = Some(*was);
            continue;
        }
        let (Ok(now), Some(new)) = (str::from_utf8(now), new.first()) else { return (stood, true) };
        if has_all_lines(now, new) && !has_left_over(now, was, new) {
            return (stood, false);
        }
        if !has_all_lines(now, was) {
            return (stood, true);
        }
    }
    (stood, all.is_empty() && is_cut_short(state, path))
}

/// Returns whether a call was interrupted while it wrote the file in place.
pub(super) fn is_cut_short(state: &State, path: &Path) -> bool {
    state.in_place.iter().any(|p| p == path) || state.halfway.iter().any(|f| f.path == path)
}

/// Returns, for each interrupted call that wrote a file in place, the text before and the possible target texts, the
/// likeliest first; the last call comes first.
fn interrupted_writes<'s>(state: &'s State, path: &Path) -> Vec<(&'s str, Vec<&'s str>)> {
    let mut all = Vec::new();
    let back = state.halfway.iter().filter(|f| f.path == path);
    all.extend(back.filter_map(|f| Some((f.before.as_deref()?, vec![f.after.as_str()]))));
    let written = state.files.iter().find(|f| f.path == path).filter(|_| state.in_place.iter().any(|p| p == path));
    if let Some(file) = written
        && let Some(was) = state.earlier.get(path)
    {
        let mut new: Vec<&str> = std::iter::once(file.after.as_str()).chain(file.before.as_deref()).collect();
        // No configuration lists the file any more: it was about to be restored.
        if state.owner(path).is_none() {
            new.reverse();
        }
        all.push((was.as_str(), new));
    }
    all
}

/// Returns whether a text has all lines of another one, in their order.
fn has_all_lines(now: &str, of: &str) -> bool {
    let mut lines = now.lines();
    of.lines().all(|line| lines.any(|l| l == line))
}

/// Returns whether a text has, behind the last line of a new text, the rest of the longer text that the new one
/// overwrote.
fn has_left_over(now: &str, was: &str, new: &str) -> bool {
    let Some(rest) = was.get(new.len()..).filter(|rest| !rest.trim().is_empty()) else { return false };
    let last = new.trim_end().rfind('\n').map_or(new, |at| &new[at..]);
    let joint = format!("{last}{rest}");
    now.matches(&joint).count() > new.matches(&joint).count()
}

/// Returns a file's current text without kata-osinfo's part, even if `containerd config migrate` has moved that.
pub(super) fn stripped(state: &State, file: &FileChange, now: &str, force: bool) -> Result<StrippedText, EditError> {
    stripped_as(state, file, now, if force { Changed::Goes } else { Changed::Stays })
}

fn stripped_as(state: &State, file: &FileChange, now: &str, how: Changed) -> Result<StrippedText, EditError> {
    let before = file.before.as_deref();
    let mut handlers = migrated::handlers(state);
    // The handler from before an interrupted call.
    let of_it = migrated::handler_of(file).filter(|handler| !handlers.contains(handler));
    handlers.extend(of_it);
    let stripped = migrated::take_back(now, before, &file.after, &handlers, how)?;
    Ok(StrippedText { text: comments::keep_comments(now, before, &file.after, stripped.text), ..stripped })
}

#[cfg(test)]
mod tests {
    use super::super::state::ManagedConfiguration;
    use super::*;
    use std::collections::BTreeMap;

    const BEFORE: &str = "a = 1\n[t]\nb = 2\n";
    const EARLIER: &str = "a = 1\n[t]\nb = 2\nlonger = \"than what is written now\"\n";
    const AFTER: &str = "a = 1\n[t]\nb = 3\nc = [\"x\"]\n";

    /// Returns the state of a call that was to write a file with several hard links, which an earlier call had set to
    /// [`EARLIER`].
    fn cut_short_call() -> State {
        let file = FileChange { path: "/f".into(), before: Some(BEFORE.to_owned()), after: AFTER.to_owned() };
        let configured = ManagedConfiguration {
            config: "/k".into(),
            profile: "p".into(),
            production: true,
            notes: Vec::new(),
            files: vec!["/f".into()],
            handler: Vec::new(),
        };
        State {
            configurations: vec![configured],
            files: vec![file],
            in_place: vec!["/f".into()],
            earlier: BTreeMap::from([("/f".into(), EARLIER.to_owned())]),
            ..State::default()
        }
    }

    #[test]
    fn additions_to_a_half_written_file_are_never_taken_for_ours() {
        let state = cut_short_call();
        let today = |now: &str| today(&state, &state.files[0], Some(now));
        let halves = (0..=AFTER.len()).map(|at| format!("{}{}", &AFTER[..at], &EARLIER[at..]));
        let halves: Vec<String> = halves.chain([AFTER.to_owned()]).collect();
        for half in &halves {
            assert_eq!(today(half), FileState::Ours, "{half}");
            for theirs in [format!("{half}\n# theirs\n"), format!("# theirs\n{half}"), format!("{half}\ntheirs = 1\n")]
            {
                match today(&theirs) {
                    FileState::Edited(stripped) => assert!(stripped.text.unwrap().contains("theirs"), "{half}"),
                    state => assert_eq!(state, FileState::Torn, "{theirs}"),
                }
            }
        }
        // A complete text is not torn, but one with a rest of the old text behind it is.
        let is_edit = |half: &str| matches!(today(&format!("{half}\n# theirs\n")), FileState::Edited(_));
        assert!(is_edit(EARLIER) && is_edit(AFTER) && !is_edit(&halves[AFTER.len()]));
        // What is ours goes, and what is theirs stays.
        for (whole, ours) in [(EARLIER, "longer"), (AFTER, "c = ")] {
            let FileState::Edited(stripped) = today(&format!("{whole}\n# theirs\n")) else { panic!("{whole}") };
            let text = stripped.text.unwrap();
            assert!(text.starts_with(BEFORE) && text.contains("# theirs\n") && !text.contains(ours), "{text}");
        }
    }

    #[test]
    fn an_interrupted_revert_of_an_interrupted_write_is_recognized() {
        let mut state = cut_short_call();
        let half = format!("{}{}", &AFTER[..20], &EARLIER[20..]);
        let back = FileChange { path: "/f".into(), before: Some(half.clone()), after: BEFORE.to_owned() };
        state.halfway.push(back);
        for at in 0..=BEFORE.len() {
            let now = format!("{}{}", &BEFORE[..at], &half[at..]);
            assert_eq!(halfway(&state, Path::new("/f"), now.as_bytes()), Some(EARLIER), "{at}");
        }
        let now = format!("{BEFORE}# theirs\n");
        let FileState::Edited(stripped) = today(&state, &state.files[0], Some(&now)) else { panic!("{now}") };
        assert_eq!(stripped.text, Some(now));
        let now = format!("{half}# theirs\n");
        assert_eq!(today(&state, &state.files[0], Some(&now)), FileState::Torn);
    }
}
