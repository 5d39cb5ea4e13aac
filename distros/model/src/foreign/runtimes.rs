//! Messages of container runtimes about a program that does not exist: runc's and those of Kata's agent.

/// Phrases of runc, in Go's words: `executable file not found in $PATH`, `no such file or directory`. Debian 13's runc
/// (with containerd 1.7.24) refuses with one of them.
const RUNC: [&str; 2] = ["no such file", "executable file not found"];
/// The error's name, by which Kata's agent may report it: `ENOENT: No such file or directory`.
const KATA_AGENT: &str = "ENOENT";
/// The words around the program's name with which the agent of Kata 4.1.0 refuses what it does not find itself
/// (`do_init_child` in src/agent/rustjail/src/container.rs@4.1.0).
const KATA_AGENT_LOOKS: [&str; 2] = ["the file ", " was not found"];

/// Checks whether a runtime's refusal says that a file is not there.
pub fn says_file_is_missing(refusal: &str) -> bool {
    let [before, after] = KATA_AGENT_LOOKS;
    let is_not_found = refusal.split_once(before).is_some_and(|(_, rest)| rest.contains(after));
    is_not_found || refusal.contains(KATA_AGENT) || RUNC.iter().any(|words| refusal.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_recognised_in_the_words_of_each_runtime() {
        for refusal in [
            "ctr: OCI runtime exec failed: exec: \"/no/such\": stat /no/such: no such file or directory",
            "ctr: failed to exec: exec: \"x\": executable file not found in $PATH",
            "ctr: rpc status: Status { code: INTERNAL, message: \"ENOENT: No such file or directory\" }",
            "ctr: rpc status: Status { code: INTERNAL, message: \"the file /no/such/program was not found\\n\" }",
        ] {
            assert!(says_file_is_missing(refusal), "{refusal}");
        }
        assert!(!says_file_is_missing("ctr: permission denied"));
        assert!(!says_file_is_missing("ctr: no running task found: task kq1 not found: not found"));
    }
}
