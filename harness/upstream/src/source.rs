//! Extraction of items, values and lines from Go and Rust source.

/// A top-level item: from an unindented line to the unindented closing brace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    /// The name: `BlockDevice.QemuParams`, `impl ToQemuParams for BlockBackend`.
    pub(crate) name: String,
    /// The number of the item's first line.
    pub(crate) line: usize,
    /// The lines of the item.
    pub(crate) text: &'a str,
}

/// Returns every top-level item with braces.
pub(crate) fn items(source: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut open: Option<(String, usize, usize, &str)> = None;
    let mut offset = 0;
    for (number, line) in source.split_inclusive('\n').enumerate() {
        let plain = line.trim_end();
        match &open {
            None if begins_item(plain) => {
                let name = item_name(plain);
                match is_whole(plain) {
                    true => items.push(Item { name, line: number + 1, text: plain }),
                    false => open = Some((name, number + 1, offset, closing(plain))),
                }
            }
            Some((name, first, start, closing)) if plain == *closing => {
                items.push(Item { name: name.clone(), line: *first, text: &source[*start..offset + line.len()] });
                open = None;
            }
            _ => {}
        }
        offset += line.len();
    }
    items
}

/// Returns the item with this name.
pub(crate) fn item<'a>(source: &'a str, name: &str) -> Option<Item<'a>> {
    items(source).into_iter().find(|item| item.name == name)
}

/// Returns the end of an item: a parenthesis for a group of constants, a brace for everything else.
fn closing(head: &str) -> &'static str {
    let group = head.ends_with('(') && (head.starts_with("const ") || head.starts_with("var "));
    if group { ")" } else { "}" }
}

/// Returns whether an item ends in its first line. A function may have its arguments in the following lines; a constant
/// or a type without an opening bracket is complete.
fn is_whole(head: &str) -> bool {
    let plain = ["var ", "const ", "type "].iter().any(|word| head.starts_with(word));
    head.ends_with('}') || plain && !head.ends_with(['{', '('])
}

fn begins_item(line: &str) -> bool {
    let words = [
        "func ",
        "impl ",
        "impl<",
        "fn ",
        "pub fn ",
        "pub(crate) fn ",
        "pub(super) fn ",
        "async fn ",
        "var ",
        "const ",
        "type ",
    ];
    words.iter().any(|word| line.starts_with(word)) && line.contains(['{', '('])
}

/// Returns the item's name: receiver and name of a Go function, else the head of the item.
fn item_name(head: &str) -> String {
    if let Some(function) = head.strip_prefix("func ") {
        let (receiver, rest) = match function.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
            Some((receiver, rest)) => (receiver.rsplit([' ', '*']).next().unwrap_or_default(), rest),
            None => ("", function),
        };
        let name = rest.split(['(', '[']).next().unwrap_or_default();
        return if receiver.is_empty() { name.to_owned() } else { format!("{receiver}.{name}") };
    }
    let head = head.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
    let head = head.split(" = ").next().unwrap_or_default();
    let ends: &[char] = if head.starts_with("impl") || head.starts_with("type ") { &['{'] } else { &['(', '<'] };
    head.split(ends).next().unwrap_or_default().trim().to_owned()
}

/// Returns the text without comments, blank lines and indentation, which do not change its meaning.
pub(crate) fn without_comments(text: &str) -> String {
    let mut plain = String::new();
    for line in text.lines() {
        let line = line.trim();
        let code = match line.find("//") {
            // The `//` of a URL starts no comment.
            Some(at) if !line[..at].ends_with(':') => line[..at].trim_end(),
            _ => line,
        };
        if !code.is_empty() {
            plain.push_str(code);
            plain.push('\n');
        }
    }
    plain
}

/// Returns the number of the first line with this text.
pub(crate) fn line_of(source: &str, text: &str) -> Option<usize> {
    source.lines().position(|line| line.contains(text)).map(|at| at + 1)
}

/// Returns the value and the line of a Makefile's variable, from the last of its assignments (`?=` and `:=` alike).
pub(crate) fn make_variable<'a>(source: &'a str, variable: &str) -> Option<(&'a str, usize)> {
    let mut found = None;
    for (number, line) in source.lines().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix(variable) else { continue };
        let rest = rest.trim_start();
        let value = ["?=", ":=", "="].iter().find_map(|sign| rest.strip_prefix(sign));
        if let Some(value) = value {
            found = Some((value.trim(), number + 1));
        }
    }
    found
}

/// Returns the items as a list in a Makefile: `[\"--thread-pool-size=1\", \"-o\", \"announce_submounts\"]`.
pub(crate) fn makefile_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("\\\"{item}\\\"")).collect();
    format!("[{}]", items.join(", "))
}

