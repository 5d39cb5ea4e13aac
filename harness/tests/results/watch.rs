use crate::generated_run::{FAILS, GeneratedRun, journal, run_command, write_run};

#[test]
fn watch_shows_a_finished_run_and_how_to_resume_a_killed_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    write_run(&run, &GeneratedRun::default());
    let watched = run_command(dir.path(), &["watch", "run"]);
    assert_eq!(watched.code, Some(0), "{}", watched.stderr);
    for words in ["run r1", "debian:13: tests", FAILS, "1 fail, 1 pass", "the run is finished"] {
        assert!(watched.stderr.contains(words), "{words}: {}", watched.stderr);
    }
    assert_eq!(watched.stdout, "");
    let text = journal(&run);
    std::fs::write(run.join("journal.jsonl"), &text[..text.len() - 30]).unwrap();
    let watched = run_command(dir.path(), &["watch", "run"]);
    assert_eq!(watched.code, Some(3), "{}", watched.stderr);
    assert!(watched.stderr.contains("resume it with `kata-qualify run --resume run`"), "{}", watched.stderr);
    assert_eq!(run_command(dir.path(), &["watch", "nowhere"]).code, Some(2));
}
