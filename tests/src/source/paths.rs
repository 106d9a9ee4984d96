//! The paths that a (blanked) source names, and the modules it declares.

/// Every path of at least two parts in the text, groups of a `use` taken apart: `a::{b, c::d}` gives `a::b` and `a::c::d`.
/// `crate`, `self` and `super` are resolved against the module the text belongs to, and then begin with `crate`.
pub fn named_paths(blanked: &str, module: &[String]) -> Vec<Vec<String>> {
    let tokens = tokens(blanked);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let continues = at > 0 && matches!(tokens[at - 1], "::" | ".");
        if !continues && is_word(tokens[at]) {
            let mut one = Vec::new();
            at = read_path(&tokens, at, &mut Vec::new(), &mut one);
            found.extend(
                one.into_iter()
                    .filter(|path| path.len() > 1)
                    .map(|path| resolve(path, module)),
            );
        } else {
            at += 1;
        }
    }
    found
}

/// The names of `mod name;` in the text.
pub fn declared_modules(blanked: &str) -> Vec<String> {
    let tokens = tokens(blanked);
    let declared = tokens
        .windows(3)
        .filter(|w| w[0] == "mod" && is_word(w[1]) && w[2] == ";");
    declared.map(|w| w[1].to_owned()).collect()
}

/// Reads the path that begins at `at` behind `prefix`; the answer is where the text goes on.
fn read_path<'a>(tokens: &[&'a str], mut at: usize, prefix: &mut Vec<&'a str>, found: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    while at < tokens.len() && (is_word(tokens[at]) || tokens[at] == "*") {
        prefix.push(tokens[at]);
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
        if tokens.get(at) == Some(&"{") {
            at = read_group(tokens, at + 1, prefix, found);
            prefix.truncate(depth);
            return at;
        }
    }
    found.push(prefix.iter().map(|part| (*part).to_owned()).collect());
    prefix.truncate(depth);
    at
}

fn read_group<'a>(tokens: &[&'a str], mut at: usize, prefix: &mut Vec<&'a str>, found: &mut Vec<Vec<String>>) -> usize {
    while at < tokens.len() && tokens[at] != "}" {
        let before = at;
        at = read_path(tokens, at, prefix, found);
        // `as name`, commas, and whatever is no path.
        while at < tokens.len() && !matches!(tokens[at], "," | "}") {
            at += 1;
        }
        if tokens.get(at) == Some(&",") || at == before {
            at += 1;
        }
    }
    at + 1
}

fn resolve(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut parts = path.into_iter().peekable();
    match parts.peek().map(String::as_str) {
        Some("crate") => {
            base.clear();
            parts.next();
        }
        Some("self") => drop(parts.next()),
        Some("super") => {}
        _ => return parts.collect(),
    }
    while parts.next_if(|part| part == "super").is_some() {
        base.pop();
    }
    ["crate".to_owned()].into_iter().chain(base).chain(parts).collect()
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let module = ["supervisor".to_owned(), "create".to_owned()];
        named_paths(text, &module)
            .into_iter()
            .map(|path| path.join("::"))
            .collect()
    }

    #[test]
    fn groups_are_taken_apart() {
        let found = paths("use a::{b, c::{d, e as f}, self};\nuse g::*; h.i::<J>();");
        assert_eq!(found, ["a::b", "a::c::d", "a::c::e", "a::self", "g::*"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        assert_eq!(
            paths("use super::x; use crate::y::Z; self::w::v();"),
            ["crate::supervisor::x", "crate::y::Z", "crate::supervisor::create::w::v",]
        );
        assert_eq!(paths("super::super::http::f()"), ["crate::http::f"]);
    }

    #[test]
    fn declarations_are_found() {
        assert_eq!(
            declared_modules("mod a; pub mod b; mod c { } #[cfg(test)] mod d;"),
            ["a", "b", "d"]
        );
    }
}
