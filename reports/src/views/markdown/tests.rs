use super::*;
use crate::sample;

#[test]
fn the_sample_as_markdown() {
    insta::assert_snapshot!(render(&sample::standings(&sample::matrix())));
}

#[test]
fn no_text_of_a_guest_becomes_markup() {
    let text = render(&sample::standings(&sample::matrix()));
    assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"), "{text}");
    assert!(text.contains("http://&lt;mirror&gt;/debian"), "a bare <mirror> would vanish as a tag");
    // Every row of a table has as many columns as its head.
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut head = None;
    for line in text.lines() {
        match (line.starts_with('|'), head) {
            (true, None) => head = Some(columns(line)),
            (true, Some(n)) => assert_eq!(columns(line), n, "{line}"),
            (false, _) => head = None,
        }
    }
}

#[test]
fn emulated_is_told_from_hardware() {
    assert_eq!(mark(Verdict::Supported, Some(Basis::Hardware)), "✓");
    assert_eq!(mark(Verdict::Supported, Some(Basis::Emulated)), "✓ᵉ");
    assert_eq!(mark(Verdict::Unsupported, Some(Basis::Emulated)), "✗ᵉ");
    assert_eq!(mark(Verdict::Untested, Some(Basis::Emulated)), "–");
}

proptest::proptest! {
    #[test]
    fn escaped_text_is_one_line_without_tags(text: String) {
        let out = escape(&text);
        proptest::prop_assert!(!out.contains(['\n', '\r', '<', '>']));
    }
}
