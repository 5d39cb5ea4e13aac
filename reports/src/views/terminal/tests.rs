use super::*;
use crate::journal::Event;
use crate::sample;
use suites::outcome::{Component, Outcome};

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

/// Returns the heads of a profile's table, as far as they fit into one line.
fn heads(text: &str) -> Vec<&str> {
    let mut table = text.lines().skip_while(|line| !line.starts_with("go-3.29 (Kata"));
    table.nth(1).map(|head| head.split_whitespace().collect()).unwrap_or_default()
}

#[test]
fn what_a_filter_left_out_is_counted_but_not_listed() {
    let outcomes = [
        (sample::BOOT, Outcome::Pass),
        (sample::DAEMON, Outcome::Pass),
        (sample::RENAME, Outcome::Pass),
        (sample::BLK, sample::skip("there is no disk")),
    ];
    let matrix = sample::judged(&sample::asked("rename_is_atomic", &outcomes));
    let text = terminal(&sample::standings(&matrix), 100, false);
    assert!(text.contains("\n8 capabilities were not chosen (--test)\n"), "{text}");
    assert!(!text.contains("never ran"), "{text}");
    assert!(
        text.contains("  -  there is no disk (filesystem::virtio_blk::rename_is_atomic) [go-3.29: fs.virtio-blk]\n")
    );
    assert_eq!(heads(&text), ["boot", "kernel", "virtio-fs", "blk"]);
}

/// A chosen test that blocks others, or that an interrupted run did not reach, is news.
#[test]
fn chosen_tests_that_did_not_run_are_listed() {
    let fails = sample::fail(Component::Qemu, "no q35");
    let outcomes = [(sample::BOOT, fails), (sample::VSOCK, sample::blocked(sample::BOOT))];
    let matrix = sample::judged(&sample::asked("vmm.vsock", &outcomes));
    let text = terminal(&sample::standings(&matrix), 100, false);
    assert!(text.contains("no q35 (smoke::guest_boots) [go-3.29: vmm.boot, vmm.vsock, kernel.guest]\n"), "{text}");
    assert!(!text.contains("never ran"), "{text}");

    let mut cut = sample::asked("rename_is_atomic,vmm.vsock", &[(sample::BOOT, Outcome::Pass)]);
    cut.journal.entries.truncate(cut.journal.entries.len() - 2);
    cut.push(Event::RunFinished { interrupted: true });
    let matrix = sample::judged(&cut);
    let text = terminal(&sample::standings(&matrix), 200, false);
    let tests = [sample::BLK, sample::RENAME, sample::VSOCK].join(", ");
    let expected = format!("  -  never ran ({tests}) [go-3.29: vmm.vsock, fs.virtio-fs, fs.virtio-blk]\n");
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("\n7 capabilities were not chosen (--test)\n"), "{text}");
    assert_eq!(heads(&text), ["boot", "vsock", "kernel", "virtio-fs", "blk"]);
}

#[test]
fn a_capability_of_which_some_tests_were_chosen_keeps_its_column() {
    let mut catalogue = sample::catalogue();
    catalogue.push(sample::test("smoke::events_arrive", &[Capability::VmmQmp], Component::Qemu, &[], &[]));
    let maker = sample::asked("qmp_replies_parse", &[(sample::QMP, Outcome::Pass)]);
    let matrix = crate::matrix::matrix(&maker.journal, &catalogue, &sample::profiles());
    let text = terminal(&sample::standings(&matrix), 100, false);
    assert!(text.contains("\n11 capabilities were not chosen (--test), 1 only in part\n"), "{text}");
    assert_eq!(heads(&text), ["qmp"]);
    assert_eq!(matrix.cells[0].judgement("go-3.29", Capability::VmmQmp).unwrap().verdict, Verdict::Untested);
}

/// What a rerun left out is known only of a cell that came to its end.
#[test]
fn a_rerun_counts_what_it_left_out() {
    let rerun = |maker: &sample::Maker| terminal(&sample::standings(&sample::judged(maker)), 100, false);
    let mut maker = sample::asked("rerun of r1", &[(sample::QMP, Outcome::Pass)]);
    let text = rerun(&maker);
    assert!(text.contains("\n11 capabilities were not chosen (rerun)\n") && !text.contains("never ran"), "{text}");
    maker.journal.entries.truncate(maker.journal.entries.len() - 2);
    assert!(rerun(&maker).contains("never ran"));
}
