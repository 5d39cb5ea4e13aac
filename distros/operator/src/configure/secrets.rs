//! What of a configuration is not shown: passwords of registries stand in container managers' own.
//!
//! Only what is printed is without them, never what is written.

use super::state::Change;
use model::redact::SECRET;
use std::ops::Range;
use toml_edit::{Document, Item, Value};

/// Names of keys whose values are secrets, in lower case and of letters and digits alone.
const NAMES: [&str; 2] = ["auth", "key"];

/// What such names end with.
const ENDS: [&str; 9] =
    ["authorization", "credential", "credentials", "keydata", "passphrase", "password", "passwd", "secret", "token"];

/// A change's unified diff, without secrets.
pub fn hidden_diff(change: &Change) -> String {
    let before = change.before.as_deref().map(hidden);
    Change { path: change.path.clone(), before, after: hidden(&change.after) }.diff()
}

/// A configuration's text without secrets, of as many lines.
pub(super) fn hidden(text: &str) -> String {
    let values = match Document::parse(text) {
        Ok(document) => {
            let mut found = Vec::new();
            spans(document.as_item(), false, &mut found);
            without(text, found)
        }
        Err(_) => by_line(text, assignment),
    };
    by_line(&values, |line| without_login(&comment(line)))
}

fn by_line(text: &str, each: impl Fn(&str) -> String) -> String {
    text.split_inclusive('\n').map(each).collect()
}

fn is_secret(key: &str) -> bool {
    let plain = key.chars().filter(char::is_ascii_alphanumeric);
    let name: String = plain.map(|c| c.to_ascii_lowercase()).collect();
    NAMES.contains(&name.as_str()) || ENDS.iter().any(|end| name.ends_with(end))
}

/// Where the values of secret keys stand.
fn spans(item: &Item, is_of_secret: bool, found: &mut Vec<Range<usize>>) {
    match item {
        Item::None => {}
        Item::Value(value) => value_spans(value, is_of_secret, found),
        Item::Table(table) => table.iter().for_each(|(key, item)| spans(item, is_secret(key), found)),
        Item::ArrayOfTables(tables) => {
            tables.iter().flat_map(|table| table.iter()).for_each(|(key, item)| spans(item, is_secret(key), found));
        }
    }
}

fn value_spans(value: &Value, is_of_secret: bool, found: &mut Vec<Range<usize>>) {
    match value {
        Value::InlineTable(table) => table.iter().for_each(|(key, value)| value_spans(value, is_secret(key), found)),
        Value::Array(list) => list.iter().for_each(|value| value_spans(value, is_of_secret, found)),
        Value::Boolean(_) => {}
        _ if is_of_secret => found.extend(value.span()),
        _ => {}
    }
}

fn without(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| span.start);
    let mut out = text.to_owned();
    for span in spans.into_iter().rev() {
        let lines = text.get(span.clone()).map_or(0, |secret| secret.matches('\n').count());
        out.replace_range(span, &format!("\"{SECRET}\"{}", "\n".repeat(lines)));
    }
    out
}

/// A line that is a comment as [`assignment`]: a key may have been commented out.
fn comment(line: &str) -> String {
    if line.trim_start().starts_with('#') { assignment(line) } else { line.to_owned() }
}

/// A line of what is no TOML, without what follows a secret's key.
fn assignment(line: &str) -> String {
    let is_of_key = |c: char| c.is_alphanumeric() || "_-\"'".contains(c);
    let key = |at: usize| line[..at].trim_end().rsplit(|c: char| !is_of_key(c)).next().unwrap_or_default();
    match line.match_indices('=').find(|(at, _)| is_secret(key(*at))) {
        Some((at, _)) => {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            format!("{}= \"{SECRET}\"{end}", &line[..at])
        }
        None => line.to_owned(),
    }
}

/// A line whose addresses do not say who logs in, and by what.
fn without_login(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        out += before;
        let end = address.find(|c: char| c.is_whitespace() || "/\"'`<>,".contains(c)).unwrap_or(address.len());
        rest = match address[..end].rfind('@') {
            Some(login) => {
                out += SECRET;
                &address[login..]
            }
            None => address,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"version = 2
# password = "commented-out"
[plugins."io.containerd.grpc.v1.cri".registry.configs."r.example".auth]
username = "u"
password = 'pass-word'
auth = "YWJj"
identitytoken = """
one
two"""
[plugins."io.containerd.grpc.v1.cri".registry]
x = { "Password" = "inline", mirror = "https://u:pw@m.example/v2" }
headers.Authorization = ["Basic eHl6"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
token_is_kept = true
"#;

    const SECRETS: [&str; 8] = ["commented-out", "pass-word", "YWJj", "one", "two", "inline", "u:pw", "eHl6"];

    #[test]
    fn secrets_are_not_shown_and_everything_else_is() {
        let shown = hidden(TEXT);
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        for kept in ["username = \"u\"", "@m.example/v2", "io.containerd.runc.v2", "password = \"<redacted>\""] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        assert_eq!(shown.lines().count(), TEXT.lines().count());
        // Also where it is no TOML.
        let shown = hidden(&format!("{TEXT}x = [\n"));
        for secret in SECRETS.iter().filter(|secret| !["one", "two"].contains(secret)) {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert_eq!(hidden(machines()), machines());
    }

    /// What Kata's own configuration has.
    fn machines() -> &'static str {
        "# Path = \"a\"\n[hypervisor.qemu]\npath = \"/usr/bin/qemu\"\nkernel_params = \"a=b key.x=1\"\n[agent.kata]\nx=[]"
    }

    #[test]
    fn a_diff_has_no_secret_in_its_context() {
        let before = "a = 1\npassword = \"hunter2\"\nb = 1\n";
        let after = before.replace("b = 1", "b = 2");
        let diff = hidden_diff(&Change { path: "/etc/x".into(), before: Some(before.to_owned()), after });
        assert!(diff.contains("-b = 1\n+b = 2\n") && diff.contains(" password = \"<redacted>\"\n"), "{diff}");
    }
}
