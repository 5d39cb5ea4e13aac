//! The configuration of a kernel, as Linux's build writes it (`.config`, Documentation/kbuild/kconfig.rst).

use super::KernelVersion;
use crate::arch::Arch;
use std::collections::BTreeMap;

/// Value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// `y`: built into the kernel's image.
    BuiltIn,
    /// `m`: a module.
    Module,
    /// `is not set`, or `n`.
    Off,
    /// A number or a text, verbatim.
    Value(String),
}

/// The configuration of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelConfig {
    /// The Linux version in the file's head comment, if there is one.
    pub version: Option<KernelVersion>,
    options: BTreeMap<String, OptionValue>,
}

/// Reasons why a text is not a kernel configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A line has none of the valid forms.
    #[error("line {line}: expected `CONFIG_NAME=VALUE`, `# CONFIG_NAME is not set` or a comment, found `{found}`")]
    Line {
        /// The line number, from 1.
        line: usize,
        /// The line, truncated.
        found: String,
    },
    /// An option has an invalid value.
    #[error("line {line}: expected y, m, n, a number or a text in quotes for {option}, found `{found}`")]
    Value {
        /// The line number, from 1.
        line: usize,
        /// The option, with its prefix.
        option: String,
        /// The value, truncated.
        found: String,
    },
    /// No line sets an option.
    #[error("no line sets an option")]
    Empty,
}

/// Longest part of a line that a message repeats.
const MAX_FOUND: usize = 60;

impl KernelConfig {
    /// Parses a configuration. If two lines set the same option, the later one counts, as in Linux's build.
    ///
    /// # Errors
    /// The first line that has no valid form, by its number; or that no line sets an option.
    pub fn parse(text: &str) -> Result<KernelConfig, ConfigError> {
        let mut config = KernelConfig::default();
        for (number, line) in text.lines().enumerate() {
            let (line_number, line) = (number + 1, line.trim_end());
            if let Some(option) = line.strip_prefix("# CONFIG_").and_then(|rest| rest.strip_suffix(" is not set")) {
                config.options.insert(option.to_owned(), OptionValue::Off);
            } else if let Some(comment) = line.strip_prefix('#') {
                config.version = config.version.or_else(|| version_in(comment));
            } else if !line.is_empty() {
                let found = || line.chars().take(MAX_FOUND).collect::<String>();
                let set = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('='));
                let Some((option, value)) = set.filter(|(option, _)| is_name(option)) else {
                    return Err(ConfigError::Line { line: line_number, found: found() });
                };
                let setting = option_value(value).ok_or_else(|| ConfigError::Value {
                    line: line_number,
                    option: format!("CONFIG_{option}"),
                    found: value.chars().take(MAX_FOUND).collect(),
                })?;
                config.options.insert(option.to_owned(), setting);
            }
        }
        if config.options.is_empty() { Err(ConfigError::Empty) } else { Ok(config) }
    }

    /// Returns the value of an option, by its name without the prefix. `None` if the file does not name it, because
    /// this kernel has no such option or lacks a dependency of it.
    pub fn get(&self, option: &str) -> Option<&OptionValue> {
        self.options.get(option)
    }

    /// Whether an option is built in or a module.
    pub fn has(&self, option: &str) -> bool {
        matches!(self.get(option), Some(OptionValue::BuiltIn | OptionValue::Module))
    }

    /// Returns the number of options that are named.
    pub fn len(&self) -> usize {
        self.options.len()
    }

    /// Whether no option is named.
    pub fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// Returns the architecture; `None` if the file does not state one that Kata supports.
    pub fn arch(&self) -> Option<Arch> {
        let is = |option: &str| self.get(option) == Some(&OptionValue::BuiltIn);
        Arch::ALL.iter().copied().find(|arch| match arch {
            Arch::X86_64 => is("X86_64"),
            Arch::Aarch64 => is("ARM64"),
            Arch::Ppc64le => is("PPC64") && is("CPU_LITTLE_ENDIAN"),
            Arch::S390x => is("S390"),
        })
    }
}

