//! Lists whose dashes are missing: a map that repeats `name:`, as in the mail with the proposal.

use crate::diagnostic::{Diagnostic, Fix};
use crate::syntax::{MapEntry, Node, NodeKind};
use std::collections::BTreeSet;

/// Finds maps under `vmm:` and `fs:` that should be lists, with the corrected text.
///
/// - A map that repeats `name:` is several entries: `fs:` keeps keys before the first name and gets `drivers:`.
/// - `fs:` with a single driver as a map is not an accepted form.
/// - If `fs:` is corrected and `arch:` is a list, the map of a single `vmm:` becomes a list, too: this is how the
///   proposal's files were meant, in which a record of several architectures uses lists throughout.
pub(crate) fn diagnose(text: &str, root: &Node) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for entry in root.entries() {
        let releases = match &entry.value.kind {
            NodeKind::List(items) if entry.key == "releases" => items.as_slice(),
            _ => continue,
        };
        found.extend(releases.iter().flat_map(|r| in_map(text, r)));
    }
    found.extend(in_map(text, root));
    found
}

fn in_map(text: &str, map: &Node) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for entry in map.entries() {
        let names = names(&entry.value);
        let single_driver = entry.key == "fs" && names.len() == 1;
        if !matches!(entry.key.as_str(), "vmm" | "fs") || names.len() < 2 && !single_driver {
            continue;
        }
        let mut fixes: Vec<Fix> = as_list(text, entry).into_iter().collect();
        if entry.key == "fs" && !fixes.is_empty() {
            fixes.extend(single_vmm(map).and_then(|vmm| as_list(text, vmm)));
            fixes.sort_by_key(|f| f.start);
        }
        let (rule, name_entry, message) = if single_driver {
            let expected = "a list of drivers, or a map with `preferred` and `drivers`";
            let message = format!("fs: expected {expected}, found one driver");
            ("not-a-list", names[0], message)
        } else {
            let message = format!("the key `name` occurs twice in the map of `{}`", entry.key);
            ("duplicate-key", names[1], message)
        };
        let diagnostic = Diagnostic::error(rule, text, name_entry.key_span.clone(), message);
        let hint = if fixes.is_empty() {
            format!("write `{}` as a list, one entry for each `name`", entry.key)
        } else {
            "each `name` begins an entry of a list; `kata-osinfo lint --fix` corrects it".to_owned()
        };
        found.push(diagnostic.hint(hint).fixes(fixes));
    }
    found
}

/// Returns `vmm:` if it is the map of one VMM, in a map whose `arch:` is a list.
fn single_vmm(map: &Node) -> Option<&MapEntry> {
    let listed = matches!(map.get("arch").map(|n| &n.kind), Some(NodeKind::List(_)));
    let vmm = map.entries().iter().find(|e| e.key == "vmm")?;
    (listed && names(&vmm.value).len() == 1).then_some(vmm)
}

fn names(node: &Node) -> Vec<&MapEntry> {
    node.entries().iter().filter(|e| e.key == "name").collect()
}

/// Returns the map of `entry` as a list; `None` unless it is a block map under its key with one key per line.
fn as_list(text: &str, entry: &MapEntry) -> Option<Fix> {
    let entries = entry.value.entries();
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |i| i + 1);
    let starts: Vec<usize> = entries.iter().map(|e| e.key_span.start).collect();
    let start = line_start(*starts.first()?);
    let indent = text.get(start..starts[0])?;
    let block = !indent.is_empty()
        && indent.bytes().all(|b| b == b' ')
        && starts.iter().all(|s| text.get(line_start(*s)..*s) == Some(indent));
    let newline_before = text.get(entry.key_span.end..start)?.contains('\n');
    if !block || !newline_before {
        return None;
    }
    let end = entries.last()?.value.span.end.max(entries.last()?.key_span.end);
    let first_name = entries.iter().position(|e| e.key == "name")?;
    // Keys before the first name belong to the whole map, so the list needs a key of its own.
    let nested = if first_name == 0 {
        String::new()
    } else if entry.key == "fs" {
        "  ".to_owned()
    } else {
        return None;
    };
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let list_start = line_start(entries[first_name].key_span.start);
    let mut fixed = text.get(start..list_start)?.to_owned();
    if !nested.is_empty() {
        fixed += &format!("{indent}drivers:{newline}");
    }
    let name_lines: BTreeSet<usize> = names(&entry.value).iter().map(|e| line_start(e.key_span.start)).collect();
    let mut at = list_start;
    for line in text.get(list_start..end)?.split_inclusive('\n') {
        if name_lines.contains(&at) {
            fixed += &format!("{nested}{indent}- {}", line.get(indent.len()..)?);
        } else if line.trim().is_empty() {
            fixed += line;
        } else {
            fixed += &format!("{nested}  {line}");
        }
        at += line.len();
    }
    Some(Fix { start, end, replacement: fixed })
}

/// Returns `text` with all replacements made; of overlapping ones only the first.
pub fn apply(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut fixes: Vec<&Fix> = diagnostics.iter().flat_map(|d| &d.fixes).collect();
    fixes.sort_by_key(|f| (f.start, f.end));
    let (mut fixed, mut done) = (String::with_capacity(text.len()), 0);
    for fix in fixes {
        if fix.start < done {
            continue;
        }
        fixed.push_str(text.get(done..fix.start).unwrap_or_default());
        fixed.push_str(&fix.replacement);
        done = fix.end;
    }
    fixed.push_str(text.get(done..).unwrap_or_default());
    fixed
}
