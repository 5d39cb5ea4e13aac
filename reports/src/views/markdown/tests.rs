use super::*;
use crate::sample;

#[test]
fn the_sample_as_markdown() {
    insta::assert_snapshot!(render(&sample::standings(&sample::matrix())));
}

#[test]
fn guest_output_never_becomes_markup() {
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

/// HTML would show a backslash.
#[test]
fn summaries_contain_no_backslash_escapes() {
    let text = render(&sample::standings(&sample::matrix()));
    let heads: Vec<&str> = text.lines().filter(|line| line.contains("<summary>")).collect();
    assert!(!heads.is_empty() && heads.iter().all(|line| !line.contains('\\')), "{heads:?}");
    assert_eq!(in_html("a_b *c* <d> \\e"), "a&#95;b &#42;c&#42; &lt;d&gt; &#92;e");
}

/// Returns the sample with its cells repeated for this many releases, each with as many notes as pjdfstest can have.
fn many(releases: usize) -> Matrix {
    let mut matrix = sample::matrix();
    // So that there are pass rates, too.
    matrix.repeat = Some(2);
    let cells = std::mem::take(&mut matrix.cells);
    // Enough for some megabytes in all.
    let notes = 200_000 / releases;
    for (number, cell) in cells.iter().cycle().take(releases).enumerate() {
        let mut cell = cell.clone();
        cell.cell.release = format!("{}-{number}", cell.cell.release).parse().unwrap();
        for attempt in cell.instances.iter_mut().filter(|i| i.test == sample::POSIX).flat_map(|i| &mut i.attempts) {
            attempt.notes = (0..notes).map(|note| format!("open::a_property_that_differs_{note}")).collect();
        }
        matrix.cells.push(cell);
    }
    matrix
}

/// GitHub shows no step summary that is longer.
#[test]
fn a_report_stays_below_a_mebibyte_and_names_omissions() {
    let whole = render(&sample::standings(&sample::matrix()));
    assert!(!whole.contains("Left out") && whole.contains("## Notes"));
    let matrix = many(500);
    let standings = sample::standings(&matrix);
    let sections = Sections::of(&standings);
    let text = sections.within(&standings, MAX);
    assert!(MAX <= 1 << 20 && text.len() <= MAX, "{} bytes", text.len());
    assert!(text.contains("> **Note:** Left out, because the file would be too long for GitHub: notes"));
    assert!(!text.contains("## Notes") && !text.contains("The rest was left out"));
    assert!(text.contains("## Changes") && text.contains("## Can Kata run here?"));
    // A lower limit stands for more releases, each of which takes a while.
    let mut longer = usize::MAX;
    for count in 0..=DETAILS.len() {
        let left_out = &DETAILS[..count];
        let expected = sections.joined(&standings, left_out);
        assert!(expected.len() < longer, "leaving out {left_out:?} gains nothing");
        longer = expected.len();
        assert!(sections.within(&standings, longer) == expected, "{longer} bytes: expected all but {left_out:?}");
        let names_all = expected.contains(&format!("too long for GitHub: {}; see", left_out.join(", ")));
        assert_eq!(names_all, count > 0, "{left_out:?}");
    }
    let cut = sections.within(&standings, longer - 1);
    assert!(cut.len() < longer && cut.contains("## Can Kata run here?"), "{} of {longer} bytes", cut.len());
    let end =
        "|\n\nThe rest was left out, because this file would be too long for GitHub; see `index.html` for all of it.\n";
    assert!(cut.ends_with(end), "{}", &cut[cut.floor_char_boundary(cut.len().saturating_sub(500))..]);
}

#[test]
fn emulated_results_are_marked() {
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

#[test]
fn a_fence_is_longer_than_any_in_the_text() {
    assert_eq!(fence("plain"), "```");
    assert_eq!(fence("has ```` four"), "`````");
}
