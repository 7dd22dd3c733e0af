//! How values of all kinds are shown to people.

/// Text from outside, such as the name of a process: what could move the cursor or colour the terminal is written out.
pub fn shown(text: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// One line of a list of names and values.
pub fn line(name: &str, value: &str) -> String {
    format!("  {name:<16} {value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_written_out() {
        assert_eq!(shown("a b\u{1b}[31m\n\u{202e}ü"), "a b\\u{1b}[31m\\n\\u{202e}ü");
    }
}
