//! Patterns in containerd's `imports`, with the syntax of Go's `path/filepath`: a leading dot is matched like any
//! character.

use super::files::Files;
use root::RootError;
use std::path::{Component, Path, PathBuf};

/// Limit on matches, more than any configuration has; further files are ignored.
const MAX_MATCHES: usize = 1000;

/// An element of a pattern.
enum Token {
    Any,
    One,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Token::Any | Token::One => true,
            Token::Literal(l) => *l == c,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// Returns the files that a pattern matches, sorted by name; `None` if the pattern is malformed.
///
/// # Errors
///
/// A directory cannot be listed.
pub(super) fn glob(files: &Files<'_>, pattern: &Path) -> Result<Option<Vec<PathBuf>>, RootError> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components() {
        let Component::Normal(part) = component else { continue };
        let Some(part) = part.to_str() else { return Ok(None) };
        if !part.contains(['*', '?', '[', '\\']) {
            found.iter_mut().for_each(|folder| folder.push(part));
            continue;
        }
        let Some(tokens) = tokens(part) else { return Ok(None) };
        let mut matching = Vec::new();
        for folder in &found {
            let remaining = MAX_MATCHES - matching.len();
            let names = files.names(folder)?.into_iter().filter(|n| matches(&tokens, n));
            matching.extend(names.take(remaining).map(|n| folder.join(n)));
        }
        found = matching;
    }
    found.retain(|path| files.is_there(path));
    Ok(Some(found))
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Literal(chars.next()?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let mut next = || match chars.next()? {
                        '\\' => chars.next(),
                        c => Some(c),
                    };
                    let low = next()?;
                    let high = match chars.next_if_eq(&'-') {
                        Some(_) => chars.next().and_then(|c| if c == '\\' { chars.next() } else { Some(c) })?,
                        None => low,
                    };
                    ranges.push((low, high));
                    if chars.next_if_eq(&']').is_some() {
                        break;
                    }
                }
                Token::Class { negated, ranges }
            }
            c => Token::Literal(c),
        });
    }
    Some(tokens)
}

/// Matches each `*` as short as possible; only the last one needs backtracking.
fn matches(tokens: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((token, at));
                token += 1;
            }
            Some(one) if one.accepts(name[at]) => {
                token += 1;
                at += 1;
            }
            _ => match star {
                Some((any, from)) => {
                    star = Some((any, from + 1));
                    token = any + 1;
                    at = from + 1;
                }
                None => return false,
            },
        }
    }
    tokens[token..].iter().all(|t| matches!(t, Token::Any))
}

/// Returns a path without `.` and `..`, like Go's `filepath.Clean`.
pub(super) fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let ok = |pattern: &str, name: &str| tokens(pattern).map(|t| matches(&t, name));
        for (pattern, name, expected) in [
            ("*.toml", "50-x.toml", true),
            ("*.toml", ".hidden.toml", true),
            ("*.toml", "x.toml~", false),
            ("[0-9]*-*.toml", "10-cri.toml", true),
            ("[0-9]*-*.toml", "cri.toml", false),
            ("[^0-9]*", "a", true),
            ("[^0-9]*", "1a", false),
            ("[a\\-]x", "-x", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("\\*x", "*x", true),
            ("\\*x", "ax", false),
            ("*a*b*c*", "xaxbxcx", true),
            ("*a*b", "aabab", true),
            ("a*", "a", true),
        ] {
            assert_eq!(ok(pattern, name), Some(expected), "{pattern} {name}");
        }
        for wrong in ["[", "[]", "a\\", "[a-", "[a"] {
            assert!(ok(wrong, "a").is_none(), "{wrong}");
        }
        // Backtracking is bounded: this would not end otherwise.
        assert_eq!(ok(&"*a".repeat(40), &"a".repeat(39)), Some(false));
    }
}
