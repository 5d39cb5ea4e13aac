use crate::made::said;

#[test]
fn an_image_that_is_not_there_or_has_no_checksum_is_bad_usage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.tar.zst"), "x").unwrap();
    let sum = "0".repeat(64);
    for (arguments, code, why) in [
        (&["export", "debian:13"][..], 2, "debian:13: no image of it is in "),
        (&["export", "debain"], 2, "did you mean `debian`?"),
        (&["import", "x.tar.zst"], 2, "x.tar.zst: expected a file of this machine with the checksum"),
        (&["import", "x.tar.zst#12"], 2, "`12` is no checksum"),
        (&["import", &format!("https://images.example/x#{sum}")], 2, "expected a file of this machine"),
        (&["import", &format!("x.tar.zst#{sum}")], 3, "it is another file, or was damaged on the way"),
        (&["import"], 2, "<FILE#CHECKSUM>..."),
    ] {
        let said = said(dir.path(), &[&["images"], arguments].concat());
        assert!(said.code == Some(code) && said.stderr.contains(why), "{arguments:?}: {}", said.stderr);
    }
    assert!(!dir.path().join("cache").exists(), "nothing was made");
}
