//! QEMU's error messages about arguments that it refuses.

/// QEMU's refusal of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The flag: `-device`.
    pub(super) flag: String,
    /// The flag's value.
    pub(super) value: String,
    /// QEMU's words about the argument.
    pub(super) words: String,
}

impl Refusal {
    /// Parses type and name of the property that QEMU does not find: `Property 'virtio-blk-pci.scsi' not found`.
    pub(super) fn property(&self) -> Option<(&str, &str)> {
        self.words.strip_prefix("Property '")?.strip_suffix("' not found")?.rsplit_once('.')
    }
}

/// Parses QEMU's refusal from a text that quotes it: `qemu-system-x86_64: -device x,y=z: words`.
pub(super) fn refusal(observed: &str) -> Option<Refusal> {
    observed.lines().find_map(|line| {
        let (_, quoted) = line.split_once(": -")?;
        let (flag, rest) = quoted.split_once(' ')?;
        let (value, words) = rest.split_once(": ")?;
        let is_flag = !flag.is_empty() && flag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let refusal = Refusal { flag: format!("-{flag}"), value: value.to_owned(), words: words.trim().to_owned() };
        (is_flag && !refusal.words.is_empty()).then_some(refusal)
    })
}

/// Returns the property of an argument of a type, if it is given there: `scsi=off` of
/// `virtio-blk-pci,drive=x,scsi=off`.
pub(super) fn property_of<'a>(argument: &'a str, of: &str, name: &str) -> Option<&'a str> {
    let mut parts = argument.split(',');
    let first = parts.next()?;
    let is_its =
        first == of || first.strip_prefix("driver=") == Some(of) || first.strip_prefix("qom-type=") == Some(of);
    is_its.then(|| parts.find(|part| part.split('=').next() == Some(name)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_argument_is_separated_from_the_error_message() {
        let message = "starting QEMU: QEMU exited with 1: qemu-system-x86_64: -object \
                       memory-backend-file,id=mem0,size=1: Property 'memory-backend-file.readonly' not found";
        let refused = refusal(message).unwrap();
        assert_eq!((refused.flag.as_str(), refused.value.as_str()), ("-object", "memory-backend-file,id=mem0,size=1"));
        assert_eq!(refused.property(), Some(("memory-backend-file", "readonly")));
        assert_eq!(refusal("virtiofsd ended at once (exit code 1): fuse: unknown option(s): `-o x'"), None);
        assert_eq!(refusal(""), None);
    }

    #[test]
    fn a_property_is_found_only_in_its_device_types_argument() {
        let device = "virtio-blk-pci,drive=x,scsi=off";
        assert_eq!(property_of(device, "virtio-blk-pci", "scsi"), Some("scsi=off"));
        assert_eq!(property_of("driver=virtio-blk-pci,scsi=off", "virtio-blk-pci", "scsi"), Some("scsi=off"));
        assert_eq!(property_of(device, "virtio-blk-pci", "serial"), None);
        assert_eq!(property_of("scsi-hd,scsi=off", "virtio-blk-pci", "scsi"), None);
    }
}
