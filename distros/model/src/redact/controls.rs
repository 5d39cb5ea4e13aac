//! Control characters, escape sequences and length: everything that a terminal or a parser would interpret.

/// Removes escape sequences and control characters except line feeds and tabs; of more than `max` bytes, the head and
/// the tail are kept.
pub fn without_controls(input: &str, max: usize) -> String {
    // Removing escape sequences only shortens the text, so that nothing is cut off here that would have been kept.
    let mut clean = String::with_capacity(input.len().min(max * 2));
    let bounded = shorten(input, max.saturating_mul(4), "\n");
    let mut chars = bounded.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => clean.push('\n'),
            c if is_unprintable(c) => {}
            c => clean.push(c),
        }
    }
    if bounded.len() < input.len() || clean.len() > max {
        let left_out = input.len().saturating_sub(max);
        return shorten(&clean, max, &format!("\n[… {left_out} bytes left out …]\n"));
    }
    clean
}

/// Whether a character must not occur in a report: controls, U+FFFE and U+FFFF, and the marks that change the direction
/// of text.
pub fn is_unprintable(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
        c if c.is_control() => true,
        c => (c as u32) & 0xfffe == 0xfffe,
    }
}

/// Keeps the head and the tail of `input` around `mark`, at most `max` bytes of it.
fn shorten(input: &str, max: usize, mark: &str) -> String {
    if input.len() <= max {
        return input.to_owned();
    }
    let head = input.floor_char_boundary(max / 2);
    let tail = input.ceil_char_boundary(input.len() - (max - max / 2));
    format!("{}{mark}{}", &input[..head], &input[tail..])
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips the rest of an escape sequence after ESC: a control sequence, an operating system command, or a single
/// character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        // Ends with BEL or ESC \; an unterminated one must not swallow the following lines.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some(c) if c.is_ascii() && !c.is_ascii_control() => {
            let intermediate = (' '..='/').contains(c);
            chars.next();
            if intermediate {
                chars.next_if(|c| ('0'..='~').contains(c));
            }
        }
        _ => {}
    }
}

/// Skips the rest of a control sequence after ESC [: parameters and a final character.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// Returns `input` on one line, without its middle if it is longer than `max` bytes.
pub fn one_line(input: &str, max: usize) -> String {
    shorten(&input.split_whitespace().collect::<Vec<_>>().join(" "), max, " […] ")
}
