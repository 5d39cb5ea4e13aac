//! Tells the tests what this machine lacks, and the program which commit it is of.

fn main() {
    lacks::set_cfg(&[
        lacks::APT,
        lacks::BASH,
        lacks::BASH_COMPLETION,
        lacks::CONTAINERD,
        lacks::DEBHELPER,
        lacks::DEBIAN_SYSTEM,
        lacks::DNF,
        lacks::FISH,
        lacks::GO,
        lacks::LDD,
        lacks::LINTIAN,
        lacks::MAN,
        lacks::MOUNTING,
        lacks::PACMAN,
        lacks::PYTHON,
        lacks::ROOT,
        lacks::STRACE,
        lacks::SYSTEMD_ANALYZE,
        lacks::ZSH,
        lacks::ZYPPER,
    ]);
    lacks::set_commit();
}
