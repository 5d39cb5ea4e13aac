//! Tells the tests which tools and services this machine lacks.

fn main() {
    lacks::set_cfg(&[
        lacks::APK_IMAGES,
        lacks::APT_IMAGES,
        lacks::CURL,
        lacks::DNF_IMAGES,
        lacks::DOCKER,
        lacks::DOCKER_REGISTRY,
        lacks::DPKG_DEB,
        lacks::IMAGES,
        lacks::LDD,
        lacks::MKE2FS,
        lacks::MOUNTING,
        lacks::PACMAN_IMAGES,
        lacks::ROOT,
        lacks::STRACE,
    ]);
}
