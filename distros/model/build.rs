//! Generates the lists of shipped records and of demands on VMMs besides QEMU, so that adding one takes only a new
//! file.
#![expect(clippy::expect_used, reason = "a build that cannot read its sources must stop")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let crate_folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is"));
    let root = crate_folder.parent().expect("the crate lies beside the records");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where to write"));
    let text = list(root, "RECORDS", "records")
        + &list(root, "VERDICTS", "records/verified")
        + &list(root, "KNOWN_ISSUES", "known-issues");
    std::fs::write(out.join("shipped.rs"), text).expect("the list is written");
    std::fs::write(out.join("vmms.rs"), list(root, "VMMS", "profiles/vmms")).expect("the list is written");
}

/// Renders `const NAME: &[(&str, &str)]` for the YAML files of a directory: each file's name in the repository, its
/// text.
fn list(root: &Path, name: &str, folder: &str) -> String {
    println!("cargo::rerun-if-changed={}", root.join(folder).display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join(folder))
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let mut text = format!("const {name}: &[(&str, &str)] = &[\n");
    for file in files {
        let file_name = file.file_name().and_then(|n| n.to_str()).expect("a name in UTF-8");
        let known_as = format!("distros/{folder}/{file_name}");
        let _ = writeln!(text, "    ({known_as:?}, include_str!({:?})),", file.display().to_string());
    }
    text + "];\n"
}
