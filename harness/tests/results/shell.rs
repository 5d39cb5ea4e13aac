use crate::cached::empty_images;
use crate::generated_run::{FAILS, GeneratedRun, PASSES, run_command, write_run};

#[test]
fn shell_refuses_tests_without_a_failure_or_an_image() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("run"), &GeneratedRun::default());
    let image = "the image of debian:13 is no longer in the cache: `kata-qualify run debian:13 --in container --test ";
    for (arguments, why) in [
        (["shell", "nowhere", FAILS], "RUN nowhere: "),
        (["shell", "run", PASSES], "passed there: there is nothing to look into"),
        (["shell", "run", "qemu_has_the_machine_typo"], "similar names: smoke::qemu_has_the_machine_type, "),
        (["shell", "run", FAILS], image),
    ] {
        let refused = run_command(dir.path(), &arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
}

#[test]
fn a_finished_run_suggests_the_next_command() {
    let dir = tempfile::tempdir().unwrap();
    empty_images(&dir.path().join("cache"), &["debian:13"]).unwrap();
    let arguments =
        ["run", "debian:13", "--in", "vm", "--offline", "--test", "host::", "--cache", "cache", "--out", "out"];
    let output = run_command(dir.path(), &arguments);
    assert_eq!(output.code, Some(3), "there is nothing in the image: {}", output.stderr);
    let expected =
        ["debian:13/x86_64/vm: error (image): ", "can Kata run on debian 13? ", "next: kata-qualify rerun out\n"];
    for words in expected {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
}
