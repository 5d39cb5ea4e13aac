use super::*;
use crate::journal::Event;
use crate::sample;

/// Writes every report of a journal that is compared with no record.
fn written(journal: &Journal, out: &Path) -> Result<(), ReportError> {
    let matrix = matrix_in(journal, &sample::catalogue(), &sample::profiles(), &[], out);
    write_all(&sample::standings(&matrix), &[], &sample::catalogue(), out, out)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns all reports in a directory.
fn files(out: &Path) -> Vec<PathBuf> {
    let junit = names(&out.join(JUNIT)).into_iter().map(|name| out.join(JUNIT).join(name));
    let mut all: Vec<PathBuf> = FILES.iter().map(|name| out.join(name)).chain(junit).collect();
    let mut folders = vec![out.join(site::PAGES)];
    while let Some(folder) = folders.pop() {
        for path in names(&folder).into_iter().map(|name| folder.join(name)) {
            if path.is_dir() { folders.push(path) } else { all.push(path) }
        }
    }
    all
}

#[test]
fn writing_reports_twice_gives_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    let all = || {
        written(&sample::journal(), &out).unwrap();
        files(&out).iter().map(|f| std::fs::read(f).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(all(), all());
    let entries: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert_eq!(entries.len(), FILES.len() + 2, "no temporary file is left behind: {entries:?}");
    let junit = names(&out.join(JUNIT));
    let cells = ["12", "13", "sid", "testing"].map(|release| format!("debian-{release}-x86_64-container.xml"));
    assert_eq!(junit, [cells.as_slice(), &["run.xml".to_owned()]].concat());
}

/// A CI system reads every file of the directory: an old file would keep it red.
#[test]
fn the_run_error_file_is_removed_once_the_run_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let of_the_run = dir.path().join(JUNIT).join(junit::OF_THE_RUN);
    let mut maker = sample::run(|_| None);
    let end = maker.journal.entries.pop().unwrap();
    written(&maker.journal, dir.path()).unwrap();
    assert!(of_the_run.is_file());
    maker.journal.entries.push(end);
    written(&maker.journal, dir.path()).unwrap();
    assert!(!of_the_run.exists());
}

#[test]
fn no_report_contains_a_mirror_or_a_password() {
    let dir = tempfile::tempdir().unwrap();
    written(&sample::journal(), dir.path()).unwrap();
    for file in files(dir.path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let file = file.display();
        assert!(!text.contains("mirror.example") && !text.contains("user:pass"), "{file}");
        assert!(!text.chars().any(crate::redact::is_unprintable), "{file}");
    }
}

#[test]
fn an_error_names_the_folder_that_cannot_be_created() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = written(&sample::journal(), &file.join("out")).unwrap_err();
    assert!(error.to_string().contains("file/out"), "{error}");
}

/// Empty logs and oversized ones are never copied out of an environment.
#[test]
fn existing_test_files_are_linked() {
    let dir = tempfile::tempdir().unwrap();
    let page = || {
        written(&sample::journal(), dir.path()).unwrap();
        std::fs::read_to_string(dir.path().join("pages/cell/debian-13-x86_64-container.html")).unwrap()
    };
    assert!(!page().contains("serial.log"));
    let log = dir.path().join("13/1/serial.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "boots").unwrap();
    // A link to a file was not written by the run.
    std::fs::create_dir_all(dir.path().join("13/2")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("13/2/serial.log")).unwrap();
    let page = page();
    assert!(page.contains("href=\"../../13/1/serial.log\"") && !page.contains("13/2/serial.log"));
}

/// Anybody may have made a run's directory, and the person who makes the reports may have access to more files than
/// their readers.
#[test]
fn symlinks_out_of_the_run_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (run, other) = (dir.path().join("run"), dir.path().join("other"));
    for folder in [run.join("13/1"), other.join("1")] {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("serial.log"), "text").unwrap();
    }
    assert!(is_file_below(&run, "13/1/serial.log"));
    std::os::unix::fs::symlink(&other, run.join("12")).unwrap();
    std::os::unix::fs::symlink(other.join("1/serial.log"), run.join("13/1/link.log")).unwrap();
    for file in ["12/1/serial.log", "13/1/link.log", "13/1", "13/1/none.log"] {
        assert!(!is_file_below(&run, file), "{file}");
    }
}

