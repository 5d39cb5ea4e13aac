//! Size of the program that users install.

/// Maximum size on a node: 12 MB.
const AT_MOST: u64 = 12_000_000;

/// Only a release build counts, which is stripped.
#[test]
#[cfg_attr(debug_assertions, ignore = "release build only: .ci/nightly release")]
fn the_stripped_program_is_under_twelve_megabytes() {
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_kata-osinfo")).expect("the program").len();
    eprintln!("kata-osinfo: {size} bytes");
    assert!(size < AT_MOST, "{size} bytes");
}
