//! Tells the tests what this machine lacks.

fn main() {
    lacks::tell(&[lacks::CHROMIUM, lacks::SHELLCHECK, lacks::XMLLINT]);
}
