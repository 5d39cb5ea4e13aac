//! Check that the environment names one Docker engine unambiguously.
//!
//! Two libraries connect to it, and each reads the environment itself: bollard (`connect_with_host` in src/docker.rs of
//! 0.21.1) and testcontainers (`init` in src/core/client/bollard_client.rs of 0.28.0), which accepts no existing
//! connection. bollard uses TLS if `DOCKER_TLS_VERIFY` has any value, with a default directory for the certificates;
//! testcontainers uses TLS if the value is `1`, and panics if `DOCKER_CERT_PATH` is not set.
//! Settings that the two would interpret differently are refused before either of them connects.

/// Reasons why the environment names no engine that both libraries would reach in the same way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineSettingsError {
    /// It is unclear whether TLS is wanted.
    #[error("DOCKER_TLS_VERIFY is {value:?}: expected 1, or unset it")]
    UnclearTls {
        /// Value of `DOCKER_TLS_VERIFY`.
        value: String,
    },
    /// TLS is wanted, but no certificates are named.
    #[error(
        "DOCKER_TLS_VERIFY needs certificates: set DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem"
    )]
    NoCertificates,
}

/// Checks the variables of an environment.
///
/// # Errors
/// If the libraries would interpret the variables differently.
pub(super) fn check(variable: impl Fn(&str) -> Option<String>) -> Result<(), EngineSettingsError> {
    let host = variable("DOCKER_HOST").unwrap_or_default();
    // A socket has no TLS, and bollard refuses any other scheme.
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

    fn check_settings(
        host: Option<&str>,
        verify: Option<&str>,
        certificates: Option<&str>,
    ) -> Result<(), EngineSettingsError> {
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
    fn unambiguous_engine_settings_are_accepted() {
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
            assert_eq!(check_settings(host, verify, certificates), Ok(()), "{host:?} {verify:?} {certificates:?}");
        }
    }

    #[test]
    fn ambiguous_engine_settings_are_refused() {
        for host in ["tcp://engine.example:2376", "http://engine.example:2375"] {
            assert_eq!(check_settings(Some(host), Some("1"), None), Err(EngineSettingsError::NoCertificates));
            assert_eq!(check_settings(Some(host), Some("1"), Some("")), Err(EngineSettingsError::NoCertificates));
            for value in ["0", "", "true"] {
                let unclear = EngineSettingsError::UnclearTls { value: value.to_owned() };
                assert_eq!(check_settings(Some(host), Some(value), Some("/certificates")), Err(unclear));
            }
        }
        assert_eq!(
            check_settings(Some("https://engine.example"), None, None),
            Err(EngineSettingsError::NoCertificates)
        );
        let unclear = check_settings(Some("tcp://engine.example"), Some("0"), None).unwrap_err().to_string();
        assert_eq!(unclear, "DOCKER_TLS_VERIFY is \"0\": expected 1, or unset it");
    }
}
