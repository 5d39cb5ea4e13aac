//! Messages with which containerd's CRI plugin refuses a call; no other module knows them.

/// Phrase for a failed CNI plugin, at setup and teardown: "failed to setup network for sandbox", as kubelets report it,
/// and "failed to destroy network for sandbox" (internal/cri/server/sandbox_stop.go, read in containerd 2).
const NETWORK: &str = "network for sandbox";

/// Why containerd refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalCause {
    /// A CNI plugin failed to make or remove a pod's network, before or after any runtime.
    Network,
    /// Anything else.
    Other,
}

impl RefusalCause {
    /// Reads containerd's message.
    pub(super) fn of(message: &str) -> RefusalCause {
        if message.contains(NETWORK) { RefusalCause::Network } else { RefusalCause::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_network_is_told_from_other_causes() {
        let setup = "failed to setup network for sandbox \"c821\": plugin type=\"bridge\" failed (add)";
        let teardown = "failed to destroy network for sandbox \"c821\": cni plugin not initialized";
        assert_eq!([setup, teardown].map(RefusalCause::of), [RefusalCause::Network; 2]);
        assert_eq!(RefusalCause::of("failed to start sandbox \"c821\": no runtime"), RefusalCause::Other);
    }
}
