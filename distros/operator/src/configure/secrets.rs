//! Secrets in configurations, which are not shown: passwords of registries in container managers' files, and any in the
//! text that others have added to kata-osinfo's files.
//!
//! Secrets are removed only from output, never from what is written. In doubt a text is hidden.

use super::state::FileChange;
use model::redact::{SECRET, without_credentials};
use std::ops::Range;
use toml_edit::{Document, Item, Table, Value};

/// Endings of secrets' names, in lower case and reduced to letters and digits; an `s` may follow.
const ENDS: [&str; 15] = [
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "jwt",
    "key",
    "keydata",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pw",
    "secret",
    "signature",
    "token",
];

/// Further endings, which are also common words: they mean a secret only if a value is assigned to the name.
const NAMES: [&str; 3] = [AUTH, "pass", "pwd"];

/// containerd has a table of this name, in which the user's name is shown.
const AUTH: &str = "auth";

/// Beginning of a PEM key or certificate.
const PEM: &str = "-----BEGIN";

/// Delimiters of values of several lines.
const LONG: [(&str, &str); 4] = [("\"\"\"", "\"\"\""), ("'''", "'''"), ("[", "]"), (PEM, "-----END")];

/// Returns a change's unified diff, without secrets.
pub fn hidden_diff(change: &FileChange) -> String {
    let before = change.before.as_deref().map(hidden);
    FileChange { path: change.path.clone(), before, after: hidden(&change.after) }.diff()
}

/// Returns a configuration's text without secrets, with the same number of lines; if it is not TOML, no line is shown.
pub(super) fn hidden(text: &str) -> String {
    let Ok(document) = Document::parse(text) else {
        let end = |line: &str| if line.ends_with('\n') { "\n" } else { "" };
        return text.split_inclusive('\n').map(|line| format!("{SECRET}{}", end(line))).collect();
    };
    let mut places = Places { text, shown: Vec::new(), secret: Vec::new() };
    places.table(document.as_table(), false);
    without_credentials(&places.hidden())
}

/// Returns a name's letters and digits in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns whether a word means a secret in any context.
fn means_secret(word: &str) -> bool {
    let name = letters(word);
    let one = name.strip_suffix('s').unwrap_or(&name);
    ENDS.iter().any(|end| one.ends_with(end))
}

/// Returns whether a name to which a value is assigned means a secret.
fn is_secret(name: &str) -> bool {
    let plain = letters(name);
    NAMES.iter().any(|end| plain.ends_with(end)) || means_secret(name)
}

/// Returns whether everything below a key is secret.
fn hides(key: &str, is_table: bool) -> bool {
    is_secret(key) && !(is_table && letters(key) == AUTH)
}

/// Returns whether the text after a value is a secret: `["--password", "…"]`, `{ name = "API_KEY", value = "…" }`.
fn precedes_secret(value: &Value) -> bool {
    value.as_str().is_some_and(is_secret)
}

/// Returns where the secret in a text begins: `password=…`, `"Authorization": …`, `the token …`, a key.
fn secret_in(text: &str) -> Option<usize> {
    let is_of_word = |c: char| c.is_alphanumeric() || "_-\"'".contains(c);
    let is_announced = |(at, sign): &(usize, &str)| {
        let word = text[..*at].trim_end().rsplit(|c: char| !is_of_word(c)).next().unwrap_or_default();
        means_secret(word) || ("=:".contains(*sign) && is_secret(word))
    };
    let announced = text.match_indices(|c: char| "=:,".contains(c) || c.is_whitespace()).find(is_announced);
    let behind = announced.map(|(at, _)| {
        let secret = text[at..].trim_start_matches(|c: char| "=:,".contains(c) || c.is_whitespace());
        text.len() - secret.len()
    });
    behind.into_iter().chain(text.find(PEM)).min()
}

/// Returns the delimiter that ends a secret of several lines, if the secret begins in this comment and does not end in
/// it.
fn end_of_open(secret: &str) -> Option<&'static str> {
    LONG.iter().find_map(|(begin, end)| {
        let (_, inside) = secret.split_once(begin)?;
        (!inside.contains(end)).then_some(*end)
    })
}

/// Positions of the values in a text.
struct Places<'t> {
    text: &'t str,
    /// Strings that are shown: a `#` in them does not begin a comment.
    shown: Vec<Range<usize>>,
    secret: Vec<Range<usize>>,
}

