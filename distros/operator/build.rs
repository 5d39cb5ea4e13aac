//! Tells the tests what this machine lacks.

fn main() {
    lacks::tell(&[lacks::APT_CONFIG, lacks::DNF, lacks::DPKG_QUERY, lacks::MOUNTING, lacks::PYTHON]);
}
