//! The Go package, tested by Go's own tools with this program.

use crate::{must, repository};
use std::process::Command;

/// The Go tests fail if this program's output has something that the package's types lack.
#[test]
#[cfg_attr(lacks = "go", ignore = "needs golang-go")]
fn the_go_package_passes_its_tests_with_this_program() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["vet", "./..."][..], &["test", "-count=1", "-v", "./..."]] {
        let mut go = Command::new("go");
        go.args(arguments).current_dir(repository("packaging/go"));
        go.env("KATA_OSINFO", env!("CARGO_BIN_EXE_kata-osinfo")).env_remove("KATA_OSINFO_PATH");
        // Nothing is fetched, compiled by a C compiler, or left behind.
        go.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false");
        go.env("GOCACHE", folder.path().join("cache")).env("GOPATH", folder.path().join("path"));
        let output = must(&mut go);
        assert!(!output.contains("SKIP"), "{output}");
    }
}