/// Extracts the version from ` Linux/x86 6.12.48 Kernel Configuration` in the head comment.
fn version_in(comment: &str) -> Option<KernelVersion> {
    let mut words = comment.strip_suffix(" Kernel Configuration")?.trim_start().strip_prefix("Linux/")?.split(' ');
    words.nth(1)?.parse().ok()
}

fn is_name(option: &str) -> bool {
    !option.is_empty() && option.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn option_value(value: &str) -> Option<OptionValue> {
    let is_text = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
    match value {
        "y" => Some(OptionValue::BuiltIn),
        "m" => Some(OptionValue::Module),
        "n" => Some(OptionValue::Off),
        _ if is_text || is_number(value) => Some(OptionValue::Value(value.to_owned())),
        _ => None,
    }
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12.48 Kernel Configuration\n#\n";

    #[test]
    fn options_are_parsed_and_comments_ignored() {
        let text = "# CONFIG_IOMMUFD is not set\r\nCONFIG_SMP=y\nCONFIG_HZ=250\n\nCONFIG_FUSE_FS=m\nCONFIG_EISA=n\n\
                    CONFIG_LOCALVERSION=\"-a=b\"\nCONFIG_PHYSICAL_START=0x1000000\n# CONFIG_SMP and more\nCONFIG_64BIT=y\n";
        let config = KernelConfig::parse(text).unwrap();
        assert_eq!(config.len(), 8);
        assert_eq!(config.get("FUSE_FS"), Some(&OptionValue::Module));
        assert_eq!(config.get("LOCALVERSION"), Some(&OptionValue::Value("\"-a=b\"".to_owned())));
        assert_eq!(config.get("EISA"), Some(&OptionValue::Off));
        assert!(config.has("SMP") && config.has("64BIT") && !config.has("IOMMUFD") && !config.has("HZ"));
        assert_eq!((config.version, config.arch()), (None, None));
    }

    #[test]
    fn the_version_comes_from_the_header_and_the_arch_from_the_options() {
        let of = |options: &str| KernelConfig::parse(&format!("{HEAD}{options}")).unwrap();
        assert_eq!(of("CONFIG_X86_64=y\n").version, "6.12".parse().ok());
        let options =
            ["CONFIG_X86_64=y", "CONFIG_ARM64=y", "CONFIG_PPC64=y\nCONFIG_CPU_LITTLE_ENDIAN=y", "CONFIG_S390=y"];
        for (options, arch) in options.into_iter().zip(Arch::ALL) {
            assert_eq!(of(options).arch(), Some(*arch));
        }
        assert_eq!(of("CONFIG_PPC64=y\n").arch(), None, "big-endian");
    }

    #[test]
    fn the_last_line_about_an_option_wins() {
        let config = KernelConfig::parse("CONFIG_A=m\n# CONFIG_A is not set\nCONFIG_B=n\nCONFIG_B=y\n").unwrap();
        assert_eq!((config.get("A"), config.get("B")), (Some(&OptionValue::Off), Some(&OptionValue::BuiltIn)));
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_number() {
        let error = |text: &str| KernelConfig::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("CONFIG_A=y\nSMP=y\n"),
            "line 2: expected `CONFIG_NAME=VALUE`, `# CONFIG_NAME is not set` or a comment, found `SMP=y`"
        );
        assert_eq!(
            error("CONFIG_A=yes\n"),
            "line 1: expected y, m, n, a number or a text in quotes for CONFIG_A, found `yes`"
        );
        for text in ["CONFIG_A", "CONFIG_=y", "CONFIG_A B=y", "CONFIG_A=\"", "CONFIG_A=", "CONFIG_A=0x", "CONFIG_A=-"] {
            assert!(error(text).starts_with("line 1: "), "{text}");
        }
        assert!(error(&"x".repeat(10_000)).len() < 200);
        for text in ["", "# a comment\n"] {
            assert_eq!(KernelConfig::parse(text), Err(ConfigError::Empty));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(CONFIG_|# |=|y|é|\"|\n|.){0,40}") {
            let _ = KernelConfig::parse(&text);
        }
    }
}
