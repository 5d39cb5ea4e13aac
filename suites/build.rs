//! Tells the tests what this machine lacks.

fn main() {
    lacks::set_cfg(&[
        lacks::C_COMPILER,
        lacks::DEVICE_RULES,
        lacks::MOUNTING,
        lacks::NODES,
        lacks::ROOT,
        lacks::STRACE,
    ]);
}