#[test]
fn paths_outside_the_folder_are_refused() {
    assert!(is_inside("13/serial.log"));
    for file in ["javascript:alert(1)", "/etc/passwd", "a/../../b", "//host/x"] {
        assert!(!is_inside(file), "{file}");
    }
}

#[test]
fn the_end_of_a_log_is_whole_lines_and_printable() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("serial.log");
    assert_eq!(tail(&log), None);
    let text: String = (0..9000).map(|n| format!("line {n}\r\n\n")).collect();
    std::fs::write(&log, format!("{text}\u{1b}[31mend of http://user:pass@mirror.example/x\n")).unwrap();
    let log_tail = tail(&log).unwrap();
    assert!(log_tail.starts_with("line 8971\n") && log_tail.lines().count() == TAIL_LINES, "{log_tail}");
    assert!(!log_tail.contains("mirror.example") && !log_tail.contains('\u{1b}'), "{log_tail}");
    // The cut is inside an address: the rest does not reveal where the login or the host ends.
    std::fs::write(&log, "at http://user:pass@mirror.example/x\nend\n").unwrap();
    assert_eq!(end(&log, 20).unwrap(), "end\n");
    assert_eq!(end(&log, 4).unwrap(), "end\n", "the only line");
    std::fs::write(&log, "").unwrap();
    assert_eq!(tail(&log), None);
}

/// Returns the processor time of this thread, in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// A journal of twice the size takes about twice the time, whatever it contains.
#[test]
fn writing_time_grows_linearly_with_the_journal() {
    type Filling = (&'static str, fn(&mut sample::Maker, usize));
    let fillings: [Filling; 5] = [
        ("notes", |m, n| finish(m, "a::b", numbered("note", n), Vec::new())),
        ("files", |m, n| finish(m, "a::b", Vec::new(), numbered("file", n))),
        ("tests", |m, n| (0..n).for_each(|i| finish(m, &format!("a::t{i}"), Vec::new(), Vec::new()))),
        ("hosts", |m, n| {
            (0..n).for_each(|i| finish(m, "a::b", vec![format!("see http://h{i}.mirror.example/x")], Vec::new()));
        }),
        ("cells", |m, n| {
            for i in 0..n / 4 {
                m.push(Event::CellStarted { cell: sample::cell(&format!("r{i}")) });
            }
        }),
    ];
    for (what, fill) in fillings {
        let took = |n: usize| {
            let mut maker = sample::Maker::default();
            maker.start(&["rs-4.0"], &["13"]);
            fill(&mut maker, n);
            let dir = tempfile::tempdir().unwrap();
            let time = |_| {
                let started = cpu();
                written(&maker.journal, dir.path()).unwrap();
                cpu() - started
            };
            (0..3).map(time).fold(f64::MAX, f64::min)
        };
        let (once, fourfold) = (took(500), took(2000));
        // Quadratic time would be sixteenfold; a few milliseconds are noise.
        assert!(fourfold < 8.0 * once + 0.05, "{what}: {once} s, then {fourfold} s");
    }
}

fn numbered(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{what} {i}")).collect()
}

fn finish(maker: &mut sample::Maker, test: &str, notes: Vec<String>, artifacts: Vec<String>) {
    maker.push(Event::TestFinished {
        cell: sample::cell("13"),
        profiles: sample::profile_names(&["rs-4.0"]),
        test: test.parse().unwrap(),
        attempt: 1,
        machine: 0,
        guests: Vec::new(),
        outcome: suites::outcome::Outcome::Pass,
        millis: 1,
        notes,
        artifacts,
    });
}
