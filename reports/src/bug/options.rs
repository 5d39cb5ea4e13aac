//! Options that a kernel lacks, according to a failure.

use model::words::form;
use suites::outcome::{Failure, FailureDetail};

/// Options of a kernel's configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lacking<'o> {
    /// Whether a module is not enough.
    pub(super) built_in: bool,
    /// Their names, without `CONFIG_`.
    pub(super) names: Vec<&'o str>,
}

/// Returns the options that a failure says are missing; words that cannot be an option's name are left out, because
/// they go into scripts.
pub(super) fn lacking(failure: &Failure) -> Option<Lacking<'_>> {
    let FailureDetail::LacksOptions { built_in, options } = &failure.detail else { return None };
    let names: Vec<&str> = options.iter().map(String::as_str).filter(|option| is_name(option)).collect();
    (!names.is_empty()).then_some(Lacking { built_in: *built_in, names })
}

fn is_name(word: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !word.is_empty() && word.bytes().all(fits)
}

impl Lacking<'_> {
    /// Formats the options: `CONFIG_IOMMUFD is not set`.
    pub(super) fn words(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("CONFIG_{name}")).collect();
        let is = form(names.len(), "is", "are");
        format!("{} {is} not {}", names.join(", "), if self.built_in { "built in" } else { "set" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use suites::outcome::Component;

    fn failure(built_in: bool, options: &[&str]) -> Failure {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let detail = FailureDetail::LacksOptions { built_in, options };
        Failure { detail, ..Failure::new(Component::Kernel, "x") }
    }

    #[test]
    fn missing_kernel_options_are_named_as_in_a_kernel_config() {
        for (built_in, options, words) in [
            (false, &["IOMMUFD"][..], "CONFIG_IOMMUFD is not set"),
            (true, &["EPOLL", "UNIX"], "CONFIG_EPOLL, CONFIG_UNIX are not built in"),
        ] {
            let failure = failure(built_in, options);
            let lacking = lacking(&failure).unwrap();
            assert_eq!((lacking.names.as_slice(), lacking.words().as_str()), (options, words));
        }
    }

    #[test]
    fn invalid_kernel_option_names_are_left_out() {
        assert_eq!(lacking(&failure(true, &["$(id)", "epoll", "", "A B"])), None);
        assert_eq!(lacking(&failure(true, &["$(id)", "EPOLL"])).unwrap().names, ["EPOLL"]);
        assert_eq!(lacking(&Failure::new(Component::Kernel, "it lacks, as built in: EPOLL")), None);
    }
}
