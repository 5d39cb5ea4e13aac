//! Whether the environment names one Docker engine.
//!
//! Two libraries connect to it, and each reads the environment by itself: bollard (`connect_with_host` in src/docker.rs of
//! 0.21.1) and testcontainers (`init` in src/core/client/bollard_client.rs of 0.28.0), which takes no connection of ours.
//! bollard uses TLS where `DOCKER_TLS_VERIFY` is set to anything, and then has a folder of certificates of its own;
//! testcontainers uses it where that is `1`, and panics where `DOCKER_CERT_PATH` is not set.
//! What they would read differently is refused before either of them is asked.

/// Why the environment names no engine that everything here would reach in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineSettingsError {
    /// It is not clear whether TLS is wanted.
    #[error("DOCKER_TLS_VERIFY is {value:?}: expected 1, or unset it")]
    UnclearTls {
        /// What it is.
        value: String,
    },
    /// TLS is wanted, and nobody says with which certificates.
    #[error(
        "DOCKER_TLS_VERIFY needs certificates: set DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem"
    )]
    NoCertificates,
}

/// Looks at the variables of an environment.
///
/// # Errors
/// That the libraries would read them differently.
pub(super) fn check(variable: impl Fn(&str) -> Option<String>) -> Result<(), EngineSettingsError> {
    let host = variable("DOCKER_HOST").unwrap_or_default();
    // A socket has no TLS, and any other scheme is an error of bollard's.
    let may_have_tls = ["tcp://", "http://"].iter().any(|scheme| host.starts_with(scheme));
    let by_tls = match variable("DOCKER_TLS_VERIFY").filter(|_| may_have_tls) {
        Some(value) if value == "1" => true,
        Some(value) => return Err(EngineSettingsError::UnclearTls { value }),
        None => host.starts_with("https://"),
    };
    let has_certificates = variable("DOCKER_CERT_PATH").is_some_and(|folder| !folder.is_empty());
    if by_tls && !has_certificates {
        return Err(EngineSettingsError::NoCertificates);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: Option<&str>, verify: Option<&str>, certificates: Option<&str>) -> Result<(), EngineSettingsError> {
        check(|name| {
            let value = match name {
                "DOCKER_HOST" => host,
                "DOCKER_TLS_VERIFY" => verify,
                "DOCKER_CERT_PATH" => certificates,
                other => panic!("{other} is asked for"),
            };
            value.map(str::to_owned)
        })
    }

    #[test]
    fn what_both_libraries_read_alike_is_taken() {
        let tcp = Some("tcp://engine.example:2376");
        for (host, verify, certificates) in [
            (None, None, None),
            (None, Some("0"), None),
            (Some("unix:///run/docker.sock"), Some("1"), None),
            (tcp, None, None),
            (tcp, None, Some("/certificates")),
            (tcp, Some("1"), Some("/certificates")),
            (Some("https://engine.example"), None, Some("/certificates")),
        ] {
            assert_eq!(of(host, verify, certificates), Ok(()), "{host:?} {verify:?} {certificates:?}");
        }
    }

    #[test]
    fn what_they_would_read_differently_is_refused() {
        for host in ["tcp://engine.example:2376", "http://engine.example:2375"] {
            assert_eq!(of(Some(host), Some("1"), None), Err(EngineSettingsError::NoCertificates));
            assert_eq!(of(Some(host), Some("1"), Some("")), Err(EngineSettingsError::NoCertificates));
            for value in ["0", "", "true"] {
                let unclear = EngineSettingsError::UnclearTls { value: value.to_owned() };
                assert_eq!(of(Some(host), Some(value), Some("/certificates")), Err(unclear));
            }
        }
        assert_eq!(of(Some("https://engine.example"), None, None), Err(EngineSettingsError::NoCertificates));
        let unclear = of(Some("tcp://engine.example"), Some("0"), None).unwrap_err().to_string();
        assert_eq!(unclear, "DOCKER_TLS_VERIFY is \"0\": expected 1, or unset it");
    }
}
