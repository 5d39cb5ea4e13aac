//! Tells the tests what this machine lacks.

fn main() {
    lacks::set_cfg(&[lacks::APT_CONFIG, lacks::DNF, lacks::DPKG_QUERY, lacks::MOUNTING, lacks::PYTHON]);
}
