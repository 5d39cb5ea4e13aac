//! Builds the agent: a small static binary for environments and guests, embedded into the harness.
//!
//! For the other architectures it is built if this machine has a standard library and a linker for them, as Debian
//! packages both. A program that is built without one of these agents says so when it is asked for releases of that
//! architecture.
//!
//! Plain cargo builds the agent, in a separate target directory and with scrubbed flags, so that the settings of the
//! outer build (coverage, sanitizers, another target) do not end up in a guest. This script also sets
//! `cfg(lacks = "…")` for the tests and passes the commit to the program.
//!
//! The agent is package `agent`, profile `agent` or in a debug build `agent-debug`, `+crt-static`, in a target
//! directory below `OUT_DIR`; its bytes are embedded. The external test suites pjdfstest and fsx are built from the
//! registry in the same way; if that fails, the build warns and their tests are skipped. They are separate programs
//! with which none of the harness's code is linked: fsx has another licence (APSL-2.0).

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Kata's architectures, Rust's names for their targets, and Debian's linkers for them.
const TARGETS: [(&str, &str, &str); 4] = [
    ("x86_64", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-gcc"),
    ("aarch64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"),
    ("ppc64le", "powerpc64le-unknown-linux-gnu", "powerpc64le-linux-gnu-gcc"),
    ("s390x", "s390x-unknown-linux-gnu", "s390x-linux-gnu-gcc"),
];
/// External test suites and their versions.
const EXTERNAL: [(&str, &str); 2] = [("pjdfstest", "0.2.2"), ("fsx", "0.3.2")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    lacks::set_cfg(&[
        lacks::BASH,
        lacks::CONTAINERS,
        lacks::DEBHELPER,
        lacks::DOCKER_COMMAND,
        lacks::IMAGES,
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
    lacks::set_commit();
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for path in [
        "harness/agent",
        "harness/protocol",
        "harness/qemu",
        "harness/vmms",
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
    let machine = of_machine(&env::var("HOST")?)?;
    // Each build ends with one long call of the linker: two builds in parallel fill each other's gaps.
    std::thread::scope(|scope| -> Result<(), Box<dyn std::error::Error>> {
        let others = scope.spawn(|| external(&out, machine).map_err(|err| err.to_string()));
        let (binary, status) = agent(&root, &target_dir, machine, None)?;
        if !status.success() {
            return Err(format!("building the agent: cargo ended with {status}").into());
        }
        println!("cargo::rustc-env=KATA_QUALIFY_AGENT={}", binary.display());
        foreign(&root, &out, &target_dir, machine)?;
        Ok(others.join().map_err(|_| "building the test suites of others panicked")??)
    })
}

/// Returns the target of the build machine from rustc's name for it; the agent is linked with glibc there, too.
fn of_machine(host: &str) -> Result<&'static str, Box<dyn std::error::Error>> {
    let processor = host.split('-').next().unwrap_or_default();
    let found = TARGETS.iter().find(|(_, target, _)| target.split('-').next() == Some(processor));
    found.map(|(_, target, _)| *target).ok_or_else(|| format!("Kata does not support {host}").into())
}

/// Builds the agent for a target with the given linker or the compiler's own. Returns the path of the binary and
/// cargo's exit status.
fn agent(
    root: &Path,
    target_dir: &Path,
    target: &str,
    linker: Option<&str>,
) -> Result<(PathBuf, ExitStatus), Box<dyn std::error::Error>> {
    let profile = match env::var("PROFILE")?.as_str() {
        "release" => "agent",
        _ => "agent-debug",
    };
    let mut build = cargo()?;
    build
        .args(["build", "--locked", "--package", "agent", "--profile", profile, "--target", target])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir);
    if let Some(linker) = linker {
        build.env(format!("CARGO_TARGET_{}_LINKER", target.replace('-', "_").to_uppercase()), linker);
    }
    Ok((target_dir.join(target).join(profile).join("kata-qualify-agent"), build.status()?))
}

/// Builds the agents of the other architectures for which this machine has toolchains, and lists all of them.
fn foreign(root: &Path, out: &Path, target_dir: &Path, machine: &str) -> Result<(), Box<dyn std::error::Error>> {
    let rustc = env::var("RUSTC")?;
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    let libraries = Path::new(String::from_utf8(sysroot.stdout)?.trim()).join("lib/rustlib");
    // A target that is added later is another directory here.
    println!("cargo::rerun-if-changed={}", libraries.display());
    let programs: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let mut rows = String::new();
    for (name, target, linker) in TARGETS.iter().filter(|(_, target, _)| *target != machine) {
        let has_library = libraries.join(target).join("lib").is_dir();
        let has_linker = programs.iter().any(|folder| folder.join(linker).is_file());
        let mut expression = "None".to_owned();
        if has_library && has_linker {
            let (binary, status) = agent(root, target_dir, target, Some(*linker))?;
            match status.success() {
                true => expression = format!("Some(include_bytes!({:?}))", binary.display().to_string()),
                false => println!("cargo::warning=the agent for {name} could not be built: cargo ended with {status}"),
            }
        }
        rows += &format!("    ({name:?}, {expression}),\n");
    }
    let count = TARGETS.len() - 1;
    let code = format!(
        "/// The agents for other architectures than the one that built this, by Kata's names of these.\n\
         static FOREIGN_AGENTS: [(&str, Option<&[u8]>); {count}] = [\n{rows}];\n"
    );
    Ok(std::fs::write(out.join("agents.rs"), code)?)
}

/// Builds the external test suites from the registry; the tests of a suite that fails to build are skipped with a
/// reason.
fn external(out: &Path, machine: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut rows = String::new();
    for (name, version) in EXTERNAL {
        let root = out.join(name);
        let binary = root.join("bin").join(name);
        if !binary.exists() {
            let mut install = cargo()?;
            install
                .args(["install", "--locked", "--quiet", "--version", version, "--target", machine, "--root"])
                .arg(&root)
                .arg(name);
            install.env("CARGO_PROFILE_RELEASE_STRIP", "true");
            if env::var("PROFILE")? != "release" {
                // As in the agent's profile `agent-debug`: the build waits for them, and they mostly wait for the kernel.
                install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
                install.env("CARGO_PROFILE_RELEASE_LTO", "off");
                install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
            }
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

/// Returns a cargo command without the outer build's settings; RUSTUP_* and CARGO_HOME stay, because cargo needs them.
fn cargo() -> Result<Command, env::VarError> {
    const REMOVED: [&str; 6] = [
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
        if REMOVED.contains(&name.as_str()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    Ok(cargo)
}
