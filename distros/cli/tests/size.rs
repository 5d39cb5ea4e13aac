//! How large the program is that users install.

/// What a node is asked to carry: 12 MB.
const AT_MOST: u64 = 12_000_000;

/// A release build is stripped; one that is not is larger, and no measure.
#[test]
#[cfg_attr(debug_assertions, ignore = "release build only: .ci/nightly release")]
fn the_stripped_program_is_under_twelve_megabytes() {
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_kata-osinfo")).expect("the program").len();
    eprintln!("kata-osinfo: {size} bytes");
    assert!(size < AT_MOST, "{size} bytes");
}
