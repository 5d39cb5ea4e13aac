//! Builds the agent: a small static binary for environments and guests, embedded into the harness.
//!
//! Plain cargo builds it, in a target folder of its own and with scrubbed flags, so that whatever the outer build is given
//! (coverage, sanitizers, another target) does not end up in a guest.
//! It also tells the tests what this machine lacks, and the program which commit it is of.
//!
//! The agent is package `agent`, profile `agent`, `+crt-static`, in a target folder below `OUT_DIR`; its bytes are
//! embedded.
//! pjdfstest and fsx, test suites of others, are built from the registry in the same way; where that fails, the build
//! warns and their tests are skipped.
//! They are programs of their own, which nothing of ours is linked with: fsx has another licence (APSL-2.0).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Test suites of others, and their versions.
const EXTERNAL: [(&str, &str); 2] = [("pjdfstest", "0.2.2"), ("fsx", "0.3.2")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    lacks::tell(&[
        lacks::BASH,
        lacks::CONTAINERS,
        lacks::DEBHELPER,
        lacks::DOCKER_COMMAND,
        lacks::JQ,
        lacks::LDD,
        lacks::LINTIAN,
        lacks::MAN,
        lacks::MOUNTING,
        lacks::PIPELINE,
        lacks::REPORTBUG,
        lacks::RUNC,
        lacks::SHELLCHECK,
        lacks::SYSTEM_CALLS,
    ]);
    lacks::tell_commit();
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for path in [
        "harness/agent",
        "harness/protocol",
        "harness/qemu",
        "suites",
        "distros/root",
        "distros/model",
        "distros/operator",
        "distros/profiles",
        "distros/records",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let target_dir = out.join("agent");
    let mut build = cargo()?;
    build
        .args(["build", "--locked", "--package", "agent", "--profile", "agent", "--target", TARGET])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir);
    let status = build.status()?;
    if !status.success() {
        return Err(format!("building the agent: cargo ended with {status}").into());
    }
    let binary = target_dir.join(TARGET).join("agent/kata-qualify-agent");
    println!("cargo::rustc-env=KATA_QUALIFY_AGENT={}", binary.display());
    external(&out)
}

/// Builds the test suites of others from the registry; without one its tests are skipped and say so.
fn external(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut rows = String::new();
    for (name, version) in EXTERNAL {
        let root = out.join(name);
        let binary = root.join("bin").join(name);
        if !binary.exists() {
            let mut install = cargo()?;
            install
                .args(["install", "--locked", "--quiet", "--version", version, "--target", TARGET, "--root"])
                .arg(&root)
                .arg(name);
            install.env("CARGO_PROFILE_RELEASE_STRIP", "true");
            if !install.status().is_ok_and(|status| status.success()) {
                println!("cargo::warning={name} {version} could not be built: its tests will be skipped");
            }
        }
        let expression = match binary.exists() {
            true => format!("Some(include_bytes!({:?}))", binary.display().to_string()),
            false => "None".to_owned(),
        };
        rows += &format!("    ExternalSuite {{ name: {name:?}, binary: {expression} }},\n");
    }
    let count = EXTERNAL.len();
    let code = format!("/// All of them.\npub static SUITES: [ExternalSuite; {count}] = [\n{rows}];\n");
    Ok(std::fs::write(out.join("external.rs"), code)?)
}

/// cargo without the outer build's settings; RUSTUP_* and CARGO_HOME stay, or it would not work at all.
fn cargo() -> Result<Command, env::VarError> {
    const OURS: [&str; 6] = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "LLVM_PROFILE_FILE",
    ];
    const PREFIXES: [&str; 3] = ["CARGO_PROFILE_", "CARGO_FEATURE_", "CARGO_CFG_"];
    let mut cargo = Command::new(env::var("CARGO")?);
    for (name, _) in env::vars() {
        if OURS.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    Ok(cargo)
}
