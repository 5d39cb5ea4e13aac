//! The release's container manager.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::EnvironmentSide;
use crate::row::{Row, row};
use std::time::Duration;

const SOURCE: &str = include_str!("containerd.rs");

pub(super) static ROWS: &[Row] = &[row!(Environment(containerd_runs), &[Capability::HostContainerd], Containerd)];

/// The record's containerd is present, runs and prints its version, which is noted.
///
/// Kata is started by a container manager.
/// Kata documents 1.7 as the oldest supported one (`externals.containerd.minimum` in versions.yaml@4.1.0). A documented
/// minimum decides nothing here: only tests that use containerd do.
fn containerd_runs(env: &dyn EnvironmentSide) -> Check {
    let Some(manager) = env.claims().release.container_manager.clone() else {
        return Err(Stop::skip("the record names no container manager"));
    };
    let output = env.run(&[manager.path.as_str(), "--version"], Duration::from_secs(30))?;
    ensure!(output.ok(), "{} --version failed with {:?}: {}", manager.path, output.code, output.tail());
    // `containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1`
    let version =
        output.stdout.split_whitespace().find(|word| word.trim_start_matches('v').starts_with(char::is_numeric));
    let version =
        version.ok_or_else(|| Stop::fail(format!("{} --version names no version: {}", manager.path, output.tail())))?;
    env.note(format!("{} is version {version}", manager.name));
    Ok(())
}
