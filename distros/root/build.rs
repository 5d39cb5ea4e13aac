//! Tells the tests what this machine lacks.

fn main() {
    lacks::set_cfg(&[lacks::MOUNTING, lacks::NODES, lacks::ROOT]);
}
