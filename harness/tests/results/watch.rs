use crate::made::{FAILS, Made, journal, make, said};

#[test]
fn a_run_is_shown_to_its_end_and_one_that_was_killed_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    make(&run, &Made::default());
    let watched = said(dir.path(), &["watch", "run"]);
    assert_eq!(watched.code, Some(0), "{}", watched.stderr);
    for words in ["run r1", "debian:13: tests", FAILS, "1 fail, 1 pass", "the run is finished"] {
        assert!(watched.stderr.contains(words), "{words}: {}", watched.stderr);
    }
    assert_eq!(watched.stdout, "");
    let text = journal(&run);
    std::fs::write(run.join("journal.jsonl"), &text[..text.len() - 30]).unwrap();
    let watched = said(dir.path(), &["watch", "run"]);
    assert_eq!(watched.code, Some(3), "{}", watched.stderr);
    assert!(watched.stderr.contains("resume it with `kata-qualify run --resume run`"), "{}", watched.stderr);
    assert_eq!(said(dir.path(), &["watch", "nowhere"]).code, Some(2));
}
