//! The pods that tests share, one for each runtime.

use super::task::ContainerTask;
use model::sync::locked;
use std::collections::BTreeMap;
use std::sync::Mutex;
use suites::check::Stop;
use suites::containers::Task as _;

/// They, by the names that containerd knows their runtimes by.
#[derive(Default)]
pub struct Pods(Mutex<BTreeMap<&'static str, ContainerTask>>);

impl Pods {
    /// Id and process of a runtime's pod, which is started by the first test that wants it.
    ///
    /// # Errors
    /// Why it does not start.
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

    /// Ends a runtime's; the next test that wants one starts another.
    pub(super) fn forget(&self, handler: &str) {
        let pod = locked(&self.0).remove(handler);
        drop(pod);
    }

    /// Ends all of them.
    pub fn end(&self) {
        let pods = std::mem::take(&mut *locked(&self.0));
        drop(pods);
    }
}
