use crate::generated_run::{FAILS, GeneratedRun, LOG, artifacts, journal, run_command, write_run};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Returns the files of a bundle.
pub(crate) fn files(bundle: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    harness::bundle::open(bundle, folder.path()).unwrap();
    images::packed::files(folder.path(), harness::bundle::LIMITS).unwrap()
}

/// Writes a bundle with these files, even invalid ones.
fn write_bundle(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let file = std::fs::File::create(folder.join("made.tar.zst")).unwrap();
    images::packed::pack(files, file).unwrap();
}

/// Returns the files with one changed and with matching checksums.
pub(crate) fn with_file(mut files: BTreeMap<String, Vec<u8>>, name: &str, text: &str) -> BTreeMap<String, Vec<u8>> {
    files.insert(name.to_owned(), text.as_bytes().to_vec());
    let sums = reports::bundle::sums(&files);
    files.insert(reports::bundle::SUMS.to_owned(), sums.into_bytes());
    files
}

#[test]
fn a_bundle_has_the_runs_files_without_mirror_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let generated = GeneratedRun::default();
    write_run(&dir.path().join("run"), &generated);
    let log = dir.path().join("run").join(artifacts(generated.cell)).join(LOG);
    std::fs::write(&log, format!("{}from mirror.example\n", "line\n".repeat(100_000))).unwrap();
    let secret = dir.path().join("run/artifacts/secret");
    std::fs::write(&secret, "of a test that passed").unwrap();
    let packed = run_command(dir.path(), &["bundle", "run"]);
    assert_eq!(packed.code, Some(0), "{}", packed.stderr);
    let bundle = dir.path().join("kata-qualify-r1.tar.zst");
    assert!(bundle.metadata().unwrap().len() < 100 << 10);
    let files = files(&bundle);
    // The other pages of the run are there too, because the index links to them.
    let names: Vec<&str> = files.keys().map(String::as_str).filter(|name| !name.starts_with("pages/")).collect();
    assert!(files.contains_key("pages/cell/debian-13-x86_64-container.html"));
    let log = format!("{}/{LOG}", artifacts(generated.cell));
    let junit = "junit/debian-13-x86_64-container.xml";
    assert_eq!(
        names,
        ["SHA256SUMS", &log, "images/made.json", "index.html", "journal.jsonl", junit, "matrix.md", "results.json"]
    );
    assert!(journal(&dir.path().join("run")).contains("hunter22"), "there is something to be taken out");
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("mirror.example") && !text.contains("hunter22"), "{name}: {text}");
    }
    assert!(String::from_utf8_lossy(&files[&log]).starts_with("[the first "));
    // The bundle depends neither on this machine nor on the time, and an existing one is not overwritten.
    let again = run_command(dir.path(), &["bundle", "run", "--out", "again.tar.zst"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert_eq!(bytes(&dir.path().join("again.tar.zst")), bytes(&bundle));
    let refused = run_command(dir.path(), &["bundle", "run"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("exists"), "{}", refused.stderr);
}

/// The folders of the command line and the name of the machine that ran may be in any text of the run.
#[test]
fn a_bundle_has_no_folder_of_the_command_line_and_no_machine_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let fails = (FAILS, suites::outcome::Component::Qemu, "forge17 found no /srv/client-x/m/q35 and no /run/kata/x");
    let generated = GeneratedRun { fails, ..GeneratedRun::default() };
    write_run(&run, &generated);
    let text = journal(&run);
    let argv = "\"argv\":[\"kata-qualify\",\"run\",\"--mirror=file:///srv/client-x/m\",\"a.deb,/srv/my project/b.deb\",\"--out\",\"../client-z/out\"]";
    let changed = text.replace("\"argv\":[\"kata-qualify\",\"run\"]", argv);
    assert_ne!(changed, text);
    std::fs::write(run.join("journal.jsonl"), changed).unwrap();
    std::fs::write(run.join("private.json"), "{\"machines\": [\"forge17\"], \"folders\": [\"/data/client-w\"]}")
        .unwrap();
    let log = run.join(artifacts(generated.cell)).join(LOG);
    let secrets =
        "in /srv/my project/b.deb, ../client-z/out and /data/client-w/cache on forge17; /usr/share/qemu stays\n";
    std::fs::write(&log, secrets).unwrap();
    let packed = run_command(dir.path(), &["bundle", "run", "--out", "b.tar.zst"]);
    assert_eq!(packed.code, Some(0), "{}", packed.stderr);
    let files = files(&dir.path().join("b.tar.zst"));
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        for secret in ["client-x", "my project", "client-z", "client-w", "forge17"] {
            assert!(!text.contains(secret), "{name}: {secret}: {text}");
        }
    }
    assert!(!files.contains_key("private.json"));
    let log = String::from_utf8_lossy(&files[&format!("{}/{LOG}", artifacts(generated.cell))]).into_owned();
    assert_eq!(log, "in <folder>/b.deb, <folder>/out and <folder>/cache on <host>; /usr/share/qemu stays\n");
    assert!(
        String::from_utf8_lossy(&files["journal.jsonl"]).contains("<host> found no <folder>/m/q35 and no /run/kata/x")
    );
}

