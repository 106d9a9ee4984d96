//! From a source file's text to the part of it that rules are about.

/// The text with comments and the content of literals replaced by spaces; every line keeps its number.
pub fn blank(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at + 1),
            b'\'' => char_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            out[at..end]
                .iter_mut()
                .filter(|byte| **byte != b'\n')
                .for_each(|byte| *byte = b' ');
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// The (blanked) text before the file's tests.
pub fn without_tests(blanked: &str) -> &str {
    &blanked[..tests_at(blanked).unwrap_or(blanked.len())]
}

/// How many lines stand before the file's tests.
pub fn lines_before_tests(source: &str) -> usize {
    without_tests(&blank(source)).lines().count()
}

/// Where a `mod` that only tests have begins.
fn tests_at(blanked: &str) -> Option<usize> {
    blanked.match_indices("#[cfg(test)]").map(|(at, _)| at).find(|at| {
        let rest = blanked[at + "#[cfg(test)]".len()..].trim_start();
        // `#[cfg(test)] mod tests;` is a file of its own.
        rest.starts_with("mod ")
            && rest
                .split(['{', ';'])
                .next()
                .is_some_and(|head| rest[head.len()..].starts_with('{'))
    })
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| at + length)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let length = bytes[open + 1..].windows(end.len()).position(|window| window == end)?;
    Some(open + 1 + length + end.len())
}

/// The end of a character literal; a lifetime is one byte and no literal.
fn char_end(bytes: &[u8], start: usize) -> usize {
    let escaped = bytes.get(start + 1) == Some(&b'\\');
    let from = start + if escaped { 3 } else { 2 };
    // A character is at most four bytes; an escape such as `\u{10ffff}` at most nine more.
    let longest = if escaped { 9 } else { 4 };
    let close = bytes
        .get(from..)
        .unwrap_or_default()
        .iter()
        .take(longest)
        .position(|byte| *byte == b'\'');
    match close {
        Some(length) if escaped || char_count(&bytes[start + 1..from + length]) == 1 => from + length + 1,
        _ => start + 1,
    }
}

fn char_count(bytes: &[u8]) -> usize {
    std::str::from_utf8(bytes).map_or(0, |text| text.chars().count())
}

/// Whether the `r` at this place is the end of a longer word, `br` excepted.
fn follows_word(bytes: &[u8], at: usize) -> bool {
    let from = if at > 0 && bytes[at - 1] == b'b' { at - 1 } else { at };
    from > 0 && (bytes[from - 1].is_ascii_alphanumeric() || bytes[from - 1] == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let source =
            "let a = \"x::y\"; // b::c\n/* d::e\n f::g */ let h = 'i'; let j: &'k str = r#\"l::m\"#;\nlet n = '\\'';";
        let blanked = blank(source);
        assert_eq!(blanked.lines().count(), source.lines().count());
        assert!(!blanked.contains("::"), "{blanked}");
        assert!(
            blanked.contains("let h =") && blanked.contains("&'k str =") && blanked.contains("let n ="),
            "{blanked}"
        );
    }

    #[test]
    fn tests_in_the_file_do_not_count() {
        let source = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        assert_eq!(lines_before_tests(source), 2);
        assert_eq!(lines_before_tests("//! A.\n#[cfg(test)]\nmod tests;\nfn a() {}\n"), 4);
    }
}
