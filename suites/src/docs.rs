//! The doc comment of a test, read from the source that defines it.
//!
//! The same text is shown to readers of the code, by `kata-qualify explain` and in bug reports.

/// Returns the doc comment directly above `fn name` in `source`, without its markers; empty if there is none.
pub(crate) fn doc_of(source: &str, name: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let head = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| {
        let line = line.trim_start().trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
        line.trim_start_matches("pub ").starts_with(&head)
    }) else {
        return String::new();
    };
    let mut start = at;
    while start > 0
        && (lines[start - 1].trim_start().starts_with("///") || lines[start - 1].trim_start().starts_with("#["))
    {
        start -= 1;
    }
    let doc: Vec<&str> = lines[start..at]
        .iter()
        .filter_map(|line| line.trim_start().strip_prefix("///"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    doc.join("\n")
}

#[cfg(test)]
mod tests {
    use super::doc_of;

    #[test]
    fn finds_the_comment_above_the_function_and_nothing_else() {
        let source = "/// other\nfn b() {}\n\n/// One.\n///\n/// Two.\n#[inline]\npub(super) fn a(x: u8) {}\n";
        assert_eq!(doc_of(source, "a"), "One.\n\nTwo.");
        assert_eq!(doc_of(source, "c"), "");
    }
}
