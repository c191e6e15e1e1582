//! Words of a command line for a shell: how they are quoted, and how a suggested command
//! line is split into the arguments that a program can execute without a shell.

use std::fmt::Write as _;

/// Quotes text as one word for a shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut word = "'".to_owned();
    for letter in text.chars() {
        match letter {
            '\'' => word.push_str(r"'\''"),
            // Control characters are removed from terminal output, so they are encoded.
            letter if letter.is_control() && !matches!(letter, '\n' | '\t') => {
                word.push_str("'\"$(printf '");
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(word, "\\{byte:03o}");
                }
                word.push_str("')\"'");
            }
            letter => word.push(letter),
        }
    }
    word + "'"
}

/// Splits a command line of [quoted] words.
pub(crate) fn split(line: &str) -> Vec<String> {
    const ENCODED: &str = "\"$(printf '";
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        let (inner, after) = if let Some(encoded) = rest.strip_prefix(ENCODED) {
            let (bytes, after) = encoded.split_once("')\"").unwrap_or((encoded, ""));
            (decoded(bytes), after)
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let (inner, after) = quoted.split_once('\'').unwrap_or((quoted, ""));
            (inner.to_owned(), after)
        } else if let Some(escaped) = rest.strip_prefix("\\'") {
            ("'".to_owned(), escaped)
        } else if letter == ' ' {
            words.extend(word.take());
            rest = rest.trim_start_matches(' ');
            continue;
        } else {
            let end = rest.find([' ', '\'', '\\', '"']).unwrap_or(rest.len());
            let end = end.max(letter.len_utf8());
            (rest[..end].to_owned(), &rest[end..])
        };
        word.get_or_insert_default().push_str(&inner);
        rest = after;
    }
    words.extend(word);
    words
}

/// The text of octal escapes.
fn decoded(escapes: &str) -> String {
    let bytes = escapes.split('\\').filter(|escape| !escape.is_empty());
    let bytes: Vec<u8> = bytes
        .filter_map(|escape| u8::from_str_radix(escape, 8).ok())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_what_is_quoted_for_one_word() {
        for (text, word) in [
            ("a-b/c=1", "a-b/c=1"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("a\nb\tc", "'a\nb\tc'"),
            ("a\u{1b}[2Jb", "'a'\"$(printf '\\033')\"'[2Jb'"),
            ("\u{9b}", "''\"$(printf '\\302\\233')\"''"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }

    #[test]
    fn a_quoted_command_line_is_split_into_its_words() {
        let words = [
            "./my loans/admin",
            "--store",
            "it's",
            "",
            "\"x\" $(y)",
            "a\\b",
            "\u{1b}[2J\u{9b}",
            "é \u{7}'",
            "--a=b c",
        ];
        let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        assert_eq!(split(&line.join(" ")), words);
        assert_eq!(split("--store='-x y'  z"), ["--store=-x y", "z"]);
        assert_eq!(split("resume -- -x"), ["resume", "--", "-x"]);
        assert_eq!(split(""), Vec::<String>::new());
    }
}
