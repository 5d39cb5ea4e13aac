use super::*;
use crate::sample;

#[test]
fn the_sample_as_html() {
    let page = render(&sample::matrix(), &sample::catalogue());
    insta::assert_snapshot!(page.replace(style::CSS, "").replace("><", ">\n<"));
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let page = render(&sample::matrix(), &sample::catalogue());
    assert!(!page.contains("<script"), "nothing that a guest prints is markup, and there is no script of ours");
    assert!(page.contains("&lt;script&gt;"));
    assert!(!page.contains(" src=") && !page.contains("@import") && !page.contains("url("));
    assert!(page.contains("default-src 'none'"));
    // Whoever wants to look at it: REPORTS_SAMPLE=folder cargo test -p reports html.
    if let Some(folder) = std::env::var_os("REPORTS_SAMPLE") {
        std::fs::write(std::path::Path::new(&folder).join("index.html"), page).unwrap();
    }
}

#[test]
fn arguments_can_be_pasted_into_a_shell() {
    let argv = ["qemu", "-append", "a b='c'", ""].map(str::to_owned);
    assert_eq!(command(&argv), "qemu \\\n    -append 'a b='\\''c'\\''' ''");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn a_message_is_escaped(text in "[<>&\"'a-z]{0,40}") {
        let shown = message(&text).into_string();
        let inner = shown.trim_start_matches("<p>").trim_end_matches("</p>");
        proptest::prop_assert!(!inner.contains('<'));
    }
}
