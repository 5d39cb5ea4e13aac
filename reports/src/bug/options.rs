//! The options that a kernel lacks, as a failure names them.

/// Options of a kernel's configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lacking<'o> {
    /// Whether a module is not enough.
    pub(super) built_in: bool,
    /// Their names, without `CONFIG_`.
    pub(super) names: Vec<&'o str>,
}

/// What a failure says that a configuration lacks: `… lacks, built in or as modules: IOMMUFD`, or
/// `… lacks, as built in: agent: EPOLL is only a module; without it, …`.
pub(super) fn lacking(observed: &str) -> Option<Lacking<'_>> {
    let either = observed.split_once(" lacks, built in or as modules: ").map(|(_, told)| (false, told));
    let (built_in, told) = either.or_else(|| Some((true, observed.split_once(" lacks, as built in: ")?.1)))?;
    let clauses = told.split("; ").filter(|clause| !clause.starts_with("without it"));
    let options = clauses.flat_map(|clause| clause.split_once(": ").map_or(clause, |(_, told)| told).split(", "));
    let names: Vec<&str> =
        options.filter_map(|option| option.split_whitespace().next()).filter(|o| is_name(o)).collect();
    (!names.is_empty()).then_some(Lacking { built_in, names })
}

fn is_name(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

impl Lacking<'_> {
    /// `CONFIG_IOMMUFD is not set`.
    pub(super) fn words(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("CONFIG_{name}")).collect();
        let is = if names.len() == 1 { "is" } else { "are" };
        format!("{} {is} not {}", names.join(", "), if self.built_in { "built in" } else { "set" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_out_of_what_the_tests_say() {
        let built_in = "/boot/config-6.12 lacks, as built in: agent: EPOLL is only a module, UNIX is not set and 3 more; \
                        without it, Kata's agent does not run, or has no sockets; seccomp: SECCOMP is not set; without it, \
                        no container starts";
        for (observed, names, words) in [
            ("/boot/config-6.12 lacks, built in or as modules: IOMMUFD", &["IOMMUFD"][..], "CONFIG_IOMMUFD is not set"),
            (built_in, &["EPOLL", "UNIX", "SECCOMP"], "CONFIG_EPOLL, CONFIG_UNIX, CONFIG_SECCOMP are not built in"),
        ] {
            let lacking = lacking(observed).unwrap();
            assert_eq!((lacking.names.as_slice(), lacking.words().as_str()), (names, words));
        }
        for nothing in ["it lacks, as built in: ", "x lacks, built in or as modules: $(id)", "no kernel"] {
            assert_eq!(lacking(nothing), None, "{nothing}");
        }
    }
}
