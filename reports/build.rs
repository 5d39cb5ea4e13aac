//! Tells the tests which tools this machine lacks.

fn main() {
    lacks::set_cfg(&[lacks::CHROMIUM, lacks::SHELLCHECK, lacks::XMLLINT]);
}
