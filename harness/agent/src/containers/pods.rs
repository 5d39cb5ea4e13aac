//! The pods that tests share, one for each runtime.

use super::task::ContainerTask;
use model::sync::locked;
use std::collections::BTreeMap;
use std::sync::Mutex;
use suites::check::Stop;
use suites::containers::Task as _;

/// The shared pods, by containerd's names of their runtimes.
#[derive(Default)]
pub struct Pods(Mutex<BTreeMap<&'static str, ContainerTask>>);

impl Pods {
    /// Returns id and process of a runtime's pod, which the first test that needs it starts.
    ///
    /// # Errors
    /// If the pod does not start.
    pub(super) fn of(
        &self,
        handler: &'static str,
        start: impl FnOnce() -> Result<ContainerTask, Stop>,
    ) -> Result<(String, u32), Stop> {
        let mut pods = locked(&self.0);
        if let Some(pod) = pods.get(handler) {
            return Ok((pod.id().to_owned(), pod.pid()?));
        }
        let pod = start()?;
        let found = (pod.id().to_owned(), pod.pid()?);
        pods.insert(handler, pod);
        Ok(found)
    }

    /// Ends the pod of a runtime; the next test that needs one starts another.
    pub(super) fn forget(&self, handler: &str) {
        let pod = locked(&self.0).remove(handler);
        drop(pod);
    }

    /// Ends all pods.
    pub fn end(&self) {
        let pods = std::mem::take(&mut *locked(&self.0));
        drop(pods);
    }
}
