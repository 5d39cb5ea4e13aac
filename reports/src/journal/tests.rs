use super::*;
use crate::sample::{self, Maker, cell, fail};
use std::io::Write as _;
use std::thread::sleep;
use std::time::Duration;
use suites::outcome::{Component, Failure, FailureDetail, Grounds, Outcome};

fn written(dir: &std::path::Path) -> Journal {
    let journal = sample::journal();
    let mut writer = Writer::create(dir).unwrap();
    for entry in &journal.entries {
        writer.append_entry(entry.clone()).unwrap();
    }
    journal
}

fn append_raw(dir: &std::path::Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).open(dir.join(FILE)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_written_journal_is_read_back_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = written(dir.path());
    let read = read(dir.path()).unwrap();
    assert_eq!(read.entries.len(), journal.entries.len());
    // Only hostile or secret texts differ: the writer cleaned them.
    let redactor = crate::redact::Redactor::default();
    for (a, b) in journal.entries.iter_mut().zip(&read.entries) {
        if let Event::RunStarted { argv, .. } = &mut a.event {
            argv.iter_mut().for_each(|word| *word = redactor.mirrors(word));
        }
        if let Event::CellFacts { facts, .. } = &mut a.event {
            facts.image_options.iter_mut().for_each(|option| *option = redactor.mirrors(option));
        }
        if let Event::CellError { message, .. } = &mut a.event {
            *message = redactor.mirrors(message);
        }
        if let Event::TestFinished { outcome: Outcome::Fail(failure), .. } = &mut a.event {
            failure.observed = crate::redact::without_controls(&redactor.mirrors(&failure.observed), 1 << 20);
            failure.signature = crate::signature::of(failure.component, &failure.observed);
        }
        assert_eq!(a, b);
    }
}

/// A kill between the creation of the file and the end of its first line leaves nothing to resume.
#[test]
fn a_journal_without_a_whole_line_is_begun_anew() {
    for (text, is_begun_anew) in [
        ("", true),
        ("{\"a", true),
        ("{\"at\":\"2026-07-25T17:20:00Z\",\"event\":{\"event\":\"run-sta", true),
        ("{\"at\":\"2026-07-25T17:20:00Z\",\"event\":{\"event\":\"run-sta\n", false),
        ("\n", false),
        ("somebody's notes", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        assert_eq!(is_unbegun(&path).unwrap(), is_begun_anew, "{text}");
        let made = Writer::create(dir.path());
        assert_eq!(made.is_ok(), is_begun_anew, "{text}");
        let Ok(mut writer) = made else { continue };
        writer.append(Event::RunFinished { interrupted: true }).unwrap();
        drop(writer);
        assert_eq!(read(&path).unwrap().entries.len(), 1, "{text}");
    }
}

#[test]
fn a_journal_contains_no_mirror_and_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let known = ["http://user:s3c%22ret@mirror.example/debian"];
    let mut writer = Writer::create(dir.path()).unwrap().hiding(crate::redact::Redactor::knowing(known));
    for message in [
        "Failed to fetch http://user:s3c\"ret@mirror.example/debian/x",
        "http://me:other\u{1b}[1mword@other.example/x",
        "password s3c\"ret at mirror.example",
        "s3c%22ret",
    ] {
        let message = message.to_owned();
        writer.append(Event::CellError { cell: cell("13"), phase: Phase::Image, message }).unwrap();
    }
    let mut maker = Maker::default();
    maker.start(&["go-3.29"], &["13"]);
    let message = "fuse: http://user:s3c\"ret@mirror.example/debian/x".to_owned();
    let detail = FailureDetail::DaemonEnded { said: message.clone() };
    let failure = Failure { detail, ..Failure::new(Component::Virtiofsd, message) };
    maker.attempt("13", &["go-3.29"], "smoke::x", 1, Outcome::Fail(failure));
    for entry in maker.journal.entries.clone() {
        writer.append_entry(entry).unwrap();
    }
    let folded = format!("{:?}", crate::run::fold(&maker.journal));
    assert!(folded.contains("DaemonEnded") && !folded.contains("s3c"), "{folded}");
    let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
    assert!(text.contains("--mirror"), "{text}");
    for secret in ["s3c", "mirror.example", "other", "user:pass"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert!(text.contains("http://<mirror>/debian/x"), "{text}");
}

#[test]
fn the_listener_receives_exactly_the_bytes_of_the_journal() {
    static RECEIVED: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());
    let dir = tempfile::tempdir().unwrap();
    let mut writer =
        Writer::create(dir.path()).unwrap().with_listener(|line| RECEIVED.lock().unwrap().extend_from_slice(line));
    for entry in sample::journal().entries {
        writer.append_entry(entry).unwrap();
    }
    let received = RECEIVED.lock().unwrap();
    assert!(!received.is_empty());
    assert_eq!(*received, std::fs::read(dir.path().join(FILE)).unwrap());
}

