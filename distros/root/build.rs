//! Tells the tests what this machine lacks.

fn main() {
    lacks::tell(&[lacks::MOUNTING, lacks::NODES, lacks::ROOT]);
}
