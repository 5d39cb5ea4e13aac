//! Bringing memory and CPUs online as Kata's agent does.

use super::is_numbered;
use crate::check::{Check, Stop};
use crate::environment::{Answer, Machine, Question};
use crate::smoke::guest_files::{list, read};

/// The progress of bringing memory or CPUs online.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Online {
    /// The number of items brought online.
    pub(super) count: usize,
    /// The guest kernel's last refusal.
    pub(super) refused: Option<String>,
}

impl Online {
    /// Brings offline items online, as the agent does (`online_resources`); a refusal may be temporary.
    pub(super) fn bring(&mut self, machine: &mut dyn Machine, folder: &str, prefix: &str) -> Check {
        for name in list(machine, folder)?.into_iter().filter(|name| is_numbered(name, prefix)) {
            let path = format!("{folder}/{name}/online");
            if read(machine, &path).is_ok_and(|state| state.trim() == "0") {
                let answer = machine.ask(Question::Write { path: path.clone(), text: "1".into() })?;
                self.take(&path, answer)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &str, answer: Answer) -> Check {
        match answer.text(&format!("writing 1 to {path} in the guest")) {
            Ok(_) => self.count += 1,
            Err(Stop::Fail { message, .. }) => self.refused = Some(message),
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_kept_with_its_reason_and_not_counted() {
        let mut online = Online::default();
        let path = "/sys/devices/system/memory/memory40/online";
        online.take(path, Answer::Failed { message: "Device or resource busy (os error 16)".to_owned() }).unwrap();
        let refused = format!("writing 1 to {path} in the guest: Device or resource busy (os error 16)");
        assert_eq!(online, Online { count: 0, refused: Some(refused.clone()) });
        online.take(path, Answer::Done).unwrap();
        assert_eq!(online, Online { count: 1, refused: Some(refused) });
    }
}
