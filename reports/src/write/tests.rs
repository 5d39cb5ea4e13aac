use super::*;
use crate::sample;

#[test]
fn every_report_is_made_and_made_again_alike() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    let all = || {
        write_all(&sample::journal(), &sample::catalogue(), &sample::profiles(), &out).unwrap();
        FILES.iter().map(|f| std::fs::read(out.join(f)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(all(), all());
    let left: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert_eq!(left.len(), FILES.len(), "no temporary file is left behind: {left:?}");
}

#[test]
fn no_report_tells_a_mirror_or_a_password() {
    let dir = tempfile::tempdir().unwrap();
    write_all(&sample::journal(), &sample::catalogue(), &sample::profiles(), dir.path()).unwrap();
    for file in FILES {
        let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
        assert!(!text.contains("mirror.example") && !text.contains("user:pass"), "{file}");
        assert!(!text.chars().any(crate::redact::is_unprintable), "{file}");
    }
}

#[test]
fn the_sample_as_json() {
    let text = json::render(&sample::matrix()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], json::SCHEMA);
    insta::assert_snapshot!(text);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = write_all(&sample::journal(), &[], &[], &file.join("out")).unwrap_err();
    assert!(error.to_string().contains("file/out"), "{error}");
}