#[test]
fn a_cut_last_line_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let journal = written(dir.path());
    append_raw(dir.path(), br#"{"at":"2026-07-25T17:20:00Z","event":{"event":"cell-sta"#);
    let cut = read(dir.path()).unwrap();
    assert!(cut.cut);
    assert_eq!(cut.entries.len(), journal.entries.len());
}

#[test]
fn a_journal_cut_at_any_byte_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path()).unwrap();
    writer.append(Event::CellStarted { cell: cell("13") }).unwrap();
    writer.append(Event::CellFinished { cell: cell("13") }).unwrap();
    drop(writer);
    let path = dir.path().join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..bytes.len()).filter(|index| bytes[*index] == b'\n').collect();
    assert_eq!(ends.len(), 2);
    for length in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let journal = read(&path).unwrap();
        // A last line that lacks only its line feed is complete.
        assert_eq!(journal.entries.len(), ends.iter().filter(|end| **end <= length).count(), "cut at {length}");
        let is_whole = length == 0 || ends.iter().any(|end| length == *end || length == *end + 1);
        assert_eq!(journal.cut, !is_whole, "cut at {length}");
    }
}

#[test]
fn two_runs_never_share_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(dir.path()).unwrap();
    assert!(matches!(Writer::create(dir.path()), Err(JournalError::Busy(_))));
    drop(writer);
    written(dir.path());
    let message = Writer::create(dir.path()).unwrap_err().to_string();
    assert!(message.contains("already contains a run"), "{message}");
}

#[test]
fn an_invalid_line_is_reported_with_file_and_line_number() {
    let dir = tempfile::tempdir().unwrap();
    let count = written(dir.path()).entries.len();
    append_raw(dir.path(), b"{\"at\":\"2026-07-25T17:20:00Z\",\"event\":{\"event\":\"cell-exploded\"}}\n");
    let message = read(dir.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("journal.jsonl:{}: ", count + 1)), "{message}");
    assert!(message.contains("cell-exploded"), "{message}");
}

#[test]
fn a_newer_schema_is_refused_whatever_its_shape() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    for line in [
        r#"{"at":"2026-07-25T17:20:00Z","event":{"event":"run-started","schema":7,"whatever":1}}"#,
        r#"{"at":"2026-07-25T17:20:00Z","event":{"event":"run-started","schema":7,"run":"x","harness":"9","profiles":[],"cells":[],"filter":null,"candidate":false,"options":[]}}"#,
    ] {
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains(&format!("schema 7 is newer than {SCHEMA}")), "{message}");
    }
}

