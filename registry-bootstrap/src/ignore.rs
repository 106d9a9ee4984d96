//! What of a directory does not go into a build: the patterns of `.dockerignore`, as Docker has them. Pure.
//!
//! A line is a path in which `*` and `?` stand for anything within a part and `**` for any parts; what is below a matched
//! directory is matched as well. `!` takes back, the last line that matches decides, `#` begins a comment.

/// The most lines that are looked at.
const MAX_LINES: usize = 4096;

/// The patterns of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    lines: Vec<(bool, Vec<String>)>,
}

impl Ignore {
    /// Those in this text.
    pub fn read(text: &str) -> Ignore {
        let lines = text.lines().take(MAX_LINES).map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines = lines.map(|line| {
            let (takes_back, path) = match line.strip_prefix('!') {
                Some(path) => (true, path.trim()),
                None => (false, line),
            };
            let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
            (takes_back, parts.map(str::to_owned).collect())
        });
        Ignore { lines: lines.collect() }
    }

    /// Whether this path of the directory, with `/` between its parts, stays out.
    pub fn is_out(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let mut out = false;
        for (takes_back, pattern) in &self.lines {
            // A directory that is matched takes along what is in it.
            if !pattern.is_empty() && (1..=parts.len()).any(|length| matches(pattern, &parts[..length])) {
                out = !takes_back;
            }
        }
        out
    }

    /// Whether something in a directory that stays out could be taken back.
    pub fn takes_back(&self) -> bool {
        self.lines.iter().any(|(takes_back, _)| *takes_back)
    }
}

fn matches(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            matches(rest, path) || path.split_first().is_some_and(|(_, others)| matches(pattern, others))
        }
        (Some((first, rest)), Some((part, others))) => {
            is_part(first.as_bytes(), part.as_bytes()) && matches(rest, others)
        }
        _ => false,
    }
}

fn is_part(pattern: &[u8], part: &[u8]) -> bool {
    match (pattern.split_first(), part.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            is_part(rest, part) || part.split_first().is_some_and(|(_, others)| is_part(pattern, others))
        }
        (Some((b'?', rest)), Some((_, others))) => is_part(rest, others),
        (Some((wanted, rest)), Some((is, others))) => wanted == is && is_part(rest, others),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_dockers() {
        let ignore = Ignore::read("# comment\n.git\n*.log\n**/secret\nbuild/*\n!build/keep\n/top?\n\n");
        for out in [
            ".git",
            ".git/config",
            "a.log",
            "secret",
            "a/b/secret/key",
            "build/x",
            "top1",
        ] {
            assert!(ignore.is_out(out), "{out}");
        }
        for inside in [
            "src",
            "a/b.log",
            "build",
            "build/keep",
            "top",
            "top12",
            "gitx",
            "secrets",
        ] {
            assert!(!ignore.is_out(inside), "{inside}");
        }
        assert!(ignore.takes_back());
        assert!(!Ignore::read("").is_out("a"));
    }
}
