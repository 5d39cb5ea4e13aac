use super::*;
use crate::sample;

#[test]
fn a_small_run_as_html() {
    let page = render(&sample::standings(&sample::small_matrix()), &sample::small_catalogue());
    insta::assert_snapshot!(page.replace(style::CSS, "").replace("><", ">\n<"));
}

/// What the small run does not have.
#[test]
fn every_cell_is_in_every_table_and_every_test_is_explained_once() {
    let matrix = sample::matrix();
    let page = render(&sample::standings(&matrix), &sample::catalogue());
    let count = |text: String| page.matches(text.as_str()).count();
    for cell in &matrix.cells {
        let anchor = anchor(cell);
        assert_eq!(count(format!("<section id=\"{anchor}\">")), 1, "{anchor}");
        // In the summary, and for each profile among the capabilities of the overview and among the others.
        assert_eq!(count(format!("href=\"#{anchor}\"")), 1 + 2 * matrix.profiles.len(), "{anchor}");
    }
    for test in sample::catalogue() {
        assert_eq!(count(format!("<dt id=\"test-{}\">", test.id)), 1, "{}", test.id);
    }
    for shown in [
        "<p class=\"caveat\">The run has no end",
        "<b>The cell could not go on</b> (image)",
        "Nothing is known: the cell did not get that far.",
        "<span class=\"badge supported emulated\">yes<sup>emu</sup></span>",
        "<span class=\"badge inconclusive\">?</span>",
        "Kata 3.2–3.28, end of life",
        "the run was killed during this test",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

/// Eighteen profiles times hundreds of tests times a hundred cells are most of a page.
#[test]
fn a_result_that_profiles_share_is_shown_once() {
    let matrix = sample::matrix();
    let page = render(&sample::standings(&matrix), &sample::catalogue());
    let shared = |profiles: usize| {
        let all = matrix.cells.iter().flat_map(|cell| &cell.instances);
        all.filter(|i| i.profiles.len() == profiles && !i.attempts.is_empty()).count()
    };
    let shown = |width: usize| page.matches(&format!("<td colspan=\"{width}\"><span")).count();
    assert!(shared(3) > 10 && shared(2) == 1, "{} {}", shared(3), shared(2));
    assert_eq!((shown(3), shown(2)), (shared(3), shared(2)));
    // What a test proves stands once, where the links lead.
    assert_eq!(page.matches("What `smoke::guest_boots` proves.").count(), 1);
}

#[test]
fn a_hover_names_no_tests_where_its_reason_holds_for_all() {
    let matrix = sample::matrix();
    let killed = matrix.cells.iter().find(|cell| cell.cell.release == "sid").unwrap();
    let qmp = killed.judgement("go-3.29", Capability::VmmQmp).unwrap();
    assert_eq!(hover(qmp), "0 of 1 tests passed\nnever ran");
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let page = render(&sample::standings(&sample::matrix()), &sample::catalogue());
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
