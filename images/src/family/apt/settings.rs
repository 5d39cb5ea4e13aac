//! apt's settings, so that it behaves the same on every machine.

use crate::error::{Failure, ImageErrorKind};
use crate::family::credentials::PROXY_VARIABLES;
use crate::progress::ImagePhase;
use crate::runner::{Runner, tied};

/// Ubuntu offers an update to some machines first, chosen by a number that apt computes for each machine: an image gets
/// what the archive has, in whatever phase.
pub(super) const PHASED: &str = "APT::Get::Always-Include-Phased-Updates";

/// apt's settings for one image.
#[derive(Debug, Clone, Default)]
pub(crate) struct AptSettings {
    /// Settings of the machine's apt, such as `Acquire::http::Proxy` and certificates.
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) accept_expired: bool,
}

impl AptSettings {
    /// Reads the machine's proxy settings; a machine without apt has none.
    pub(crate) fn of_machine(runner: &Runner<'_>, accept_expired: bool) -> Result<AptSettings, Failure> {
        let dump = runner
            .output(ImagePhase::Resolve, tied("apt-config").args(["dump", "--no-empty", "--format", "%F\t%v%n"]))
            .or_else(|failure| match failure.cause {
                ImageErrorKind::Cancelled | ImageErrorKind::DeadlineExceeded { .. } => Err(failure),
                _ => Ok(String::new()),
            })?;
        Ok(AptSettings { machine: of_dump(&dump), accept_expired })
    }

    /// Returns the URLs of proxies, to be redacted.
    pub(crate) fn proxy_urls(&self) -> Vec<String> {
        let of_environment = PROXY_VARIABLES.iter().filter_map(|v| std::env::var(v).ok());
        self.machine.iter().filter(|(key, _)| is_proxy(key)).map(|(_, url)| url.clone()).chain(of_environment).collect()
    }

    /// Returns the settings as `Key value` pairs.
    ///
    /// The checks of dates are always set explicitly, because a machine may have disabled them for itself.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let check = if self.accept_expired { "false" } else { "true" };
        let mut all = self.machine.clone();
        // The last value of a key takes effect.
        all.extend([
            ("Acquire::Check-Valid-Until".to_owned(), check.to_owned()),
            ("Acquire::Check-Date".to_owned(), check.to_owned()),
            ("Acquire::Languages".to_owned(), "none".to_owned()),
            ("Acquire::Retries".to_owned(), "2".to_owned()),
            ("Acquire::http::Timeout".to_owned(), "30".to_owned()),
            ("Acquire::https::Timeout".to_owned(), "30".to_owned()),
        ]);
        all
    }
}

fn is_proxy(key: &str) -> bool {
    key.split("::").nth(2).is_some_and(|part| part.eq_ignore_ascii_case("Proxy"))
}

fn of_dump(dump: &str) -> Vec<(String, String)> {
    dump.lines()
        .filter_map(|l| l.split_once('\t'))
        .filter(|(key, value)| {
            let mut parts = key.split("::");
            !value.is_empty()
                && parts.next().is_some_and(|p| p.eq_ignore_ascii_case("Acquire"))
                && parts.next().is_some_and(|p| p.eq_ignore_ascii_case("http") || p.eq_ignore_ascii_case("https"))
                && parts.next().is_some()
        })
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_network_settings_of_this_machine_are_adopted() {
        let dump = "APT::Architecture\tamd64\nAcquire::http::Proxy\thttp://proxy.example:3128\n\
            Acquire::http::Proxy::mirror.example\tDIRECT\nAcquire::http::Timeout\t5\nAcquire::ftp::Proxy\tx\n";
        let settings = AptSettings { machine: of_dump(dump), accept_expired: false };
        let keys: Vec<_> = settings.machine.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(keys, ["Acquire::http::Proxy", "Acquire::http::Proxy::mirror.example", "Acquire::http::Timeout"]);
        assert_eq!(settings.all().last().unwrap().1, "30");
        assert!(settings.proxy_urls().contains(&"http://proxy.example:3128".to_owned()));
    }

    #[test]
    fn valid_until_is_checked_unless_expired_indexes_are_accepted() {
        let check = |accept_expired| {
            let settings = AptSettings { machine: vec![], accept_expired };
            settings.all().contains(&("Acquire::Check-Valid-Until".to_owned(), "true".to_owned()))
        };
        assert!(check(false));
        assert!(!check(true));
    }
}
