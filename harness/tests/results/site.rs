use crate::generated_run::{FAILS, GeneratedRun, PROFILE, run_command, write_run};

#[test]
fn a_site_is_made_from_records_alone_or_with_runs_and_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let read = |file: &str| std::fs::read_to_string(dir.path().join("site").join(file)).unwrap();
    let alone = run_command(dir.path(), &["site", "--out", "site"]);
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(0), ""), "{}", alone.stderr);
    assert!(alone.stderr.starts_with("site: site/index.html ("), "{}", alone.stderr);
    assert!(read("runs.html").contains("None was given") && read("index.html").contains("debian 13"));
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    write_run(&dir.path().join("b"), &GeneratedRun { run: "r2", at: 100_000, ..GeneratedRun::default() });
    write_run(&dir.path().join("c"), &GeneratedRun { run: "r3", shaped: true, at: 200_000, ..GeneratedRun::default() });
    run_command(dir.path(), &["bundle", "b", "--out", "b.tar.zst"]);
    // The same run given twice counts once.
    let made = run_command(dir.path(), &["site", "a", "b.tar.zst", "b", "c", "--out", "site"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stderr.contains("note: 1 of 3 runs do not count, or only in part"), "{}", made.stderr);
    let runs = read("runs.html");
    assert!(["r1", "r2", "r3", "it is shaped"].iter().all(|words| runs.contains(words)), "{runs}");
    let cell = read("cell/debian-13-x86_64-container.html");
    assert!(cell.contains("tests of run r2") && cell.contains("no q35 from &lt;mirror&gt;"), "{cell}");
    assert!(
        cell.contains(&format!("id=\"test-{FAILS}\"")) && cell.contains(&format!("id=\"{PROFILE}.vmm.boot\"")),
        "{cell}"
    );
    assert!(read("feed.atom").contains("<feed xmlns=\"http://www.w3.org/2005/Atom\">"));
    // No page names a mirror or a password.
    for file in ["index.html", "cell/debian-13-x86_64-container.html", "api/v1/cell/debian-13-x86_64-container.json"] {
        assert!(!read(file).contains("mirror.example") && !read(file).contains("hunter22"), "{file}");
    }
}

#[test]
fn site_refuses_invalid_runs_and_a_foreign_output_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    std::fs::write(dir.path().join("mine/index.html"), "mine").unwrap();
    std::fs::write(dir.path().join("no.tar.zst"), "no bundle").unwrap();
    for (arguments, expected) in [
        (&["site", "--out", "mine"][..], "mine contains index.html, which does not belong to a site"),
        (&["site", "mine", "--out", "site"], "error: mine: reading the run"),
        (&["site", "no.tar.zst", "--out", "site"], "error: no.tar.zst: "),
        (&["site", "nowhere", "--out", "site"], "error: nowhere: "),
        (&["site"], "--out <DIR>"),
    ] {
        let refused = run_command(dir.path(), arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{arguments:?}: {}", refused.stderr);
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("mine/index.html")).unwrap(), "mine");
    assert!(!dir.path().join("site").exists());
}