/// A program that does not know a kind cannot read the line, and would call the journal damaged.
#[test]
fn a_further_kind_of_failure_needs_a_higher_schema() {
    let schema: serde_json::Value = serde_json::from_str(&crate::schema::journal().unwrap()).unwrap();
    let kinds = schema.pointer("/$defs/FailureDetail/oneOf").unwrap().as_array().unwrap();
    let kinds: Vec<&str> =
        kinds.iter().map(|kind| kind.pointer("/properties/kind/const").unwrap().as_str().unwrap()).collect();
    let of_version_4 = [
        "untold",
        "other",
        "not-listed",
        "lacks-options",
        "qmp-refusal",
        "daemon-ended",
        "no-file-handles",
        "qemu-refusal",
        "daemon-lacks-flag",
        "system-call",
        "file-missing",
    ];
    assert_eq!((SCHEMA, kinds.as_slice()), (4, of_version_4.as_slice()), "raise SCHEMA with the kinds");
    let dir = tempfile::tempdir().unwrap();
    let read_back = |schema: u32, kind: &str| {
        let lines = [
            format!(
                r#"{{"event":"run-started","schema":{schema},"run":"x","harness":"0.1.0","profiles":["go-3.29"],"cells":[],"filter":null,"candidate":false,"options":[]}}"#
            ),
            format!(
                r#"{{"event":"test-finished","cell":"debian:13/x86_64/vm","profiles":["go-3.29"],"test":"t","attempt":1,"outcome":{{"outcome":"fail","component":"qemu","observed":"no q35","detail":{{"kind":"{kind}"}}}},"millis":1,"notes":[],"artifacts":[]}}"#
            ),
        ];
        let line = |event: &String| format!("{{\"at\":\"2026-07-25T17:20:00Z\",\"event\":{event}}}\n");
        std::fs::write(dir.path().join(FILE), lines.iter().map(line).collect::<String>()).unwrap();
        read(dir.path()).map(|journal| journal.entries.len())
    };
    let newer = read_back(SCHEMA + 1, "of-a-newer-version").unwrap_err().to_string();
    assert!(newer.contains(&format!("schema {} is newer than {SCHEMA}", SCHEMA + 1)), "{newer}");
    let damaged = read_back(SCHEMA, "of-no-version").unwrap_err().to_string();
    assert!(damaged.contains("of-no-version"), "{damaged}");
    for (schema, kind) in [(3, "other"), (3, "no-file-handles"), (SCHEMA, "file-missing")] {
        assert_eq!(read_back(schema, kind).unwrap(), 2, "{schema} {kind}");
    }
}

#[test]
fn a_journal_of_schema_2_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"event":"run-started","schema":2,"run":"x","harness":"0.1.0","profiles":["go-3.29"],"cells":[],"filter":null,"candidate":false,"options":[]}"#,
        r#"{"event":"launched","cell":"debian:13/x86_64/vm","profiles":["go-3.29"],"configuration":"plain","argv":["qemu"],"daemon":[],"deviations":[]}"#,
        r#"{"event":"test-finished","cell":"debian:13/x86_64/vm","profiles":["go-3.29"],"test":"t","attempt":1,"outcome":{"outcome":"fail","message":"no q35","blames":"qemu"},"millis":1,"notes":[],"artifacts":[]}"#,
    ];
    let text: String =
        lines.iter().map(|event| format!("{{\"at\":\"2026-07-25T17:20:00Z\",\"event\":{event}}}\n")).collect();
    std::fs::write(dir.path().join(FILE), text).unwrap();
    let journal = read(dir.path()).unwrap();
    assert!(matches!(&journal.entries[1].event, Event::GuestStarted { guest: 0, argv, .. } if argv == &["qemu"]));
    let Event::TestFinished { outcome, guests, .. } = &journal.entries[2].event else { panic!("{journal:?}") };
    assert_eq!(*outcome, fail(Component::Qemu, "no q35"));
    assert!(guests.is_empty());
}

#[test]
fn failure_grounds_are_kept_and_older_journals_default_to_waited() {
    let dir = tempfile::tempdir().unwrap();
    let failure = Failure { grounds: Grounds::Measured, ..Failure::new(Component::Virtiofsd, "200 descriptors") };
    let mut maker = Maker::default();
    maker.done("13", &["go-3.29"], "t", Outcome::Fail(failure));
    let mut writer = Writer::create(dir.path()).unwrap();
    maker.journal.entries.into_iter().for_each(|entry| writer.append_entry(entry).unwrap());
    drop(writer);
    let path = dir.path().join(FILE);
    // The journal as it is read, and the run that is folded from it.
    let grounds = || {
        let journal = read(&path).unwrap();
        let run = crate::run::fold(&journal);
        let attempts = run.cells.values().flat_map(|cell| &cell.instances).flat_map(|instance| &instance.attempts);
        let read = journal.entries.iter().filter_map(|entry| match &entry.event {
            Event::TestFinished { outcome, .. } => Some(outcome),
            _ => None,
        });
        let outcomes = read.chain(attempts.map(|attempt| &attempt.outcome));
        let grounds = |outcome: &Outcome| match outcome {
            Outcome::Fail(failure) => failure.grounds,
            other => panic!("{other:?}"),
        };
        outcomes.map(grounds).collect::<Vec<Grounds>>()
    };
    assert_eq!(grounds(), [Grounds::Measured, Grounds::Measured]);
    let written = std::fs::read_to_string(&path).unwrap();
    let early = written.replace(r#""grounds":"measured","#, "");
    assert_ne!(early, written);
    std::fs::write(&path, early).unwrap();
    assert_eq!(grounds(), [Grounds::Waited, Grounds::Waited]);
    std::fs::write(&path, written.replace("measured", "guessed")).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("guessed"));
}

