//! Tells the tests which tools this machine lacks.

fn main() {
    lacks::tell(&[lacks::CHROMIUM, lacks::SHELLCHECK, lacks::XMLLINT]);
}