/// Returns every assignment of a Makefile, a TOML file or a kernel configuration, and every one-line constant of Go or
/// Rust, with its line: `DEFVCPUS`, `[runtime]vfio_mode`, `CONFIG_FUSE_FS`, `defaultVCPUCount`.
pub(crate) fn assignments(source: &str) -> Vec<(String, &str, usize)> {
    let mut section = "";
    let mut all = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let line = line.trim();
        if let Some(option) = line.strip_prefix("# ").and_then(|l| l.strip_suffix(" is not set")) {
            all.push((option.to_owned(), "n", number + 1));
        }
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            section = line;
            continue;
        }
        if let Some((name, value)) = constant(line) {
            all.push((name.to_owned(), value, number + 1));
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let name = name.trim_end_matches([':', '?', '+']).trim();
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            all.push((format!("{section}{name}"), value.trim(), number + 1));
        }
    }
    all
}

/// Parses a constant: `const defaultVCPUCount uint32 = 1 // one`, `pub const DEFAULT_GUEST_VCPUS: u32 = 1;`.
fn constant(line: &str) -> Option<(&str, &str)> {
    let rest = ["const ", "var ", "pub const "].iter().find_map(|word| line.strip_prefix(word))?;
    let (head, value) = rest.split_once(" = ")?;
    let name = head.split([' ', ':']).next()?;
    let value = value.split(" // ").next()?;
    Some((name, value.trim_end_matches(';')))
}

/// Returns the strings between double quotes in a text, in their order.
pub(crate) fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// Returns the quoted value of a Go or Rust field or constant, with its line: `defaultQemuMachineOptions =
/// "accel=kvm"`.
pub(crate) fn quoted_after<'a>(source: &'a str, name: &str) -> Option<(&'a str, usize)> {
    source.lines().enumerate().find_map(|(number, line)| {
        let rest = line.trim_start().strip_prefix(name)?.trim_start().strip_prefix('=')?;
        quoted(rest).first().map(|value| (*value, number + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO: &str = "package q\nconst (\n\tone = 1\n)\nvar params = []Param{\n\t{\"a\", \"1\"},\n}\n\n// Says.\nfunc (dev *BlockDevice) QemuParams(c *Config) []string {\n\tif !dev.SCSI { // off\n\t\tadd(\"scsi=off\")\n\t}\n}\n\nfunc short() {}\nfunc (c Config) name() {\n}\n";

    #[test]
    fn items_have_names_and_lines() {
        let names: Vec<(String, usize)> = items(GO).into_iter().map(|item| (item.name, item.line)).collect();
        let expected =
            [("const", 2), ("var params", 5), ("BlockDevice.QemuParams", 10), ("short", 16), ("Config.name", 17)];
        assert_eq!(names, expected.map(|(name, line)| (name.to_owned(), line)));
        let text = "const WAIT: Duration = Duration::from_secs(10);\nvar none = errors.New(\"x\")\ntype Info struct {\n\tID int\n}\ntype f func(int) int\nfn after() {\n}\n";
        let names: Vec<String> = items(text).into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["const WAIT: Duration", "var none", "type Info struct", "type f func(int) int", "fn after"]);
        let rust = "impl ToQemuParams for Block<'_> {\n    fn x() {\n    }\n}\npub(crate) fn new(a: u8) {\n}\n";
        let names: Vec<String> = items(rust).into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["impl ToQemuParams for Block<'_>", "fn new"]);
    }

    #[test]
    fn comments_and_blanks_are_ignored() {
        let item = item(GO, "BlockDevice.QemuParams").unwrap();
        let other = item.text.replace(" // off", "").replace('\t', "    ");
        assert_eq!(without_comments(item.text), without_comments(&other));
        assert_ne!(without_comments(item.text), without_comments(&other.replace("scsi=off", "scsi=on")));
        assert_eq!(without_comments("see http://x\n"), "see http://x\n");
    }

    #[test]
    fn values_are_read_out() {
        let text = "A ?= 1\nB := x y\n  A := 2\nAB = 3\n";
        assert_eq!(
            (make_variable(text, "A"), make_variable(text, "B"), make_variable(text, "C")),
            (Some(("2", 3)), Some(("x y", 2)), None)
        );
        assert_eq!(quoted("{\"a\", \"b c\"}, \"\""), ["a", "b c", ""]);
        assert_eq!(quoted_after("x\n\tdefaultOptions = \"accel=kvm\"\n", "defaultOptions"), Some(("accel=kvm", 2)));
        assert_eq!(line_of("a\nb", "b"), Some(2));
        let text = "# a = 1\n  DEFA ?= 1\nB := x=y\n[s.t]\nc_d = [\"e\"]\nCONFIG_F=y\n$(x) = 1\n\tif [ a = b ]\n";
        let expected = [("DEFA", "1", 2), ("B", "x=y", 3), ("[s.t]c_d", "[\"e\"]", 5), ("[s.t]CONFIG_F", "y", 6)];
        assert_eq!(assignments(text), expected.map(|(name, value, line)| (name.to_owned(), value, line)));
        let text = "const a uint32 = 1 // MiB\nvar b = \"x\"\npub const C_D: &str = \"y\";\nconst e string\n";
        let expected = [("a", "1", 1), ("b", "\"x\"", 2), ("C_D", "\"y\"", 3)];
        assert_eq!(assignments(text), expected.map(|(name, value, line)| (name.to_owned(), value, line)));
    }
}
