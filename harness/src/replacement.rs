//! A component that the user supplies instead of the distro's own: `--component virtiofsd=PATH`.

use images::artifacts::{self, ArtifactsError};
use std::path::PathBuf;
use suites::outcome::Component;

/// A component that is used instead of the distro's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The component.
    pub component: Component,
    /// The file on this machine.
    pub path: PathBuf,
}

/// Reason why a `--component` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReplacementError {
    /// The text has another form, or names no component.
    #[error(
        "`{text}`: expected NAME=PATH, with NAME one of {}",
        Replacement::COMPONENTS.map(Component::name).join(", ")
    )]
    Form {
        /// The text that was given.
        text: String,
    },
    /// There is no such file.
    #[error("{path} does not exist: expected the file to use instead of {component}")]
    NoFile {
        /// The path.
        path: PathBuf,
        /// The component.
        component: Component,
    },
}

impl Replacement {
    /// The components that can be replaced.
    pub const COMPONENTS: [Component; 5] =
        [Component::Kernel, Component::Qemu, Component::Virtiofsd, Component::CloudHypervisor, Component::Firecracker];

    /// Parses `NAME=PATH`.
    ///
    /// # Errors
    /// If the form, the name or the file is wrong.
    pub fn parse(text: &str) -> Result<Replacement, ReplacementError> {
        let form = || ReplacementError::Form { text: text.to_owned() };
        let (name, path) = text.split_once('=').ok_or_else(form)?;
        let component = Replacement::COMPONENTS.into_iter().find(|known| known.name() == name).ok_or_else(form)?;
        let path = PathBuf::from(path);
        match path.is_file() {
            true => Ok(Replacement { component, path }),
            false => Err(ReplacementError::NoFile { path, component }),
        }
    }

    /// Returns the evidence about the replacement: its file's name and checksum.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn evidence(&self) -> Result<String, ArtifactsError> {
        let sum = artifacts::sha256(&self.path)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!("{name} (sha256 {})", sum.get(..16).unwrap_or(&sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_component_is_a_known_name_and_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("virtiofsd");
        fs::write(&path, "daemon").unwrap();
        let replacement = Replacement::parse(&format!("virtiofsd={}", path.display())).unwrap();
        assert_eq!(replacement.component, Component::Virtiofsd);
        let evidence = replacement.evidence().unwrap();
        assert_eq!(evidence, "virtiofsd (sha256 f77b12a53ece5f6b)");
        for (wrong, expected) in [
            ("virtiofsd", "NAME=PATH"),
            ("runc=/x", "kernel, qemu, virtiofsd, cloud-hypervisor, firecracker"),
            ("qemu=/", "does not exist"),
        ] {
            let error = Replacement::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_guest_component_that_is_one_file_can_be_replaced() {
        for component in Component::ALL {
            let is_one_file = match component {
                Component::Qemu
                | Component::CloudHypervisor
                | Component::Firecracker
                | Component::Virtiofsd
                | Component::Kernel => true,
                Component::Containerd | Component::Packages | Component::Record | Component::Kata => false,
            };
            assert_eq!(Replacement::COMPONENTS.contains(component), is_one_file, "{component}");
        }
    }
}