#[test]
fn verify_reaches_the_verdict_of_the_run_and_lists_what_is_not_proved() {
    let dir = tempfile::tempdir().unwrap();
    let basis = model::verified::Basis::Hardware;
    write_run(&dir.path().join("run"), &GeneratedRun { basis, ..GeneratedRun::default() });
    let run = run_command(dir.path(), &["report", "run"]);
    run_command(dir.path(), &["bundle", "run", "--out", "b.tar.zst"]);
    let verified = run_command(dir.path(), &["verify", "b.tar.zst"]);
    assert_eq!(verified.code, run.code, "{}", verified.stderr);
    for words in [
        "run r1 of 2026-",
        "judged again with other tests than those of the run",
        "debian:13/x86_64/container go-3.32: ",
        "; hardware\n",
        "not proved: who made the journal",
    ] {
        assert!(verified.stdout.contains(words), "{words}: {}", verified.stdout);
    }
    let results: serde_json::Value =
        serde_json::from_str(&run_command(dir.path(), &["verify", "b.tar.zst", "--format", "json"]).stdout).unwrap();
    let tests = results["cells"][0]["tests"].as_array().unwrap();
    assert!(tests.iter().any(|test| test["test"] == FAILS && test["outcome"] == "fail"), "{results}");
    assert!(run_command(dir.path(), &["verify", "b.tar.zst", "--write-back"]).stderr.contains("unexpected argument"));
    let mut remaining: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    remaining.sort();
    assert_eq!(remaining, ["b.tar.zst", "run"], "it leaves nothing");
}

/// The stamp remains even if somebody has edited the journal and updated the checksums.
#[test]
fn a_shaped_run_is_still_shaped_in_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), &GeneratedRun { shaped: true, ..GeneratedRun::default() });
    run_command(dir.path(), &["bundle", "run", "--out", "b.tar.zst"]);
    let stamp = "not usable for the records: it is shaped";
    let verified = run_command(dir.path(), &["verify", "b.tar.zst"]);
    assert!(verified.stdout.contains(stamp), "{}", verified.stdout);
    let files = files(&dir.path().join("b.tar.zst"));
    let text = String::from_utf8(files["journal.jsonl"].clone()).unwrap();
    let edited = text.replace("\"shaped\":true", "\"shaped\":false");
    assert_ne!(edited, text);
    write_bundle(dir.path(), &with_file(files, "journal.jsonl", &edited));
    let verified = run_command(dir.path(), &["verify", "made.tar.zst"]);
    assert!(verified.stdout.contains(stamp), "{}", verified.stdout);
}

/// The reports in a stranger's bundle may be forged.
#[test]
fn verify_ignores_the_reports_in_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), &GeneratedRun::default());
    run_command(dir.path(), &["bundle", "run", "--out", "b.tar.zst"]);
    let files = files(&dir.path().join("b.tar.zst"));
    write_bundle(dir.path(), &with_file(files, "results.json", "{\"exit-code\": 0, \"cells\": []}"));
    let [one, other] = ["b.tar.zst", "made.tar.zst"].map(|bundle| run_command(dir.path(), &["verify", bundle]));
    assert_eq!((one.code, one.stdout), (other.code, other.stdout));
}

#[test]
fn an_invalid_bundle_is_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), &GeneratedRun::default());
    run_command(dir.path(), &["bundle", "run", "--out", "b.tar.zst"]);
    let good = files(&dir.path().join("b.tar.zst"));
    let without = |name: &str| {
        let mut files = good.clone();
        files.remove(name);
        files
    };
    let mut changed = good.clone();
    changed.insert("journal.jsonl".to_owned(), Vec::new());
    for (files, why) in [
        (without("SHA256SUMS"), "SHA256SUMS is missing"),
        (without("matrix.md"), "names a file that does not exist"),
        (changed, "journal.jsonl was changed or damaged"),
        (with_file(without("journal.jsonl"), "x", ""), "reading "),
        (with_file(good.clone(), "journal.jsonl", "{\"at\": 1}\n"), "expected an event of the journal"),
    ] {
        write_bundle(dir.path(), &files);
        let verified = run_command(dir.path(), &["verify", "made.tar.zst"]);
        assert!(verified.code == Some(2) && verified.stderr.contains(why), "{why}: {}", verified.stderr);
    }
    let mut cut = Vec::new();
    std::fs::File::open(dir.path().join("b.tar.zst")).unwrap().read_to_end(&mut cut).unwrap();
    cut.truncate(cut.len() / 2);
    std::fs::write(dir.path().join("made.tar.zst"), cut).unwrap();
    for bundle in ["made.tar.zst", "run", "run/journal.jsonl", "/dev/zero", "nowhere"] {
        let verified = run_command(dir.path(), &["verify", bundle]);
        assert_eq!(verified.code, Some(2), "{bundle}: {}", verified.stderr);
        assert!(verified.stderr.starts_with(&format!("error: {bundle}: ")), "{}", verified.stderr);
    }
}