#[test]
fn an_overlong_line_is_refused_and_an_overlong_message_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path()).unwrap();
    let outcome = fail(Component::Qemu, &"x\u{0}".repeat(20 << 20));
    let mut maker = Maker::default();
    maker.done("13", &["go-3.29"], "t", outcome);
    for entry in maker.journal.entries {
        writer.append_entry(entry).unwrap();
    }
    assert!(std::fs::metadata(writer.path()).unwrap().len() < 100 << 10);
    drop(writer);
    append_raw(dir.path(), &vec![b'x'; MAX_LINE + 10]);
    append_raw(dir.path(), b"\n");
    let message = read(dir.path()).unwrap_err().to_string();
    assert!(message.contains("are allowed"), "{message}");
}

#[test]
fn cell_ids_are_parsed_and_invalid_ones_are_refused() {
    for name in ["debian:13/x86_64/container", "centos-stream:9/aarch64/vm", "fedora:rawhide/s390x/host"] {
        assert_eq!(name.parse::<CellId>().unwrap().to_string(), name);
    }
    for bad in [
        "",
        "debian",
        "debian:13",
        "debian:13/amd64/container",
        "debian:13/x86_64/cloud",
        "a:b/x86_64/vm/c",
        "../x:1/x86_64/vm",
        ":1/x86_64/vm",
    ] {
        let message = bad.parse::<CellId>().unwrap_err().to_string();
        assert!(message.contains("debian:13/x86_64/container"), "{message}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_do_not_make_reading_panic(bytes: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, bytes).unwrap();
        let _ = read(&path);
    }
}

#[test]
fn a_journal_that_is_not_a_regular_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let zero = dir.path().join("zero");
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    for path in [&pipe, &zero] {
        let error = read(path).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "not a regular file", "{}", path.display());
    }
}

#[test]
fn a_journal_with_too_many_cells_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let with = |count: usize| {
        let line = |n| {
            format!(
                r#"{{"at":"2026-11-28T00:00:00Z","event":{{"event":"cell-finished","cell":"d:{n}/x86_64/container"}}}}"#
            )
        };
        std::fs::write(&path, (0..count).map(line).collect::<Vec<_>>().join("\n") + "\n").unwrap();
        read(&path)
    };
    assert_eq!(with(MAX_CELLS).unwrap().entries.len(), MAX_CELLS);
    assert!(with(MAX_CELLS + 1).unwrap_err().to_string().contains("too many cells, more than 1000"));
}

/// A journal after `kill -9` at any byte can be resumed.
#[test]
fn a_journal_cut_at_any_byte_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path()).unwrap();
    writer.append(Event::CellStarted { cell: cell("13") }).unwrap();
    writer.append(Event::CellFinished { cell: cell("13") }).unwrap();
    drop(writer);
    let path = dir.path().join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    for length in 0..=bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        // A child process that another test starts holds a copy of the lock until it calls exec.
        let mut tries = (0..100).map(|_| Writer::resume(dir.path()).inspect_err(|_| sleep(Duration::from_millis(50))));
        let (mut writer, journal) = tries.find(|tried| !matches!(tried, Err(JournalError::Busy(_)))).unwrap().unwrap();
        let whole = usize::from(length >= first) + usize::from(length >= bytes.len() - 1);
        assert_eq!(journal.entries.len(), whole, "cut at {length}");
        writer.append(Event::CellStarted { cell: cell("12") }).unwrap();
        drop(writer);
        let resumed = read(&path).unwrap();
        assert!(!resumed.cut, "cut at {length}");
        assert_eq!(resumed.entries[..whole], journal.entries, "cut at {length}");
        assert_eq!(resumed.entries[whole].event, Event::CellStarted { cell: cell("12") }, "cut at {length}");
        assert_eq!(resumed.entries.len(), whole + 1);
    }
}

#[test]
fn resuming_a_busy_or_missing_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Writer::resume(dir.path()), Err(JournalError::Io { .. })));
    assert!(!dir.path().join(FILE).exists(), "none is made");
    let _writer = Writer::create(dir.path()).unwrap();
    assert!(matches!(Writer::resume(dir.path()), Err(JournalError::Busy(_))));
}
