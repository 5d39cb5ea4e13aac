//! Tells the tests what this machine lacks.

fn main() {
    lacks::set_cfg(&[lacks::C_VIRTIOFSD, lacks::QEMU]);
}
