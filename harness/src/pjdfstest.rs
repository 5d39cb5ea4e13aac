//! pjdfstest, the POSIX conformance suite, as the build script built it: a static program, sent into guests.

include!(concat!(env!("OUT_DIR"), "/pjdfstest.rs"));