impl Places<'_> {
    fn table(&mut self, table: &Table, is_of_secret: bool) {
        for (key, item) in table.iter() {
            let is_of_secret = is_of_secret || hides(key, item.is_table_like());
            match item {
                Item::None => {}
                Item::Value(value) => self.value(value, is_of_secret),
                Item::Table(table) => self.table(table, is_of_secret),
                Item::ArrayOfTables(tables) => tables.iter().for_each(|table| self.table(table, is_of_secret)),
            }
        }
    }

    fn value(&mut self, value: &Value, is_of_secret: bool) {
        let mut is_announced = false;
        match (value, value.span()) {
            // The span of a table that a dotted key makes is that of the key alone.
            (Value::InlineTable(table), _) => {
                for (key, value) in table.iter() {
                    self.value(value, is_of_secret || is_announced || hides(key, value.is_inline_table()));
                    is_announced = precedes_secret(value);
                }
            }
            (Value::Boolean(_), _) | (_, None) => {}
            (_, Some(span)) if is_of_secret => self.secret.push(span),
            (Value::Array(list), _) => {
                for value in list.iter() {
                    self.value(value, is_announced);
                    is_announced = precedes_secret(value);
                }
            }
            (Value::String(string), Some(span)) => match self.has_secret(string.value(), &span) {
                true => self.secret.push(span),
                false => self.shown.push(span),
            },
            _ => {}
        }
    }

    /// Returns whether a string has a secret other than one that [`without_credentials`] finds in the text as well,
    /// such as an address's login.
    fn has_secret(&self, value: &str, span: &Range<usize>) -> bool {
        let stripped = without_credentials(value);
        let is_literal = self.text.get(span.start + 1..span.end - 1) == Some(value);
        secret_in(&stripped).is_some() || (stripped != value && !is_literal)
    }

    /// Returns the text without secrets, and without the rest of the last line of a secret of several lines.
    fn hidden(mut self) -> String {
        self.secret.sort_by_key(|span| span.start);
        let lines = |span: &Range<usize>| match self.text[span.clone()].contains('\n') {
            true => span.start..self.line_end(span.end),
            false => span.clone(),
        };
        let mut all: Vec<Range<usize>> = self.secret.iter().map(lines).chain(self.comments()).collect();
        all.sort_by_key(|span| span.start);
        let mut out = String::with_capacity(self.text.len());
        let mut from = 0;
        for span in all {
            // Spans may overlap.
            let start = span.start.max(from);
            let Some(secret) = self.text.get(start..span.end).filter(|secret| !secret.is_empty()) else { continue };
            out += &format!("{}\"{SECRET}\"", &self.text[from..start]);
            out += &format!("\n{SECRET}").repeat(secret.matches('\n').count());
            from = span.end;
        }
        out + &self.text[from..]
    }

    /// Returns the parts of comments that are not shown: secrets, and every comment behind one on its line.
    fn comments(&self) -> Vec<Range<usize>> {
        let mut values: Vec<&Range<usize>> = self.shown.iter().chain(&self.secret).collect();
        values.sort_by_key(|span| span.start);
        let mut found = Vec::new();
        let mut from = 0;
        // The end of a secret of several lines that is commented out.
        let mut open: Option<&str> = None;
        while let Some(at) = self.text[from..].find('#').map(|i| i + from) {
            let next = values.partition_point(|span| span.end <= at);
            if let Some(value) = values.get(next).filter(|span| span.start <= at) {
                from = value.end;
                continue;
            }
            let end = self.line_end(at);
            let comment = &self.text[at + 1..end];
            open = open.filter(|_| self.text[from..at].trim().is_empty());
            let secret = if open.is_some() || self.is_beside_secret(at) { Some(0) } else { secret_in(comment) };
            if let Some(secret) = secret.map(|start| comment[start..].trim_start()) {
                found.push(end - secret.len()..end);
                open = match open {
                    Some(close) => (!comment.contains(close)).then_some(close),
                    None => end_of_open(secret),
                };
            }
            from = end;
        }
        found
    }

    /// Returns whether a secret stands before this position on the same line.
    fn is_beside_secret(&self, at: usize) -> bool {
        let line = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let first = self.secret.partition_point(|span| span.end <= line);
        self.secret.get(first).is_some_and(|span| span.start < at)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |i| i + at)
    }
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
        // The same holds for a text that is not TOML.
        let shown = hidden(&format!("{TEXT}x = [\n"));
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert_eq!(shown, format!("{SECRET}\n").repeat(TEXT.lines().count() + 1));
        assert_eq!(hidden(MACHINES), MACHINES);
    }

    /// Text as in Kata's own configuration.
    const MACHINES: &str = r##"# Path = "a"
