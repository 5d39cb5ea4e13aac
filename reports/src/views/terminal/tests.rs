use super::*;
use crate::sample;

#[test]
fn the_sample_on_a_wide_terminal() {
    insta::assert_snapshot!(terminal(&sample::standings(&sample::matrix()), 100, false));
}

#[test]
fn the_sample_on_a_narrow_terminal() {
    insta::assert_snapshot!(terminal(&sample::standings(&sample::matrix()), 50, false));
}

#[test]
fn colour_only_adds_colour() {
    let plain = terminal(&sample::standings(&sample::matrix()), 100, false);
    let coloured = terminal(&sample::standings(&sample::matrix()), 100, true);
    assert!(!plain.contains('\u{1b}'));
    assert!(coloured.contains("\u{1b}[32myes\u{1b}[0m"));
    assert_eq!(crate::redact::without_controls(&coloured, 1 << 20), plain);
}

#[test]
fn no_line_is_longer_than_the_terminal_but_for_long_words() {
    for width in [40, 60, 80, 120] {
        for line in terminal(&sample::standings(&sample::matrix()), width, false).lines() {
            let longest = line.split_whitespace().map(|w| w.chars().count()).max().unwrap_or(0);
            assert!(line.chars().count() <= width || longest + 5 > width, "{width}: {line}");
        }
    }
}

#[test]
fn an_empty_run_is_reported_as_having_no_end() {
    let matrix = crate::matrix::matrix(&crate::journal::Journal::default(), &[], &[]);
    assert!(terminal(&sample::standings(&matrix), 0, false).contains("has no end"));
}