# [hypervisor.clh]: see https://docs.example/kata
[hypervisor.qemu]
path = "/usr/bin/qemu" # the distro's
kernel_params = "a=b key.x=1 agent.log=debug systemd.unit=kata-containers.target"
enable_annotations = ["enable_iommu", "virtio_fs_extra_args", "kernel_params"]
valid_hypervisor_paths = [
    "/usr/bin/qemu", # one #
]
virtio_fs_extra_args = ["--thread-pool-size=1", "--announce-submounts", "-o", "cache=auto"]
guest_hook_path = ""
disable_block_device_use = false
[agent.kata]
kernel_modules = ["e1000e InterruptThrottleRate=3000,3000,3000 EEE=1"]
dial_timeout = 45
x=[]"##;

    /// Written texts, and the texts that are shown: `•` stands for a hidden part.
    const FORMS: &[(&str, &str)] = &[
        // By its key.
        (r#"Secret-Access_KEY = "s3cret""#, "Secret-Access_KEY = \"•\""),
        ("pw = 'a#s3cret'", "pw = \"•\""),
        (r#"api_keys = ["s3cret", 's3cret'] # x"#, r##"api_keys = "•" # "•""##),
        (r#"token = { value = "s3cret" }"#, r#"token = { value = "•" }"#),
        (r#"x = { auth.password = "s3cret" }"#, r#"x = { auth.password = "•" }"#),
        ("[token]\nvalue = \"s3cret\"", "[token]\nvalue = \"•\""),
        // In a list or a string.
        (r#"env = ["API_KEY=s3cret", "A=b"]"#, r#"env = ["•", "A=b"]"#),
        (r#"args = ["--password=s3cret", "-v"]"#, r#"args = ["•", "-v"]"#),
        (r#"args = ["--password", "s3cret", "-v"]"#, r#"args = ["--password", "•", "-v"]"#),
        (r#"x = [{ name = "API_KEY", value = "s3cret" }]"#, r#"x = [{ name = "API_KEY", value = "•" }]"#),
        (r#"h = "Authorization: Bearer s3cret""#, r#"h = "•""#),
        (r#"h = "\u0070assword=s3cret""#, r#"h = "•""#),
        ("x = '''\n-----BEGIN X-----\ns3cret\n'''\na = 1", "x = \"•\"\n•\n•\n•\na = 1"),
        // In an address.
        (r#"url = "https://h.example/x?token=s3cret""#, r#"url = "https://h.example/x?•""#),
        (r##"url = "https://u:s3cret@h.example/x" # y"##, r##"url = "https://•@h.example/x" # y"##),
        (r#"url = "https://u:s3cret\u0040h.example/x""#, r#"url = "•""#),
        (r#"[x."https://u:s3cret@h.example"]"#, r#"[x."https://•@h.example"]"#),
        // In a comment.
        (r##"password = "x" # tok_s3cret"##, r##"password = "•" # "•""##),
        ("# token: s3cret", r##"# token: "•""##),
        (r##"a = "#" # password: s3cret"##, r##"a = "#" # password: "•""##),
        ("# Authorization: Bearer s3cret", r##"# Authorization: "•""##),
        ("# the password s3cret", r##"# the password "•""##),
        ("# pass = s3cret\n# pass it on", "# pass = \"•\"\n# pass it on"),
        (r##"# args = ["--token", "s3cret"]"##, r##"# args = ["--token", "•""##),
        ("# https://u:s3cret@h.example/x", "# https://•@h.example/x"),
        ("# pw = '''\n# s3cret\n# '''\n# x", "# pw = \"•\"\n# \"•\"\n# \"•\"\n# x"),
        // Of several lines.
        ("password = \"\"\"\ns3cret\n\"\"\" # s3cret\na = 1", "password = \"•\"\n•\n•\na = 1"),
        ("auth = [\n  \"s3cret\", # s3cret\n]\n# x", "auth = \"•\"\n•\n•\n# x"),
    ];

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        for (written, shown) in FORMS {
            assert_eq!(hidden(written), shown.replace('•', SECRET), "{written}");
        }
    }

    #[test]
    fn a_diff_has_no_secret_in_its_context() {
        let before = "a = 1\npassword = \"hunter2\"\nb = 1\n";
        let after = before.replace("b = 1", "b = 2");
        let diff = hidden_diff(&FileChange { path: "/etc/x".into(), before: Some(before.to_owned()), after });
        assert!(diff.contains("-b = 1\n+b = 2\n") && diff.contains(" password = \"<redacted>\"\n"), "{diff}");
    }
}
